"""How sure a model is of the labels that samples have."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def label_confidence(output: Any, labels: Any) -> Tensor:
    """The probability, by softmax, that a classifier gives to the label of each sample.

    Args:
        output: logits (B, K, ...).
        labels: integer classes (B, ...), of which one out of range does not count; or soft labels shaped like the
            logits; or a tuple or dict of labels, of which the first that fits the logits is taken.

    Returns:
        (B,) float32, detached; the mean over what a sample has several labels of, such as its points or pixels.

    Raises:
        TypeError: an output that is no tensor of logits, or labels that are no classes for it.
    """
    candidates = [*labels.values()] if isinstance(labels, dict) else labels
    candidates = [*candidates] if isinstance(candidates, (tuple, list)) else [candidates]
    if isinstance(output, Tensor) and output.is_floating_point() and output.dim() > 1:
        probability = output.detach().float().softmax(1)
        for candidate in candidates:
            if (own := _of_own_labels(probability, candidate)) is not None:
                probabilities, counts = (part.reshape(len(output), -1) for part in own)
                return (probabilities * counts).sum(1) / counts.sum(1).clamp_min(1)
    shapes = [tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__ for each in candidates]
    got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise TypeError(f"a confidence needs logits (B, K, ...) and class labels for them, got {got} and {shapes}")


def _of_own_labels(probability: Tensor, labels: Any) -> tuple[Tensor, Tensor] | None:
    """The probability (B, ...) of each label and whether it counts, where the labels fit the classes (B, K, ...)."""
    if not isinstance(labels, Tensor):
        return None
    if labels.is_floating_point() and labels.shape == probability.shape:
        own = (probability * labels.to(probability)).sum(1)
        return own, torch.ones_like(own)
    if not labels.is_floating_point() and labels.shape == probability[:, 0].shape:
        classes = labels.to(probability.device).long()
        counts = (classes >= 0) & (classes < probability.shape[1])
        own = probability.gather(1, torch.where(counts, classes, 0)[:, None])[:, 0]
        return own, counts.float()
    return None
