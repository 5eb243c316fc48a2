"""What the engine must be told about a modality. A plugin subclasses `Domain`; about 30 lines suffice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from mixkit.arrays import concatenate
from mixkit.elements import ElementSet
from mixkit.plan import MixPlan
from mixkit.ragged import Packed, Pairing, RaggedPlan, RaggedSet, pair_up
from mixkit.show import options_of


class Domain(ABC):
    """Turns a batch of some modality into an `ElementSet` and back.

    `elements` and `batch` must be written; the rest has defaults that suit a grid.

    Example:
        >>> class Signal(Domain):  # (B, C, L): an element is a time step
        ...     def elements(self, batch):
        ...         steps = torch.arange(batch.shape[2]).float()[None, :, None].expand(len(batch), -1, -1)
        ...         return ElementSet(steps, batch.mT, length_scale=batch.shape[2] / 8)
        ...     def batch(self, elements, like):
        ...         return elements.values.mT.contiguous()
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("cutmix", Signal(), num_classes=2)
        >>> mixed, targets = mixer(torch.randn(4, 1, 50), torch.tensor([0, 1, 0, 1]))
        >>> mixed.shape
        torch.Size([4, 1, 50])
    """

    #: Defaults of methods in this domain where the paper's differ by domain: ``{"sagemix": {"theta": 0.3}}``.
    method_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    #: Saliencies that need no model, by name: ``function(batch) -> (B, N)``.
    saliencies: ClassVar[Mapping[str, Callable[[Tensor], Tensor]]] = {}

    #: Whether elements of two samples can be paired, as methods that are registered for every domain ask for.
    pairs: ClassVar[bool] = True

    #: Whether samples of one size are stacked, rather than mixed in the forms of samples of different sizes alone.
    stacked: ClassVar[bool] = True

    #: How integers become floating-point numbers, as an error that meets integers says it.
    conversion: ClassVar[str] = "convert them first"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({options_of(self)})"

    @abstractmethod
    def elements(self, batch: Tensor) -> ElementSet:
        """The elements of a batch, with their length scale, which is a method's default sigma.

        Raises:
            TypeError: a batch of another type than this domain's.
            ValueError: a batch of another shape; both name what came.
        """

    @abstractmethod
    def batch(self, elements: ElementSet, like: Tensor) -> Tensor:
        """The inverse of `elements`: a batch in the layout, dtype and memory format of ``like``."""

    def assign(self, coords_a: Tensor, coords_b: Tensor) -> Tensor | None:
        """(B, N) the element of b that each element of a is paired with; None, the default: the same positions."""
        return None

    # ---- samples of different sizes

    def ragged_elements(self, packed: Packed) -> RaggedSet:
        """The elements of samples of different sizes, packed (L, C); TypeError, the default, where there are none."""
        raise TypeError(
            f"{type(self).__name__} takes samples of one size, got {packed.num_samples} of different "
            "sizes, in a list or packed"
        )

    def pair(
        self, elements: RaggedSet, partner: Tensor, generator: torch.Generator | None = None, matched: bool = True
    ) -> Pairing:
        """Which elements of each sample and its partner are mixed (`mixkit.ragged.pair_up`).

        Args:
            elements: the samples.
            partner: (B,) long, the partner of each.
            generator: CPU generator of all draws. Default: torch's global one.
            matched: pair them by the domain's assignment, if it has one. Default True; False by their places.
        """
        return pair_up(elements, partner, generator=generator)

    def mix_ragged(self, plan: RaggedPlan, elements: RaggedSet) -> Tensor:
        """(L', C) the mixed samples, packed."""
        coords = plan.apply_coords(elements.coords, finite=True)
        return concatenate([coords, plan.apply(elements.values, finite=True)], 1)

    # ---- saliency

    def saliency(self, grad: Tensor) -> Tensor:
        """(B, N) saliency of a gradient shaped like a batch: its norm over all channels of an element."""
        elements = self.elements(grad)
        channels = elements.values
        if elements.grid is None:  # coordinates are inputs too
            channels = concatenate([elements.coords, channels], 2)
        return torch.linalg.vector_norm(channels, dim=2, dtype=torch.promote_types(channels.dtype, torch.float32))

    def mix(self, plan: MixPlan, elements: ElementSet, like: Tensor) -> Tensor:
        """The mixed batch, in the layout, dtype and memory format of ``like``."""
        values = plan.apply(elements.values, finite=True)
        # the places of a grid stay where they are
        coords = (
            plan.apply_coords(elements.coords, finite=True)
            if elements.grid is None
            else elements.coords
            if len(values) == elements.num_samples
            else elements.coords[:1].expand(len(values), -1, -1)
        )
        return self.batch(ElementSet(coords, values, elements.grid), like=like)

    # ---- inside a model, for `ManifoldMixer`

    def feature_elements(
        self, activation: Any, elements: ElementSet, channels_last: bool | None = None
    ) -> ElementSet | None:
        """A layer's output as a set of elements, in the input's coordinates; None for a vector (B, C), which has none.

        Args:
            activation: what a layer returns, a tensor or a tuple.
            elements: the input's, whose length scale is the layer's too.
            channels_last: whether the channels come last, where the shape leaves that open. Default None: not known.

        Raises:
            ValueError: an activation that this domain cannot read, or can in two ways; the default knows vectors only.
        """
        if isinstance(activation, Tensor) and activation.dim() == 2:
            return None
        raise ValueError(f"{type(self).__name__} cannot read {describe(activation)} as elements or a vector (B, C)")

    def mix_feature(
        self, plan: MixPlan, activation: Any, features: ElementSet | None, channels_last: bool | None = None
    ) -> Any:
        """The mixed activation, given the plan and what `feature_elements` said; the default mixes vectors only."""
        return plan.pooled().apply(activation)

    def pool_saliency(self, saliency: Tensor, elements: ElementSet, features: ElementSet) -> Tensor:
        """(B, n) the saliency (B, N) of the input at a layer's elements: the mean over the places nearest to each."""
        if features.num_elements == elements.num_elements:
            return saliency
        nearest = torch.cdist(elements.coords.float(), features.coords.float()).argmin(2)
        pooled = saliency.new_zeros(len(saliency), features.num_elements)
        count = pooled.scatter_add(1, nearest, torch.ones_like(saliency))
        return pooled.scatter_add(1, nearest, saliency) / count.clamp_min(1)


def describe(activation: Any) -> str:
    """What came, for an error message: a tensor's shape, or the type."""
    if isinstance(activation, Tensor):
        return f"an activation of shape {tuple(activation.shape)}"
    if isinstance(activation, (tuple, list)):
        return f"({', '.join(describe(part) for part in activation)})"
    return f"a {type(activation).__name__}"
