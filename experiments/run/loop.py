"""The one training loop, for every domain, on Lightning Fabric; others decide what to train and what to write down."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

import mixkit
from experiments.base.clock import now
from experiments.base.errors import ExperimentError, RunStoppedError
from experiments.base.stopping import asked_to_stop
from experiments.data.base import DataSet
from experiments.data.corruptions import COMPARED
from experiments.run.config import Config
from experiments.run.mixing import Mixing
from experiments.run.optim import clean_loss_scale, make_loss, smooth
from experiments.run.records import EpochRecord
from experiments.run.tasks import Batch, Task, confidences, evaluate

ORDER, MODEL, MIXING, WATCHING = range(4)  # what is drawn, each with a stream of its own
TELLINGS = 20  # times in a run, at least, that a schedule is told how far the model overfits; not more than epochs


def seed_of(seed: int, purpose: int, epoch: int = 0, rank: int = 0) -> int:
    """The seed of one stream of draws, so that an epoch's do not depend on the epochs before it."""
    return int(np.random.SeedSequence((seed, purpose, epoch, rank)).generate_state(1, np.uint64)[0]) >> 1


@dataclass
class Learner:
    """What is trained: the model itself, what runs it (Fabric's wrapper), and what changes it."""

    model: nn.Module
    wrapped: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    task: Task
    mixing: Mixing | None


@dataclass(frozen=True)
class Watcher:
    """Who wants to hear of progress: of each step (its loss) and of each epoch."""

    step: Callable[[float], None] = lambda loss: None
    epoch: Callable[[EpochRecord], None] = lambda record: None


def train(
    fabric: Fabric,
    learner: Learner,
    data: DataSet,
    config: Config,
    *,
    first_epoch: int = 1,
    watcher: Watcher | None = None,
) -> None:
    """Train from an epoch on to the end, testing after every `config.test_every` epochs.

    Every method meets the same weights, batches and augmentation at the same seed; so does a run that goes on.

    Args:
        fabric: launched; decides devices and precision.
        learner: set up by `runner`.
        data: on the fabric's device.
        config: the run.
        first_epoch: where to go on.
        watcher: is told of every step and epoch. Only the first device tests, and its records have scores.

    Raises:
        RunStoppedError: the loss, a weight or a score is not finite, or a watcher could not write. Nothing of such an
            epoch is told to the watcher.
        ExperimentError: fewer training samples than a batch has, or a batch that the devices cannot share.
        KeyboardInterrupt: `stopping` heard a signal on one of the devices, told on all of them in the same step.
    """
    watcher = watcher or Watcher()
    steps = steps_per_epoch(data, config, fabric.world_size)
    loss_function, clean_scale = make_loss(config), clean_loss_scale(config, len(data.classes))
    follower = None if learner.mixing is None else learner.mixing.follower
    for epoch in range(first_epoch, config.epochs + 1):
        torch.manual_seed(seed_of(config.seed, MODEL, epoch, fabric.global_rank))
        if learner.mixing is not None:
            learner.mixing.generator.manual_seed(seed_of(config.seed, MIXING, epoch, fabric.global_rank))
        _same_buffers(fabric, learner.model)
        began, telling_seconds = now(fabric.device), 0.0
        if follower is not None and (epoch - 1) % max(1, config.epochs // TELLINGS) == 0:
            _tell(follower, fabric, learner, data, seed_of(config.seed, WATCHING, epoch))
            telling_seconds = now(fabric.device) - began
        learner.wrapped.train()
        losses: list[float] = []
        step_seconds: list[float] = []
        mixing_seconds = 0.0
        mixed: list[float] = []
        order = torch.Generator().manual_seed(seed_of(config.seed, ORDER, epoch))
        for batch in training_batches(data, config.batch_size, order, fabric.global_rank, fabric.world_size):
            if learner.mixing is not None:  # known here, so that a run that goes on needs no count
                learner.mixing.share = ((epoch - 1) * steps + len(losses)) / (config.epochs * steps)
            started = now(fabric.device)
            output, targets = learner.task.forward(learner.wrapped, batch, learner.mixing)
            loss = loss_function(output, smooth(targets, config.label_smoothing) if config.label_smoothing else targets)
            if learner.mixing is not None:
                loss = loss + clean_scale * learner.mixing.clean_loss
            losses.append(_mean_over_devices(fabric, loss))
            if not math.isfinite(losses[-1]):  # before the weights change: they stay sound
                raise RunStoppedError(f"the loss became {losses[-1]} in epoch {epoch}, step {len(losses)} of {steps}")
            learner.optimizer.zero_grad()
            fabric.backward(loss)
            learner.optimizer.step()
            learner.schedule.step()
            step_seconds.append(now(fabric.device) - started)
            mixing_seconds += 0.0 if learner.mixing is None else learner.mixing.seconds
            if learner.mixing is not None and learner.mixing.mixed is not None:
                mixed.append(float(learner.mixing.mixed))
            watcher.step(losses[-1])
        if learner.mixing is not None and learner.mixing.bank is not None and fabric.world_size > 1:
            learner.mixing.bank.sync()
        seconds = now(fabric.device) - began
        separable = learner.mixing is None or learner.mixing.separable
        record = EpochRecord(
            epoch=epoch,
            train_loss=statistics.fmean(losses),
            lr=float(learner.schedule.get_last_lr()[0]),
            seconds=seconds,
            step_ms=1000 * statistics.fmean(step_seconds),
            cost=1 + (mixing_seconds + telling_seconds) / (sum(step_seconds) - mixing_seconds) if separable else None,
            scores={},
            mixed=statistics.fmean(mixed) if mixed else None,
            overfit=None if follower is None else follower.overfit,
        )
        _end_epoch(fabric, learner, data, config, record, watcher)


def _end_epoch(
    fabric: Fabric, learner: Learner, data: DataSet, config: Config, record: EpochRecord, watcher: Watcher
) -> None:
    """Test, check and tell on the first device; what stops it there stops all of them."""
    trouble: str | None = None
    if fabric.is_global_zero:
        try:
            if record.epoch % config.test_every == 0 or record.epoch == config.epochs:
                record = replace(
                    record, scores=score(fabric, learner, data, config, last=record.epoch == config.epochs)
                )
            finite = all(bool(value.isfinite().all()) for value in learner.model.state_dict().values())
            if not finite or not all(map(math.isfinite, record.scores.values())):
                raise RunStoppedError(f"a weight or a score became infinite or not a number in epoch {record.epoch}")
            watcher.epoch(record)
        except RunStoppedError as error:
            trouble = str(error)
    else:
        watcher.epoch(record)
    trouble = fabric.broadcast(trouble)
    if trouble is not None:
        raise RunStoppedError(trouble)


def _same_buffers(fabric: Fabric, model: nn.Module) -> None:
    """BatchNorm's statistics of the first device on every one, as after a checkpoint: saliency reads them first."""
    if fabric.world_size > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, 0)


def _tell(follower: mixkit.Adaptive, fabric: Fabric, learner: Learner, data: DataSet, seed: int) -> None:
    """Tell a schedule how sure the model is of what it trains on and of what it does not.

    Every device finds it by itself: they have the same weights, samples and draws.
    """
    learner.model.eval()
    with fabric.autocast():
        follower.tell(*confidences(learner.task, learner.model, data, torch.Generator().manual_seed(seed)))


def _mean_over_devices(fabric: Fabric, loss: Tensor) -> float:
    """The mean loss; KeyboardInterrupt on all devices where one of them was asked to stop."""
    told = fabric.all_reduce(torch.stack([loss.detach(), torch.full_like(loss, asked_to_stop())]), reduce_op="mean")
    assert isinstance(told, Tensor)
    mean, asked = told.tolist()
    if asked:
        raise KeyboardInterrupt
    return mean


def score(fabric: Fabric, learner: Learner, data: DataSet, config: Config, *, last: bool = False) -> dict[str, float]:
    """Scores of the test samples, by the model itself.

    After the last epoch also at the temperature of the held-out samples, and under corruptions if the run wants them.
    """
    learner.model.eval()
    corruptions = COMPARED[config.domain] if last and config.corrupted and not config.parts else {}
    with fabric.autocast():
        return evaluate(learner.task, learner.model, data, scaled=last, corruptions=corruptions)


def steps_per_epoch(data: DataSet, config: Config, devices: int = 1) -> int:
    """How many whole batches the training samples make; ExperimentError where not even one."""
    steps = len(data.train) // config.batch_size
    if steps == 0:
        raise ExperimentError(
            f"a batch of {config.batch_size} is larger than the {len(data.train)} training samples of {data.name}: "
            "lower --batch-size or raise --limit."
        )
    if config.batch_size % devices:
        raise ExperimentError(f"a batch of {config.batch_size} cannot be shared by {devices} devices alike.")
    return steps


def training_batches(
    data: DataSet, size: int, generator: torch.Generator, rank: int = 0, devices: int = 1
) -> Iterator[Batch]:
    """One epoch of augmented batches in random order, the last incomplete one dropped; of each, one device's share.

    Every device draws the whole batch, so that the samples and their augmentation do not depend on how many there are.
    """
    shuffled = torch.randperm(len(data.train), generator=generator).to(data.train.device)
    share = slice(rank * size // devices, (rank + 1) * size // devices)
    for start in range(0, len(shuffled) - size + 1, size):
        chosen = shuffled[start : start + size]
        stored, index = data.augment(data.train[chosen], generator)
        keys = chosen[share]
        yield Batch(
            inputs=data.prepare(stored[share]),
            labels=data.train_labels[keys],
            parts=None if data.train_parts is None else data.train_parts[keys],
            keys=keys,
            index=None if index is None else index[share],
        )
