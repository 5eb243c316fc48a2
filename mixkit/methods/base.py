"""What every method is: something that draws a plan for a set of elements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mixkit import draws
from mixkit.elements import ElementSet, take_samples
from mixkit.plan import MixPlan
from mixkit.ragged.elements import RaggedSet
from mixkit.ragged.pairing import Pairing
from mixkit.ragged.plan import RaggedPlan
from mixkit.show import options_of
from mixkit.stages import stage

#: ``assign(coords_a, coords_b) -> (B, N) long``, or None for the same positions.
Assign = Callable[[Tensor, Tensor], Tensor | None]

#: A rule's name, or a function that chooses the partners (`mixkit.partners`).
Partners = str | Callable[..., Any]

#: ``pair(elements, partner, generator, matched)``: see `Domain.pair`.
Pair = Callable[[RaggedSet, Tensor, torch.Generator | None, bool], Pairing]


@dataclass(frozen=True, eq=False, repr=False)
class PlanContext:
    """What a method draws a plan by, besides the elements.

    Args:
        saliency: (B, N) >= 0, given where `Method.needs` says so. Default None.
        assign: the domain's assignment, given where `Method.needs` says so. Default None: it pairs the same positions.
        generator: CPU generator of all draws. Default None: torch's global one.
        partner: (B,) long, the partner of each sample, where a rule has chosen them (`Mixer`'s ``partners=``).
            Default None: they are drawn.
        pair: the domain's pairing of samples of different sizes (`Domain.pair`), given where they are. Default None.
        labels: (L,) long, the classes of the elements of samples of different sizes, given where `Method.needs` says so
            and there are some. Default None.
        classes: (B,) long, the class of each sample, below 0 for those of none, given where `Method.needs` says so.
            Default None.

    Example:
        >>> elements = ElementSet(coords=torch.rand(3, 5, 2), values=torch.rand(3, 5, 1))
        >>> context = PlanContext(generator=torch.Generator().manual_seed(0))
        >>> sorted(context.partners(elements).tolist())  # a permutation
        [0, 1, 2]
    """

    saliency: Tensor | None = None
    assign: Assign | None = None
    generator: torch.Generator | None = None
    partner: Tensor | None = None
    pair: Pair | None = None
    labels: Tensor | None = None
    classes: Tensor | None = None

    def partners(self, elements: ElementSet | RaggedSet) -> Tensor:
        """(B,) the partner of each sample: as chosen, else a random permutation, sometimes the sample itself.

        A method that asks for them has "partners" in `Method.needs`.
        """
        if self.partner is not None:
            return self.partner
        return draws.partners(elements.num_samples, self.generator, elements.coords.device)

    def assignment(self, elements: ElementSet, partner: Tensor) -> Tensor | None:
        """(B, N) the assignment of each sample's elements to its partner's, or None for the same positions."""
        if self.assign is None:
            return None
        with stage("assignment"):
            return self.assign(elements.coords, take_samples(elements.coords, partner))

    def pairing(self, elements: RaggedSet, partner: Tensor, *, matched: bool = True) -> Pairing:
        """Which elements of each sample and its partner are mixed, where samples differ in size.

        Args:
            elements: the samples.
            partner: (B,) long.
            matched: pair them by the domain's assignment. Default True; False by their places.
        """
        if self.pair is None:
            raise ValueError("samples of different sizes need pair=, the domain's pairing")
        with stage("assignment"):
            return self.pair(elements, partner, self.generator, matched)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({options_of(self)})"


class Method(ABC):
    """Draws a `MixPlan` for an `ElementSet`.

    Example:
        >>> class Blend(Method):  # both samples in equal parts
        ...     needs = frozenset({"partners"})
        ...     def plan(self, elements, context):
        ...         return MixPlan.pair(context.partners(elements), torch.full((elements.num_samples, 1), 0.5))
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer(Blend(), domain="image", num_classes=2)
        >>> mixed, targets = mixer(torch.rand(2, 3, 4, 4), torch.tensor([0, 1]))
        >>> mixed.shape, targets.shape
        (torch.Size([2, 3, 4, 4]), torch.Size([2, 2]))
    """

    #: What `plan` asks its context for, of "partners", "saliency", "assign", "labels" and "classes"; the rest is not
    #: computed.
    needs: frozenset[str] = frozenset()

    #: The share of batches that the method's paper mixes; a mixer's default ``p``.
    p: ClassVar[float] = 1.0

    #: Whether all weights of its plans are 0 or 1, so that elements move and integers can be mixed.
    moves: ClassVar[bool] = False

    #: Whether it is made to mix at a model's layers (`mixkit.ManifoldMixer`) and is refused at the input.
    for_layers: ClassVar[bool] = False

    #: How much the method's paper trains on the clean pass as well; a mixer's default ``clean_weight``.
    clean_weight: ClassVar[float] = 0.0

    #: Whom the method's paper mixes a sample with; a mixer's default ``partners``.
    partners: Partners = "random"

    @abstractmethod
    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """Draw a plan for a batch, given as sets of elements, by what the context holds."""

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """Draw a plan for a batch of samples of different sizes, for which the context's saliency is (L,).

        Raises:
            TypeError: the method mixes samples of one size only, as it does unless it says how otherwise.
        """
        from mixkit.registry import get_method, list_methods  # which imports every plugin

        able = [name for name in list_methods() if get_method(name).plan_ragged is not Method.plan_ragged]
        raise TypeError(
            f"{type(self).__name__} mixes samples of one size; those that mix samples of different sizes have a "
            f"plan_ragged: {', '.join(able)}"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({options_of(self)})"
