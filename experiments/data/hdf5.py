"""HDF5 files of point sets, the form of ModelNet40, ScanObjectNN and ShapeNetPart: reading and checking them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import torch
from torch import Tensor

from experiments.errors import ExperimentError


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
    files = [folder / Path(line.strip()).name for line in path.read_text().splitlines() if line.strip()]
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
            missing = [name for name in wanted if name not in file]
            if missing:
                raise ExperimentError(f"{path} is not the expected file: it lacks {', '.join(missing)}.")
            arrays = {name: np.asarray(file[name]) for name in wanted}
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise ExperimentError(f"{path} is damaged and cannot be read ({error}): get it again.") from error
    points, labels = arrays["data"], arrays["label"]
    count = len(points) if points.ndim else 0
    if points.ndim != 3 or points.shape[2] != 3 or labels.shape not in {(count,), (count, 1)} or points.size == 0:
        raise ExperimentError(
            f"{path} is not the expected file: data is {points.shape} and label {labels.shape}, wanted (n, N, 3) and "
            "(n, 1)."
        )
    if points.dtype.kind != "f" or not np.isfinite(points).all():
        raise ExperimentError(f"{path} is damaged: data holds coordinates that are not finite numbers.")
    _check_range(path, "label", labels, num_labels)
    parts = None
    if num_parts:
        if arrays["pid"].shape != points.shape[:2]:
            raise ExperimentError(
                f"{path} is not the expected file: pid is {arrays['pid'].shape}, wanted {points.shape[:2]}."
            )
        _check_range(path, "pid", arrays["pid"], num_parts)
        parts = torch.from_numpy(arrays["pid"].astype(np.int64))
    return Shapes(
        torch.from_numpy(points.astype(np.float32)), torch.from_numpy(labels.reshape(-1).astype(np.int64)), parts
    )


def _check_range(path: Path, name: str, labels: np.ndarray, count: int) -> None:
    """ExperimentError where a label is not a whole number of 0 ... count - 1."""
    if labels.dtype.kind not in "iuf" or not np.isin(labels, np.arange(count)).all():
        raise ExperimentError(f"{path} is damaged: {name} holds values that are not labels, 0 ... {count - 1}.")
