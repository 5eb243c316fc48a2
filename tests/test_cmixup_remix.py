"""C-Mixup's and Remix's labels and partners against loops written from the papers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mixkit import create_mixer, draws, functional, methods
from mixkit.partner_rules import NearLabel

HOST = torch.device("cpu")


def test_cmixup_draws_partners_by_their_labels() -> None:
    points, ages = torch.randn(5, 6, 3), torch.tensor([20.0, 24.0, 30.0, 61.0, 66.0])
    mixer = create_mixer("cmixup", "points", sigma=5.0)
    generator, count = torch.Generator().manual_seed(0), torch.zeros(5, 5)
    for _ in range(2500):
        plan = mixer.plan(points, ages, generator=generator)
        count[torch.arange(5), plan.source[:, 1, 0]] += 1
    for i in range(5):
        likely = [math.exp(-(float(ages[i] - ages[j]) ** 2) / 50) * (i != j) for j in range(5)]
        expected = torch.tensor(likely) / sum(likely)
        torch.testing.assert_close(count[i] / 2500, expected, atol=0.05, rtol=0)


@pytest.mark.parametrize("sigma", [1e-300, 1e-160, 1e160, 1e300])
def test_a_width_whose_square_is_no_number_finds_partners(sigma: float) -> None:
    labels = torch.tensor([0.0, 1.0, 2.0, 9.0])
    mixer = create_mixer("cmixup", "points", sigma=sigma)
    plan = mixer.plan(torch.randn(4, 12, 3), labels, generator=torch.Generator().manual_seed(0))
    partner = plan.source[:, 1, 0]
    assert (partner != torch.arange(4)).all()
    assert sigma > 1 or partner[3] == 2  # the nearest alone, and any where sigma is wide


def test_cmixup_is_mixup_otherwise() -> None:
    images, values = torch.rand(4, 3, 5, 5), torch.rand(4, 2)
    mixer = create_mixer("cmixup", "image", partners="previous")
    mixed, targets = mixer(images, values, generator=torch.Generator().manual_seed(1))
    ratio = torch.sigmoid(draws.beta_log_ratio(2.0, 1, torch.Generator().manual_seed(1), HOST))
    torch.testing.assert_close(mixed, ratio * images + (1 - ratio) * images.roll(1, 0))
    torch.testing.assert_close(targets, ratio * values + (1 - ratio) * values.roll(1, 0))
    assert create_mixer("cmixup", "image").partners == NearLabel()
    assert create_mixer("cmixup", "image", sigma=3.0).partners == NearLabel(3.0)
    assert "partners" not in repr(mixer.__class__(methods.CMixup(), mixer.domain)), "its own rule is not spelt out"
    with pytest.raises(ValueError, match="sigma must be > 0"):
        methods.CMixup(sigma=0)


def loop_remix(ratio: float, n_a: float, n_b: float, kappa: float, tau: float) -> float:
    """The weight of the first label."""
    if n_a / n_b >= kappa and ratio < tau:
        return 0.0
    if n_a / n_b <= 1 / kappa and 1 - ratio < tau:
        return 1.0
    return ratio


@pytest.mark.parametrize("options", [{}, {"kappa": 2.0, "tau": 0.8}])
def test_remix_as_a_loop_labels(options: dict[str, float]) -> None:
    counts = [90.0, 40.0, 10.0]
    labels = torch.tensor([0, 1, 2, 0, 2, 1, 0])
    images = torch.rand(7, 3, 6, 6)
    mixer = create_mixer("remix", "image", num_classes=3, counts=counts, per_sample=True, **options)
    won = lost = 0
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        mixed, targets = mixer(images, labels, generator=generator)
        drawn = torch.Generator().manual_seed(seed)
        partner = torch.randperm(7, generator=drawn)
        ratio = torch.sigmoid(draws.beta_log_ratio(1.0, 7, drawn, HOST))
        for a in range(7):
            b, lam = int(partner[a]), float(ratio[a])
            torch.testing.assert_close(mixed[a], lam * images[a] + (1 - lam) * images[b], atol=1e-6, rtol=1e-5)
            n_a, n_b = counts[labels[a]], counts[labels[b]]
            weight = loop_remix(lam, n_a, n_b, options.get("kappa", 3.0), options.get("tau", 0.5))
            won, lost = won + (weight == 1), lost + (weight == 0)
            target = weight * torch.eye(3)[labels[a]] + (1 - weight) * torch.eye(3)[labels[b]]
            torch.testing.assert_close(targets[a], target)
    assert won > 3
    assert lost > 3


def test_remix_counts_the_batch_and_leaves_out_what_has_no_class() -> None:
    points, labels = torch.randn(8, 5, 3), torch.tensor([0, 0, 0, 0, 0, 0, 1, -1])
    mixer = create_mixer("remix", "points", num_classes=2, ignore_index=-1, partners="reversed", alpha=1e9, tau=0.4)
    found: Any = mixer.plan(points, labels).label_weight[:, 0, 0]
    # 0 with -1: as they are; 0 with 1: the ratio of 1/2 is not below tau
    torch.testing.assert_close(found, torch.full((8,), 0.5), atol=1e-3, rtol=0)
    mixer = create_mixer("remix", "points", num_classes=2, ignore_index=-1, partners="reversed", alpha=1e9, tau=0.7)
    found = mixer.plan(points, labels).label_weight[:, 0, 0]
    assert found[1] == 0, "six of class 0 against one of class 1"
    assert found[6] == 1
    assert found[0] == found[7] == pytest.approx(0.5, abs=1e-3)


def test_remix_shares_and_clouds_of_different_sizes() -> None:
    clouds = [torch.randn(count, 3) for count in (5, 9, 7)]
    shares = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    mixer = create_mixer("remix", "points", num_classes=2, counts=(50, 5), partners="reversed", alpha=1e9, tau=0.9)
    plan = mixer.plan(clouds, shares)
    expected = torch.tensor([[0.5, 0, 0.5], [0, 1, 0], [0.5, 0, 0.5]])
    torch.testing.assert_close(plan.sample_weights, expected, atol=1e-3, rtol=0)
    plan = mixer.plan(clouds, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(plan.sample_weights[0], torch.tensor([0.0, 0, 1]))
    torch.testing.assert_close(plan.sample_weights[2], torch.tensor([0.0, 0, 1]))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"counts": 3}, TypeError, "counts must be one number for each class, got 3"),
        ({"counts": [1, -2]}, ValueError, "counts must be >= 0"),
        ({"tau": 2}, ValueError, r"tau must lie in \[0, 1\], got 2"),
    ],
)
def test_remix_options(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        methods.Remix(**options)


def test_remix_needs_classes() -> None:
    points: Tensor = torch.randn(3, 5, 3)
    with pytest.raises(TypeError, match=r"partners by class need labels|classes need labels"):
        create_mixer("remix", "points")(points, torch.rand(3))
    with pytest.raises(ValueError, match="counts has 2 classes, and the labels have class 2"):
        create_mixer("remix", "points", num_classes=3, counts=(1, 2))(points, torch.arange(3))
    with pytest.raises(ValueError, match=r"counts must be \(2,\), got \(3,\)"):
        functional.remix(torch.tensor([1, 0]), torch.tensor([0.5]), None, torch.ones(3))
