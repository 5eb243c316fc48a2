"""Saliency Grafting: salient cells of the partner, drawn at random."""

from __future__ import annotations

import torch

from mixkit import draws, functional
from mixkit.checks import check_count, check_not_negative
from mixkit.elements import ElementSet
from mixkit.fields import count_cells, number_cells, number_cells_ragged
from mixkit.functional.saliencygrafting import drawn_cells
from mixkit.methods.base import Method, PlanContext
from mixkit.methods.gridmix import MOST_CELLS
from mixkit.plan import MixPlan
from mixkit.ragged import RaggedPlan, RaggedSet
from mixkit.registry import register_method


@register_method("saliencygrafting")
class SaliencyGrafting(Method):
    """Saliency Grafting (Park et al., AAAI 2022): cells of the partner, drawn among the salient ones, are grafted.

    The box around each sample has ``cells`` cells along each axis. A cell of the partner's whose mean saliency is r
    times the mean of all is grafted with the probability ``min(rate * r, 1)``, and never where ``r < threshold``.
    Labels weigh by the shares of saliency that the mix shows of both, as with ``labels_by="saliency"``.

    Args:
        cells: along each axis, 1 to 32. Default 7.
        rate: >= 0, the probability of a cell of mean saliency. Default 0.5.
        threshold: >= 0, how salient a cell is at least, over the mean. Default 1.

    Example:
        >>> from mixkit import create_mixer
        >>> options = dict(num_classes=4, p=1.0, partners="previous", saliency="spectral_residual")
        >>> mixer = create_mixer("saliencygrafting", domain="image", **options)
        >>> plan = mixer.plan(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> plan.weight.shape, plan.label_weight.shape
        (torch.Size([4, 2, 64]), torch.Size([4, 2, 1]))
    """

    needs = frozenset({"partners", "assign", "saliency"})
    moves = True

    def __init__(self, cells: int = 7, rate: float = 0.5, threshold: float = 1.0) -> None:
        self.cells = check_count("cells", cells, 1, MOST_CELLS)
        self.rate, self.threshold = check_not_negative("rate", rate), check_not_negative("threshold", threshold)

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`."""
        if context.saliency is None:
            raise ValueError("SaliencyGrafting needs saliency (B, N)")
        partner = context.partners(elements)
        assignment = context.assignment(elements, partner)
        uniform, cell = self._uniform(elements, context), number_cells(elements, self.cells)
        return functional.saliencygrafting(
            partner, assignment, context.saliency, cell, uniform, self.rate, self.threshold
        )

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`."""
        if context.saliency is None:
            raise ValueError("SaliencyGrafting needs saliency (L,)")
        partner, sizes = context.partners(elements), elements.lengths.tolist()
        uniform, chosen = self._uniform(elements, context), []
        cells = number_cells_ragged(elements, self.cells)
        for saliency, cell, numbers in zip(context.saliency.split(sizes), cells, uniform, strict=True):
            chosen.append(drawn_cells(saliency[None], cell[None], numbers[None], self.rate, self.threshold)[0])
        pairing = context.pairing(elements, partner)
        return pairing.plan(~torch.cat(chosen)[pairing.other]).weigh_labels(context.saliency)

    def _uniform(self, elements: ElementSet | RaggedSet, context: PlanContext) -> torch.Tensor:
        """(B, C) a number for each cell of each sample."""
        shape = elements.num_samples, count_cells(elements, self.cells)
        return draws.uniform(shape, context.generator, elements.coords.device)
