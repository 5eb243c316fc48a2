"""GuidedMixup against a loop written from the paper, on a grid and on point sets."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import mixkit
from mixkit import create_mixer, functional
from mixkit_image import spectral_residual
from tests.conftest import ImageModel, PointModel
from tests.test_partners import loop_cover


def loop_blur(saliency: Tensor) -> Tensor:
    """(H, W) blurred by 7 x 7 cells with sigma 3, mirrored at the border, and divided by its total."""
    height, width = saliency.shape
    window = [math.exp(-(step**2) / 18) for step in range(-3, 4)]

    def mirror(place: int, side: int) -> int:
        return -place if place < 0 else 2 * (side - 1) - place if place >= side else place

    blurred = torch.zeros(height, width, dtype=torch.float64)
    for row in range(height):
        for column in range(width):
            for i, down in enumerate(window):
                for j, right in enumerate(window):
                    place = mirror(row + i - 3, height), mirror(column + j - 3, width)
                    blurred[row, column] += down * right * float(saliency[place])
    return blurred / blurred.sum()


def loop_partners(maps: Tensor) -> list[int]:
    """The cycle that goes from the farthest pair on, each time to the farthest that was not visited, and home."""
    return loop_cover([[float((a - b).square().sum()) for b in maps] for a in maps])


@pytest.mark.parametrize("kind", ["gradient", "spectral residual"])
def test_images_as_a_loop_mixes_them(kind: str) -> None:
    images, labels = torch.rand(7, 3, 12, 9), torch.arange(7) % 5
    options: dict[str, Any] = {"model": ImageModel()} if kind == "gradient" else {"saliency": "spectral_residual"}
    mixer = create_mixer("guidedmixup", "image", num_classes=5, **options)
    mixed, targets = mixer(images, labels)
    if kind == "gradient":
        assert mixer.saliency is not None
        saliency = mixer.saliency.find(images, labels, mixer.domain)
    else:
        saliency = spectral_residual(images)
    maps = torch.stack([loop_blur(each) for each in saliency.unflatten(1, (12, 9))])
    partners = loop_partners(maps)
    for a, b in enumerate(partners):
        own = torch.zeros(12, 9, dtype=torch.float64)
        for row in range(12):
            for column in range(9):
                own[row, column] = maps[a, row, column] / (maps[a, row, column] + maps[b, row, column])
        expected = own * images[a] + (1 - own) * images[b]
        torch.testing.assert_close(mixed[a].double(), expected, atol=1e-5, rtol=0)
        target = own.mean() * torch.eye(5)[labels[a]] + (1 - own.mean()) * torch.eye(5)[labels[b]]
        torch.testing.assert_close(targets[a].double(), target.double(), atol=1e-5, rtol=0)


def test_clouds_pair_each_point_with_its_own() -> None:
    points, labels = 0.2 * torch.randn(4, 14, 3), torch.arange(4)
    mixer = create_mixer("guidedmixup", "points", num_classes=5, model=PointModel(), partners="previous")
    plan = mixer.plan(points, labels)
    assert mixer.saliency is not None
    saliency = mixer.saliency.find(points, labels, mixer.domain)
    sigma = 0.3 * 3 / 8
    for a in range(4):
        b = (a - 1) % 4
        smooth = []
        for one in (a, b):
            away = (points[one, :, None] - points[one]).double().square().sum(2)
            near = torch.exp(-away / (2 * sigma**2))
            blurred = (near * saliency[one]).sum(1) / near.sum(1)
            smooth.append(blurred / blurred.sum())
        assert plan.index is not None
        other = smooth[1][plan.index[a, 1]]
        torch.testing.assert_close(plan.weight[a, 0].double(), smooth[0] / (smooth[0] + other), atol=1e-4, rtol=0)


def test_what_is_salient_in_one_sample_shows() -> None:
    images = torch.arange(2.0)[:, None, None, None].expand(-1, 1, 8, 8).clone()
    saliency = torch.zeros(2, 8, 8)
    saliency[0, :, :4], saliency[1, :, 4:] = 1, 1
    mixer = create_mixer("guidedmixup", "image", num_classes=2, saliency=lambda batch: saliency, blur=0.0)
    mixed, targets = mixer(images, torch.arange(2))
    assert torch.equal(mixed[0, 0], torch.cat([torch.zeros(8, 4), torch.ones(8, 4)], 1)), "each where it is salient"
    torch.testing.assert_close(targets, torch.full((2, 2), 0.5))


def test_saliency_that_says_nothing_mixes_evenly() -> None:
    for images in (torch.rand(3, 1, 4, 4), torch.full((3, 1, 4, 4), math.nan)):
        mixer = create_mixer("guidedmixup", "image", num_classes=3, saliency=lambda batch: batch.flatten(1) * 0)
        with pytest.warns(UserWarning, match="saliency is 0 everywhere, or not finite"):
            plan = mixer.plan(images, torch.arange(3))
        assert (plan.weight == 0.5).all()
    plan = functional.guidedmixup(torch.tensor([1, 0]), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 3.0]]))
    assert plan.weight[0, 0].tolist() == [1, 0.5, 0]


@pytest.mark.parametrize("domain", ["image", "points"])
def test_under_autocast_weights_are_as_precise(domain: str) -> None:
    batch = torch.rand(4, 3, 9, 8) if domain == "image" else 0.3 * torch.randn(4, 72, 3)
    saliency = torch.rand(4, 72)
    mixer = create_mixer("guidedmixup", domain, num_classes=4, saliency=lambda batch: saliency)
    plan = mixer.plan(batch, torch.arange(4))
    with torch.autocast("cpu", torch.bfloat16):
        half = mixer.plan(batch, torch.arange(4))
    torch.testing.assert_close(half.weight, plan.weight)
    assert torch.equal(half.source, plan.source)


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="blur must be >= 0"):
        mixkit.methods.GuidedMixup(blur=-1.0)
    with pytest.raises(ValueError, match=r"saliency must lie in \[0, 1e\+30\], got -1 to 1"):
        functional.guidedmixup(torch.tensor([1, 0]), torch.tensor([[1.0, -1.0], [0.0, 0.0]]))
