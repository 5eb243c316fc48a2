"""Co-Mixup: the plan against a plain loop; draws, groups, edge cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import mixkit
import mixkit_image
from mixkit_image.functional.comixup import comixup, compatibility, salient_places
from mixkit_image.methods import CoMixup
from mixkit_image.methods.comixup import log_dirichlet
from tests.image.test_solvers_groups import brute_force, loop_group


def blobs(batch: int, height: int, width: int) -> Tensor:
    """Saliency (B, H * W) in patches, as a gradient's is."""
    noise = torch.rand(batch, 1, height + 4, width + 4) ** 8
    return torch.nn.functional.avg_pool2d(noise, 5, 1).flatten(1)


def mixer(saliency: Tensor, num_classes: int, **options: object) -> mixkit.Mixer:
    return mixkit.create_mixer("comixup", "image", num_classes=num_classes, saliency=lambda _: saliency, **options)


def loop_places(saliency: Tensor, height: int, width: int) -> list[tuple[int, int]]:
    """The most salient window of H / 4 x W / 4 of each image, looked for one by one."""
    high, wide = max(height // 4, 1), max(width // 4, 1)
    places = []
    for image in saliency.double().reshape(-1, height, width):
        windows = {
            (r, c): float(image[r : r + high, c : c + wide].mean())
            for r in range(height - high + 1)
            for c in range(width - wide + 1)
        }
        places.append(max(windows, key=windows.__getitem__))
    return places


@pytest.mark.parametrize("grid", [(16, 16), (8, 12), (7, 9), (3, 5)])
def test_salient_places_and_compatibility_equal_the_loop(grid: tuple[int, int]) -> None:
    saliency = blobs(6, *grid)
    places = loop_places(saliency, *grid)
    assert salient_places(saliency, grid).tolist() == [list(place) for place in places]
    apart = np.array([[abs(a[0] - b[0]) + abs(a[1] - b[1]) for b in places] for a in places])
    expected = 0.75 * np.eye(6) + 0.25 * 6 * apart / apart.sum()
    found = compatibility(salient_places(saliency, grid)[None], 0.25)[0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    same = compatibility(torch.ones(1, 3, 2, dtype=torch.long), 0.25)[0]
    torch.testing.assert_close(same, 0.75 * torch.eye(3))  # D is 0: its term is dropped


def test_the_plan_equals_the_loop() -> None:
    """Two groups, the second smaller, on 2 x 2 cells, where labellings are exact: from saliency to pixels, labels."""
    size, grid, group = 7, (8, 12), 4
    saliency, images = blobs(size, *grid), torch.rand(size, 3, *grid)
    initial = torch.cat([torch.randint(4, (4, 4)), torch.randint(3, (3, 4))])
    prior = torch.cat([torch.rand(4).softmax(0), torch.rand(3).softmax(0)])
    plan = comixup(saliency, grid, prior.log(), initial, cells=2, group=group).validate()
    mixed = plan.apply(images.flatten(2).mT).mT.unflatten(2, grid)
    targets = plan.targets(torch.arange(size), size)
    places = loop_places(saliency, *grid)
    soft = 0
    for start, stop in ((0, 4), (4, 7)):
        members = range(start, stop)
        pooled = saliency.reshape(size, 2, 4, 2, 6).mean((2, 4)).flatten(1)[start:stop].double()
        unary = -pooled / pooled.sum(1, keepdim=True) - 0.05 / 4 * prior[start:stop].double().log()[:, None]
        apart = np.array(
            [[sum(abs(x - y) for x, y in zip(places[a], places[b], strict=True)) for b in members] for a in members]
        )
        matrix = 0.999 * np.eye(len(members)) + 0.001 * len(members) * apart / apart.sum()
        label = loop_group(unary.numpy(), matrix, initial[start:stop].numpy(), (2, 2), 4, brute_force)
        for o in members:
            weight = torch.zeros(size)
            for r in range(grid[0]):
                for c in range(grid[1]):
                    a, b = (start + k for k in label[o - start][(r // 4) * 2 + c // 6])
                    soft += a != b
                    expected = (images[a, :, r, c] + images[b, :, r, c]) / 2
                    torch.testing.assert_close(mixed[o, :, r, c], expected)
                    weight[a] += 0.5 / 96
                    weight[b] += 0.5 / 96
            torch.testing.assert_close(targets[o], weight, rtol=0, atol=1e-5)
    assert plan.index is None


def test_weights_are_one_or_halves_and_groups_stay_apart() -> None:
    images, saliency = torch.rand(50, 1, 16, 16), blobs(50, 16, 16)
    plan = mixer(saliency, 50).plan(images, torch.arange(50)).validate()
    assert plan.source.shape == (50, 2, 256)
    assert set(plan.weight.unique().tolist()) == {0.0, 0.5, 1.0}  # halves are used
    assert torch.equal(plan.weight[:, 0] == 1, plan.source[:, 0] == plan.source[:, 1])
    groups = torch.arange(50) // 20
    assert (groups[plan.source] == groups[:, None, None]).all()
    cells = plan.source[:, 0].reshape(50, 4, 4, 4, 4)
    assert (cells == cells[:, :, :1, :, :1]).all()  # constant in each cell of 4 x 4 pixels
    assert (plan.sample_weights > 0).sum(1).float().mean() > 1.5  # outputs are made of several inputs


def test_every_input_is_used_about_as_much_as_any_other() -> None:
    """Without diversity the one image that is salient in small places, or likely, would be everywhere."""
    saliency = blobs(20, 16, 16)
    log_prior = torch.full((20,), -20.0)
    log_prior[3] = 0.0  # one input is much likelier
    initial = torch.randint(20, (20, 16))
    used = {}
    for gamma in (0.0, 1.0):
        plan = comixup(saliency, (16, 16), log_prior, initial, gamma=gamma, eta=1.0)
        used[gamma] = plan.sample_weights.sum(0)
    assert used[0.0][3] > 19
    assert used[1.0][3] < 5
    assert (used[1.0] > 0).sum() > 10


def test_alike_outputs_are_parted() -> None:
    """Two inputs, each salient in its half: without step 5 both outputs would stay twins."""
    saliency = torch.full((2, 8, 8), 1e-3)
    saliency[0, :, :4], saliency[1, :, 4:] = 1.0, 1.0
    initial = torch.tensor([[0, 1, 0, 1]]).expand(2, -1)
    zeros = torch.zeros(2)
    plan = comixup(saliency.flatten(1), (8, 8), zeros, initial, cells=2, sweeps=2, gamma=0.0)
    assert torch.equal(plan.source[0], plan.source[1])
    parted = comixup(saliency.flatten(1), (8, 8), zeros, initial, cells=2, sweeps=2, gamma=4.0, tau=100.0)
    assert not torch.equal(parted.source[0], parted.source[1])


@pytest.mark.parametrize("size", [1, 2, 3, 19, 21])
def test_any_number_of_samples(size: int) -> None:
    images, saliency = torch.rand(size, 3, 8, 8), blobs(size, 8, 8)
    mixed, targets = mixer(saliency, size)(images, torch.arange(size))
    assert mixed.shape == images.shape
    torch.testing.assert_close(targets.sum(1), torch.ones(size))
    if size == 1:
        assert torch.equal(mixed, images)


@pytest.mark.parametrize("grid", [(7, 12), (9, 9), (1, 5), (3, 2), (31, 18)])
@pytest.mark.parametrize("channels", [1, 4])
def test_any_size(grid: tuple[int, int], channels: int) -> None:
    images, saliency = torch.rand(5, channels, *grid), blobs(5, *grid)
    mixing = mixer(saliency, 5, group=3)
    plan = mixing.plan(images, torch.arange(5)).validate()
    mixed, targets = mixing.apply_plan(plan, images, torch.arange(5))
    assert mixed.shape == images.shape
    torch.testing.assert_close(targets, plan.sample_weights, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    images, saliency = torch.rand(5, 3, 16, 16).to(dtype), blobs(5, 16, 16).to(dtype)
    mixed, targets = mixer(saliency, 5)(images, torch.arange(5))
    assert mixed.dtype == dtype
    assert targets.dtype == torch.float32
    assert torch.isfinite(mixed).all()


def test_saliency_that_says_nothing_is_uniform() -> None:
    good = blobs(5, 16, 16)
    bad, flat = good.clone(), good.clone()
    flat[1:4] = 1.0
    bad[1], bad[2, 7], bad[3, 9] = 0.0, torch.nan, torch.inf
    zeros, initial = torch.zeros(5), torch.randint(5, (5, 16))
    plans = [comixup(s, (16, 16), zeros, initial).validate() for s in (bad, flat)]
    assert torch.equal(plans[0].source, plans[1].source)
    assert torch.equal(plans[0].weight, plans[1].weight)


def test_the_prior_is_a_dirichlet_over_each_group() -> None:
    members = torch.tensor([20] * 4000 + [3] * 3)
    share = log_dirichlet(2.0, members, None).double().exp()
    torch.testing.assert_close(share[:4000].reshape(-1, 20).sum(1), torch.ones(200).double(), rtol=1e-5, atol=0)
    assert float(share[4000:].sum()) == pytest.approx(1, abs=1e-5)
    # the variance of a share is (1 - 1/20) / 20 / (2 * 20 + 1)
    assert float(share[:4000].var()) == pytest.approx(0.95 / 20 / 41, rel=0.15)
    assert torch.isfinite(log_dirichlet(1e-3, members, None)).all()


def test_same_seed_same_plan() -> None:
    images, saliency = torch.rand(23, 3, 16, 16), blobs(23, 16, 16)
    plans = [
        mixer(saliency, 23).plan(images, torch.arange(23), generator=torch.Generator().manual_seed(k))
        for k in (1, 1, 2)
    ]
    assert torch.equal(plans[0].source, plans[1].source)
    assert torch.equal(plans[0].weight, plans[1].weight)
    assert not torch.equal(plans[0].source, plans[2].source)


@pytest.mark.parametrize("method", ["comixup", "puzzlemix"])
def test_loader_workers_after_use_in_the_parent(method: str) -> None:
    """Threads and compiled code that the parent has used do not break a fork; workers draw reproducibly."""
    transform = mixkit.create_mixer(method, "image", num_classes=8, saliency="spectral_residual")
    data = TensorDataset(torch.rand(16, 3, 16, 16), torch.arange(16) % 8)
    transform(data.tensors[0], data.tensors[1])

    def epoch(seed: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        loader = DataLoader(data, 8, collate_fn=transform.collate, num_workers=2, generator=generator, timeout=60)
        return [images for images, _ in loader]

    first, again = epoch(1), epoch(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], data.tensors[0][:8])


def test_errors() -> None:
    for option in (
        {"cells": 0}, {"cells": 9}, {"group": 0}, {"sweeps": 0}, {"beta": -1}, {"tau": -1}, {"alpha": 0}, {"omega": 2}
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(option))):
            CoMixup(**option)
    saliency, prior = torch.rand(2, 64), torch.zeros(2)
    with pytest.raises(ValueError, match=r"initial must be \(2, 16\)"):
        comixup(saliency, (8, 8), prior, torch.zeros(2, 4, dtype=torch.long))
    with pytest.raises(ValueError, match="saliency"):
        comixup(saliency, (8, 9), prior, torch.zeros(2, 16, dtype=torch.long))
    elements = mixkit_image.PixelGrid().elements(torch.rand(2, 3, 8, 8))
    with pytest.raises(ValueError, match="saliency"):
        CoMixup().plan(elements, mixkit.PlanContext())
    with pytest.raises(ValueError, match="serves image"):
        mixkit.create_mixer("comixup", "points", num_classes=2)
