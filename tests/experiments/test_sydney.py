"""Sydney Urban Objects from a small file in its true format: folds, resampling, orientation, messages."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.base.errors import ExperimentError
from experiments.data import DATASETS, load_data, sydney
from tests.conftest import SAMPLES

COUNTS = (13, 40, 300, 7, 64, 1, 90, 25, 500, 11)
CLASSES = ("bench", "bus", "car", "tree")  # "bench" is not in the benchmark
LABELS = (1, 0, 2, 3, 1, 2, 3, 1, 2, 3)
FOLD = (0, 255, 1, 2, 3, 0, 1, 2, 3, 0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    points = rng.integers(-3000, 3000, (sum(COUNTS), 3)).astype(np.int16)
    return {
        "points": points,
        "offsets": np.cumsum([0, *COUNTS]).astype(np.int32),
        "intensity": rng.integers(0, 255, len(points)).astype(np.uint8),
        "labels": np.array(LABELS, np.uint8),
        "fold": np.array(FOLD, np.uint8),
        "classes": np.array(CLASSES),
        "benchmark_classes": np.array(("bus", "car", "tree")),
        "names": np.array([f"thing.{k}" for k in range(len(COUNTS))]),
        "centroid": rng.standard_normal((len(COUNTS), 3)).astype(np.float32),
    }


def write(root: Path, **changed: np.ndarray | None) -> Path:
    content = {**arrays(), **changed}
    np.savez_compressed(root / sydney.FILE, **{k: v for k, v in content.items() if v is not None})
    return root


def test_each_fold_is_tested_on_by_name_and_the_others_are_trained_on(tmp_path: Path) -> None:
    write(tmp_path)
    assert [name for name in DATASETS["points"] if "sydney" in name] == [f"sydney-fold{k}" for k in range(4)]
    for fold in range(4):
        data = load_data("points", f"sydney-fold{fold}", [tmp_path / "none", tmp_path], num_points=32)
        assert (data.name, data.classes) == (f"sydney-fold{fold}", ("bus", "car", "tree"))
        wanted = [(label - 1, own) for label, own in zip(LABELS, FOLD, strict=True) if own != 255]
        assert data.test_labels.tolist() == [label for label, own in wanted if own == fold]
        assert data.train_labels.tolist() == [label for label, own in wanted if own != fold]
        assert data.test.shape == (len(data.test_labels), 32, 3)
        assert data.train.dtype == torch.float32


@pytest.mark.parametrize("num_points", [12, 256, 512])
def test_objects_are_their_own_points_upright_each_as_often_as_any_other(tmp_path: Path, num_points: int) -> None:
    write(tmp_path)
    stored, offsets = arrays()["points"].astype(np.float64), np.cumsum([0, *COUNTS])
    for fold in range(4):
        data = load_data("points", f"sydney-fold{fold}", [tmp_path], num_points=num_points)
        mine = [k for k, own in enumerate(FOLD) if own == fold]
        for k, cloud in zip(mine, data.test.double().numpy(), strict=True):
            own = stored[offsets[k] : offsets[k + 1]] * [1, -1, -1]  # a rotation, its determinant is 1
            if len(own) == 1:
                assert not cloud.any()
                continue
            if num_points >= len(own):  # the whole object: undo the scale by what fits best, then look each point up
                counts = np.zeros(len(own), int)
                order = np.array([nearest(own, cloud, point) for point in cloud])
                np.add.at(counts, order, 1)
                assert counts.min() == num_points // len(own)
                assert counts.max() <= -(-num_points // len(own))
            assert np.linalg.norm(cloud, axis=1).max() == pytest.approx(1, abs=1e-5)
            assert cloud.mean(0) == pytest.approx([0, 0, 0], abs=1e-5)


def nearest(own: np.ndarray, cloud: np.ndarray, point: np.ndarray) -> int:
    """The stored point that lies where `point` does, extents taken for the scale and the shift."""
    low, high = own.min(0), own.max(0)
    scaled = (own - low) / (high - low)
    wanted = (point - cloud.min(0)) / (cloud.max(0) - cloud.min(0))
    distance = np.abs(scaled - wanted).max(1)
    assert distance.min() < 1e-4
    return int(distance.argmin())


def test_the_choice_of_points_is_fixed_and_the_same_in_all_folds(tmp_path: Path) -> None:
    write(tmp_path)
    first, second = (load_data("points", f"sydney-fold{fold}", [tmp_path]) for fold in (0, 1))
    assert first.train.shape == (6, 256, 3)
    every = {tuple(cloud.flatten().tolist()) for data in (first, second) for cloud in (*data.train, *data.test)}
    assert len(every) == 9


@pytest.mark.parametrize(("count", "wanted"), [(13, 256), (256, 256), (300, 256), (1, 5), (255, 256)])
def test_resample_takes_no_point_once_more_than_another(count: int, wanted: int) -> None:
    index = sydney.resample(count, wanted, generator())
    times = torch.bincount(index, minlength=count)
    assert len(index) == wanted
    assert times.min() == wanted // count
    assert times.max() == -(-wanted // count)


def test_augmentation_scales_turns_about_z_and_shakes() -> None:
    points = torch.randn(300, 40, 3, generator=generator(1)) * 0.3
    out, index = sydney.scale_turn_jitter(points, generator())
    assert index is None
    ratio = out[..., 2].std(1) / points[..., 2].std(1)  # along z there is the scale alone
    assert ratio.min() > 0.62
    assert ratio.max() < 1.6
    assert ratio.max() / ratio.min() > 2
    # in the plane: out = R S p, so that the singular values of the map are the scales and its determinant is positive
    plane = torch.linalg.lstsq(points[..., :2], out[..., :2]).solution
    singular = torch.linalg.svdvals(plane)
    assert (torch.linalg.det(plane) > 0).all()
    assert singular.min() > 0.62
    assert singular.max() < 1.6
    angle = torch.atan2(plane[:, 0, 1], plane[:, 0, 0])
    assert (torch.histc(angle, bins=4, min=-math.pi, max=math.pi) / 300 - 0.25).abs().max() < 0.08
    residual = out[..., :2] - points[..., :2] @ plane
    assert residual.std().item() == pytest.approx(0.01, rel=0.1)
    assert torch.equal(out, sydney.scale_turn_jitter(points, generator()).batch)


def test_absent_or_wrong_files_say_so(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"sydney_urban_objects\.npz is not in .*--data-root"):
        load_data("points", "sydney-fold0", [tmp_path])
    with pytest.raises(ExperimentError, match="no points data set 'sydney'"):
        load_data("points", "sydney", [tmp_path])
    (tmp_path / sydney.FILE).write_bytes(b"<html>not found</html>")
    with pytest.raises(ExperimentError, match=r"is damaged and cannot be read .*get it again"):
        load_data("points", "sydney-fold0", [tmp_path])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fold": None}, "lacks fold"),
        ({"points": np.zeros((9, 2), np.int16)}, r"points \(9, 2\)"),
        ({"offsets": np.zeros(4, np.int32)}, r"offsets \(4,\)"),
        ({"offsets": np.zeros(11, np.int32)}, "impossible values"),
        ({"labels": np.full(10, 4, np.uint8)}, "impossible values"),
        ({"fold": np.full(10, 2, np.uint8)}, "impossible values"),
        ({"benchmark_classes": np.array(("bus", "tree"))}, "impossible values"),
    ],
)
def test_damage_is_told(tmp_path: Path, changed: dict, message: str) -> None:
    write(tmp_path, **changed)
    with pytest.raises(ExperimentError, match=message):
        load_data("points", "sydney-fold0", [tmp_path])


def test_real_objects(tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "sydney_sample.npz", tmp_path / sydney.FILE)
    for fold in range(4):
        data = load_data("points", f"sydney-fold{fold}", [tmp_path])
        assert (len(data.train), len(data.test), len(data.classes)) == (27, 9, 14)
        named = [data.classes[label] for label in data.test_labels.tolist()]
        assert sorted(named) == ["car"] * 2 + ["pedestrian"] * 2 + ["pole"] * 2 + ["tree"] * 3
    trees = data.train[data.train_labels == data.classes.index("tree")]
    heights = trees[..., 2]
    # a tree's crown is wide and up, its trunk thin and down: points of the upper half lie further from the axis
    radius = trees[..., :2].norm(dim=2)
    up = torch.stack([r[h > 0].mean() - r[h <= 0].mean() for r, h in zip(radius, heights, strict=True)])
    assert up.nanmean() > 0
