"""ModelNet10 and ModelNet40 (Wu et al. 2015) as NumPy archives, which `python -m experiments prepare` makes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.base.errors import ExperimentError
from experiments.data.arrays import decode, labels_of, points_of, read_npz
from experiments.data.base import DataSet, find_first, names_of
from experiments.data.points import AUGMENTATION, first_points, scale_shift_shuffle

MESHES = "https://modelnet.cs.princeton.edu"
SPLITS = ("train", "test")


def load_modelnet10(roots: Sequence[Path], num_points: int | None = None) -> DataSet:
    """ModelNet10: 3,991 shapes to train on and 908 to test, (1024, 3) in the unit sphere, 10 classes.

    Args:
        roots: folders, the first of which that holds the archive is read.
        num_points: the first so many points of each shape, all by default.

    Raises:
        ExperimentError: the archive is absent or damaged.
    """
    files = find_archive(roots, "modelnet10")
    if files is None:
        raise ExperimentError(absent(roots, "modelnet10"))
    return read_archive(files, "modelnet10", "ModelNet10", num_points)


def find_archive(roots: Sequence[Path], name: str) -> tuple[Path, Path] | None:
    """The files of the training and the test shapes, one file where NAME.npz holds both; None where there are none."""
    whole = find_first(roots, f"{name}.npz")
    if whole is not None:
        return whole, whole
    train, test = (find_first(roots, f"{name}_{split}.npz") for split in SPLITS)
    if train is None and test is None:
        return None
    if train is None or test is None:
        present, lacking = (train, "test") if test is None else (test, "train")
        raise ExperimentError(f"{present} is there, but {name}_{lacking}.npz is not in {names_of(roots)}.")
    return train, test


def absent(roots: Sequence[Path], name: str) -> str:
    """What to say where there is no archive."""
    return (
        f"{name}.npz is not in {names_of(roots)}: it holds points_train and points_test (n, 1024, 3), labels_train, "
        f"labels_test and classes. `python -m experiments prepare {name} FOLDER` makes it of the meshes of {MESHES} "
        f"(or name its folder with --data-root)."
    )


def read_archive(files: tuple[Path, Path], name: str, title: str, num_points: int | None) -> DataSet:
    """The data set of an archive, or of two, one of each split.

    The coordinates are taken as they are. The meshes' z axis points up, and so it does in what `prepare` makes of them.

    Args:
        files: the files of the training and the test shapes; they may be one.
        name: the name of the data set.
        title: the title of the data set.
        num_points: the first so many points of each shape, all by default.

    Raises:
        ExperimentError: a file is damaged, or not of this form.
    """
    parts: dict[str, Any] = {}
    classes: list[tuple[str, ...]] = []
    for split, path in zip(SPLITS, files, strict=True):
        points, labels, names = read_npz(path, (f"points_{split}", f"labels_{split}", "classes")).values()
        if points.ndim != 3 or points.shape[2] != 3 or labels.shape != points.shape[:1] or names.ndim != 1:
            raise ExperimentError(
                f"{path} is not the expected file: points_{split} is {points.shape}, labels_{split} {labels.shape} and "
                f"classes {names.shape}, wanted (n, N, 3), (n,) and (K,)."
            )
        if points.size == 0:
            raise ExperimentError(f"{path} is not the expected file: it has no samples.")
        if names.dtype.kind not in "US":
            raise ExperimentError(f"{path} is damaged: classes holds values that are no names.")
        parts[split] = first_points(points_of(path, f"points_{split}", points), num_points, path.name)
        if labels.dtype.kind not in "iu":
            raise ExperimentError(
                f"{path} is damaged: labels_{split} holds values that are not labels, but {labels.dtype}."
            )
        parts[f"{split}_labels"] = labels_of(path, f"labels_{split}", labels, len(names))
        classes.append(tuple(decode(each) if isinstance(each, bytes) else each for each in names.tolist()))
    if classes[0] != classes[1]:
        raise ExperimentError(f"{files[0]} and {files[1]} do not belong together: they name other classes.")
    return DataSet(
        name=name,
        title=title,
        domain="points",
        classes=classes[0],
        augment=scale_shift_shuffle,
        augmentation=f"{AUGMENTATION}, shuffle",
        **parts,
    )
