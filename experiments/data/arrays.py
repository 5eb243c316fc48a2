"""Arrays out of files that may be damaged or claim what is not there: their types, sizes and values are checked."""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments.base.errors import ExperimentError

MOST = 4 * 2**30  # bytes of an array
FARTHEST = 1e6  # a coordinate, in any unit that a data set has; squares of it are exact enough in float32
#: What reading a damaged NumPy archive may raise.
DAMAGE = (
    OSError, ValueError, TypeError, EOFError, AttributeError, LookupError, NotImplementedError, RuntimeError,
    OverflowError, MemoryError, SyntaxError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
    tokenize.TokenError,
)  # fmt: skip
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: Path, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    """The wanted arrays of a NumPy archive, each decompressed once, in the machine's byte order; no pickles.

    Raises:
        ExperimentError: the file is damaged, lacks some of them, or they are larger than `MOST`.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            names = packed.namelist()
            if missing := [name for name in wanted if f"{name}.npy" not in names]:
                raise ExperimentError(f"{path} is not the expected file: it lacks {', '.join(missing)}.")
            return {name: _read(packed, f"{name}.npy") for name in wanted}
    except DAMAGE as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ExperimentError(f"{path} is damaged and cannot be read ({reason}): get it again.") from error


def _read(packed: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array whose header claims no more than there is."""
    with packed.open(name) as member:
        version = np.lib.format.read_magic(member)
        if version not in HEADERS:
            raise ValueError(f"{name} has version {version}")
        shape, _, dtype = HEADERS[version](member)
        size, held = math.prod(shape) * dtype.itemsize, packed.getinfo(name).file_size - member.tell()
        if size != held and not dtype.hasobject:
            raise ValueError(f"{name} claims {size:,} bytes and has {held:,}")
        check_size(name, size)
    with packed.open(name) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def check_size(name: str, size: int) -> None:
    """ValueError where an array of so many bytes is more than any data set's."""
    if size > MOST:
        raise ValueError(f"{name} is larger than {MOST >> 30} GiB")


def points_of(path: Path, name: str, points: np.ndarray) -> Tensor:
    """Coordinates as a tensor, float16 as it is and any other as float32.

    Raises:
        ExperimentError: they are no floating point numbers, not finite, or farther away than `FARTHEST`.
    """
    if points.dtype.kind != "f" or not (np.abs(points) <= min(FARTHEST, float(np.finfo(points.dtype).max))).all():
        raise ExperimentError(
            f"{path} is damaged: {name} holds coordinates that are not finite numbers within {FARTHEST:,.0f}."
        )
    return torch.from_numpy(points if points.dtype == np.float16 else points.astype(np.float32))


def labels_of(path: Path, name: str, labels: np.ndarray, count: int) -> Tensor:
    """Labels as a tensor of long; a file may hold them as floats.

    Raises:
        ExperimentError: a value is not one of 0 ... count - 1.
    """
    numbers = labels.dtype.kind in "iuf"
    if not numbers or not ((labels >= 0) & (labels < count) & (labels == np.floor(labels))).all():
        raise ExperimentError(f"{path} is damaged: {name} holds values that are not labels, 0 ... {count - 1}.")
    return torch.from_numpy(labels.astype(np.int64))


def decode(content: bytes) -> str:
    """The text of a file of names in whatever encoding: UTF-8 or UTF-16 with its mark, else Latin-1."""
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return content.decode("latin-1")
