"""What every method is: something that draws a plan for a set of elements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from mixkit.elements import ElementSet, take_samples
from mixkit.plan import MixPlan
from mixkit.show import options_of

#: ``assign(coords_a, coords_b) -> (B, N) long``, or None for the same positions.
Assign = Callable[[Tensor, Tensor], Tensor | None]


class Method(ABC):
    """Draws a `MixPlan` for an `ElementSet`."""

    #: What `plan` asks for, of "saliency", "assign" and "values"; what is not here is not computed.
    needs: frozenset[str] = frozenset()

    #: The share of batches that the method's paper mixes; a mixer's default ``p``.
    p: ClassVar[float] = 1.0

    #: Whether all weights of its plans are 0 or 1, so that elements move and integers can be mixed.
    moves: ClassVar[bool] = False

    #: How much the method's paper trains on the clean pass as well; a mixer's default ``clean_weight``.
    clean_weight: ClassVar[float] = 0.0

    @abstractmethod
    def plan(
        self,
        elements: ElementSet,
        *,
        saliency: Tensor | None = None,
        assign: Assign | None = None,
        generator: torch.Generator | None = None,
    ) -> MixPlan:
        """Draw a plan.

        Args:
            elements: the batch as sets of elements.
            saliency: (B, N) >= 0, needed where `needs` says so.
            assign: the domain's assignment; None pairs the same positions.
            generator: CPU generator of all draws. Default: torch's global one.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({options_of(self)})"


def assigned(elements: ElementSet, partner: Tensor, assign: Assign | None) -> Tensor | None:
    """(B, N) the assignment of each sample's elements to its partner's, or None for the same positions."""
    return None if assign is None else assign(elements.coords, take_samples(elements.coords, partner))
