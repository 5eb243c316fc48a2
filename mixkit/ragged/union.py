"""Parts of a sample and parts of its partner, put together: outputs of sizes of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit.ragged.elements import RaggedSet
from mixkit.ragged.packed import sample_of
from mixkit.ragged.plan import RaggedPlan


def partner_rows(elements: RaggedSet, partner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of each sample's partner (L'',), the sample that each is for (L'',), and where each begins (B + 1,)."""
    lengths = elements.lengths[partner]
    starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    output = sample_of(starts, int(starts[-1]))
    rows = torch.arange(len(output), device=output.device) - starts[output] + elements.offsets[partner][output]
    return rows, output, starts


def union(
    elements: RaggedSet,
    own: Tensor,
    rows: Tensor,
    outputs: Tensor,
    shift: Tensor | None = None,
) -> RaggedPlan:
    """The plan of some of each sample's own elements, followed by other ones; a sample left without any stays whole.

    Args:
        elements: the samples.
        own: (L,) bool, which of their own elements stay.
        rows: (A,) long, the rows that are added.
        outputs: (A,) long, the sample that each is added to, rising.
        shift: (A, D) how far each is moved. Default None: not at all.
    """
    sample, size = elements.sample, elements.num_samples
    kept = torch.zeros(size, dtype=torch.long, device=own.device).scatter_add_(0, sample, own.long())
    added = torch.bincount(outputs, minlength=size)
    own = own | (kept + added == 0)[sample]
    own_rows = own.nonzero()[:, 0]
    index, output = torch.cat([own_rows, rows]), torch.cat([sample[own_rows], outputs])
    order = output.argsort(stable=True)
    offsets = torch.searchsorted(output[order], torch.arange(size + 1, device=own.device))
    plan = RaggedPlan.append(index[order], offsets, elements.offsets)
    if shift is None:
        return plan
    moved = torch.cat([shift.new_zeros(len(own_rows), shift.shape[1]), shift])[order]
    return RaggedPlan(plan.index, plan.weight, plan.offsets, plan.source_offsets, moved[None])
