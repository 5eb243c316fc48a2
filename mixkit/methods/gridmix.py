"""GridMix: a grid of cells, each from the sample or from its partner."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit import draws, functional
from mixkit.checks import check_concentration, check_count, check_flag
from mixkit.elements import ElementSet
from mixkit.fields import count_cells, number_cells, number_cells_ragged
from mixkit.functional.gridmix import first_cells
from mixkit.methods.base import Method, PlanContext
from mixkit.plan import MixPlan
from mixkit.ragged import RaggedPlan, RaggedSet
from mixkit.registry import register_method

MOST_CELLS = 32  # along an axis: along three they are numbers for 32,768 cells


@register_method("gridmix")
class GridMix(Method):
    """GridMix (Baek, Bang and Shim, Pattern Recognition 2021): cells of a grid, each from one of two samples.

    The box around a sample has ``cells`` cells along each axis. The share ``1 - lambda`` of them, at random, become the
    partner's, ``lambda ~ Beta(alpha, alpha)``. The paper's second loss, on a label of each cell, is the model's and the
    loss's matter, and not here.

    Args:
        alpha: concentration of the Beta, > 0. Default 1.
        cells: along each axis, 1 to 32. Default 4.
        per_sample: a ratio and a choice of cells per sample instead of one per batch. Default False.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("gridmix", domain="image", num_classes=4, p=1.0, partners="previous")
        >>> plan = mixer.plan(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> plan.weight.unique()
        tensor([0., 1.])
    """

    needs = frozenset({"partners", "assign"})
    moves = True

    def __init__(self, alpha: float = 1.0, cells: int = 4, per_sample: bool = False) -> None:
        self.alpha = check_concentration("alpha", alpha)
        self.cells = check_count("cells", cells, 1, MOST_CELLS)
        self.per_sample = check_flag("per_sample", per_sample)

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`."""
        partner = context.partners(elements)
        keys, count = self._draw(elements, context)
        cell = number_cells(elements, self.cells)
        return functional.gridmix(partner, context.assignment(elements, partner), cell, keys, count)

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`."""
        partner = context.partners(elements)
        replaced = first_cells(*self._draw(elements, context)).expand(elements.num_samples, -1)
        numbered = zip(replaced, number_cells_ragged(elements, self.cells), strict=True)
        pairing = context.pairing(elements, partner)
        return pairing.plan(~torch.cat([of[cell] for of, cell in numbered])[pairing.own])

    def _draw(self, elements: ElementSet | RaggedSet, context: PlanContext) -> tuple[Tensor, Tensor]:
        """The order in which cells are replaced, (B or 1, C), and how many are, (B or 1,)."""
        device = elements.coords.device
        rows, num_cells = elements.num_samples if self.per_sample else 1, count_cells(elements, self.cells)
        stays = torch.sigmoid(draws.beta_log_ratio(self.alpha, rows, context.generator, device))
        keys = draws.uniform((rows, num_cells), context.generator, device)
        return keys, num_cells - (stays * num_cells).round().long()
