"""Large tensors of data sets held once in memory, whichever number of processes on a machine train on them.

A tensor is a file named by the sum of its content, which every process maps into its memory: the system holds its pages
once.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.base.errors import RunStoppedError
from experiments.base.files import write_whole
from experiments.data.base import DataSet

SMALLEST = 2**24  # bytes; below it a copy for each process is no burden


class DataCache:
    """The last data set that was asked for, its large tensors shared with other processes.

    Args:
        folder: where the files are. Default None: nothing is shared.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._last: tuple[Hashable, DataSet] | None = None

    def get(self, key: Hashable, load: Callable[[], DataSet]) -> DataSet:
        """What `load` returns, called anew only where the key is not that of the last time."""
        if self._last is None or self._last[0] != key:
            self._last = None  # free before the next one is loaded
            data = load()
            self._last = key, data if self._folder is None else share(data, self._folder)
        return self._last[1]

    def clear(self) -> None:
        """Hold nothing any more."""
        self._last = None


def share(data: DataSet, folder: Path) -> DataSet:
    """The data set with its large samples mapped from files in a folder, which are made where they are not there.

    A folder that cannot be written, or a file that is not what its name says, leaves a tensor as it is.
    """
    changed: dict[str, Any] = {}
    for name in ("train", "test", "held"):
        tensor: Tensor | None = getattr(data, name)
        if tensor is not None and tensor.device.type == "cpu" and tensor.nbytes >= SMALLEST:
            changed[name] = _mapped(tensor.contiguous(), folder)
    return replace(data, **changed) if changed else data


def _mapped(tensor: Tensor, folder: Path) -> Tensor:
    numbers = tensor.view(torch.uint8).numpy()
    digest = hashlib.sha256(numbers).hexdigest()[:32]  # type: ignore[arg-type]  # an array is a buffer
    file = folder / f"{digest}.{str(tensor.dtype).removeprefix('torch.')}"
    try:
        if not file.is_file() or file.stat().st_size != tensor.nbytes:
            _write(file, numbers.tobytes())
        if file.is_symlink() or not os.access(file, os.R_OK):
            raise OSError(f"{file} is no file of ours")
        mapped = torch.from_file(str(file), shared=False, size=tensor.numel(), dtype=tensor.dtype)
    except (OSError, RuntimeError, RunStoppedError) as error:
        logging.getLogger(__name__).warning("data are not shared between processes: %s", error)
        return tensor
    mapped = mapped.view(tensor.shape)
    return mapped if torch.equal(mapped.view(torch.uint8), tensor.view(torch.uint8)) else tensor


def _write(file: Path, content: bytes) -> None:
    """Write a file that others may write at this moment: the first one stays, since it may be mapped already."""
    own = file.with_name(f"{file.name}.{os.getpid()}")
    write_whole(own, content)
    try:
        if file.is_file() and file.stat().st_size != len(content):  # a damaged one
            file.unlink(missing_ok=True)
        os.link(own, file)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        own.replace(file)
    own.unlink(missing_ok=True)
