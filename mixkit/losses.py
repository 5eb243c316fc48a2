"""Losses for mixed targets, equal to `torch.nn.functional.cross_entropy` of hard labels where targets are one-hot."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross entropy with mixed targets, whose mean is over what counts, as it is with hard labels.

    `torch.nn.functional.cross_entropy` divides by the number of labels that count, or by the sum of their classes'
    weights, where labels are classes. Where they are shares of classes it divides by the number of all rows: with
    80 % of the pixels ignored the loss and its gradients shrink to a fifth, and class weights change the loss's scale.
    Here the divisor is the sum over all rows of ``weight[k] * targets[k]`` in both cases. So one-hot targets, with rows
    of zeros where a label is ignored, give exactly the loss of the hard labels, and a mixed row of which a share is
    ignored counts by the rest.

    Args:
        logits: (B, K) or (B, K, ...) floating point; taken as float32 where they are of half precision.
        targets: shares of the classes shaped like the logits, as a mixer gives them. A row sums to the share of it that
            counts: 1, or less where something is ignored. A share below 0 stands for one that is not known, as -1 does
            where a mixer has ``ignore_index=-1``, and does not count. Or classes (B, ...), for which this is
            `torch.nn.functional.cross_entropy`.
        weight: (K,) the classes' weights. Default None: 1 each.
        ignore_index: the class that does not count, where targets are classes. Default -100.
        reduction: "mean" over what counts, "sum", or "none", one number per row (B, ...). Default "mean".
        label_smoothing: the share of each target that is spread over all classes, in [0, 1]. Default 0.

    Returns:
        A scalar, or (B, ...) for "none". Where nothing counts the mean is 0, which leaves the weights alone.

    Raises:
        TypeError: logits that are not floating point.
        ValueError: shapes that do not fit, or an option out of range.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [3.0, 0.0, 0.0]])
        >>> targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])  # the last does not count
        >>> soft_cross_entropy(logits, targets)
        tensor(0.3955)
        >>> F.cross_entropy(logits, torch.tensor([0, 1, -100]))
        tensor(0.3955)
        >>> F.cross_entropy(logits, targets)  # divides by 3
        tensor(0.2637)
    """
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        got = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"logits must be a floating-point tensor, got {got}")
    if not isinstance(targets, Tensor):
        raise TypeError(f"targets must be a tensor, got {type(targets).__name__}")
    if logits.dim() < 2:
        raise ValueError(f"logits must be (B, K) or (B, K, ...), got {tuple(logits.shape)}")
    num_classes = logits.shape[1]
    if weight is not None and weight.shape != (num_classes,):
        raise ValueError(f"weight must be ({num_classes},), one for each class, got {tuple(weight.shape)}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must lie in [0, 1], got {label_smoothing}")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    rows = (len(logits), *logits.shape[2:])
    if not targets.is_floating_point() and targets.dtype != torch.bool and targets.shape == rows:
        classes = targets.long()
        shares = F.one_hot(torch.where(classes == ignore_index, 0, classes), num_classes).movedim(-1, 1)
        targets = shares * (classes != ignore_index)[:, None]
    elif targets.shape != logits.shape:
        raise ValueError(
            f"targets must be shares {tuple(logits.shape)} like the logits, or classes {rows}, got "
            f"{tuple(targets.shape)} {targets.dtype}; the classes are dimension 1 of both"
        )
    targets = targets.to(logits.dtype).clamp_min(0)
    logits = logits.masked_fill((targets == 0).all(1, keepdim=True), 0)  # NaN there counts for nothing either
    scale = logits.new_ones(num_classes) if weight is None else weight.to(logits)
    scale = scale.reshape(-1, *[1] * (logits.dim() - 2))
    counted = targets * scale
    log_shares = F.log_softmax(logits, 1)
    losses = -times_logs(counted, log_shares).sum(1)
    if label_smoothing:
        everywhere = times_logs(targets.sum(1) / num_classes, -times_logs(scale, log_shares).sum(1))
        losses = (1 - label_smoothing) * losses + label_smoothing * everywhere
    if reduction == "none":
        return losses
    total = losses.sum()
    if reduction == "sum":
        return total
    amount = counted.sum()
    return total / torch.where(amount == 0, 1, amount)


def times_logs(weights: Tensor, logs: Tensor) -> Tensor:
    """Logarithms times weights, where a weight of 0 makes 0 of an infinite one too, as of a class that is masked."""
    return weights * torch.where((weights == 0) & logs.isinf(), 0, logs)
