"""FMix, SmoothMix and Attentive CutMix against loops written from the papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import mixkit
from mixkit import create_mixer, draws, functional, methods
from mixkit.fields import frame, grid_waves, set_waves, wave_coefficients
from mixkit.registry import get_domain

HOST = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- FMix


def loop_field(noise: Tensor, grid: tuple[int, int], decay: float) -> np.ndarray:
    """A field (H, W) by the sum over all its waves, of Gaussian amplitudes that fall off with the frequency."""
    height, width = grid
    field = np.zeros(grid)
    rows, columns = np.mgrid[0:height, 0:width]
    for u in range(height):
        for v in range(width // 2 + 1):
            fy, fx = (u if u <= (height - 1) // 2 else u - height) / height, v / width
            frequency = max(math.hypot(fy, fx), 1 / max(grid))
            amplitude = complex(*noise[u, v].tolist()) / frequency**decay
            wave = amplitude * np.exp(2j * np.pi * (u * rows / height + v * columns / width))
            # a real field holds the conjugate wave too, where it is another one
            twice = v > 0 and not (width % 2 == 0 and v == width // 2)
            field += wave.real * (2 if twice else 1)
    return field


@pytest.mark.parametrize("grid", [(8, 6), (7, 9), (5, 8)])
def test_fmix_as_a_loop_cuts(grid: tuple[int, int]) -> None:
    images, labels = torch.rand(4, 2, *grid), torch.arange(4)
    mixer = create_mixer("fmix", "image", num_classes=4)
    for seed in range(5):
        mixed, targets = mixer(images, labels, generator=seeded(seed))
        drawn = seeded(seed)
        partner = torch.randperm(4, generator=drawn)
        ratio = float(torch.sigmoid(draws.beta_log_ratio(1.0, 1, drawn, HOST)))
        noise = torch.randn(1, grid[0], grid[1] // 2 + 1, 2, generator=drawn)[0]
        field = loop_field(noise, grid, 3.0)
        count = round(ratio * field.size)
        kept = np.zeros(field.size, dtype=bool)
        kept[np.argsort(-field.flatten())[:count]] = True
        own = torch.from_numpy(kept.reshape(grid))
        for a in range(4):
            assert torch.equal(mixed[a], torch.where(own, images[a], images[partner[a]]))
            share = count / field.size
            target = share * torch.eye(4)[a] + (1 - share) * torch.eye(4)[partner[a]]
            torch.testing.assert_close(targets[a], target)


def test_fmix_cuts_out_large_parts() -> None:
    """The larger the decay, the fewer edges; and along any number of axes."""
    edges = []
    for decay in (0.0, 1.0, 3.0):
        field = grid_waves(50, (32, 32), decay, seeded()).unflatten(1, (32, 32))
        mask = field > field.flatten(1).median(1).values[:, None, None]
        edges.append(float((mask[:, 1:] != mask[:, :-1]).float().mean()))
    assert edges[0] > 0.45
    assert edges[2] < 0.08
    assert edges == sorted(edges, reverse=True)
    for grid in ((30,), (4, 5, 6), (1, 1), (1, 7)):
        assert grid_waves(2, grid, 3.0, seeded()).isfinite().all()


def test_waves_over_a_cloud_are_their_sum() -> None:
    for dim in (1, 2, 3):
        waves, places = wave_coefficients(2, dim, 3.0, seeded()), torch.rand(2, 5, dim)
        found = set_waves(places, waves)
        for b in range(2):
            for i in range(5):
                expected = 0.0
                for k in np.ndindex(*waves.shape[1:]):
                    numbers = torch.tensor(k) - 3
                    angle = 2 * math.pi * float((numbers * places[b, i]).sum())
                    expected += (complex(waves[(b, *k)]) * complex(math.cos(angle), math.sin(angle))).real
                assert float(found[b, i]) == pytest.approx(expected, abs=1e-4)
    assert wave_coefficients(1, 8, 3.0, None).numel() <= 3**8


@pytest.mark.parametrize("per_sample", [False, True])
def test_fmix_on_clouds_keeps_what_is_near_together(per_sample: bool) -> None:
    points = torch.randn(8, 500, 3)
    mixer = create_mixer("fmix", "points", num_classes=8, per_sample=per_sample, solver="identity")
    plan = mixer.plan(points, torch.arange(8), generator=seeded(2)).validate()
    own = plan.weight[:, 0].expand(8, -1)
    shares = own.mean(1)
    assert len(shares.unique()) == (8 if per_sample else 1)
    nearest = torch.cdist(points, points).fill_diagonal_(0) if points.dim() == 2 else torch.cdist(points, points)
    nearest.diagonal(dim1=1, dim2=2).fill_(math.inf)
    beside = own.gather(1, nearest.argmin(2))
    differ = (beside != own).float().mean(1)
    by_chance = 2 * shares * (1 - shares)
    assert (differ < 0.6 * by_chance + 0.02).all()


def test_fmix_options() -> None:
    with pytest.raises(ValueError, match="decay must be at most 50, got 60"):
        methods.FMix(decay=60)
    with pytest.raises(ValueError, match=r"field must be \(2, 3\) or \(1, 3\), got \(4, 3\)"):
        functional.fmix(torch.tensor([1, 0]), None, torch.rand(4, 3), torch.tensor([1]))


# ---- SmoothMix


@pytest.mark.parametrize("per_sample", [False, True])
def test_smoothmix_as_a_loop_weighs(per_sample: bool) -> None:
    images, labels = torch.rand(3, 2, 8, 11), torch.arange(3)
    mixer = create_mixer("smoothmix", "image", num_classes=3, per_sample=per_sample)
    mixed, targets = mixer(images, labels, generator=seeded(3))
    drawn, discs = seeded(3), 3 if per_sample else 1
    partner, uniform = torch.randperm(3, generator=drawn), torch.rand(discs, 3, generator=drawn)
    for a in range(3):
        x, y, share = uniform[a if per_sample else 0].tolist()
        x, y, sigma = x * 11 - 0.5, y * 8 - 0.5, (0.25 + 0.25 * share) * 8
        weight = torch.zeros(8, 11)
        for row in range(8):
            for column in range(11):
                weight[row, column] = math.exp(-((row - y) ** 2 + (column - x) ** 2) / (2 * sigma**2))
        b = int(partner[a])
        torch.testing.assert_close(mixed[a], (1 - weight) * images[a] + weight * images[b], atol=1e-5, rtol=0)
        target = (1 - weight.mean()) * torch.eye(3)[a] + weight.mean() * torch.eye(3)[b]
        torch.testing.assert_close(targets[a], target, atol=1e-5, rtol=0)


def test_smoothmix_on_clouds_is_a_soft_ball() -> None:
    points = torch.randn(5, 60, 3)
    mixer = create_mixer("smoothmix", "points", num_classes=5, solver="identity")
    plan = mixer.plan(points, torch.arange(5), generator=seeded(1))
    drawn = seeded(1)
    torch.randperm(5, generator=drawn)
    uniform = torch.rand(1, 4, generator=drawn)[0]
    for a in range(5):
        low, high = points[a].aminmax(dim=0)
        centre = low + uniform[:3] * (high - low)
        sigma = (0.25 + 0.25 * uniform[3]) * (high - low).max()
        weight = torch.exp(-(points[a] - centre).square().sum(1) / (2 * sigma**2))
        torch.testing.assert_close(plan.weight[a, 1], weight, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="low must be at most high"):
        methods.SmoothMix(low=0.6)


# ---- Attentive CutMix


def test_attentive_cutmix_as_a_loop_pastes() -> None:
    images, labels = torch.rand(4, 3, 14, 21), torch.arange(4)
    saliency = torch.rand(4, 14, 21)
    mixer = create_mixer("attentivemix", "image", num_classes=4, saliency=lambda batch: saliency, partners="previous")
    mixed, targets = mixer(images, labels)
    for a in range(4):
        b = (a - 1) % 4
        means = []
        for row in range(7):
            for column in range(7):
                part = saliency[b, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3]
                means.append((-float(part.mean()), row, column))
        expected = images[a].clone()
        for _, row, column in sorted(means)[:6]:
            cell = (slice(None), slice(2 * row, 2 * row + 2), slice(3 * column, 3 * column + 3))
            expected[cell] = images[b][cell]
        assert torch.equal(mixed[a], expected)
        torch.testing.assert_close(targets[a, b], torch.tensor(6 / 49))


def test_attentive_cutmix_on_clouds_pastes_the_salient_cells_of_the_partner() -> None:
    points, saliency = torch.randn(4, 80, 3), torch.rand(4, 80)
    options = {"cells": 3, "share": 0.2, "partners": "reversed"}
    mixer = create_mixer("attentivemix", "points", num_classes=4, saliency=lambda batch: saliency, **options)
    plan = mixer.plan(points, torch.arange(4)).validate()
    for a in range(4):
        b = 3 - a
        low, high = points[b].aminmax(dim=0)
        cell = ((points[b] - low) / (high - low) * 3).long().clamp(0, 2) @ torch.tensor([9, 3, 1])
        occupied = cell.unique().tolist()
        means = sorted((-float(saliency[b][cell == k].mean()), k) for k in occupied)
        chosen = [k for _, k in means[: max(round(0.2 * len(occupied)), 1)]]
        wanted = sorted(i for i in range(80) if int(cell[i]) in chosen)
        assert plan.index is not None
        pasted = plan.index[a, 1][plan.weight[a, 1] == 1]
        assert sorted(pasted.tolist()) == wanted


def test_attentive_cutmix_takes_saliency_of_any_sense() -> None:
    for value in (0.0, math.nan, -1.0, math.inf):
        plan = functional.attentivemix(
            torch.tensor([1, 0]), None, torch.full((2, 4), value), torch.tensor([[0, 0, 9, 9]])
        )
        assert plan.weight[:, 1].mean(1).tolist() == [0.5, 0.5], "one of two cells"


# ---- frames


def test_the_frame_of_a_grid_has_whole_cells() -> None:
    volume = get_domain("volume")(spacing=(5.0, 1.0, 0.5))
    low, sides = frame(volume.elements(torch.zeros(2, 1, 3, 4, 1)))
    assert low.tolist() == [[-0.5, -0.5, -2.5]], "an axis of one cell is one wide"
    assert sides.tolist() == [[1, 4, 15]]
    points = torch.randn(2, 9, 3)
    low, sides = frame(mixkit.ElementSet(points, points[:, :, :0]))
    torch.testing.assert_close(low + sides, points.amax(1))
