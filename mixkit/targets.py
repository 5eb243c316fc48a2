"""How labels mix: a sample's by its mean weight, an element's by its own. What labels may be is `labels`' part."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mixkit.labels import Label

if TYPE_CHECKING:
    from mixkit.plan import MixPlan


def mix_label(plan: MixPlan, label: Label) -> Tensor:
    """The targets of one label: (M, K) or (M, K, ...) of classes, else (M, ...) laid out as it came."""
    if not isinstance(label, Label):
        raise TypeError(f"targets are mixed of labels as Mixer.read returns them, got {type(label).__name__}")
    if label.kind == "classes":
        return _mix_classes(plan, label) if label.places is None else _mix_element_classes(plan, label)
    numbers, ignored = label.numbers, label.unknown
    if label.kind == "values" and label.places is None and plan.label_weight is not None:
        plan = _summing_to_one(plan)  # a number is no share: what is mixed of it must be its mean
    if ignored is None:
        mixed = _mix_numbers(plan, numbers, label.places)
        # in-place edits of the targets must not reach the labels of a batch that was not mixed
        return mixed.clone() if mixed.data_ptr() == label.tensor.data_ptr() else mixed
    unknown = ~label.known
    mixed = _mix_numbers(plan, numbers.masked_fill(unknown, 0), label.places)
    # what is mixed with something unknown is unknown
    return mixed.masked_fill(_mix_numbers(plan, unknown.to(numbers.dtype), label.places) > 0, ignored)


def _mix_classes(plan: MixPlan, label: Label) -> Tensor:
    source, weight = plan.terms()
    classes = label.classes.take(source)
    if label.ignore_index is not None:
        ignored = classes == label.ignore_index
        weight, classes = weight.masked_fill(ignored, 0), classes.masked_fill(ignored, 0)
    total = weight.new_zeros(plan.num_outputs, label.num_classes or 0).scatter_add_(1, classes, weight)
    return total.to(plan.weight_at_least_float32.dtype)


def _mix_element_classes(plan: MixPlan, label: Label) -> Tensor:
    classes = label.classes
    flat = classes.flatten(1)
    terms = [plan.gather(flat, k) for k in range(plan.num_terms)]
    weight = plan.weight_at_least_float32.expand(-1, -1, terms[0].shape[1])
    mixed = weight.new_zeros(plan.num_outputs, label.num_classes or 0, terms[0].shape[1])
    for k, own in enumerate(terms):
        share = weight[:, k]
        if label.ignore_index is not None:
            ignored = own == label.ignore_index
            share, own = share.masked_fill(ignored, 0), own.masked_fill(ignored, 0)
        mixed.scatter_add_(1, own[:, None], share[:, None])
    return mixed if classes.dim() == 2 else mixed.unflatten(2, classes.shape[1:])


def _mix_numbers(plan: MixPlan, numbers: Tensor, places: tuple[int, int] | None) -> Tensor:
    if places is not None:
        return _mix_element_numbers(plan, numbers, places)
    if plan.source.shape[2] == 1 and plan.label_weight is None:
        vectors = numbers.flatten(1) if numbers.dim() > 1 else numbers[:, None]
        return plan.pooled().apply(vectors).reshape(-1, *numbers.shape[1:])
    # float64, so that neither autocast nor TF32 touches a label
    weights, rows = plan.sample_weights.double(), numbers.double().reshape(len(numbers), -1)
    odd = ~rows.isfinite()  # a label that is NaN reaches what its sample is part of, and no further
    mixed = weights @ rows.masked_fill(odd, 0)
    mixed = mixed.masked_fill(weights @ odd.double() > 0, math.nan)
    return mixed.to(numbers.dtype).reshape(-1, *numbers.shape[1:])


def _summing_to_one(plan: MixPlan) -> MixPlan:
    assert plan.label_weight is not None
    total = plan.label_weight.sum((1, 2), keepdim=True)
    return replace(plan, label_weight=torch.where(total > 0, plan.label_weight / total, plan.mean_weight()))


def _mix_element_numbers(plan: MixPlan, numbers: Tensor, places: tuple[int, int]) -> Tensor:
    start, stop = places
    sides = numbers.shape[start:stop]
    rows = numbers.flatten(start, stop - 1).movedim(start, 1)  # (B, N, ...)
    beside = rows.shape[2:]
    mixed = plan.apply(rows.flatten(2)).unflatten(2, beside) if beside else plan.apply(rows)
    mixed = mixed.movedim(1, start)
    return (mixed if len(sides) == 1 else mixed.unflatten(start, sides)).contiguous()
