"""Labels: what may come with a batch, and the messages when something else came. How they mix is the plan's work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mixkit.elements import ElementSet


def check_class_labels(labels: Tensor, num_classes: int | None, num_samples: int) -> int:
    """Check integer classes (B,) and return num_classes."""
    _check_integer(labels)
    if labels.dim() != 1 or len(labels) != num_samples:
        raise ValueError(
            f"class labels must be ({num_samples},), got {tuple(labels.shape)}; per-element labels: element_targets"
        )
    return _check_range(labels, num_classes, None)


def check_element_labels(
    labels: Tensor, num_classes: int | None, num_samples: int, num_elements: int | None, ignore_index: int | None
) -> int:
    """Check integer classes per element, (B, N) or (B, H, W), and return num_classes."""
    _check_integer(labels)
    size = labels[0].numel() if len(labels) else 0
    if labels.dim() < 2 or len(labels) != num_samples or num_elements not in (None, size):
        raise ValueError(
            f"element labels must be ({num_samples}, {num_elements or 'N'}) or the same as a grid, "
            f"got {tuple(labels.shape)}"
        )
    return _check_range(labels, num_classes, ignore_index)


def check_soft_labels(labels: Tensor, num_classes: int | None, num_samples: int) -> None:
    """Check floating-point labels: soft or multi-hot (B, num_classes), or regression targets (B, ...)."""
    if labels.dim() < 1 or len(labels) != num_samples:
        raise ValueError(f"labels must have {num_samples} rows, got {tuple(labels.shape)}")
    if num_classes is not None and (labels.dim() < 2 or labels.shape[-1] != num_classes):
        raise ValueError(
            f"soft labels must be ({num_samples}, {num_classes}), got {tuple(labels.shape)}; "
            "for regression leave num_classes out, for classes give integers"
        )


def check_labels(labels: Any, num_classes: Any, elements: ElementSet, ignore_index: int | None) -> None:
    """Check the labels of a batch, whatever their kind, before anything is drawn from it."""
    num_samples, num_elements = elements.num_samples, elements.num_elements

    def check(labels: Tensor, num_classes: int | None) -> None:
        if labels.is_floating_point():
            check_soft_labels(labels, num_classes, num_samples)
        elif labels.dim() > 1:
            check_element_labels(labels, num_classes, num_samples, num_elements, ignore_index)
            if labels.dim() > 2 and labels.shape[1:] != elements.grid:
                raise ValueError(
                    f"element labels must be laid out as the grid {elements.grid}, got {tuple(labels.shape)}"
                )
        else:
            check_class_labels(labels, num_classes, num_samples)

    map_labels(check, labels, num_classes)


def map_labels(function: Callable[[Tensor, int | None], Any], labels: Any, num_classes: Any) -> Any:
    """Call ``function(labels, num_classes)`` on the one tensor, or on each of a tuple, list or dict of them.

    ``num_classes`` is one number for all, or has the structure of ``labels``.
    """
    if isinstance(labels, Tensor):
        if isinstance(num_classes, (Mapping, tuple, list)):
            raise ValueError(f"num_classes must be one number for one label tensor, got {num_classes!r}")
        return function(labels, num_classes)
    if isinstance(labels, Mapping):
        named = num_classes if isinstance(num_classes, Mapping) else dict.fromkeys(labels, num_classes)
        if missing := [key for key in labels if key not in named]:
            raise ValueError(
                f"num_classes has no entry for the labels {missing}; give None for a label without classes"
            )
        return {key: map_labels(function, value, named[key]) for key, value in labels.items()}
    if isinstance(labels, (tuple, list)):
        many = isinstance(num_classes, (tuple, list))
        if many and len(num_classes) != len(labels):
            raise ValueError(f"num_classes must have one entry for each of {len(labels)} labels, got {num_classes!r}")
        sizes = num_classes if many else [num_classes] * len(labels)
        return tuple(map_labels(function, value, size) for value, size in zip(labels, sizes, strict=True))
    raise TypeError(f"labels must be a tensor, or a tuple, list or dict of tensors, got {type(labels).__name__}")


def _check_integer(labels: Tensor) -> None:
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(
            f"labels must be integer classes or floating-point targets, got {labels.dtype}; convert them first"
        )


def _check_range(labels: Tensor, num_classes: int | None, ignore_index: int | None) -> int:
    if num_classes is None:
        raise ValueError("integer labels need num_classes: give num_classes=K")
    if labels.device.type == "cpu" and labels.numel():  # elsewhere the scatter asserts it, without a host sync
        counted = labels if ignore_index is None else labels[labels != ignore_index]
        least, most = map(int, counted.aminmax()) if counted.numel() else (0, 0)
        if least < 0 or most >= num_classes:
            raise ValueError(
                f"labels must lie in [0, {num_classes}), got {least} to {most}"
                + ("" if ignore_index is None else f" besides ignore_index {ignore_index}")
            )
    return num_classes
