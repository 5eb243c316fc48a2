"""The parts of a plan of samples of different sizes: checks, the samples that are kept, the plan as one sample's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mixkit.plan_parts import check_spared
from mixkit.ragged.packed import sample_of

if TYPE_CHECKING:
    from mixkit.ragged.plan import RaggedPlan


def check_fields(plan: RaggedPlan) -> None:
    """Raise TypeError or ValueError for fields of other types, or shapes that do not fit together."""
    if any(field.dtype != torch.long for field in (plan.index, plan.offsets, plan.source_offsets)):
        raise TypeError("index, offsets and source_offsets must be torch.long (int64) tensors")
    if not plan.weight.is_floating_point():
        raise TypeError(f"weight must be floating point, got {plan.weight.dtype}")
    shift_fits = plan.shift is None or (plan.shift.dim() == 3 and plan.shift.shape[:2] == plan.index.shape)
    if plan.label_weight is not None and plan.label_weight.shape != plan.index.shape:
        raise ValueError(
            f"label_weight must be {tuple(plan.index.shape)} as index, got {tuple(plan.label_weight.shape)}"
        )
    if plan.index.dim() != 2 or plan.weight.shape != plan.index.shape or not shift_fits:
        shift = "" if plan.shift is None else f", shift {tuple(plan.shift.shape)}"
        raise ValueError(
            "index and weight (K, L') and shift (K, L', D) do not fit together: "
            f"got index {tuple(plan.index.shape)}, weight {tuple(plan.weight.shape)}{shift}"
        )


def check_values(plan: RaggedPlan) -> None:
    """Raise ValueError for numbers out of range; it reads them."""
    rows = int(plan.source_offsets[-1])
    if plan.index.min() < 0 or plan.index.max() >= rows:
        raise ValueError(f"index must lie in [0, {rows}), got {plan.index.min()} to {plan.index.max()}")
    if not (plan.weight >= 0).all() or not torch.allclose(plan.weight.sum(0), plan.weight.new_ones(())):
        raise ValueError("weight must be >= 0 and sum to 1 over K")
    if (plan.offsets.diff() < 1).any() or int(plan.offsets[-1]) != plan.index.shape[1]:
        raise ValueError(f"offsets must rise from 0 to {plan.index.shape[1]}, got {plan.offsets.tolist()}")


def keep_samples(plan: RaggedPlan, spared: Tensor) -> RaggedPlan:
    """`RaggedPlan.keep`: outputs where ``spared`` (B,) is true become the samples themselves."""
    check_spared(plan, spared)
    spared = spared.to(plan.index.device)
    rows = torch.arange(int(plan.source_offsets[-1]), device=plan.index.device)
    own = rows.expand(plan.num_terms, -1)[:, spared[sample_of(plan.source_offsets, len(rows))]]
    mixed = ~spared[plan.output]
    lengths = torch.where(spared, plan.source_offsets.diff(), plan.offsets.diff())
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    at_own = spared[sample_of(offsets, int(offsets[-1]))]
    index = rows.new_empty(plan.num_terms, len(at_own))
    index[:, at_own], index[:, ~at_own] = own, plan.index[:, mixed]
    weight = plan.weight.new_zeros(plan.num_terms, len(at_own))
    weight[:1, at_own] = 1
    weight[:, ~at_own] = plan.weight[:, mixed]
    shift = plan.shift
    if shift is not None:
        moved = shift.new_zeros(plan.num_terms, len(at_own), shift.shape[2])
        moved[:, ~at_own] = shift[:, mixed]
        shift = moved
    share = plan.label_weight
    if share is not None:
        kept = weight / lengths[sample_of(offsets, len(at_own))]
        kept[:, ~at_own] = share[:, mixed]
        share = kept
    return replace(plan, index=index, weight=weight, offsets=offsets, shift=shift, label_weight=share)


class OneSample:
    """A `RaggedPlan` as that of one output of one sample, as what mixes labels and channels of elements wants it."""

    def __init__(self, plan: RaggedPlan) -> None:
        self.num_outputs = 1
        self.num_terms = plan.num_terms
        self.weight = plan.weight[None]
        self.weight_at_least_float32 = plan.weight.to(torch.promote_types(plan.weight.dtype, torch.float32))[None]
        self._plan = plan

    def gather(self, values: Any, k: int) -> Tensor:
        """(1, L', ...) what term k reads of (1, L, ...)."""
        return values.index_select(1, self._plan.index[k])

    def apply(self, values: Tensor) -> Tensor:
        """(1, L', ...) the mix of (1, L, ...)."""
        return self._plan.apply(values[0])[None]
