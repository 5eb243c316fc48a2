"""How labels mix: a sample's by its mean weight, an element's by its own. What labels may be is `labels`' part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mixkit.labels import check_class_labels, check_element_labels, check_soft_labels

if TYPE_CHECKING:
    from mixkit.plan import MixPlan


def sample_targets(plan: MixPlan, labels: Tensor, num_classes: int | None, *, checked: bool) -> Tensor:
    """See `MixPlan.targets`."""
    if labels.is_floating_point():
        check_soft_labels(labels, num_classes, plan.num_samples)
        labels = labels.to(torch.promote_types(labels.dtype, torch.float32))
        if plan.source.shape[2] == 1:
            vectors = labels.flatten(1) if labels.dim() > 1 else labels[:, None]
            return plan.pooled().apply(vectors).reshape(-1, *labels.shape[1:])
        # float64, so that neither autocast nor TF32 touches a label
        mixed = plan.sample_weights.double() @ labels.double().flatten(1 if labels.dim() > 1 else 0)
        return mixed.to(labels.dtype).reshape(-1, *labels.shape[1:])
    if num_classes is None or not checked:
        num_classes = check_class_labels(labels, num_classes, plan.num_samples)
    source, weight = plan.terms()
    classes = labels.long().take(source)
    total = weight.new_zeros(plan.num_outputs, num_classes).scatter_add_(1, classes, weight)
    return total.to(plan.weight_at_least_float32.dtype)


def element_targets(plan: MixPlan, labels: Tensor, num_classes: int | None, ignore_index: int | None) -> Tensor:
    """See `MixPlan.element_targets`."""
    num_classes = check_element_labels(labels, num_classes, plan.num_samples, plan.num_elements, ignore_index)
    flat = labels.flatten(1).long()
    weight = plan.weight_at_least_float32.expand(-1, -1, flat.shape[1])
    mixed = weight.new_zeros(plan.num_outputs, num_classes, flat.shape[1])
    for k in range(plan.num_terms):
        classes, share = plan.gather(flat, k), weight[:, k]
        if ignore_index is not None:
            share = share.masked_fill(classes == ignore_index, 0)
            classes = classes.masked_fill(classes == ignore_index, 0)
        mixed.scatter_add_(1, classes[:, None], share[:, None])
    return mixed.reshape(plan.num_outputs, num_classes, *labels.shape[1:])
