"""For Lightning, under either of its names; nothing else here imports it."""

from __future__ import annotations

import importlib
import math
import sys
import warnings
from typing import Any

from torch import nn

from mixkit.bank import SaliencyBank
from mixkit.mixer import Mixer
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
    expects, so accumulated batches have the same one, and a run that goes on needs no count. With manual optimisation,
    where a batch may be any number of steps, it is the share of the batches, or of ``max_steps`` where that ends first.

    Raises:
        ValueError: when training starts: no schedule in the module, or a trainer whose run has no end.
    """

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Find the schedules, and tell them before the first batch is made."""
        if not _schedules(pl_module):
            raise ValueError(f"ScheduleCallback found no mixer with a schedule in {type(pl_module).__name__}")
        if not 0 < trainer.estimated_stepping_batches < math.inf:  # -1: epochs of a loader without a length
            raise ValueError(
                "a run without end has no shares: give the Trainer max_steps, or max_epochs and a loader with a length"
            )
        self.on_train_batch_start(trainer, pl_module)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any = None, batch_idx: int = 0) -> None:
        """Tell the schedules where the run is."""
        if pl_module.automatic_optimization:
            share = trainer.global_step / trainer.estimated_stepping_batches
        else:
            share = _share_of_batches(trainer, batch_idx)
        for schedule in _schedules(pl_module):
            schedule.share = min(share, 1.0)


class BankCallback(_Callback):
    """Keeps every `mixkit.SaliencyBank` of the LightningModule's mixers in the checkpoints, and processes in agreement.

    ``Trainer(callbacks=[BankCallback()])``. A bank is no module, so no checkpoint holds it by itself, and a run that is
    resumed would begin with uniform saliency again. Where there are several processes, they merge what they have learnt
    at the end of each epoch (`SaliencyBank.sync`).

    Raises:
        ValueError: when training starts: no bank in the module. When a checkpoint is loaded: it is of another number of
            samples or elements, or has another mixer's banks.
    """

    KEY = "mixkit_banks"

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Find the banks."""
        if not _banks(pl_module):
            raise ValueError(f"BankCallback found no mixer with a SaliencyBank in {type(pl_module).__name__}")

    def on_train_epoch_end(self, trainer: Any, pl_module: nn.Module) -> None:
        """Merge what the processes have learnt."""
        for bank in _banks(pl_module).values():
            bank.sync()

    def on_save_checkpoint(self, trainer: Any, pl_module: nn.Module, checkpoint: dict[str, Any]) -> None:
        """Put the banks' states in."""
        checkpoint[self.KEY] = {name: bank.state_dict() for name, bank in _banks(pl_module).items()}

    def on_load_checkpoint(self, trainer: Any, pl_module: nn.Module, checkpoint: dict[str, Any]) -> None:
        """Take the banks' states out; a checkpoint that was made without this callback has none, which is a warning."""
        banks, states = _banks(pl_module), checkpoint.get(self.KEY)
        if states is None:
            warnings.warn("the checkpoint has no saliency banks: they start anew", stacklevel=2)
            return
        if banks.keys() != states.keys():
            raise ValueError(f"the checkpoint has the banks of {sorted(states)}, the module those of {sorted(banks)}")
        for name, bank in banks.items():
            bank.load_state_dict(states[name])


def _banks(module: nn.Module) -> dict[str, SaliencyBank]:
    """The banks by the names of their mixers; one that several mixers share by the first one's."""
    banks: dict[str, SaliencyBank] = {}
    for name, each in module.named_modules():
        bank = each.saliency if isinstance(each, Mixer) else None
        if isinstance(bank, SaliencyBank) and bank not in banks.values():
            banks[name] = bank
    return banks


def _schedules(module: nn.Module) -> list[Schedule]:
    """The schedules of a module's mixers, and of what it keeps that is no module, as `mixkit_image.TimmMixup`."""
    schedules = [each for each in module.modules() if isinstance(each, Schedule)]
    kept = [value for each in module.modules() for value in vars(each).values()]
    beside = [getattr(value, "__dict__", {}).get("schedule") for value in kept]
    return schedules + [each for each in beside if isinstance(each, Schedule)]


def _share_of_batches(trainer: Any, batch_idx: int) -> float:
    """How much of a run is done before a batch of an epoch, by batches, or by steps where ``max_steps`` ends it."""
    by_steps = trainer.global_step / trainer.max_steps if trainer.max_steps > 0 else 0.0
    if trainer.max_epochs is None or trainer.max_epochs < 0:
        return by_steps
    epochs = trainer.current_epoch + batch_idx / trainer.num_training_batches
    return max(epochs / trainer.max_epochs, by_steps)
