"""A run's curves for TensorBoard."""

from __future__ import annotations

import logging
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from experiments.base.errors import RunStoppedError
from experiments.run.records import EpochRecord


class Board:
    """TensorBoard's event files of one run.

    Args:
        folder: where they are.
        first_epoch: what later epochs an earlier, killed run has written is not shown.
        scored: what the scores are of, "test" or "validation".

    Raises:
        RunStoppedError: they cannot be written.
    """

    def __init__(self, folder: Path, first_epoch: int, scored: str = "test") -> None:
        self.folder, self._scored = folder, scored
        try:
            self._writer = SummaryWriter(str(folder), purge_step=first_epoch)
        except OSError as error:
            raise RunStoppedError(f"{folder} cannot be written: {error.strerror}") from error

    def log(self, record: EpochRecord) -> None:
        """Write one epoch; RunStoppedError where that cannot be done."""
        values = {"train/loss": record.train_loss, "train/lr": record.lr, "time/step_ms": record.step_ms}
        values.update({} if record.mixed is None else {"train/mixed": record.mixed})
        values.update({} if record.overfit is None else {"train/overfit": record.overfit})
        values.update({f"{self._scored}/{name}": value for name, value in record.scores.items()})
        try:
            for name, value in values.items():
                self._writer.add_scalar(name, value, record.epoch)
            self._writer.flush()
        except OSError as error:
            raise RunStoppedError(f"{self.folder} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Write what is left; on the way out a full disk is a warning."""
        try:
            self._writer.close()
        except OSError as error:
            logging.getLogger(__name__).warning("%s cannot be written: %s", self.folder, error)
