"""What is measured of predictions: accuracy, calibration error and its sign, part mIoU; no training, no files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_f1_score,
)

CALIBRATION_BINS = 15
GOLDEN = (5**0.5 - 1) / 2
MOST_TEMPERATURE = 100.0
TEMPERATURE_TOLERANCE = 1e-6  # of log T
SHAPES_AT_ONCE = 64  # how many shapes' logits are looked at together: bounds the memory beyond the logits themselves


class Scores(NamedTuple):
    """Percentages over a test set.

    Attributes:
        accuracy: samples whose class is predicted.
        ece: expected calibration error.
        gap: confidence minus accuracy, signed.
        weighted_f1: mean of the classes' F1 scores, each weighted by the class's share of the samples.
    """

    accuracy: float
    ece: float
    gap: float
    weighted_f1: float


def classification_scores(probabilities: Tensor, labels: Tensor) -> Scores:
    """Score class probabilities.

    Args:
        probabilities: (n, num_classes), rows sum to 1, any floating type.
        labels: (n,) classes.

    Returns:
        Overall accuracy; ECE over 15 equal-width bins of the top probability (Guo et al. 2017, eq. 3); the mean top
        probability minus the accuracy, positive for a classifier that is too sure; and weighted F1, in which a class
        that is never predicted counts as 0. All in %.
    """
    probabilities = probabilities.double()
    num_classes = probabilities.shape[1]
    accuracy = multiclass_accuracy(probabilities, labels, num_classes, average="micro")
    ece = multiclass_calibration_error(probabilities, labels, num_classes, n_bins=CALIBRATION_BINS, norm="l1")
    gap = probabilities.amax(dim=1).mean() - accuracy
    f1 = multiclass_f1_score(probabilities, labels, num_classes, average="weighted")
    return Scores(
        accuracy=100 * accuracy.item(), ece=100 * ece.item(), gap=100 * gap.item(), weighted_f1=100 * f1.item()
    )


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature T at which softmax(logits / T) has the smallest cross entropy (Guo et al. 2017).

    The cross entropy is convex in 1 / T, so that a golden-section search on log T finds its one minimum, in float64.

    Args:
        logits: (n, num_classes), of samples that the model was not trained on.
        labels: (n,) classes.

    Returns:
        T, above 1 for a classifier that is too sure; from 0.01 to 100, the ends where there is no minimum between them
        (0.01 where every sample is classified right).

    Raises:
        ValueError: no samples.
    """
    if len(labels) == 0:
        raise ValueError("there must be at least one sample to fit a temperature on")
    logits = logits.double()

    def loss(log_temperature: float) -> float:
        return F.cross_entropy(logits / math.exp(log_temperature), labels).item()

    low, high = -math.log(MOST_TEMPERATURE), math.log(MOST_TEMPERATURE)
    inner = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)]
    losses = [loss(place) for place in inner]
    while high - low > TEMPERATURE_TOLERANCE:
        if losses[0] <= losses[1]:
            high, inner[1], losses[1] = inner[1], inner[0], losses[0]
            inner[0] = high - GOLDEN * (high - low)
            losses[0] = loss(inner[0])
        else:
            low, inner[0], losses[0] = inner[0], inner[1], losses[1]
            inner[1] = low + GOLDEN * (high - low)
            losses[1] = loss(inner[1])
    return math.exp((low + high) / 2)


class PartScores(NamedTuple):
    """Percentages over shapes with parts. `_within`: the prediction is the best of the shape's category's parts only.

    Attributes:
        instance_miou: mean over shapes of the shape's IoU, which is the mean over the parts of its category.
        class_miou: mean over categories of the mean over their shapes.
        point_accuracy: points whose part is predicted.
    """

    instance_miou: float
    class_miou: float
    point_accuracy: float
    instance_miou_within: float
    class_miou_within: float
    point_accuracy_within: float


def part_scores(logits: Tensor, parts: Tensor, categories: Tensor, parts_of: Sequence[Sequence[int]]) -> PartScores:
    """Score part labels of points (the metric of Yi et al. 2016, with PointNet's rule for absent parts).

    The IoU of a part that is in neither prediction nor truth is 1. torchmetrics' mean_iou leaves such parts out
    of its mean and knows no categories. Per class it agrees, as a test checks, but it writes out all labels as one-hot,
    some fifty times slower at 50 parts: so the parts are counted here.

    Args:
        logits: (n, num_parts, N), of every part of every category; or probabilities.
        parts: (n, N) long, the true parts, of the shape's category each.
        categories: (n,) long, their numbers in the order of `parts_of`.
        parts_of: the parts of each category.

    Returns:
        Instance and class mIoU and point accuracy in %, by the argmax over all parts, and over those of the shape's
        category. Categories without a shape are left out of the class mIoU.

    Raises:
        ValueError: shapes that do not fit each other, no shapes, or a label outside of its range.
    """
    count, num_parts, points = _checked(logits, parts, categories, parts_of)
    member = torch.zeros(len(parts_of), num_parts, dtype=torch.bool, device=logits.device)
    for category, labels in enumerate(parts_of):
        member[category, list(labels)] = True
    scores: list[float] = []
    for within in (False, True):
        ious, right = [], 0
        for chunk in torch.arange(count, device=logits.device).split(SHAPES_AT_ONCE):
            own = member[categories[chunk]]
            candidates = logits[chunk].masked_fill(~own[:, :, None], -torch.inf) if within else logits[chunk]
            predicted = candidates.argmax(dim=1)
            ious.append(shape_ious(predicted, parts[chunk], own))
            right += int((predicted == parts[chunk]).sum())
        iou = torch.cat(ious)
        shapes = torch.bincount(categories, minlength=len(parts_of))
        sums = torch.zeros(len(parts_of), dtype=iou.dtype, device=iou.device).index_add_(0, categories, iou)
        by_category = sums[shapes > 0] / shapes[shapes > 0]
        scores += [100 * iou.mean().item(), 100 * by_category.mean().item(), 100 * right / (count * points)]
    return PartScores(*scores)


def shape_ious(predicted: Tensor, parts: Tensor, own: Tensor) -> Tensor:
    """The mean IoU over the parts of each shape's category.

    Args:
        predicted: (n, N) long.
        parts: (n, N) long, the truth.
        own: (n, num_parts) bool, the parts of each shape's category.

    Returns:
        (n,) float64 in [0, 1].
    """
    count, num_parts = own.shape
    offset = torch.arange(count, device=own.device)[:, None] * num_parts

    def tally(labels: Tensor) -> Tensor:
        return torch.bincount((labels + offset).flatten(), minlength=count * num_parts).reshape(count, num_parts)

    # points that are not right count for a part beyond the last, which is cut off
    shifted = torch.where(predicted == parts, parts, num_parts) + torch.arange(count, device=own.device)[:, None]
    both = torch.bincount((shifted + offset).flatten(), minlength=count * (num_parts + 1))
    intersection = both.reshape(count, num_parts + 1)[:, :num_parts].double()
    union = tally(predicted) + tally(parts) - intersection
    iou = torch.where(union > 0, intersection / union.clamp(min=1), 1.0)
    return (iou * own).sum(dim=1) / own.sum(dim=1)


def _checked(
    logits: Tensor, parts: Tensor, categories: Tensor, parts_of: Sequence[Sequence[int]]
) -> tuple[int, int, int]:
    """The shape of the logits, once everything fits it."""
    if logits.dim() != 3 or parts.shape != (logits.shape[0], logits.shape[2]) or categories.shape != logits.shape[:1]:
        raise ValueError(
            "logits, parts and categories must be (n, num_parts, N), (n, N) and (n,): got "
            f"{tuple(logits.shape)}, {tuple(parts.shape)} and {tuple(categories.shape)}"
        )
    count, num_parts, points = logits.shape
    if count == 0 or points == 0:
        raise ValueError("there must be at least one shape and one point to score")
    if any(not 0 <= part < num_parts for labels in parts_of for part in labels) or not all(parts_of):
        raise ValueError(f"each category must have parts, all of them in 0 ... {num_parts - 1}: got {parts_of}")
    if categories.min() < 0 or categories.max() >= len(parts_of):
        raise ValueError(f"categories must be in 0 ... {len(parts_of) - 1}")
    if parts.min() < 0 or parts.max() >= num_parts:
        raise ValueError(f"parts must be in 0 ... {num_parts - 1}")
    return count, num_parts, points
