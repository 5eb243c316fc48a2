"""The targets of timm's training scripts: smoothed, one-hot or dense."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def check_labels(labels: Tensor, num_classes: int, multi_label: bool, size: int) -> Tensor:
    """The labels as a mixer takes them: integers (B,), or floats (B, num_classes).

    Raises:
        ValueError: another shape, classes out of range, or classes where dense labels are asked for.
        TypeError: no tensor.
    """
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a tensor, got {type(labels).__name__}")
    if labels.shape == (size, num_classes) and (multi_label or labels.is_floating_point()):
        return labels.float()
    if multi_label or labels.is_floating_point():
        raise ValueError(f"dense labels must be ({size}, {num_classes}), got {tuple(labels.shape)}")
    if labels.shape != (size,) or labels.dtype == torch.bool or labels.is_complex():
        raise ValueError(f"class labels must be integers ({size},), got {labels.dtype} {tuple(labels.shape)}")
    if size and labels.device.type == "cpu":  # elsewhere the scatter asserts it, without waiting for the device
        least, most = map(int, labels.aminmax())
        if least < 0 or most >= num_classes:
            raise ValueError(f"labels must lie in [0, {num_classes}), got {least} to {most}")
    return labels


def smoothed(labels: Tensor, num_classes: int, smoothing: float, multi_label: bool) -> Tensor:
    """(B, num_classes) targets of classes (B,) or of dense labels, a share ``smoothing`` of them spread.

    It goes to all classes alike; of multi-label targets, each label moves towards 0.5.
    """
    if labels.dim() > 1:
        return labels * (1 - smoothing) + (0.5 if multi_label else 1 / num_classes) * smoothing
    off = smoothing / num_classes
    targets = torch.full((len(labels), num_classes), off, device=labels.device)
    return targets.scatter_(1, labels.long()[:, None], 1 - smoothing + off)


def pair_targets(targets: Tensor, ratio: np.ndarray, dtype: torch.dtype) -> Tensor:
    """Targets mixed with those from the batch's other end, by one ratio or one for each image of a ``dtype``."""
    if ratio.ndim == 0:
        own = float(ratio)
        return targets * own + targets.flip(0) * (1 - own)
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    each = torch.from_numpy(ratio).to(targets.device, exact)[:, None]
    return targets * each + targets.flip(0) * (1 - each)
