"""ModelNet40 (Wu et al. 2015): modelnet40_ply_hdf5_2048, the release of PointNet's authors, or a NumPy archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from experiments.base.errors import ExperimentError
from experiments.data.arrays import decode
from experiments.data.base import DataSet, check_md5, find_first, names_of
from experiments.data.hdf5 import listed_files, read_shapes
from experiments.data.modelnet import find_archive, read_archive
from experiments.data.points import AUGMENTATION, first_points, scale_shift_shuffle

FOLDER = "modelnet40_ply_hdf5_2048"
ARCHIVE = f"{FOLDER}.zip"
MD5 = "c9ab8e6dfb16f67afdab25e155c79e59"  # of the archive
MIRROR = "Stanford's link to it is dead; a mirror, untested here, is Msun/modelnet40 on the Hugging Face hub"
SOURCE = f"unpack {ARCHIVE} (md5 {MD5}) again; {MIRROR}"
NUM_CLASSES = 40
NUM_POINTS = 1024


def _locate(roots: Sequence[Path]) -> Path:
    """The unpacked folder; every other state of affairs is a message."""
    folder = find_first(roots, FOLDER)
    if folder is not None:
        return folder
    archive = find_first(roots, ARCHIVE)
    if archive is not None:
        check_md5(archive, MD5, "get it again")
        raise ExperimentError(
            f"{archive} is not unpacked: run `python -m zipfile -e {archive} {archive.parent}`, then this again."
        )
    raise ExperimentError(
        f"ModelNet40 is not in {names_of(roots)}: put the folder {FOLDER} there, with train_files.txt, test_files.txt, "
        "shape_names.txt and the files that the first two name (ply_data_train0.h5 ... 4, ply_data_test0.h5, 1), from "
        f"{ARCHIVE} (md5 {MD5}), or name its parent folder with --data-root. {MIRROR}. Or "
        "`python -m experiments prepare modelnet40 FOLDER` makes modelnet40.npz of the meshes."
    )


def y_up(points: Tensor) -> Tensor:
    """Points (n, N, 3) of the meshes, whose z is up, as the official release has them: a quarter turn about x."""
    x, y, z = points.unbind(2)
    return torch.stack([x, z, -y], 2)


def load_modelnet40(roots: Sequence[Path], num_points: int | None = None) -> DataSet:
    """ModelNet40: 9,840 shapes to train on and 2,468 to test, in the unit sphere, 40 classes.

    The official release comes first, as the published figures are of it: y up, 2,048 points a shape. Without it a NumPy
    archive is read (`modelnet`): other points of the same meshes, turned so that y is up, 9,843 shapes to train on.

    Args:
        roots: folders, the first of which that holds `modelnet40_ply_hdf5_2048`, or else an archive, is read.
        num_points: the first so many of each shape's points; 1,024 by default, as the field does.

    Raises:
        ExperimentError: files absent, still in their zip archive, or damaged.
    """
    num_points = NUM_POINTS if num_points is None else num_points
    if find_first(roots, FOLDER) is None and (files := find_archive(roots, "modelnet40")) is not None:
        data = read_archive(files, "modelnet40", "ModelNet40 (resampled)", num_points)
        return replace(data, train=y_up(data.train), test=y_up(data.test))
    folder = _locate(roots)
    names = folder / "shape_names.txt"
    classes = tuple(decode(names.read_bytes()).split()) if names.is_file() else ()
    if len(classes) != NUM_CLASSES:
        raise ExperimentError(f"{names} is absent or does not name {NUM_CLASSES} classes: {SOURCE}.")
    train, test = (
        read_shapes(listed_files(folder, f"{part}_files.txt", SOURCE), NUM_CLASSES) for part in ("train", "test")
    )
    return DataSet(
        name="modelnet40",
        title="ModelNet40",
        domain="points",
        classes=classes,
        train=first_points(train.points, num_points, "ModelNet40"),
        train_labels=train.labels,
        test=first_points(test.points, num_points, "ModelNet40"),
        test_labels=test.labels,
        augment=scale_shift_shuffle,
        augmentation=f"{AUGMENTATION}, shuffle",
    )
