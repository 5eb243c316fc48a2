"""What is measured of a classifier's probabilities: accuracy, calibration error and its sign; no training, no files."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Scores:
    """Percentages over a test set: accuracy, expected calibration error, and confidence minus accuracy (signed)."""

    accuracy: float
    ece: float
    gap: float


def classification_scores(probabilities: Tensor, labels: Tensor) -> Scores:
    """Score class probabilities.

    Args:
        probabilities: (n, num_classes), rows sum to 1, any floating type.
        labels: (n,) classes.

    Returns:
        Overall accuracy; ECE over 15 equal-width bins of the top probability (Guo et al. 2017, eq. 3); and the mean top
        probability minus the accuracy, positive for a classifier that is too sure. All in %.
    """
    probabilities = probabilities.double()
    num_classes = probabilities.shape[1]
    accuracy = multiclass_accuracy(probabilities, labels, num_classes, average="micro")
    ece = multiclass_calibration_error(probabilities, labels, num_classes, n_bins=CALIBRATION_BINS, norm="l1")
    gap = probabilities.amax(dim=1).mean() - accuracy
    return Scores(accuracy=100 * accuracy.item(), ece=100 * ece.item(), gap=100 * gap.item())
