"""The parts of a plan: checks of its fields and of what it is applied to, and the plans that are made of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mixkit.checks import check_float

if TYPE_CHECKING:
    from mixkit.plan import MixPlan
    from mixkit.ragged.plan import RaggedPlan


def check_fields(plan: MixPlan) -> None:
    """Raise TypeError or ValueError for fields of other types, or shapes that do not fit together."""
    if plan.source.dtype != torch.long or (plan.index is not None and plan.index.dtype != torch.long):
        raise TypeError("source and index must be torch.long (int64) tensors")
    if not plan.weight.is_floating_point():
        raise TypeError(f"weight must be floating point, got {plan.weight.dtype}")
    fields = {"source": plan.source, "weight": plan.weight, "index": plan.index}
    shapes = {name: field.shape for name, field in fields.items() if field is not None}
    fits = all(len(shape) == 3 and shape[:2] == plan.source.shape[:2] for shape in shapes.values())
    if not fits or len({shape[2] for shape in shapes.values()} - {1}) > 1:
        got = ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
        raise ValueError(f"source, weight (M, K, N or 1) and index (M, K, N) do not fit together: got {got}")
    if plan.shift is not None and (plan.shift.dim() not in (3, 4) or plan.shift.shape[:2] != plan.source.shape[:2]):
        raise ValueError(
            f"shift must be (M, K, D) or (M, K, N, D) with source's M and K, got {tuple(plan.shift.shape)}"
        )
    if (share := plan.label_weight) is not None:
        check_float("label_weight", share)
        if share.shape != plan.source.shape:
            raise ValueError(f"label_weight must be {tuple(plan.source.shape)} as source, got {tuple(share.shape)}")


def check_values(plan: MixPlan) -> None:
    """Raise ValueError for numbers out of range; it reads them."""
    if plan.source.min() < 0 or plan.source.max() >= plan.num_samples:
        raise ValueError(f"source must lie in [0, {plan.num_samples}), got {plan.source.min()} to {plan.source.max()}")
    if plan.index is not None and (plan.index.min() < 0 or plan.index.max() >= plan.index.shape[2]):
        raise ValueError(f"index must lie in [0, {plan.index.shape[2]}), got {plan.index.min()} to {plan.index.max()}")
    if not (plan.weight >= 0).all() or not torch.allclose(
        plan.weight.sum(1), torch.ones((), device=plan.weight.device)
    ):
        raise ValueError("weight must be >= 0 and sum to 1 over K")
    if plan.label_weight is not None and not (plan.label_weight >= 0).all():
        raise ValueError("label_weight must be >= 0")
    if plan.keeps_own:
        own = torch.arange(plan.num_outputs, device=plan.source.device)[:, None]
        unmoved = plan.index is None or bool(
            (plan.index[:, 0] == torch.arange(plan.index.shape[2], device=own.device)).all()
        )
        if not unmoved or not bool((plan.source[:, 0] == own).all()):
            raise ValueError("keeps_own promises that term 0 is the sample itself, unmoved, and it is not")


def check_aligned(plan: MixPlan, name: str, values: Tensor, size: int) -> None:
    """Raise ValueError for what is not (size, N, ...), N as in the plan."""
    elements = plan.num_elements
    if values.dim() < 2 or values.shape[0] != size or elements not in (None, values.shape[1]):
        expected = f"({size}, {elements or 'N'}, ...)"
        raise ValueError(f"{name} must be {expected} as in the plan, got {tuple(values.shape)}")


def check_spared(plan: MixPlan | RaggedPlan, spared: Tensor) -> None:
    """Raise ValueError for a mask of samples to keep that is not (B,), or a plan of another number of outputs."""
    if plan.num_outputs != plan.num_samples or spared.shape != (plan.num_samples,):
        raise ValueError(
            f"samples can be kept, by a mask (B,), where there are as many outputs: got {plan.num_outputs} outputs "
            f"of {plan.num_samples} samples, and a mask {tuple(spared.shape)}"
        )


def keep_samples(plan: MixPlan, spared: Tensor) -> MixPlan:
    """`MixPlan.keep`: outputs where ``spared`` (B,) is true become the samples themselves."""
    check_spared(plan, spared)
    spared = spared.to(plan.source.device)[:, None, None]
    own = torch.arange(plan.num_samples, device=spared.device)[:, None, None]
    first = torch.zeros(1, plan.num_terms, 1, dtype=plan.weight.dtype, device=spared.device)
    first[:, 0] = 1
    index, count = plan.index, plan.source.shape[2]
    if index is not None:
        index = torch.where(spared, torch.arange(index.shape[2], device=spared.device), index)
    return replace(
        plan,
        source=torch.where(spared, own, plan.source),
        index=index,
        weight=torch.where(spared, first, plan.weight),
        shift=None if plan.shift is None else plan.shift.masked_fill(spared.view(-1, *[1] * (plan.shift.dim() - 1)), 0),
        label_weight=None if plan.label_weight is None else torch.where(spared, first / count, plan.label_weight),
    )


def pool(plan: MixPlan) -> MixPlan:
    """`MixPlan.pooled`."""
    if plan.source.shape[2] == 1:
        return replace(plan, index=None, weight=plan.weight.mean(2, keepdim=True), shift=None)
    source = torch.arange(plan.num_samples, device=plan.source.device).expand(plan.num_outputs, -1)[:, :, None]
    weight = replace(plan, label_weight=None).sample_weights[:, :, None]
    share = None if plan.label_weight is None else plan.sample_weights[:, :, None]
    return replace(plan, source=source, index=None, weight=weight, shift=None, keeps_own=False, label_weight=share)


def displace(plan: MixPlan, shift: Tensor) -> MixPlan:
    """`MixPlan.displace`."""
    check_float("shift", shift)
    check_aligned(plan, "shift", shift, plan.num_samples)
    moved = torch.stack([plan.gather(shift, k) for k in range(plan.num_terms)], 1)
    return replace(plan, shift=moved if plan.shift is None else moved + per_element(plan.shift))


def first_outputs(plan: MixPlan, count: int) -> MixPlan:
    """The plan of the first outputs alone."""
    fields = ("source", "index", "weight", "shift", "label_weight")
    kept = {name: field[:count] for name in fields if (field := getattr(plan, name)) is not None}
    return replace(plan, **kept, keeps_own=False)


def per_element(shift: Tensor) -> Tensor:
    """A plan's shift as (M, K, N or 1, D)."""
    return shift if shift.dim() == 4 else shift[:, :, None]
