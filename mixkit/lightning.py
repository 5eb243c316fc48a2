"""For Lightning, under either of its names; nothing else here imports it."""

from __future__ import annotations

import importlib
import math
import sys
from typing import Any

from torch import nn

from mixkit.schedule import Schedule

_NAMES = ("lightning.pytorch", "pytorch_lightning")


def _callback_class() -> Any:
    """Lightning's Callback: of the packages that are loaded already, else of the first one that is installed."""
    loaded = [importlib.import_module(name) for name in _NAMES if sys.modules.get(name)]
    for name in [] if loaded else _NAMES:
        try:
            loaded = [importlib.import_module(name)]
            break
        except ImportError as error:
            cause = error
    if not loaded:
        raise ImportError("mixkit.lightning needs the package lightning: pip install lightning") from cause
    return type("Callback", tuple(dict.fromkeys(module.Callback for module in loaded)), {})


_Callback: Any = _callback_class()


class ScheduleCallback(_Callback):
    """Tells every `mixkit.Schedule` in the LightningModule how much of the run is done, before each training batch.

    ``Trainer(callbacks=[ScheduleCallback()])``. The share is the optimiser's steps so far over all that the trainer
    expects, so accumulated batches have the same one, and a run that goes on needs no count.

    Raises:
        ValueError: when training starts: no schedule in the module, or a trainer whose run has no end.
    """

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Find the schedules, and tell them before the first batch is made."""
        if not _schedules(pl_module):
            raise ValueError(f"ScheduleCallback found no mixer with a schedule in {type(pl_module).__name__}")
        if not math.isfinite(trainer.estimated_stepping_batches):
            raise ValueError("a run without end has no shares: give the Trainer max_epochs or max_steps")
        self.on_train_batch_start(trainer, pl_module)

    def on_train_batch_start(self, trainer: Any, pl_module: nn.Module, *about: Any) -> None:
        """Tell the schedules where the run is."""
        share = min(trainer.global_step / trainer.estimated_stepping_batches, 1.0)
        for schedule in _schedules(pl_module):
            schedule.share = share


def _schedules(module: nn.Module) -> list[Schedule]:
    return [each for each in module.modules() if isinstance(each, Schedule)]
