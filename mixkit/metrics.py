"""What to hand to metrics of hard labels while training on mixed ones."""

from __future__ import annotations

import torch
from torch import Tensor


def hard_targets(targets: Tensor, ignore_index: int = -100) -> Tensor:
    """The class with the largest share of each mixed target: what accuracy is counted against in training.

    Metrics of hard labels, torchmetrics' among them, take class numbers. A model that is right about the larger half of
    a mixed sample counts as right, so the figure is lower than on clean samples: compare it between epochs, not with
    the accuracy in validation. Where shares are equal the first class counts.

    Args:
        targets: shares of the classes (B, K), or (B, K, ...) of elements, as a mixer gives them. Classes, integers,
            come back as they are, so that one line serves mixed and clean batches.
        ignore_index: the class of a target that does not count, a row of zeros. Default -100.

    Returns:
        (B,), or (B, ...), long.

    Raises:
        TypeError: no tensor.
        ValueError: shares of less than two dimensions.

    Example:
        >>> targets = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.4, 0.6], [0.0, 0.0, 0.0]])
        >>> hard_targets(targets)
        tensor([   0,    2, -100])
    """
    if not isinstance(targets, Tensor):
        raise TypeError(f"targets must be a tensor, got {type(targets).__name__}; of several, call it for each")
    if not targets.is_floating_point():
        return targets
    if targets.dim() < 2:
        raise ValueError(f"targets must be shares of classes (B, K) or (B, K, ...), got {tuple(targets.shape)}")
    share, classes = targets.max(1)
    return torch.where(share > 0, classes, ignore_index)
