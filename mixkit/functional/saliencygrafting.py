"""Salient cells of the partner, drawn at random, and labels by the saliency that is left of both: Saliency Grafting."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit.checks import check_assignment, check_not_negative, check_partner, check_rows
from mixkit.elements import take_samples
from mixkit.functional.gridmix import check_cell
from mixkit.plan import MixPlan
from mixkit.weighing import share_of_total


def saliencygrafting(
    partner: Tensor,
    assignment: Tensor | None,
    saliency: Tensor,
    cell: Tensor,
    uniform: Tensor,
    rate: float = 0.5,
    threshold: float = 1.0,
) -> MixPlan:
    """Graft cells of the partner, drawn among the salient ones, onto a sample (Park et al., AAAI 2022).

    With r the mean saliency of a cell over the mean of all cells that hold elements, a cell of the partner's is grafted
    where ``r >= threshold`` and its uniform number is below ``rate * r``. Labels weigh by the shares of saliency that
    the mix shows of both.

    Args:
        partner: (B,) long, the partner of each sample.
        assignment: (B, N) long, the partner's element that each element is paired with; None: the same.
        saliency: (B, N); a row that says nothing, or is not finite, counts as even.
        cell: (B, N) or (1, N) long, which of the C cells each element lies in.
        uniform: (B, C) in [0, 1], a number for each cell of each sample, as a partner.
        rate: >= 0, the probability of a cell of mean saliency. Default 0.5.
        threshold: >= 0, how salient a cell is at least, over the mean. Default 1.

    Returns:
        A plan with K = 2, term 0 the sample itself, weights 0 and 1, and label weights.

    Raises:
        TypeError: arguments of another type.
        ValueError: arguments of another shape, or out of range (read on the CPU only).

    Example:
        >>> saliency, cell = torch.tensor([[1.0, 1.0, 1.0, 5.0], [1.0, 4.0, 2.0, 1.0]]), torch.arange(4)[None]
        >>> plan = saliencygrafting(torch.tensor([1, 0]), None, saliency, cell, torch.full((2, 4), 0.4))
        >>> plan.weight[0, 1], plan.sample_weights[0]  # 7/8 of the one is left, and 6/8 of the other is grafted
        (tensor([0., 1., 1., 0.]), tensor([0.5000, 0.5000]))
    """
    size = check_partner(partner)
    num_elements = check_rows("saliency", saliency.nan_to_num() if isinstance(saliency, Tensor) else saliency, size)
    num_cells = check_rows("uniform", uniform, size, 0, 1)
    check_cell(cell, size, num_elements, num_cells)
    check_assignment(assignment, size, num_elements)
    rate, threshold = check_not_negative("rate", rate), check_not_negative("threshold", threshold)
    grafted = take_samples(drawn_cells(saliency, cell.expand(size, -1), uniform, rate, threshold), partner)
    if assignment is not None:
        grafted = grafted.gather(1, assignment)
    return MixPlan.pair(partner, (~grafted).to(torch.float32), assignment).weigh_labels(saliency)


def drawn_cells(saliency: Tensor, cell: Tensor, uniform: Tensor, rate: float, threshold: float) -> Tensor:
    """(B, N) bool, the elements whose cell is drawn; arguments as for `saliencygrafting`, ``cell`` (B, N)."""
    share = share_of_total(saliency)
    total = share.new_zeros(uniform.shape).scatter_add_(1, cell, share)
    count = share.new_zeros(uniform.shape).scatter_add_(1, cell, torch.ones_like(share))
    mean = total / count.clamp_min(1)
    relative = mean * (count > 0).sum(1, keepdim=True) / mean.sum(1, keepdim=True)
    salient = relative >= threshold * (1 - 1e-5)  # cells that are alike stay alike, rounded or not
    return (salient & (uniform < rate * relative)).gather(1, cell)
