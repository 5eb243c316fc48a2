"""Labels weighed by how much each element matters, by saliency or attention, instead of by how many elements show."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from mixkit.checks import check_float

if TYPE_CHECKING:
    from mixkit.plan import MixPlan
    from mixkit.ragged.plan import RaggedPlan

Plan = TypeVar("Plan", "MixPlan", "RaggedPlan")

#: What a mixer's ``labels_by=`` may be: the mean weight, or the saliency that a mix shows, its shares or as it is.
LABELS_BY = ("weight", "saliency", "own_saliency")


def check_labels_by(labels_by: str | None) -> str | None:
    """Return a mixer's ``labels_by``, or raise ValueError."""
    if labels_by is not None and labels_by not in LABELS_BY:
        raise ValueError(f"labels_by must be one of {', '.join(LABELS_BY)}, or None, got {labels_by!r}")
    return labels_by


def needed_for(labels_by: str | None) -> frozenset[str]:
    """What a mixer needs to weigh labels so, in the words of `Method.needs`."""
    return frozenset({"saliency"}) if labels_by in ("saliency", "own_saliency") else frozenset()


def weigh(plan: Plan, labels_by: str | None, saliency: Tensor | None) -> Plan:
    """The plan with its labels weighed as a mixer's ``labels_by`` says; None leaves them as the method has them."""
    if labels_by is None:
        return plan
    if labels_by == "weight" or saliency is None:
        return replace(plan, label_weight=None)
    return plan.weigh_labels(saliency, normalise=labels_by == "saliency")


def weigh_labels(plan: MixPlan, importance: Tensor, of: str, normalise: bool) -> MixPlan:
    """`MixPlan.weigh_labels`."""
    if of not in ("sample", "output"):
        raise ValueError(f"of must be 'sample' or 'output', got {of!r}")
    check_float("importance", importance)
    rows = plan.num_samples if of == "sample" else plan.num_outputs
    if importance.dim() != 2 or len(importance) != rows or plan.num_elements not in (None, importance.shape[1]):
        wanted = f"({rows}, {plan.num_elements or 'N'})"
        raise ValueError(f"importance must be {wanted}, a number for each element, got {tuple(importance.shape)}")
    share = share_of_total(importance)
    read = share[:, None].expand(-1, plan.num_terms, -1)  # (M, K, N)
    if of == "sample":
        read = torch.stack([plan.gather(share, k) for k in range(plan.num_terms)], 1)
    shown = plan.weight_at_least_float32 * read
    if plan.source.shape[2] == 1:
        shown = shown.sum(2, keepdim=True)
    elif shown.shape[2] != plan.source.shape[2]:
        shown = shown.expand_as(plan.source)
    if normalise:
        total = shown.sum((1, 2), keepdim=True)
        mean = plan.mean_weight()
        shown = torch.where(total > 0, shown / total, mean)  # a mix that shows nothing of importance
    return replace(plan, label_weight=shown)


def weigh_ragged(plan: RaggedPlan, importance: Tensor, normalise: bool) -> RaggedPlan:
    """`RaggedPlan.weigh_labels`."""
    check_float("importance", importance)
    rows = int(plan.source_offsets[-1])
    if importance.shape != (rows,):
        raise ValueError(f"importance must be ({rows},), a number for each element, got {tuple(importance.shape)}")
    lengths = plan.source_offsets.diff()
    importance = importance.to(torch.promote_types(importance.dtype, torch.float32)).clamp_min(0)
    peak = torch.segment_reduce(importance, "max", lengths=lengths, axis=0).repeat_interleave(lengths)
    scaled = torch.where(torch.isfinite(peak) & (peak > 0), importance / peak, 1.0)
    share = scaled / torch.segment_reduce(scaled, "sum", lengths=lengths, axis=0).repeat_interleave(lengths)
    # a sample of few elements shows each of them more than once in a mix of many
    size = lengths[plan.source] / plan.offsets.diff()[plan.output]
    shown = plan.weight * share[plan.index] * size
    if normalise:
        output, mean = plan.output, plan.weight / plan.offsets.diff()[plan.output]
        total = shown.new_zeros(plan.num_outputs).index_add_(0, output, shown.sum(0))[output]
        shown = torch.where(total > 0, shown / total, mean)
    return replace(plan, label_weight=shown)


def share_of_total(importance: Tensor) -> Tensor:
    """(B, N) importance over its row's total, float32 or more; alike for all elements where that is no number."""
    importance = importance.to(torch.promote_types(importance.dtype, torch.float32)).clamp_min(0)
    peak = importance.amax(1, keepdim=True)
    usable = torch.isfinite(peak) & (peak > 0)
    scaled = torch.where(usable, importance / peak, 1.0)  # by the peak first, so that no total overflows
    return scaled / scaled.sum(1, keepdim=True)
