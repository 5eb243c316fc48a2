"""HDF5 files of point sets, the form of ModelNet40, ScanObjectNN and ShapeNetPart: reading and checking them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import torch
from torch import Tensor

from experiments.base.errors import ExperimentError
from experiments.data.arrays import DAMAGE, check_size, decode, labels_of, points_of

MOST_UNPACKED = 1000  # bytes out of one that is stored, in an array of more than LARGE bytes
LARGE = 2**26


class Shapes(NamedTuple):
    """Point sets (n, N, 3) float32, their labels (n,) long and their parts (n, N) long, where they have any."""

    points: Tensor
    labels: Tensor
    parts: Tensor | None


def listed_files(folder: Path, list_name: str, source: str) -> list[Path]:
    """The files that a list in `folder` names, which lie beside it whatever folders the list says.

    Raises:
        ExperimentError: the list or a file of it is absent; `source` says where to get them.
    """
    path = folder / list_name
    if not path.is_file():
        raise ExperimentError(f"{folder} lacks {list_name}: {source}.")
    lines = decode(path.read_bytes()).splitlines()
    files = [folder / Path(line.strip()).name for line in lines if line.strip()]
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise ExperimentError(f"{folder} lacks {', '.join(missing) or 'the files'} of its {list_name}: {source}.")
    return files


def read_shapes(files: Sequence[Path], num_labels: int, num_parts: int = 0) -> Shapes:
    """Read `data` (n, N, 3), `label` (n,) or (n, 1) and, where there are parts, `pid` (n, N) of files, end to end.

    Raises:
        ExperimentError: a file cannot be read, or holds other shapes, infinite coordinates or impossible labels.
    """
    read = [_read(file, num_labels, num_parts) for file in files]
    points = {shapes.points.shape[1] for shapes in read}
    if len(points) > 1:
        raise ExperimentError(f"{files[0].parent} holds files of different numbers of points: {sorted(points)}.")
    parts = [shapes.parts for shapes in read if shapes.parts is not None]
    return Shapes(
        torch.cat([shapes.points for shapes in read]),
        torch.cat([shapes.labels for shapes in read]),
        torch.cat(parts) if parts else None,
    )


def _read(path: Path, num_labels: int, num_parts: int) -> Shapes:
    """One file."""
    wanted = ("data", "label", "pid") if num_parts else ("data", "label")
    try:
        with h5py.File(path, "r") as file:
            missing = [name for name in wanted if file.get(name, getlink=True) is None]
            if missing:
                raise ExperimentError(f"{path} is not the expected file: it lacks {', '.join(missing)}.")
            arrays = {name: _array(file, name) for name in wanted}
    except DAMAGE as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ExperimentError(f"{path} is damaged and cannot be read ({reason}): get it again.") from error
    points, labels = arrays["data"], arrays["label"]
    count = len(points) if points.ndim else 0
    if points.ndim != 3 or points.shape[2] != 3 or labels.shape not in {(count,), (count, 1)} or points.size == 0:
        raise ExperimentError(
            f"{path} is not the expected file: data is {points.shape} and label {labels.shape}, wanted (n, N, 3) and "
            "(n, 1)."
        )
    coordinates = points_of(path, "data", points).float()
    classes = labels_of(path, "label", labels.reshape(-1), num_labels)
    if not num_parts:
        return Shapes(coordinates, classes, None)
    if arrays["pid"].shape != points.shape[:2]:
        raise ExperimentError(
            f"{path} is not the expected file: pid is {arrays['pid'].shape}, wanted {points.shape[:2]}."
        )
    return Shapes(coordinates, classes, labels_of(path, "pid", arrays["pid"], num_parts))


def _array(file: h5py.File, name: str) -> np.ndarray:
    """A data set that lies in the file itself: nothing is read of files that it names, and no more than there is."""
    stored = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(stored, h5py.Dataset) or stored.is_virtual or stored.external:
        raise ValueError(f"{name} is no array within the file")
    if stored.shape is None or stored.dtype.kind not in "iuf":
        raise ValueError(f"{name} holds {stored.dtype}, not finite numbers")
    check_size(name, stored.size * stored.dtype.itemsize)
    if stored.size * stored.dtype.itemsize > max(LARGE, MOST_UNPACKED * stored.id.get_storage_size()):
        raise ValueError(f"{name} claims to be {stored.shape}, of which the file holds next to nothing")
    array = np.asarray(stored)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
