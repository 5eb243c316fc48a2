"""Point sets: layouts, extra channels, the assignment between clouds."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import mixkit
from mixkit_points import PointSet


def test_layouts_mix_alike() -> None:
    points, labels = torch.randn(5, 20, 6), torch.arange(5)
    plain = mixkit.create_mixer("pointmixup", "points", num_classes=5)
    turned = mixkit.create_mixer("pointmixup", "points", num_classes=5, layout="bcn")
    mixed, _ = plain(points, labels, generator=torch.Generator().manual_seed(1))
    other, _ = turned(points.mT.contiguous(), labels, generator=torch.Generator().manual_seed(1))
    assert other.shape == (5, 6, 20)
    assert other.is_contiguous()
    torch.testing.assert_close(mixed, other.mT)


def test_extra_channels_follow_their_points() -> None:
    coords = torch.randn(5, 20, 3)
    mixer = mixkit.create_mixer("sagemix", "points", num_classes=5, query="uniform")
    mixed, _ = mixer(torch.cat([coords, coords * 2 + 1], 2), torch.arange(5))
    torch.testing.assert_close(mixed[..., 3:], mixed[..., :3] * 2 + 1)


def test_clouds_are_paired_by_least_distance() -> None:
    points = torch.randn(6, 40, 3)
    shuffled = torch.stack([cloud[torch.randperm(40)] for cloud in points])
    index = PointSet().assign(points, shuffled)
    torch.testing.assert_close(shuffled.gather(1, index[..., None].expand(-1, -1, 3)), points)
    assert PointSet(solver="identity").assign(points, shuffled) is None


def test_mixing_equal_clouds_in_any_order_gives_the_cloud_back() -> None:
    cloud = torch.randn(1, 40, 3)
    points = torch.cat([cloud, cloud[:, torch.randperm(40)]])
    mixer = mixkit.create_mixer("pointmixup", "points", num_classes=2, alpha=50.0)
    mixed, _ = mixer(points, torch.tensor([0, 1]))
    torch.testing.assert_close(mixed, points)
    naive = mixkit.create_mixer("pointmixup", "points", num_classes=2, alpha=50.0, solver="identity")
    distances = [(naive(points, torch.tensor([0, 1]))[0] - points).abs().max() for _ in range(10)]
    assert max(distances) > 0.1


@pytest.mark.parametrize("num_coords", [1, 2, 5])
def test_other_dimensions(num_coords: int) -> None:
    mixer = mixkit.create_mixer("sagemix", "points", num_classes=4, query="uniform", num_coords=num_coords)
    points = torch.randn(4, 10, num_coords + 1)
    assert mixer(points, torch.arange(4))[0].shape == points.shape


def test_radius_scales_the_length() -> None:
    points = torch.randn(2, 9, 3)
    assert PointSet().elements(points).length_scale == pytest.approx(0.3)
    assert PointSet(radius=10.0).elements(points).length_scale == pytest.approx(3.0)


def test_per_point_features_are_the_same_points() -> None:
    domain = PointSet()
    elements = domain.elements(torch.randn(2, 9, 3))
    features = domain.feature_elements(torch.randn(2, 64, 9), elements)
    assert features.values.shape == (2, 9, 64)
    assert features.coords is elements.coords
    assert torch.equal(domain.feature_elements(features.values, elements).values, features.values)  # (B, N, C)
    assert domain.feature_elements(torch.randn(2, 64), elements) is None
    assert domain.feature_elements(torch.randn(2, 64, 1), elements) is None
    for activation in (torch.randn(2, 64, 9, 20), torch.randn(2, 64, 4), torch.randn(2, 5, 9, 9), [1, 2]):
        with pytest.raises(ValueError, match=r"cannot read|does not have"):
            domain.feature_elements(activation, elements)


@pytest.mark.parametrize("turn_coords", [False, True])
@pytest.mark.parametrize("turn_values", [False, True])
def test_a_set_abstraction_is_a_set_of_its_own(turn_coords: bool, turn_values: bool) -> None:
    domain = PointSet()
    elements = domain.elements(torch.randn(2, 9, 3))
    coords, values = torch.randn(2, 4, 3), torch.randn(2, 4, 16)
    activation = (coords.mT if turn_coords else coords, values.mT if turn_values else values)
    features = domain.feature_elements(activation, elements)
    assert torch.equal(features.coords, coords)
    assert torch.equal(features.values, values)
    plan = mixkit.MixPlan.pair(torch.tensor([1, 0]), torch.rand(2, 4), domain.assign(coords, coords.flip(0)))
    mixed_coords, mixed_values = domain.mix_feature(plan, activation, features)
    torch.testing.assert_close(mixed_coords.mT if turn_coords else mixed_coords, plan.apply(coords))
    torch.testing.assert_close(mixed_values.mT if turn_values else mixed_values, plan.apply(values))
    whole = (torch.randn(2, 1, 3), torch.randn(2, 64, 1))
    assert domain.feature_elements(whole, elements) is None
    mixed_coords, mixed_values = domain.mix_feature(plan, whole, None)
    torch.testing.assert_close(mixed_values, plan.pooled().apply(whole[1]))


@pytest.mark.parametrize(
    ("points", "error", "message"),
    [
        (torch.zeros(4, 3), ValueError, r"\(B, N, C\).*got \(4, 3\)"),
        (torch.zeros(4, 9, 2), ValueError, r"C >= 3, got \(4, 9, 2\)"),
        (torch.zeros(4, 0, 3), ValueError, r"got \(4, 0, 3\)"),
        (torch.zeros(4, 9, 3, dtype=torch.long), TypeError, "int64"),
        ("cloud", ValueError, "got str"),
    ],
)
def test_what_is_no_cloud_is_named(points: Any, error: type[Exception], message: str) -> None:
    mixer = mixkit.create_mixer("mixup", "points", num_classes=4)
    with pytest.raises(error, match=message):
        mixer(points, torch.arange(4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("around", [torch.float16, torch.bfloat16])
def test_half_precision_within_any_autocast(dtype: torch.dtype, around: torch.dtype) -> None:
    points, labels = torch.randn(4, 20, 4).to(dtype), torch.arange(4)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Flatten(), torch.nn.Linear(80, 4))
    mixer = mixkit.create_mixer("sagemix", "points", num_classes=4, model=model)
    with torch.autocast("cpu", around):
        plan = mixer.plan(points, labels)
        mixed, _ = mixer.apply_plan(plan, points, labels)
    assert mixed.dtype == dtype
    torch.testing.assert_close(mixed.float(), plan.apply(points.float()), atol=0.03, rtol=0.03)


def test_the_other_layout_is_suspected() -> None:
    with pytest.warns(UserWarning, match="other layout"):
        PointSet().elements(torch.randn(4, 3, 1024))
    with pytest.raises(ValueError, match="layout must be"):
        PointSet(layout="nbc")
    with pytest.raises(ValueError, match="radius must be > 0"):
        PointSet(radius=0)


def test_what_is_no_batch_of_clouds() -> None:
    class Batch:  # points in one tensor, of no known kind
        pos, batch = torch.randn(7, 3), torch.tensor([0, 0, 0, 0, 1, 1, 1])

    mixer = mixkit.create_mixer("mixup", "points", num_classes=2)
    with pytest.raises(ValueError, match=r"got Batch$"):
        mixer(Batch(), torch.arange(2))
    with pytest.raises(ValueError, match=r"must be \(n_i, C\) each, got rows of \(4, 3\)"):
        mixer([torch.randn(2, 4, 3)], torch.arange(2))
