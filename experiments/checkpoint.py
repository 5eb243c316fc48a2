"""Checkpoints of a run: everything that decides how it goes on, in one file that is whole or not there."""

from __future__ import annotations

import io
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from experiments.errors import ExperimentError
from experiments.files import write_whole
from experiments.train import EpochRecord

LAST, BEST = "last.ckpt", "best.ckpt"
FORMAT = 1
DAMAGE = (
    OSError, RuntimeError, EOFError, LookupError, TypeError, ValueError, AttributeError, BadZipFile,
    pickle.UnpicklingError,
)  # fmt: skip


def save_checkpoint(
    path: Path,
    *,
    model: nn.Module,
    optimizer: Optimizer,
    schedule: LRScheduler,
    bank: Any = None,
    records: list[EpochRecord],
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
        "records": [asdict(record) for record in records],
        "devices": devices,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(path, buffer.getvalue())


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What `save_checkpoint` wrote; its records are `EpochRecord`s again.

    Raises:
        ExperimentError: there is none, or it is damaged.
    """
    try:
        with ZipFile(path) as archive:  # torch.load does not compare checksums
            if (part := archive.testzip()) is not None:
                raise BadZipFile(f"wrong checksum of {part}")
        content = torch.load(path, map_location=device, weights_only=True)
        if content["format"] != FORMAT:
            raise ExperimentError(f"the checkpoint {path} has format {content['format']}, this version reads {FORMAT}.")
        content["records"] = [EpochRecord(**record) for record in content["records"]]
    except FileNotFoundError as error:
        raise ExperimentError(f"there is no checkpoint {path}.") from error
    except DAMAGE as error:
        first = str(error).strip().split("\n")[0][:120]
        other = path.with_name(BEST if path.name == LAST else LAST)
        also = f"; {other} is there too, `evaluate --best` reads it" if other.exists() and other.name == BEST else ""
        raise ExperimentError(f"the checkpoint {path} is damaged ({first}){also}.") from error
    return content


def restore(
    content: dict[str, Any],
    *,
    model: nn.Module,
    optimizer: Optimizer,
    schedule: LRScheduler,
    bank: Any = None,
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
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        first = str(error).strip().split("\n")[0][:160]
        raise ExperimentError(f"the checkpoint is of another model or optimiser: {first}.") from error
    return content["records"]
