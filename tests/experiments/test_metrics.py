"""The scores, against numbers worked out by hand and against a plain loop."""

from __future__ import annotations

import pytest
import torch

from experiments.metrics import classification_scores


def test_scores_worked_out_by_hand() -> None:
    # confidences 0.9, 0.9 (one right, one wrong: bin 13 holds both), 0.62 (right), 0.55 (wrong)
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.38, 0.62], [0.55, 0.45]])
    labels = torch.tensor([0, 1, 1, 1])
    scores = classification_scores(probabilities, labels)
    assert scores.accuracy == pytest.approx(50)
    # |0.9 - 0.5| * 2/4 + |0.62 - 1| / 4 + |0.55 - 0| / 4
    assert scores.ece == pytest.approx(100 * (0.4 / 2 + 0.38 / 4 + 0.55 / 4), abs=1e-4)
    assert scores.gap == pytest.approx(100 * ((0.9 + 0.9 + 0.62 + 0.55) / 4 - 0.5), abs=1e-4)


def test_gap_tells_too_sure_from_too_shy() -> None:
    sure = torch.tensor([[0.99, 0.01], [0.99, 0.01]])
    assert classification_scores(sure, torch.tensor([0, 1])).gap == pytest.approx(49)
    shy = torch.tensor([[0.6, 0.4], [0.6, 0.4]])
    assert classification_scores(shy, torch.tensor([0, 0])).gap == pytest.approx(-40)


def test_ece_equals_a_loop_over_fifteen_bins() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = (3 * torch.randn(500, 6, generator=generator, dtype=torch.float64)).softmax(1)
    labels = torch.randint(0, 6, (500,), generator=generator)
    confidence, predicted = probabilities.max(1)
    ece = 0.0
    for k in range(15):
        inside = [i for i in range(500) if k / 15 < confidence[i] <= (k + 1) / 15]
        if inside:
            right = sum(float(predicted[i] == labels[i]) for i in inside) / len(inside)
            sure = sum(float(confidence[i]) for i in inside) / len(inside)
            ece += abs(right - sure) * len(inside) / 500
    assert classification_scores(probabilities, labels).ece == pytest.approx(100 * ece, abs=1e-4)


def test_certain_predictions_count() -> None:
    scores = classification_scores(torch.eye(4), torch.tensor([0, 1, 2, 0]))
    assert (scores.accuracy, scores.ece, scores.gap) == pytest.approx((75, 25, 25))
