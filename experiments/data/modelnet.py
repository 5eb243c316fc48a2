"""ModelNet10 (Wu et al. 2015) as modelnet10.npz: 1,024 points a shape, official split."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.data.base import DataSet, find_first, names_of
from experiments.data.points import AUGMENTATION, first_points, scale_shift_shuffle
from experiments.errors import ExperimentError

FILE = "modelnet10.npz"


def load_modelnet10(roots: Sequence[Path], num_points: int | None = None) -> DataSet:
    """ModelNet10: 3,991 shapes to train on and 908 to test, (1024, 3) float16 in the unit sphere, 10 classes.

    Args:
        roots: folders, the first of which that holds `modelnet10.npz` is read.
        num_points: the first so many points of each shape, all by default.

    Raises:
        ExperimentError: the file is absent or damaged.
    """
    path = find_first(roots, FILE)
    if path is None:
        raise ExperimentError(
            f"{FILE} is not in {names_of(roots)}: it holds points_train and points_test (n, 1024, 3), labels_train, "
            "labels_test and classes, sampled from the meshes of https://modelnet.cs.princeton.edu; put it there or "
            "name its folder with --data-root."
        )
    arrays = _read(path)
    parts: dict[str, Any] = {}
    for part in ("train", "test"):
        points, labels = arrays[f"points_{part}"], arrays[f"labels_{part}"]
        if points.ndim != 3 or points.shape[2] != 3 or labels.shape != points.shape[:1]:
            raise ExperimentError(
                f"{path} is not the expected file: points_{part} is {points.shape} and labels_{part} {labels.shape}, "
                "wanted (n, N, 3) and (n,)."
            )
        if not np.isfinite(points).all() or labels.min() < 0 or labels.max() >= len(arrays["classes"]):
            raise ExperimentError(f"{path} is damaged: points_{part} or labels_{part} holds impossible values.")
        parts[part] = first_points(torch.from_numpy(points), num_points, FILE)
        parts[f"{part}_labels"] = torch.from_numpy(labels.astype(np.int64))
    return DataSet(
        name="modelnet10",
        title="ModelNet10",
        domain="points",
        classes=tuple(str(name) for name in arrays["classes"]),
        augment=scale_shift_shuffle,
        augmentation=f"{AUGMENTATION}, shuffle",
        **parts,
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    """The wanted arrays, each decompressed once."""
    wanted = ("points_train", "labels_train", "points_test", "labels_test", "classes")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in wanted if name not in file.files]
            if missing:
                raise ExperimentError(f"{path} is not the expected file: it lacks {', '.join(missing)}.")
            arrays = {name: file[name] for name in wanted}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ExperimentError(f"{path} is damaged and cannot be read ({error}): get it again.") from error
    if arrays["points_train"].size == 0 or arrays["points_test"].size == 0:
        raise ExperimentError(f"{path} is not the expected file: it has no samples.")
    return arrays
