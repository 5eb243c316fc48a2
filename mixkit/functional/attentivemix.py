"""The partner's most salient cells, in their own places: Attentive CutMix."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit.checks import check_assignment, check_index, check_partner, check_rows, check_share
from mixkit.elements import take_samples
from mixkit.plan import MixPlan


def attentivemix(
    partner: Tensor, assignment: Tensor | None, saliency: Tensor, cell: Tensor, share: float = 6 / 49
) -> MixPlan:
    """Replace a sample's elements by those of the partner's most salient cells (Walawalkar et al., ICASSP 2020).

    Args:
        partner: (B,) long, the partner of each sample.
        assignment: (B, N) long, the partner's element that each element is paired with; None: the same.
        saliency: (B, N); what is not finite counts as 0.
        cell: (B, N) or (1, N) long, >= 0, which cell each element lies in.
        share: the part of the cells that hold elements that is pasted, rounded, at least one; in [0, 1].
            Default 6 / 49, the six of 7 x 7 cells of the paper.

    Returns:
        A plan with K = 2, term 0 the sample itself, weights 0 and 1.

    Raises:
        TypeError: arguments of another type.
        ValueError: arguments of another shape, or out of range (read on the CPU only).

    Example:
        >>> saliency = torch.tensor([[0.0, 0.0, 3.0, 4.0], [5.0, 6.0, 0.0, 0.0]])
        >>> cell = torch.tensor([[0, 0, 1, 1]])
        >>> attentivemix(torch.tensor([1, 0]), None, saliency, cell, share=0.5).weight[:, 0]
        tensor([[0., 0., 1., 1.],
                [1., 1., 0., 0.]])
    """
    size = check_partner(partner)
    num_elements = check_rows("saliency", saliency.nan_to_num() if isinstance(saliency, Tensor) else saliency, size)
    check_assignment(assignment, size, num_elements)
    rows = len(cell) if isinstance(cell, Tensor) and cell.dim() == 2 and len(cell) == 1 else size
    check_index("cell", cell, (rows, num_elements), 2**31)
    chosen = salient_cells(saliency, cell.expand(size, -1), check_share("share", share))
    pasted = take_samples(chosen, partner)
    if assignment is not None:
        pasted = pasted.gather(1, assignment)
    return MixPlan.pair(partner, (~pasted).to(torch.float32), assignment)


def salient_cells(saliency: Tensor, cell: Tensor, share: float) -> Tensor:
    """(B, N) bool, the elements that lie in the share of the cells whose mean saliency is the largest.

    Args:
        saliency: (B, N).
        cell: (B, N) long, which cell each element lies in.
        share: the part of the cells that hold elements; at least one is taken.
    """
    size, num_elements = saliency.shape
    # cells by their numbers in each sample, however large these are
    order = cell.sort(dim=1)
    fresh = torch.cat([order.values.new_zeros(size, 1), (order.values.diff(dim=1) != 0).long()], 1).cumsum(1)
    number = torch.empty_like(cell).scatter_(1, order.indices, fresh)
    usable = torch.where(saliency.isfinite(), saliency, 0).to(torch.promote_types(saliency.dtype, torch.float32))
    total = usable.new_zeros(size, num_elements).scatter_add_(1, number, usable)
    count = usable.new_zeros(size, num_elements).scatter_add_(1, number, torch.ones_like(usable))
    mean = torch.where(count > 0, total / count.clamp_min(1), -torch.inf)
    wanted = ((count > 0).sum(1) * share).round().clamp_min(1)
    chosen = mean.argsort(dim=1, descending=True, stable=True).argsort(1) < wanted[:, None]
    return chosen.gather(1, number)
