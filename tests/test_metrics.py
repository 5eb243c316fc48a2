"""Metrics while training on mixed labels: the larger label as a class."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import mixkit


def test_the_larger_label_is_the_class() -> None:
    labels = torch.tensor([0, 1, 2, 3])
    mixer = mixkit.create_mixer("mixup", "points", num_classes=5, per_sample=True)
    points = torch.randn(4, 6, 3)
    plan = mixer.plan(points, labels)
    _, targets = mixer.apply_plan(plan, points, labels)
    larger = [int(labels[row.argmax()]) for row in plan.sample_weights]
    assert mixkit.hard_targets(targets).tolist() == larger
    assert torch.equal(mixkit.hard_targets(labels), labels)


def test_elements_and_what_is_ignored() -> None:
    targets = F.one_hot(torch.tensor([[1, 0, 2], [2, 2, 1]]), 3).movedim(2, 1).float()  # (B, K, N)
    targets[1, :, 2] = 0
    assert mixkit.hard_targets(targets).tolist() == [[1, 0, 2], [2, 2, -100]]
    assert mixkit.hard_targets(targets, ignore_index=255)[1, 2] == 255


def test_torchmetrics_takes_them() -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    accuracy = torchmetrics.classification.MulticlassAccuracy(3, average="micro", ignore_index=-100)
    targets = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.4, 0.6], [0.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    logits = torch.tensor([[1.0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]])
    assert accuracy(logits, mixkit.hard_targets(targets)) == pytest.approx(2 / 3)


def test_what_is_no_target_is_named() -> None:
    with pytest.raises(TypeError, match="got tuple; of several, call it for each"):
        mixkit.hard_targets((torch.ones(2, 2),))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"got \(4,\)"):
        mixkit.hard_targets(torch.rand(4))
