"""PointWOLF against a loop written from the paper, and WOLFMix of it and RSMix."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mixkit import create_mixer, functional
from mixkit.functional.pointwolf import _rotation


def loop_pointwolf(
    points: Tensor, start: float, angle: Tensor, scale: Tensor, shift: Tensor, axes: Tensor, sigma: float
) -> Tensor:
    """One cloud (N, 3), point by point, anchor by anchor."""
    points = points.double()
    centre = points.mean(0)
    anchors = [int(start * len(points))]
    while len(anchors) < len(angle):
        apart = [min(float((p - points[a]).square().sum()) for a in anchors) for p in points]
        anchors.append(apart.index(max(apart)))
    warped = torch.zeros_like(points)
    for i, point in enumerate(points):
        total = 0.0
        for m, anchor in enumerate(anchors):
            away = (point - points[anchor]).tolist()
            for axis in range(3):  # about x, then y, then z
                u, v = (axis + 1) % 3, (axis + 2) % 3
                sin, cos = math.sin(float(angle[m, axis])), math.cos(float(angle[m, axis]))
                away[u], away[v] = cos * away[u] - sin * away[v], sin * away[u] + cos * away[v]
            moved = torch.tensor(away) * scale[m].double() + shift[m].double() + points[anchor]
            along = ((point - points[anchor]) * axes.double()).square().sum()
            weight = math.exp(-float(along) / (2 * sigma**2))
            warped[i] += weight * moved
            total += weight
        warped[i] /= total
    warped = warped - warped.mean(0)
    return centre + warped * (points - centre).norm(dim=1).max() / warped.norm(dim=1).max()


def test_pointwolf_as_a_loop_warps() -> None:
    points = 0.4 * torch.randn(3, 20, 3) + 0.3
    start, axes = torch.rand(3), torch.tensor([[1.0, 0, 1], [1, 1, 1], [0, 1, 0]])
    angle, scale, shift = 0.3 * torch.randn(3, 4, 3), 1 + torch.rand(3, 4, 3), 0.2 * torch.randn(3, 4, 3)
    found = functional.pointwolf(points, start, angle, scale, shift, axes, 0.5)
    for b in range(3):
        expected = loop_pointwolf(points[b], float(start[b]), angle[b], scale[b], shift[b], axes[b], 0.5)
        torch.testing.assert_close(found[b].double(), expected, atol=1e-5, rtol=1e-5)


def test_pointwolf_that_does_nothing() -> None:
    points, still = torch.randn(2, 9, 3), torch.zeros(2, 3, 3)
    found = functional.pointwolf(points, torch.zeros(2), still, still + 1, still, torch.ones(2, 3))
    torch.testing.assert_close(found, points)
    one_place = torch.ones(2, 5, 3)
    found = functional.pointwolf(one_place, torch.zeros(2), still + 1, still + 2, still, torch.ones(2, 3))
    assert torch.equal(found, one_place)
    turn = _rotation(torch.tensor([0.0, 0.0, math.pi / 2]))
    torch.testing.assert_close(turn @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match=r"coords must be \(B, N, 3\), got \(2, 9, 2\)"):
        functional.pointwolf(points[:, :, :2], torch.zeros(2), still, still, still, torch.ones(2, 3))


def test_wolfmix_warps_every_batch_and_mixes_half() -> None:
    points, labels = torch.randn(4, 60, 3), torch.arange(4)
    points = points / points.norm(dim=2).amax(1)[:, None, None]
    mixer = create_mixer("wolfmix", "points", num_classes=4)
    mixed_batches = 0
    for seed in range(60):
        plan = mixer.plan(points, labels, generator=torch.Generator().manual_seed(seed)).validate()
        mixed, targets = mixer.apply_plan(plan, points, labels)
        assert not torch.equal(mixed, points)
        assert mixed.norm(dim=2).max() < 2.2
        pasted = plan.weight[:, 1].expand(4, 60) == 1
        mixed_batches += bool(pasted.any())
        torch.testing.assert_close(targets, plan.sample_weights @ torch.eye(4))
    assert 18 <= mixed_batches <= 42
    alone = create_mixer("wolfmix", "points", num_classes=4, mix=0.0)
    warped, targets = alone(points, labels)
    assert torch.equal(targets, torch.eye(4)), "PointWOLF alone"
    torch.testing.assert_close(warped.mean(1), points.mean(1), atol=1e-5, rtol=0)
    largest = [(each - each.mean(1, keepdim=True)).norm(dim=2).amax(1) for each in (warped, points)]
    torch.testing.assert_close(*largest)


def test_wolfmix_pastes_a_ball_of_the_warped_partner() -> None:
    """What RSMix does to clouds that were warped before."""
    points, labels = torch.randn(4, 60, 3), torch.arange(4)
    mixer = create_mixer("wolfmix", "points", num_classes=4, mix=1.0)
    plan = mixer.plan(points, labels, generator=torch.Generator().manual_seed(3))
    mixed, _ = mixer.apply_plan(plan, points, labels)
    generator = torch.Generator().manual_seed(3)
    drawn = mixer.method._draw(mixer.domain.elements(points), type("C", (), {"generator": generator})())
    torch.rand((), generator=generator)
    warped = mixer.method._warp(points, 0.3, *drawn)
    expected, _ = create_mixer("rsmix", "points", num_classes=4, p=1.0)(warped, labels, generator=generator)
    torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=1e-5)


def test_under_autocast_as_without() -> None:
    points, labels = torch.randn(3, 30, 3), torch.arange(3)
    mixer = create_mixer("wolfmix", "points", num_classes=3)
    mixed, _ = mixer(points, labels, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        half, _ = mixer(points, labels, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(half, mixed)


def test_lengths_scale_with_the_radius() -> None:
    points, labels = torch.randn(3, 30, 3), torch.arange(3)
    small = create_mixer("wolfmix", "points", num_classes=3, mix=1.0)
    large = create_mixer("wolfmix", "points", num_classes=3, mix=1.0, radius=50.0)
    mixed, targets = small(points, labels, generator=torch.Generator().manual_seed(1))
    scaled, same = large(50 * points, labels, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(scaled, 50 * mixed, atol=1e-3, rtol=1e-4)
    assert torch.equal(targets, same)
    with pytest.raises(ValueError, match=r"scale must be at least 1, got 0\.5"):
        create_mixer("wolfmix", "points", scale=0.5)
