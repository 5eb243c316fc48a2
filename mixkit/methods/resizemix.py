"""ResizeMix: the whole partner, made smaller, pasted into the sample, so that its object is there."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit import draws, functional
from mixkit.checks import check_flag, check_share
from mixkit.elements import ElementSet
from mixkit.methods.base import Method, PlanContext
from mixkit.plan import MixPlan
from mixkit.query import uniform as uniform_query
from mixkit.ragged import RaggedPlan, RaggedSet
from mixkit.ragged import functional as ragged
from mixkit.ragged.queries import draw_queries
from mixkit.registry import register_method

_HOST = torch.device("cpu")


@register_method("resizemix")
class ResizeMix(Method):
    """ResizeMix (Qin et al. 2020): the whole partner, shrunk by tau, in a random box; ``tau ~ U(low, high)``.

    The box's centre is a random cell, the box is clipped, and the partner is resized to what is left of it. On sets
    without a grid the partner's shape, shrunk by tau, takes the place of the ``tau^2 N`` elements nearest to a random
    one: so many of its own, as a surface that shrinks keeps its density.

    Args:
        low: the smallest tau, in [0, 1]. Default 0.1.
        high: the largest, >= low. Default 0.8.
        per_sample: a tau and, on a grid, a box per sample instead of one per batch. Default False, as the authors do.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("resizemix", domain="image", num_classes=4, p=1.0)
        >>> plan = mixer.plan(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> plan.weight.unique()  # a pixel is the sample's or shows its shrunk partner
        tensor([0., 1.])
    """

    needs = frozenset({"partners"})
    moves = True

    def __init__(self, low: float = 0.1, high: float = 0.8, per_sample: bool = False) -> None:
        self.low, self.high = check_share("low", low), check_share("high", high)
        if self.low > self.high:
            raise ValueError(f"low must be at most high, got low={low}, high={high}")
        self.per_sample = check_flag("per_sample", per_sample)

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`."""
        size, device = elements.num_samples, elements.coords.device
        boxes = size if self.per_sample else 1
        partner = context.partners(elements)
        tau = self._tau(boxes, 2 if elements.grid is None else max(sum(side > 1 for side in elements.grid), 1), context)
        if elements.grid is not None:
            start, cells = random_box(elements.grid, tau, context)
            return functional.resizemix(elements.grid, partner, start.to(device), cells.to(device))
        uniform = draws.uniform((2, size), context.generator, device)
        centre, _ = uniform_query(elements.coords, None, partner, uniform)
        keys = draws.uniform((size, elements.num_elements), context.generator, device)
        scale = tau[:, 0].to(device)
        count = (scale.square() * elements.num_elements).round().long()
        return functional.resizemix_set(elements.coords, partner, centre, scale, count, keys)

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`."""
        size, device = elements.num_samples, elements.coords.device
        partner = context.partners(elements)
        tau = self._tau(size if self.per_sample else 1, 2, context)
        uniform = draws.uniform((2, size), context.generator, device)
        query, _ = draw_queries("uniform", elements, None, partner, uniform)
        keys = draws.uniform((int(elements.lengths[partner].sum()),), context.generator, device)
        pairing = context.pairing(elements, partner, matched=False)
        scale = tau[:, 0].to(device)
        count = (scale.square() * pairing.offsets.diff()).round().long()
        return ragged.resizemix(pairing, partner, query, scale, count, keys)

    def _tau(self, boxes: int, axes: int, context: PlanContext) -> Tensor:
        """(boxes, 1) by how much partners shrink along each of so many axes, on the CPU."""
        return self.low + (self.high - self.low) * draws.uniform((boxes, 1), context.generator, _HOST)


def random_box(grid: tuple[int, ...], share: Tensor, context: PlanContext) -> tuple[Tensor, Tensor]:
    """(boxes, D) long each, on the CPU: the first cell, and the cells along each side, of boxes clipped to a grid.

    Half a box is a whole number of cells on either side of a random one, as in CutMix's authors' code. Along a side of
    one cell the box is whole.

    Args:
        grid: the grid's sides.
        share: (boxes, 1) of each side.
        context: draws the centres.
    """
    sides = torch.tensor(grid)
    centre = (draws.uniform((len(share), len(grid)), context.generator, _HOST) * sides).long()
    half = (share * sides).long() // 2
    start, end = (centre - half).clamp_min(0), torch.minimum(centre + half, sides)
    whole = sides == 1
    start, end = start.masked_fill(whole, 0), end.masked_fill(whole, 1)
    return start, end - start
