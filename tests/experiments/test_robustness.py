"""Table 3's corruptions: what each does to points and what it leaves alone."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from experiments.__main__ import main
from experiments.data import load_data
from experiments.data.corruptions import (
    CORRUPTIONS,
    DGCNN_ACCURACY,
    MODELNET_C,
    Corruption,
    add_anywhere,
    add_clusters,
    drop,
    drop_clusters,
    mean_corruption_error,
    mean_over_levels,
    rotate,
    stretch,
    tilt,
)
from experiments.data.points import to_unit_sphere
from experiments.run import runner

ALL = {**CORRUPTIONS, **MODELNET_C}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cloud(batch: int = 6, count: int = 200) -> torch.Tensor:
    return torch.randn(batch, count, 3, generator=generator(7))


def test_the_table_is_complete() -> None:
    assert list(CORRUPTIONS) == [
        "noise 0.01",
        "noise 0.05",
        "rotate-x 180",
        "rotate-x uniform",
        "rotate-z 180",
        "rotate-z uniform",
        "scale 0.6",
        "scale 2.0",
        "drop 25 %",
        "drop 50 %",
    ]


@pytest.mark.parametrize("name", ALL)
def test_draws_come_from_the_generator_alone_and_the_input_stays(name: str) -> None:
    points = cloud()
    before = points.clone()
    first = ALL[name](points, generator(1))
    torch.manual_seed(99)
    assert torch.equal(first, ALL[name](points, generator(1)))
    assert torch.equal(points, before)
    if any(word in name for word in ("noise", "uniform", "drop", "modelnet-c")):
        assert not torch.equal(first, ALL[name](points, generator(2)))


@pytest.mark.parametrize(("name", "sigma"), [("noise 0.01", 0.01), ("noise 0.05", 0.05)])
def test_noise_has_its_deviation_on_every_axis(name: str, sigma: float) -> None:
    points = cloud(20, 500)
    noise = CORRUPTIONS[name](points, generator()) - points
    assert noise.mean((0, 1)).abs().max() < sigma / 10
    for axis in range(3):
        assert noise[..., axis].std().item() == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize(("axis", "signs"), [("x", (1, -1, -1)), ("z", (-1, -1, 1))])
def test_half_a_turn_changes_two_signs_exactly_and_twice_is_the_identity(axis: str, signs: tuple[int, ...]) -> None:
    points, turned = cloud(), CORRUPTIONS[f"rotate-{axis} 180"]
    out = turned(points, generator())
    assert torch.equal(out, points * torch.tensor(signs))
    assert torch.equal(turned(out, generator()), points)


@pytest.mark.parametrize(("axis", "place"), [("x", 0), ("z", 2)])
def test_uniform_rotations_turn_each_set_by_its_own_angle(axis: str, place: int) -> None:
    one = torch.tensor([[1.0, 2.0, 3.0], [-2.0, 0.5, 1.0]])
    out = CORRUPTIONS[f"rotate-{axis} uniform"](one.expand(4000, 2, 3), generator())
    assert torch.equal(out[..., place], one[:, place].expand(4000, 2))
    torch.testing.assert_close(out @ out.transpose(1, 2), (one @ one.T).expand(4000, 2, 2))  # lengths and angles stay
    first, second = {"x": (1, 2), "z": (0, 1)}[axis]
    angle = torch.atan2(out[:, 0, second], out[:, 0, first]) - math.atan2(one[0, second], one[0, first])
    angle = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
    share = torch.histc(angle, bins=8, min=-math.pi, max=math.pi) / 4000
    assert (share - 1 / 8).abs().max() < 0.025  # every eighth of the circle alike


@pytest.mark.parametrize(("axis", "start", "end"), [("x", 1, 2), ("y", 2, 0), ("z", 0, 1)])
def test_a_quarter_turn_is_right_handed(axis: str, start: int, end: int) -> None:
    unit = torch.eye(3)[None]
    torch.testing.assert_close(rotate(unit, generator(), axis=axis, degrees=90)[0, start], unit[0, end])


@pytest.mark.parametrize(("name", "factor"), [("scale 0.6", 0.6), ("scale 2.0", 2.0)])
def test_scale_is_one_factor(name: str, factor: float) -> None:
    assert torch.equal(CORRUPTIONS[name](cloud(), generator()), cloud() * factor)


@pytest.mark.parametrize(("name", "kept"), [("drop 25 %", 768), ("drop 50 %", 512)])
def test_dropout_leaves_so_many_points_in_order(name: str, kept: int) -> None:
    places = torch.arange(1024.0).expand(3, 1024)
    points = torch.stack([places, places + 2000 * torch.arange(1, 4)[:, None], -places], dim=2)
    out = CORRUPTIONS[name](points, generator())
    assert out.shape == (3, kept, 3)
    assert (out[..., 0].diff(dim=1) > 0).all()  # none twice
    for b in range(3):
        assert torch.equal(out[b], points[b, out[b, :, 0].long()])  # whole points, of their own set
    assert not torch.equal(out[0, :, 0], out[1, :, 0])


@given(count=st.integers(1, 60), share=st.floats(0, 0.99), seed=st.integers(0, 1000))
def test_dropout_leaves_points_of_the_set_and_at_least_one(count: int, share: float, seed: int) -> None:
    points = torch.randn(2, count, 3, generator=generator(seed))
    out = drop(points, generator(seed), share=share)
    assert out.shape == (2, max(1, count - round(share * count)), 3)
    for b in range(2):
        assert {tuple(point) for point in out[b].tolist()} <= {tuple(point) for point in points[b].tolist()}


def test_dropout_drops_every_point_alike() -> None:
    places = torch.arange(40.0)[None, :, None].expand(2000, 40, 3)
    out = CORRUPTIONS["drop 25 %"](places, generator())
    share = torch.bincount(out[..., 0].long().flatten(), minlength=40) / 2000
    assert (share - 0.75).abs().max() < 0.04


# ---- ModelNet-C


def ball(batch: int = 5, count: int = 1024) -> torch.Tensor:
    return to_unit_sphere(cloud(batch, count))


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("scale", [1024] * 5),
        ("jitter", [1024] * 5),
        ("rotate", [1024] * 5),
        ("drop global", [768, 640, 512, 384, 256]),
        ("drop local", [924, 824, 724, 624, 524]),
        ("add global", [1034, 1044, 1054, 1064, 1074]),
        ("add local", [1124, 1224, 1324, 1424, 1524]),
    ],
)
def test_modelnet_c_leaves_the_benchmarks_numbers_of_points(name: str, counts: list[int]) -> None:
    outs = [MODELNET_C[f"modelnet-c {name} {level}"](ball(), generator()) for level in range(1, 6)]
    assert [out.shape for out in outs] == [(5, count, 3) for count in counts]
    assert len(MODELNET_C) == 35


def test_stretch_is_one_scale_per_axis_within_its_bounds() -> None:
    points = ball(500, 30)
    out = stretch(points, generator(), level=5)
    ratio = out.std(1) / points.std(1)  # the scales, up to one common factor per set
    spread = ratio.amax(1) / ratio.amin(1)
    assert spread.max() <= 4 + 1e-3
    assert spread.max() > 3
    torch.testing.assert_close(out.norm(dim=2).amax(1), torch.ones(500))
    centred = points - points.mean(1, keepdim=True)
    torch.testing.assert_close(out, centred * ratio[:, None], atol=1e-4, rtol=0)


@pytest.mark.parametrize("level", [1, 5])
def test_tilt_is_a_small_rotation(level: int) -> None:
    out = tilt(torch.eye(3).expand(2000, 3, 3), generator(), level=level)
    torch.testing.assert_close(out @ out.transpose(1, 2), torch.eye(3).expand(2000, 3, 3), atol=1e-5, rtol=0)
    assert (torch.linalg.det(out) > 0).all()
    angle = torch.arccos(((out.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1)) * 180 / math.pi
    assert angle.max() <= 6 * level * 3**0.5 + 0.5  # three rotations of at most 6 x level degrees each
    assert angle.max() > 6 * level


def test_local_drops_take_whole_neighbourhoods() -> None:
    points = torch.nn.functional.normalize(cloud(40, 1024), dim=2)  # a sphere's surface
    out = drop_clusters(points, generator(), level=5)
    for b in range(40):
        same = (out[b][:, None] == points[b]).all(2)  # (524, 1024)
        assert same.any(1).all()  # what is left are points of the set
        assert same.long().argmax(1).diff().min() > 0  # none twice, in order
    random = drop(points, generator(), share=500 / 1024)

    def gap(left: torch.Tensor) -> float:
        return torch.cdist(points, left).amin(2).amax(1).mean().item()

    assert gap(out) > 3 * gap(random)  # holes


@given(count=st.integers(1, 40), level=st.integers(1, 5), seed=st.integers(0, 100))
def test_local_drops_leave_something_of_small_sets(count: int, level: int, seed: int) -> None:
    points = torch.randn(3, count, 3, generator=generator(seed)).repeat_interleave(2, dim=1)  # with repeated points
    out = drop_clusters(points, generator(seed), level=level)
    assert out.shape == (3, 2 * count - min(round(100 * level * 2 * count / 1024), 2 * count - 1), 3)


def test_added_points_fill_the_ball() -> None:
    points = ball(200)
    out = add_anywhere(points, generator(), level=5)
    assert torch.equal(out[:, :1024], points)
    radius = out[:, 1024:].norm(dim=2)
    assert radius.max() <= 1 + 1e-6
    assert (radius < 0.5).float().mean().item() == pytest.approx(1 / 8, abs=0.01)  # as volume grows
    assert out[:, 1024:].mean((0, 1)).abs().max() < 0.02


def test_added_clusters_lie_about_points_and_within_the_sphere() -> None:
    points = ball(100)
    out = add_clusters(points, generator(), level=3)
    assert torch.equal(out[:, :1024], points)
    added = out[:, 1024:]
    assert added.norm(dim=2).max() <= 1 + 1e-6
    one = torch.tensor([[[0.2, 0.0, 0.0]]]).expand(300, 1024, 3)  # every point there: so are all clusters
    offsets = add_clusters(one, generator(), level=5)[:, 1024:] - torch.tensor([0.2, 0.0, 0.0])
    assert offsets.std().item() == pytest.approx((0.1**2 + 0.05**2 / 12) ** 0.5, rel=0.02)
    assert added.std(1).mean() < 0.95 * add_anywhere(points, generator(), level=5)[:, 1024:].std(1).mean()


@pytest.mark.parametrize("corruption", [*CORRUPTIONS.values(), *MODELNET_C.values()])
def test_types_stay(corruption: Corruption) -> None:
    assert corruption(ball(2, 64).double(), generator()).dtype == torch.float64


def test_mean_corruption_error_is_one_for_dgcnn() -> None:
    accuracies = {name: DGCNN_ACCURACY[name.removeprefix("modelnet-c ")[:-2]] for name in MODELNET_C}
    assert mean_corruption_error(mean_over_levels(accuracies)) == pytest.approx(1)
    for level, change in zip(range(1, 6), (4, -4, 9.4, 0, -9.4), strict=True):
        accuracies[f"modelnet-c scale {level}"] += change
    assert mean_corruption_error(mean_over_levels(accuracies)) == pytest.approx(1)  # the mean over levels comes first
    accuracies.update({f"modelnet-c scale {level}": 100.0 for level in range(1, 6)})
    assert mean_corruption_error(mean_over_levels(accuracies)) == pytest.approx(6 / 7)


def test_mean_corruption_error_is_relative_to_the_reference_corruption_by_corruption() -> None:
    names = list(DGCNN_ACCURACY)
    reference = {name: 90.0 - 10 * k for k, name in enumerate(names)}  # errors of 10, 20, ... 70
    halved = {name: 100 - (100 - value) / 2 for name, value in reference.items()}
    assert mean_corruption_error(halved, reference) == pytest.approx(0.5)
    one = {**reference, names[0]: 80.0}  # twice the error of the first: not the mean error over the mean error
    assert mean_corruption_error(one, reference) == pytest.approx(8 / 7)
    assert mean_corruption_error(halved, {**reference, names[3]: 100.0}) is None


def test_clusters_lie_about_different_points() -> None:
    corners = torch.cat([torch.eye(3), -torch.eye(3), torch.zeros(1, 3)]) * 0.6  # seven points, far from each other
    out = add_clusters(corners.expand(700, 7, 3), generator(), level=500)[:, 7:]
    nearest = torch.cdist(out, corners).argmin(2)
    met = torch.nn.functional.one_hot(nearest, 7).sum(1)  # how many new points are nearest to each
    clusters = (met > 25).sum(1)  # a stray point is no cluster
    share = torch.bincount(clusters, minlength=8)[1:] / 700
    assert (
        share - 1 / 7
    ).abs().max() < 0.05  # 1 to 7 clusters alike; with repeats, 7 would be met in 0.1 % of the sets


@pytest.mark.parametrize("dataset", ["modelnet10", "modelnet40"])
def test_evaluate_measures_against_the_vanilla_run_of_the_same_seed(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    stand_in = load_data("points", "digits", [], num_points=64)
    monkeypatch.setattr(runner, "load_data", lambda *args, **options: stand_in)
    folder = tmp_path / "sweep"
    sweep = [
        "sweep", "--recipe", "short", "--datasets", dataset, "--models", "pointnet", "--methods", "pointmixup",
        "vanilla", "--seeds", "0", "1", "--limit", "64", "--width", "4", "--epochs", "1", "--lr", "0.001", "--threads",
        "1", "--accelerator", "cpu", "--output", str(folder),
    ]  # fmt: skip
    assert main(sweep) == 0
    assert main(["evaluate", str(folder), "--modelnet-c", "--accelerator", "cpu", "--threads", "1"]) == 0
    assert "mCE against vanilla" in capsys.readouterr().out
    scores = {path.parent.name: json.loads(path.read_text())["scores"] for path in folder.rglob("evaluation.json")}
    assert sorted(scores) == ["pointmixup-s0", "pointmixup-s1", "vanilla-s0", "vanilla-s1"]
    for seed in (0, 1):
        mine, other = scores[f"pointmixup-s{seed}"], scores[f"vanilla-s{seed}"]
        assert other["mCE against vanilla"]["mce"] == pytest.approx(1)
        ratios = []
        for name in DGCNN_ACCURACY:
            errors = [
                sum(100 - run[f"modelnet-c {name} {level}"]["accuracy"] for level in range(1, 6))
                for run in (mine, other)
            ]
            ratios.append(errors[0] / errors[1])
        assert mine["mCE against vanilla"]["mce"] == pytest.approx(sum(ratios) / 7)
        assert ("mCE against published DGCNN" in mine) == (dataset == "modelnet40")
