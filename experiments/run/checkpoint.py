"""Checkpoints of a run: everything that decides how it goes on, in one file that is whole or not there.

A file is what `torch.save` writes, a ZIP archive, whose comment is the SHA-256 of every byte before it: ZIP's own sums
leave out its directory, which says where in the file a tensor lies.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from experiments.base.errors import ExperimentError
from experiments.base.files import write_whole
from experiments.data.base import DataSet
from experiments.data.fingerprint import fingerprint
from experiments.run.config import Config
from experiments.run.records import EpochRecord

FORMAT = 2
MARK = b"mixkit sha256 "  # what stands before the sum at the end of a file
SUM = len(MARK) + 2 * hashlib.sha256().digest_size  # bytes
END = b"PK\5\6"  # how the last record of a ZIP archive begins, 22 bytes where there is no comment
DAMAGE = (
    OSError, RuntimeError, EOFError, LookupError, TypeError, ValueError, AttributeError, BadZipFile,
    pickle.UnpicklingError,
)  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """Which run a checkpoint is of.

    Attributes:
        config: `Config.values`.
        data: `fingerprint` of what it is trained and tested on.
    """

    config: dict[str, Any]
    data: dict[str, Any]

    @staticmethod
    def of(config: Config, data: DataSet) -> Origin:
        """The origin of a run's checkpoints."""
        return Origin(config.values(), fingerprint(data))


def save_checkpoint(
    path: Path,
    *,
    model: nn.Module,
    optimizer: Optimizer,
    schedule: LRScheduler,
    bank: Any = None,
    mixer: nn.Module | None = None,
    records: list[EpochRecord],
    origin: Origin | None = None,
    devices: int = 1,
) -> None:
    """Write a checkpoint after an epoch, atomically.

    Randomness needs no state: every epoch's draws are seeded by the run's seed and the epoch (`train.seed_of`).

    Raises:
        RunStoppedError: the disk is full; the checkpoint before stays as it was.
    """
    content = {
        "format": FORMAT,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "bank": None if bank is None else bank.state_dict(),
        "mixer": None if mixer is None else mixer.state_dict(),
        "records": [asdict(record) for record in records],
        "origin": None if origin is None else asdict(origin),
        "devices": devices,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(path, seal(buffer.getvalue()))


def seal(saved: bytes) -> bytes:
    """What `torch.save` made, with its sum as the archive's comment: `torch.load` reads it as before."""
    content = saved[:-2] + SUM.to_bytes(2, "little") + MARK  # a comment's length are the archive's last two bytes
    return content + hashlib.sha256(content).hexdigest().encode()


def _unseal(path: Path) -> bytes:
    """The bytes of a file whose sum is right; ValueError says what is wrong with it otherwise."""
    content = path.read_bytes()
    if content[-22:-18] == END:
        raise ValueError("it has no checksum: an older version of mixkit wrote it, and this one does not read it")
    start = len(content) - SUM + len(MARK)
    if start < len(MARK) or content[start - len(MARK) : start] != MARK:
        raise ValueError("it does not end with its checksum")
    if hashlib.sha256(content[:start]).hexdigest().encode() != content[start:]:
        raise ValueError("its checksum is of another content")
    return content


def load_checkpoint(path: Path, device: torch.device | str = "cpu", hint: str = "") -> dict[str, Any]:
    """What `save_checkpoint` wrote; its records are `EpochRecord`s again.

    Args:
        path: the file.
        device: where its tensors are to be.
        hint: what to say besides where it is damaged.

    Raises:
        ExperimentError: there is none, it is damaged, or it is of an older version, without a checksum. Nothing is read
            of a file whose checksum is not that of all its bytes.
    """
    try:
        content = torch.load(io.BytesIO(_unseal(path)), map_location=device, weights_only=True)
        if content["format"] != FORMAT:
            raise ExperimentError(f"the checkpoint {path} has format {content['format']}, this version reads {FORMAT}.")
        content["records"] = [EpochRecord(**record) for record in content["records"]]
        origin = content.get("origin")  # older files have none
        content["origin"] = None if origin is None else Origin(**origin)
    except FileNotFoundError as error:
        raise ExperimentError(f"there is no checkpoint {path}.") from error
    except DAMAGE as error:
        first = str(error).strip().split("\n")[0][:160]
        raise ExperimentError(f"the checkpoint {path} is damaged ({first}){hint}.") from error
    return content


def restore(
    content: dict[str, Any],
    *,
    model: nn.Module,
    optimizer: Optimizer,
    schedule: LRScheduler,
    bank: Any = None,
    mixer: nn.Module | None = None,
    devices: int = 1,
) -> list[EpochRecord]:
    """Put a checkpoint's state back; returns the records of the epochs behind it.

    Raises:
        ExperimentError: the checkpoint is of another model, or of a run that so many devices would not go on alike.
    """
    if (before := content.get("devices", 1)) != devices:
        raise ExperimentError(f"the run began on {before} devices, whose draws differ from those of {devices}.")
    try:
        model.load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
        schedule.load_state_dict(content["schedule"])
        if bank is not None:
            bank.load_state_dict(content["bank"])
        if mixer is not None and content.get("mixer") is not None:  # older files have none
            mixer.load_state_dict(content["mixer"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        first = str(error).strip().split("\n")[0][:160]
        raise ExperimentError(f"the checkpoint is of another model or optimiser: {first}.") from error
    return content["records"]
