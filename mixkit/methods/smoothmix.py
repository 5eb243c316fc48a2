"""SmoothMix: the partner through a soft disc, without an edge that could be learnt."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit import draws, functional
from mixkit.checks import check_flag, check_positive
from mixkit.elements import ElementSet
from mixkit.fields import frame, shortest_side
from mixkit.methods.base import Method, PlanContext
from mixkit.plan import MixPlan
from mixkit.ragged import RaggedPlan, RaggedSet
from mixkit.ragged import functional as ragged
from mixkit.registry import register_method


@register_method("smoothmix")
class SmoothMix(Method):
    """SmoothMix (Lee, Zaheer, Astrid and Lee, CVPRW 2020): the partner's weight is a Gaussian around a centre.

    The centre is uniform over the set's box. The Gaussian's sigma is uniform between two shares of the shortest side of
    a grid, or of the longest side of a set without one.

    Args:
        low: the smallest sigma, as a share of that side, > 0. Default 0.25.
        high: the largest, >= low. Default 0.5.
        per_sample: a centre and a sigma per sample instead of one per batch. Default False, as the authors do.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("smoothmix", domain="image", num_classes=4, p=1.0)
        >>> plan = mixer.plan(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> plan.weight.shape
        torch.Size([4, 2, 64])
    """

    needs = frozenset({"partners", "assign"})

    def __init__(self, low: float = 0.25, high: float = 0.5, per_sample: bool = False) -> None:
        self.low = check_positive("low", low, limit=1e9)
        self.high = check_positive("high", high, limit=1e9)
        if self.low > self.high:
            raise ValueError(f"low must be at most high, got low={low}, high={high}")
        self.per_sample = check_flag("per_sample", per_sample)

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`."""
        discs = elements.num_samples if self.per_sample else 1
        partner = context.partners(elements)
        corner, sides = frame(elements)
        place, share = self._draw(discs, elements.coords.shape[2], elements.coords.device, context)
        centre, sigma = corner + place * sides, share * shortest_side(elements, sides)
        return functional.smoothmix(elements.coords, partner, context.assignment(elements, partner), centre, sigma)

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`."""
        discs = elements.num_samples if self.per_sample else 1
        partner = context.partners(elements)
        corner, sides = ragged.frame(elements)
        place, share = self._draw(discs, elements.coords.shape[1], elements.coords.device, context)
        return ragged.smoothmix(context.pairing(elements, partner), corner + place * sides, share * sides.amax(1))

    def _draw(self, discs: int, dim: int, device: torch.device, context: PlanContext) -> tuple[Tensor, Tensor]:
        """Where in the box the centres are (discs, D), and the share of a side that is sigma (discs,)."""
        uniform = draws.uniform((discs, dim + 1), context.generator, device)
        return uniform[:, :dim], self.low + (self.high - self.low) * uniform[:, dim]
