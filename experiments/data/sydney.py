"""Sydney Urban Objects (Quadros, Underwood, Douillard 2013): single objects from street scans of a Velodyne."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments.base.errors import ExperimentError
from experiments.data.arrays import FARTHEST, read_npz
from experiments.data.base import Augmented, DataSet, find_first, names_of
from experiments.data.points import to_unit_sphere, turn

FILE = "sydney_urban_objects.npz"
ARRAYS = ("points", "offsets", "labels", "fold", "classes", "benchmark_classes")
FOLDS = range(4)
NO_FOLD = 255  # of objects that are not in the benchmark
NUM_POINTS = 256
JITTER = 0.01
JITTER_LIMIT = 0.05
UPRIGHT = torch.tensor([1.0, -1.0, -1.0])


def scale_turn_jitter(points: Tensor, generator: torch.Generator) -> Augmented:
    """Scale each axis of each object by U[2/3, 3/2], turn it about z (up), and shake each point a little.

    Args:
        points: (B, N, 3).
        generator: CPU generator of all draws.

    Returns:
        (B, N, 3) float32, all points in place. The jitter is normal, of deviation 0.01 along each axis, cut at 0.05.
    """
    scale = torch.empty(len(points), 1, 3).uniform_(2 / 3, 3 / 2, generator=generator)
    angle = 2 * math.pi * torch.rand(len(points), 1, generator=generator)
    jitter = (JITTER * torch.randn(points.shape, generator=generator)).clamp_(-JITTER_LIMIT, JITTER_LIMIT)
    scale, angle, jitter = (draw.to(points.device) for draw in (scale, angle, jitter))
    return Augmented(turn(points.float() * scale, angle.cos(), angle.sin(), "z") + jitter)


def resample(count: int, wanted: int, generator: torch.Generator) -> Tensor:
    """Which of `count` points stand for an object that is to have `wanted`, (wanted,) long, in random order.

    No point is taken once more than another: where there are enough, each is taken once at most.
    """
    rounds = -(-wanted // count)
    return torch.cat([torch.randperm(count, generator=generator) for _ in range(rounds)])[:wanted]


def load_sydney(roots: Sequence[Path], num_points: int | None = None, *, fold: int) -> DataSet:
    """The benchmark: 588 objects of 14 classes in four official folds; intensity is left out.

    An object has 13 to 13,704 points and is resampled to `num_points`, by a choice that depends on its place in the
    file alone, so that all folds hold the same objects.

    Args:
        roots: folders, the first of which that holds `sydney_urban_objects.npz` is read.
        num_points: points per object, 256 by default.
        fold: the official fold to test on, 0 ... 3; the other three are trained on.

    Returns:
        (n, num_points, 3) float32, z up, in the unit sphere.

    Raises:
        ExperimentError: the file is absent or damaged.
    """
    path = find_first(roots, FILE)
    if path is None:
        raise ExperimentError(
            f"{FILE} is not in {names_of(roots)}: it holds points (in millimetres, z down), offsets, labels, fold, "
            "classes and benchmark_classes, made from https://www.acfr.usyd.edu.au/papers/SydneyUrbanObjectsDataset."
            "shtml; put it there or name its folder with --data-root."
        )
    arrays = _read(path)
    num_points = NUM_POINTS if num_points is None else num_points
    offsets, folds = arrays["offsets"].astype(np.int64), arrays["fold"]
    generator = torch.Generator().manual_seed(0)
    chosen = np.flatnonzero(folds != NO_FOLD)
    objects = torch.empty(len(chosen), num_points, 3)
    for i, k in enumerate(chosen):
        # half a turn about x brings up what is down, and leaves right hands right, as a mirrored z would not
        own = torch.from_numpy(arrays["points"][offsets[k] : offsets[k + 1]].astype(np.float32)) * UPRIGHT
        objects[i] = own[resample(len(own), num_points, generator)]
    objects = to_unit_sphere(objects)
    names = [str(name) for name in arrays["benchmark_classes"]]
    place = {int(label): names.index(str(arrays["classes"][label])) for label in set(arrays["labels"][chosen])}
    labels = torch.tensor([place[int(label)] for label in arrays["labels"][chosen]])
    test = torch.from_numpy(folds[chosen] == fold)
    return DataSet(
        name=f"sydney-fold{fold}",
        title=f"Sydney Urban Objects, fold {fold}",
        domain="points",
        classes=tuple(names),
        train=objects[~test],
        train_labels=labels[~test],
        test=objects[test],
        test_labels=labels[test],
        augment=scale_turn_jitter,
        augmentation="scale per axis by 2/3 to 3/2, turn about z, jitter 0.01 up to 0.05",
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    """The wanted arrays, checked against each other."""
    arrays = read_npz(path, ARRAYS)
    points, offsets, labels, folds = (arrays[name] for name in ("points", "offsets", "labels", "fold"))
    count = len(labels) if labels.ndim == 1 else -1
    if points.ndim != 2 or points.shape[1] != 3 or offsets.shape != (count + 1,) or folds.shape != (count,):
        shapes = ", ".join(f"{name} {arrays[name].shape}" for name in ("points", "offsets", "labels", "fold"))
        raise ExperimentError(f"{path} is not the expected file: {shapes}, wanted (p, 3), (n + 1,), (n,) and (n,).")
    kinds = {"points": "iuf", "offsets": "iu", "labels": "iu", "fold": "iu", "classes": "U", "benchmark_classes": "U"}
    strange = [name for name, kind in kinds.items() if arrays[name].dtype.kind not in kind]
    if strange or any(arrays[name].ndim != 1 for name in ("classes", "benchmark_classes")):
        contents = ", ".join(f"{name} of {arrays[name].dtype}" for name in strange) or "classes in a table"
        raise ExperimentError(f"{path} is not the expected file: {contents}.")
    benchmark = {str(name) for name in arrays["benchmark_classes"]}
    sound = (
        bool((np.abs(points.astype(np.float64)) <= 1000 * FARTHEST).all())  # millimetres
        and (int(offsets[0]), int(offsets[-1])) == (0, len(points))
        and bool((np.diff(offsets.astype(np.int64)) > 0).all())
        and bool(((labels >= 0) & (labels < len(arrays["classes"]))).all())
        and set(folds.tolist()) - {NO_FOLD} == set(FOLDS)
        and {str(arrays["classes"][label]) for label in labels[folds != NO_FOLD]} <= benchmark
    )
    if not sound:
        raise ExperimentError(f"{path} is damaged: points, offsets, labels, fold or classes hold impossible values.")
    return arrays
