"""Channels that are not plain values, through every method that mixes clouds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import mixkit
from mixkit import MixPlan
from mixkit_points import Channels, PointSet

METHODS = mixkit.list_methods("points")
# x, y, z, red, unit normal, scan line, height in feet from the floor, x in the room (its own scale in each)
KINDS = Channels(copies={8: 2, 9: 0}, units=[(4, 5, 6)], ids=[7])
FEET = 3.28084


def clouds(size: int = 4, count: int = 30) -> Tensor:
    points = torch.randn(size, count, 10)
    points[:, :, 4:7] /= torch.linalg.vector_norm(points[:, :, 4:7], dim=2, keepdim=True)
    points[:, :, 7] = torch.randint(1000, (size, count)).float()
    points[:, :, 8] = (points[:, :, 2] - points[:, :, 2].amin(1, keepdim=True)) * FEET
    rooms = torch.rand(size, 1) * 5 + 1
    points[:, :, 9] = points[:, :, 0] / rooms + 0.5
    return points


def mixing(method: str, **options: Any) -> mixkit.Mixer:
    saliency = lambda batch: torch.linspace(0, 1, 30).expand(4, -1)  # noqa: E731
    return mixkit.create_mixer(method, "points", num_classes=4, p=1.0, saliency=saliency, **options, inside=True)


def heaviest(plan: MixPlan, points: Tensor) -> Tensor:
    """(M, N, C) of each element the term with the larger weight, in a loop."""
    found = torch.empty_like(points)
    for m in range(len(points)):
        for i in range(points.shape[1]):
            weight = plan.weight[m, :, min(i, plan.weight.shape[2] - 1)]
            k = 1 if weight[1] > weight[0] else 0
            place = i if plan.index is None else int(plan.index[m, k, i])
            found[m, i] = points[plan.source[m, k, 0], place]
    return found


@pytest.mark.parametrize("layout", ["bnc", "bcn"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_honours_them(method: str, layout: str) -> None:
    points, labels = clouds(), torch.arange(4)
    batch = points if layout == "bnc" else points.mT.contiguous()
    mixer = mixing(method, channels=KINDS, layout=layout)
    plan = mixer.plan(batch, labels, generator=torch.Generator().manual_seed(5))
    mixed, _ = mixer.apply_plan(plan, batch, labels)
    mixed = mixed if layout == "bnc" else mixed.mT
    plain, _ = mixing(method).apply_plan(plan, points, labels)
    torch.testing.assert_close(mixed[..., :4], plain[..., :4])
    assert torch.equal(mixed[..., 7], heaviest(plan, points)[..., 7])
    torch.testing.assert_close(torch.linalg.vector_norm(mixed[..., 4:7], dim=2), torch.ones(4, 30))
    cosine = (mixed[..., 4:7] * plain[..., 4:7]).sum(2) / torch.linalg.vector_norm(plain[..., 4:7], dim=2)
    torch.testing.assert_close(cosine, torch.ones(4, 30))
    if method not in (
        "rsmix",
        "resizemix",
        "recursivemix",
        "wolfmix",
    ):  # nothing moves: copies are interpolated like what they repeat
        torch.testing.assert_close(mixed[..., 8:], plain[..., 8:])
    untouched = (plan.weight == 0).any(1).expand(4, 30)
    assert torch.equal(mixed[..., 4:8][untouched], heaviest(plan, points)[..., 4:8][untouched])


def test_rsmix_moves_copies_in_their_own_units() -> None:
    points, labels = clouds(), torch.arange(4)
    mixer = mixing("rsmix", channels=KINDS)
    plan = mixer.plan(points, labels, generator=torch.Generator().manual_seed(1))
    mixed, _ = mixer.apply_plan(plan, points, labels)
    slope = (points[:, 1, 9] - points[:, 0, 9]) / (points[:, 1, 0] - points[:, 0, 0])
    moved = 0
    for m in range(4):
        other = int(plan.source[m, 1, 0])
        for i in range(30):
            if plan.weight[m, 1, i] == 1:
                there = points[other, int(plan.index[m, 1, i])]
                shift = plan.shift[m, 1]
                torch.testing.assert_close(mixed[m, i, 2], there[2] + shift[2])
                torch.testing.assert_close(mixed[m, i, 8], there[8] + shift[2] * FEET, atol=1e-4, rtol=1e-4)
                torch.testing.assert_close(mixed[m, i, 9], there[9] + shift[0] * slope[other], atol=1e-4, rtol=1e-4)
                moved += 1
            else:
                assert torch.equal(mixed[m, i], points[m, i])
    assert moved > 4
    whole, _ = mixing("rsmix").apply_plan(plan, points, labels)
    assert (whole[..., 8] - mixed[..., 8]).abs().max() > 0.1, "without them heights stay behind"


def test_a_hole_in_a_copy_that_is_not_shown_moves_nothing() -> None:
    points = clouds(2)
    cut = torch.ones(2, 30)
    cut[:, :10] = 0
    plan = MixPlan.pair(torch.tensor([1, 0]), cut)
    shift = torch.zeros(2, 2, 3)
    shift[:, 1] = 2.0
    plan = MixPlan(plan.source, None, plan.weight, shift, keeps_own=True)
    holed = points.clone()
    holed[0, 20, 8] = torch.nan
    with pytest.raises(ValueError, match="sample 0"):
        PointSet(channels=KINDS).mix(plan, PointSet().elements(holed), holed)
    holed[0, 20, 8], holed[0, 2, 8] = points[0, 20, 8], torch.nan  # 2 is cut out of sample 0, and nobody shows it
    plan = MixPlan(torch.tensor([[[0], [1]], [[1], [0]]]), None, plan.weight.clone(), shift)
    plan.weight[1] = torch.tensor([[1.0], [0.0]])
    plan.weight[1, :, 20:] = torch.tensor([[0.0], [1.0]])
    mixed = PointSet(channels=KINDS).mix(plan, PointSet().elements(holed), holed)
    torch.testing.assert_close(mixed[0, :10, 8], points[1, :10, 8] + 2 * FEET, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(mixed[1, 20:, 8], points[0, 20:, 8] + 2 * FEET, atol=1e-4, rtol=1e-4)
    assert torch.equal(mixed[0, 10:], points[0, 10:])


def test_opposite_normals_and_equal_weights() -> None:
    points = torch.zeros(2, 3, 7)
    points[:, :, :3] = torch.randn(3, 3)
    points[0, :, 3:6] = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    points[1, :, 3:6] = torch.tensor([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    points[0, :, 6], points[1, :, 6] = 7, 9
    domain = PointSet(channels=Channels(units=[(3, 4, 5)], ids=[6]))
    plan = MixPlan.pair(torch.tensor([1, 0]), torch.full((2, 1), 0.5))
    mixed = domain.mix(plan, domain.elements(points), points)
    half = 0.5**0.5
    expected = torch.tensor([[[0, 0, 1], [0, half, half], [0, 0, 0]], [[0, 0, -1], [0, half, half], [0, 0, 0]]])
    torch.testing.assert_close(mixed[:, :, 3:6], expected)
    assert mixed[:, :, 6].tolist() == [[7] * 3, [9] * 3], "of equal weights the sample itself"
    plan = MixPlan.pair(torch.tensor([1, 0]), torch.full((2, 1), 0.4))
    assert domain.mix(plan, domain.elements(points), points)[:, :, 6].tolist() == [[9] * 3, [7] * 3]


def test_a_batch_that_is_not_mixed_and_half_precision() -> None:
    points, labels = clouds(), torch.arange(4)
    mixer = mixing("sagemix", channels=KINDS)
    assert torch.equal(mixer.eval()(points, labels)[0], points)
    mixed, _ = mixer.train()(points.half(), labels)
    assert mixed.dtype == torch.float16
    torch.testing.assert_close(
        torch.linalg.vector_norm(mixed[..., 4:7].float(), dim=2), torch.ones(4, 30), atol=2e-3, rtol=0
    )
    assert set(mixed[..., 7].unique().tolist()) <= set(points.half()[..., 7].unique().tolist())


@pytest.mark.parametrize(
    ("kinds", "error", "message"),
    [
        ({"copies": [3]}, TypeError, r"copies must be \{channel: coordinate\}"),
        ({"copies": {3: "z"}}, TypeError, "a coordinate must be a whole number"),
        ({"units": [3, 4, 5]}, TypeError, "units must be vectors"),
        ({"units": "xyz"}, TypeError, "units must be a sequence"),
        ({"ids": [1.5]}, TypeError, "a channel must be a whole number, got 1.5"),
        ({"ids": [-1]}, ValueError, "at least 0, got -1"),
        ({"ids": [4], "units": [(3, 4, 5)]}, ValueError, "got 4 more than once"),
    ],
)
def test_what_is_no_channel_is_named(kinds: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Channels(**kinds)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({"ids": [2]}, r"names channel 2.*first 3 are coordinates, have 3 \.\. 9 besides"),
        ({"units": [(8, 9, 10)]}, "names channel 10, and clouds of 10 channels"),
        ({"copies": {4: 3}}, "copies coordinate 3, and there are 3"),
    ],
)
def test_what_the_clouds_have_not_is_named(kinds: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mixing("mixup", channels=Channels(**kinds))(clouds(), torch.arange(4))


def test_the_option_is_typed() -> None:
    wrong: Any = {"id": 3}
    with pytest.raises(TypeError, match=r"channels must be mixkit_points\.Channels"):
        PointSet(channels=wrong)
