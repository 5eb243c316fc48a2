"""Cross entropy with mixed targets, number for number against the hard labels' own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mixkit import create_mixer, soft_cross_entropy

CLASSES = 5
SHAPES = {"images": (), "points": (40,), "masks": (6, 7)}


def hard_case(kind: str, ignored: float, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, classes of which a share is -100, and the same as shares of the classes with rows of zeros."""
    rows = (50, *SHAPES[kind])
    logits, classes = torch.randn(50, CLASSES, *SHAPES[kind], dtype=dtype), torch.randint(CLASSES, rows)
    classes[torch.rand(rows) < ignored] = -100
    shares = torch.stack([classes == k for k in range(CLASSES)], 1).to(dtype)
    return logits.requires_grad_(), classes, shares


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("ignored", [0.0, 0.8])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_one_hot_targets_give_the_hard_loss(
    kind: str, ignored: float, weighted: bool, label_smoothing: float, reduction: str
) -> None:
    logits, classes, shares = hard_case(kind, ignored)
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": label_smoothing}
    options["weight"] = torch.tensor([0.1, 9.0, 1.0, 3.0, 0.5], dtype=torch.float64) if weighted else None
    expected = F.cross_entropy(logits, classes, **options)
    (gradient,) = torch.autograd.grad(expected.sum(), logits)
    for targets in (shares, classes, classes.int()):
        found = soft_cross_entropy(logits, targets, **options)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(torch.autograd.grad(found.sum(), logits)[0], gradient, rtol=1e-12, atol=1e-12)


def test_mixed_rows_count_by_the_share_that_counts() -> None:
    """Written out: a row mixed of classes 0 (0.7) and 2 (0.3), one whose 0.4 are ignored, one that is ignored."""
    logits = torch.tensor([[1.0, 0.0, -1.0], [0.5, 0.5, 2.0], [9.0, 0.0, 0.0]], dtype=torch.float64)
    targets = torch.tensor([[0.7, 0.0, 0.3], [0.0, 0.6, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    weight = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    log = logits.log_softmax(1)
    total = -(0.7 * log[0, 0] + 0.3 * log[0, 2] + 0.6 * log[1, 1])
    torch.testing.assert_close(soft_cross_entropy(logits, targets), total / 1.6)
    weighted = -(0.7 * log[0, 0] + 4 * 0.3 * log[0, 2] + 2 * 0.6 * log[1, 1])
    found = soft_cross_entropy(logits, targets, weight=weight)
    torch.testing.assert_close(found, weighted / (0.7 + 4 * 0.3 + 2 * 0.6))
    torch.testing.assert_close(soft_cross_entropy(logits, targets, reduction="sum"), total)


def test_a_mixed_loss_is_the_sum_of_the_hard_ones_by_their_weights() -> None:
    """Cross entropy is linear in its targets: of the mixer's targets it is the sum over the two hard labels."""
    masks, images = torch.randint(3, (4, 6, 8)), torch.randn(4, 3, 6, 8)
    masks[:, :4] = 255
    mixer = create_mixer("mixup", "image", num_classes=3, ignore_index=255)
    plan = mixer.plan(images, masks)
    logits = torch.randn(4, 3, 6, 8)
    share, partner = plan.weight[0, 0, 0], plan.source[:, 1, 0]
    options: dict[str, Any] = {"ignore_index": 255, "reduction": "sum"}
    own, others = (F.cross_entropy(logits, labels, **options) for labels in (masks, masks[partner]))
    expected = (share * own + (1 - share) * others) / (masks != 255).sum()
    torch.testing.assert_close(soft_cross_entropy(logits, mixer.apply_plan(plan, images, masks)[1]), expected)


def test_where_nothing_counts_it_is_0_and_leaves_the_weights_alone() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    loss = soft_cross_entropy(logits, torch.zeros(3, 4))
    loss.backward()
    assert loss == 0
    assert torch.equal(logits.grad, torch.zeros(3, 4))


def test_a_class_that_is_masked_counts_where_it_has_a_share_only() -> None:
    logits = torch.tensor([[1.0, 2.0, -torch.inf], [0.5, 1.0, -torch.inf]], requires_grad=True)
    for classes in (torch.tensor([0, 1]), torch.tensor([1, -100])):
        expected = F.cross_entropy(logits, classes)
        found = soft_cross_entropy(logits, classes)
        torch.testing.assert_close(found, expected)
        gradients = [torch.autograd.grad(loss, logits)[0] for loss in (found, expected)]
        torch.testing.assert_close(*gradients)
    assert soft_cross_entropy(logits, torch.tensor([2, 0])).isposinf()
    weight, ignored = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([-100, 1])  # of a row that does not count at all
    assert soft_cross_entropy(logits, ignored, weight=weight, label_smoothing=0.1).isfinite()


def test_half_precision_is_taken_as_float32() -> None:
    logits, classes, shares = hard_case("points", 0.5, torch.float32)
    found = soft_cross_entropy(logits.bfloat16(), shares.bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, F.cross_entropy(logits.bfloat16().float(), classes))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"logits": torch.zeros(4, 5).long()}, TypeError, r"floating-point tensor, got torch\.int64"),
        ({"logits": {"logits": torch.zeros(4, 5)}}, TypeError, "floating-point tensor, got dict"),
        ({"targets": [0, 1, 2, 3]}, TypeError, "targets must be a tensor, got list"),
        ({"logits": torch.zeros(4)}, ValueError, r"\(B, K\) or \(B, K, \.\.\.\), got \(4,\)"),
        ({"targets": torch.zeros(4, 6)}, ValueError, r"\(4, 5\) like the logits.*got \(4, 6\).*dimension 1"),
        ({"targets": torch.zeros(4)}, ValueError, r"classes \(4,\), got \(4,\) torch\.float32"),
        ({"weight": torch.ones(4)}, ValueError, r"\(5,\), one for each class, got \(4,\)"),
        ({"reduction": "avg"}, ValueError, "'none', got 'avg'"),
        ({"label_smoothing": 1.5}, ValueError, r"\[0, 1\], got 1\.5"),
    ],
)
def test_errors_say_what_came_and_what_was_wanted(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        soft_cross_entropy(**{"logits": torch.zeros(4, 5), "targets": torch.zeros(4, 5), **change})


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_logits_of_what_does_not_count_may_be_anything(bad: float) -> None:
    logits = torch.randn(4, 3)
    logits[1] = bad
    logits.requires_grad_()
    classes = torch.tensor([0, -100, 2, 1])
    shares = F.one_hot(classes.clamp_min(0), 3) * (classes >= 0)[:, None]
    expected = F.cross_entropy(logits, classes)
    for targets in (classes, shares, shares - (classes < 0)[:, None].float()):  # not known is -1
        loss = soft_cross_entropy(logits, targets)
        torch.testing.assert_close(loss, expected)
        gradient = torch.autograd.grad(loss, logits)[0]
        assert bool(gradient.isfinite().all())
        assert bool((gradient[1] == 0).all())
