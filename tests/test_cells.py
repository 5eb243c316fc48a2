"""GridMix, Saliency Grafting and SMMix against loops written from the papers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mixkit import create_mixer, draws, functional, methods

HOST = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cell_of(place: int, side: int, cells: int) -> int:
    return int((place + 0.5) / side * cells)


# ---- GridMix


@pytest.mark.parametrize("per_sample", [False, True])
def test_gridmix_as_a_loop_swaps_cells(per_sample: bool) -> None:
    images, labels = torch.rand(5, 2, 9, 8), torch.arange(5)
    mixer = create_mixer("gridmix", "image", num_classes=5, cells=3, per_sample=per_sample)
    shares = set()
    for seed in range(8):
        mixed, targets = mixer(images, labels, generator=seeded(seed))
        drawn, masks = seeded(seed), 5 if per_sample else 1
        partner = torch.randperm(5, generator=drawn)
        ratio = torch.sigmoid(draws.beta_log_ratio(1.0, masks, drawn, HOST))
        keys = torch.rand(masks, 9, generator=drawn)
        for a in range(5):
            k, b = a if per_sample else 0, int(partner[a])
            count = 9 - round(float(ratio[k]) * 9)
            replaced = sorted(range(9), key=lambda cell: float(keys[k, cell]))[:count]
            expected, changed = images[a].clone(), 0
            for row in range(9):
                for column in range(8):
                    # cells are numbered by x first
                    if 3 * cell_of(column, 8, 3) + cell_of(row, 9, 3) in replaced:
                        expected[:, row, column] = images[b, :, row, column]
                        changed += 1
            assert torch.equal(mixed[a], expected)
            share = changed / 72
            torch.testing.assert_close(targets[a], (1 - share) * torch.eye(5)[a] + share * torch.eye(5)[b])
            shares.add(count)
    assert len(shares) > 3


def test_gridmix_on_clouds_swaps_blocks() -> None:
    points = torch.randn(4, 200, 3)
    mixer = create_mixer("gridmix", "points", num_classes=4, cells=2, solver="identity", partners="previous")
    plan = mixer.plan(points, torch.arange(4), generator=seeded(5)).validate()
    for a in range(4):
        low, high = points[a].aminmax(dim=0)
        cell = ((points[a] - low) / (high - low) * 2).long().clamp(0, 1) @ torch.tensor([4, 2, 1])
        for number in range(8):
            assert len(plan.weight[a, 0][cell == number].unique()) <= 1, "a cell is replaced as a whole"
    assert 0 < float(plan.weight[:, 0].mean()) < 1


# ---- Saliency Grafting


def loop_grafting(saliency: Tensor, uniform: Tensor, cells: int, rate: float, threshold: float) -> Tensor:
    """(H, W) bool, the pixels of a partner's saliency (H, W) that are grafted."""
    height, width = saliency.shape
    inside: dict[int, list[tuple[int, int]]] = {}
    for row in range(height):
        for column in range(width):
            number = cells * cell_of(column, width, cells) + cell_of(row, height, cells)
            inside.setdefault(number, []).append((row, column))
    mean = {number: sum(float(saliency[p]) for p in places) / len(places) for number, places in inside.items()}
    middle = sum(mean.values()) / len(mean)
    grafted = torch.zeros(height, width, dtype=torch.bool)
    for number, places in inside.items():
        relative = mean[number] / middle
        if relative >= threshold and float(uniform[number]) < rate * relative:
            for place in places:
                grafted[place] = True
    return grafted


@pytest.mark.parametrize("options", [{}, {"cells": 4, "rate": 0.8, "threshold": 0.5}])
def test_saliency_grafting_as_a_loop(options: dict[str, Any]) -> None:
    images, labels, saliency = torch.rand(4, 3, 14, 21), torch.arange(4), torch.rand(4, 14, 21) ** 3
    mixer = create_mixer("saliencygrafting", "image", num_classes=4, saliency=lambda batch: saliency, **options)
    cells, rate, threshold = (
        options.get(name, value) for name, value in (("cells", 7), ("rate", 0.5), ("threshold", 1))
    )
    for seed in range(5):
        mixed, targets = mixer(images, labels, generator=seeded(seed))
        drawn = seeded(seed)
        partner = torch.randperm(4, generator=drawn)
        uniform = torch.rand(4, cells**2, generator=drawn)
        for a in range(4):
            b = int(partner[a])
            grafted = loop_grafting(saliency[b], uniform[b], cells, rate, threshold)
            assert torch.equal(mixed[a], torch.where(grafted, images[b], images[a]))
            left = float(saliency[a][~grafted].sum() / saliency[a].sum())
            came = float(saliency[b][grafted].sum() / saliency[b].sum())
            own = left / (left + came)
            torch.testing.assert_close(targets[a], own * torch.eye(4)[a] + (1 - own) * torch.eye(4)[b])
            assert 0 < int(grafted.sum()) < 14 * 21


def test_what_is_grafted_of_clouds_is_salient_in_the_partner() -> None:
    points, labels = torch.rand(3, 300, 3), torch.arange(3)
    low, high = points.aminmax(dim=1, keepdim=True)
    saliency = (points > (low + high) / 2)[:, :, 0] + 0.01  # along x, in one of two layers of cells
    mixer = create_mixer(
        "saliencygrafting", "points", num_classes=3, saliency=lambda batch: saliency, cells=2, rate=9.0
    )
    plan = mixer.plan(points, labels).validate()
    assert plan.index is not None
    for a in range(3):
        b, grafted = int(plan.source[a, 1, 0]), plan.weight[a, 1] == 1
        assert torch.equal(plan.index[a, 1][grafted].sort().values, (saliency[b] > 1).nonzero()[:, 0])


def test_saliency_that_says_nothing_grafts_at_the_rate() -> None:
    uniform = torch.arange(10).expand(2, -1) / 10
    for value in (0.0, math.nan, math.inf):
        saliency = torch.full((2, 10), value)
        plan = functional.saliencygrafting(torch.tensor([1, 0]), None, saliency, torch.arange(10)[None], uniform, 0.3)
        assert plan.weight[0, 1].tolist() == [1] * 3 + [0] * 7
        torch.testing.assert_close(plan.sample_weights[0], torch.tensor([0.7, 0.3]))


# ---- SMMix


@pytest.mark.parametrize("grid", [(16, 12), (7, 5)])
def test_smmix_as_a_loop_moves_regions(grid: tuple[int, int]) -> None:
    (height, width), patches = grid, 4
    images, labels, saliency = torch.rand(4, 3, *grid), torch.arange(4), torch.rand(4, *grid)
    mixer = create_mixer("smmix", "image", num_classes=4, saliency=lambda batch: saliency, patches=patches, high=1.0)
    down, right = max(height // patches, 1), max(width // patches, 1)
    sizes = set()
    for seed in range(8):
        mixed, targets = mixer(images, labels, generator=seeded(seed))
        drawn = seeded(seed)
        partner = torch.randperm(4, generator=drawn)
        uniform = float(torch.rand(1, generator=drawn))
        rows, columns = (  # a quarter of the patches to all of them
            apart * (int(fit / 4) + int(uniform * (fit - int(fit / 4) + 1)))
            for apart, fit in ((down, height // down), (right, width // right))
        )
        places = [
            (top, left) for top in range(0, height - rows + 1, down) for left in range(0, width - columns + 1, right)
        ]

        def total(one: int, place: tuple[int, int]) -> float:
            return float(saliency[one, place[0] : place[0] + rows, place[1] : place[1] + columns].sum())  # noqa: B023

        for a in range(4):
            b = int(partner[a])
            to = min(places, key=lambda place: total(a, place))
            of = max(places, key=lambda place: total(b, place))
            expected = images[a].clone()
            region = images[b, :, of[0] : of[0] + rows, of[1] : of[1] + columns]
            expected[:, to[0] : to[0] + rows, to[1] : to[1] + columns] = region
            assert torch.equal(mixed[a], expected)
            share = rows * columns / (height * width)
            torch.testing.assert_close(targets[a], (1 - share) * torch.eye(4)[a] + share * torch.eye(4)[b])
        sizes.add((rows, columns))
    assert len(sizes) > 2


@pytest.mark.parametrize("side", [15, 27, 28, 32, 41, 64])
def test_smmix_takes_a_quarter_to_three_quarters_of_any_side(side: int) -> None:
    saliency = torch.rand(2, side)
    mixer = create_mixer("smmix", "image", num_classes=2, saliency=lambda batch: saliency, partners="previous")
    images, labels = torch.rand(2, 1, 1, side), torch.arange(2)
    shares = {float(mixer.plan(images, labels, generator=seeded(k)).sample_weights[0, 1]) for k in range(80)}
    patch = max(side // 14, 1) / side
    assert 0.25 - patch <= min(shares) <= 0.25 + patch
    assert 0.75 - 2 * patch <= max(shares) <= 0.75


def test_smmix_leaves_short_sides_whole() -> None:
    saliency = torch.rand(3, 20)
    mixer = create_mixer("smmix", "image", num_classes=3, saliency=lambda batch: saliency, low=0.5, high=0.5)
    plan = mixer.plan(torch.rand(3, 1, 1, 20), torch.arange(3)).validate()
    assert plan.sample_weights.diagonal().tolist() != [1, 1, 1]
    nothing = functional.smmix((4, 5), torch.tensor([1, 2, 0]), saliency, (0, 2))
    assert (nothing.weight[:, 0] == 1).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: methods.GridMix(cells=33), ValueError, r"cells must lie in 1 \.\. 32, got 33"),
        (lambda: methods.SaliencyGrafting(rate=-1), ValueError, "rate must be >= 0"),
        (lambda: methods.SMMix(low=0.9), ValueError, r"low must be at most high, got low=0\.9, high=0\.75"),
        (
            lambda: functional.gridmix(
                torch.tensor([1, 0]), None, torch.tensor([[0, 3]]), torch.rand(1, 3), torch.tensor([1])
            ),
            ValueError,
            r"cell must lie in \[0, 3\), got 0 to 3",
        ),
        (
            lambda: functional.smmix((2, 2), torch.tensor([1, 0]), torch.rand(2, 4), (1, 3)),
            ValueError,
            r"size and step need a number for each side of the grid \(2, 2\), got \(1, 3\) and \(1, 1\)",
        ),
        (
            lambda: functional.smmix((2, 2), torch.tensor([1, 0]), torch.rand(2, 4), 3),  # type: ignore[arg-type]
            TypeError,
            r"size must be a number for each side of the grid, such as \(H, W\), got 3",
        ),
    ],
)
def test_what_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
