"""The one training loop, for every domain, on Lightning Fabric; others decide what to train and what to write down."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from torch import Tensor, nn

from experiments.data import DataSet
from experiments.errors import ExperimentError, RunStoppedError
from experiments.metrics import Scores, classification_scores
from experiments.recipes import Recipe, make_optimizer, make_schedule

TEST_BATCH = 256

Mixer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(batch, labels (B,)) to (mixed batch, targets (B, num_classes)); None stands for training on the batch as it is. A
mixer's `clean_loss`, where it has one, is added to the loss."""


@dataclass(frozen=True)
class EpochRecord:
    """One line of metrics.jsonl; accuracy, ece and gap are in % of the test set, seconds are of training only."""

    epoch: int
    train_loss: float
    test_accuracy: float
    ece: float
    gap: float
    lr: float
    seconds: float


@dataclass
class History:
    """What a run leaves behind, also when it is stopped halfway.

    Attributes:
        records: one per epoch.
        step_seconds: of each step, mixing included, data loading and augmentation not.
        mixing_seconds: of the mixer's part of each step, its saliency and assignment included.
    """

    records: list[EpochRecord] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    mixing_seconds: list[float] = field(default_factory=list)

    @property
    def cost(self) -> float:
        """A step over the same step without mixing, the median of all steps: a load on the machine slows both alike."""
        pairs = zip(self.step_seconds, self.mixing_seconds, strict=True)
        return statistics.median(step / (step - mixing) for step, mixing in pairs)


@dataclass(frozen=True)
class Watcher:
    """Who wants to hear of progress: of each step (its loss) and of each epoch."""

    step: Callable[[float], None] = lambda loss: None
    epoch: Callable[[EpochRecord], None] = lambda record: None


def train(
    fabric: Fabric,
    model: nn.Module,
    data: DataSet,
    recipe: Recipe,
    *,
    seed: int,
    mixer: Mixer | None = None,
    watcher: Watcher | None = None,
    history: History | None = None,
) -> History:
    """Train `model` in place on `data` by `recipe`, testing after every epoch.

    Args:
        fabric: decides device and precision.
        model: initialised by the caller, so that every method can start from the same weights.
        data: on any device.
        recipe: epochs, batch size, optimiser and learning rates.
        seed: of the order and augmentation of the data, which are the same for every mixer.
        mixer: mixes each training batch; None trains on it as it is.
        watcher: is told of every step and epoch.
        history: is filled as the run goes on, so that the caller keeps it when the run stops; a new one by default.

    Raises:
        RunStoppedError: the loss is not finite.
        ExperimentError: fewer training samples than a batch has.
    """
    watcher = watcher or Watcher()
    history = history if history is not None else History()
    steps = steps_per_epoch(data, recipe)
    data = data.to(fabric.device)
    optimizer = make_optimizer(recipe, model.parameters())
    schedule = make_schedule(recipe, optimizer, steps * recipe.epochs)
    wrapped, optimizer = fabric.setup(model, optimizer)
    order = torch.Generator().manual_seed(seed)

    for epoch in range(1, recipe.epochs + 1):
        wrapped.train()
        losses: list[float] = []
        started = time.perf_counter()
        for batch, labels in training_batches(data, recipe.batch_size, order):
            step_started = time.perf_counter()
            mixed, targets = (batch, labels) if mixer is None else mixer(batch, labels)
            if mixer is not None and fabric.device.type == "cuda":
                torch.cuda.synchronize(fabric.device)  # or the clock would read before the mixing is done
            mixing_seconds = 0.0 if mixer is None else time.perf_counter() - step_started
            loss = F.cross_entropy(wrapped(mixed), targets)
            loss = loss + getattr(mixer, "clean_loss", 0.0)
            losses.append(loss.item())  # before the weights change: a loss that is not finite leaves them sound
            if not math.isfinite(losses[-1]):
                raise RunStoppedError(f"the loss became {losses[-1]} in epoch {epoch}, step {len(losses)} of {steps}")
            optimizer.zero_grad()
            fabric.backward(loss)
            optimizer.step()
            schedule.step()
            history.step_seconds.append(time.perf_counter() - step_started)
            history.mixing_seconds.append(mixing_seconds)
            watcher.step(losses[-1])
        seconds = time.perf_counter() - started
        scores = evaluate(wrapped, data)
        record = EpochRecord(
            epoch=epoch,
            train_loss=sum(losses) / len(losses),
            test_accuracy=scores.accuracy,
            ece=scores.ece,
            gap=scores.gap,
            lr=float(schedule.get_last_lr()[0]),
            seconds=seconds,
        )
        history.records.append(record)
        watcher.epoch(record)
    return history


def steps_per_epoch(data: DataSet, recipe: Recipe) -> int:
    """How many whole batches the training samples make; ExperimentError where not even one."""
    steps = len(data.train) // recipe.batch_size
    if steps == 0:
        raise ExperimentError(
            f"a batch of {recipe.batch_size} is larger than the {len(data.train)} training samples of {data.name}: "
            "lower --batch-size or raise --limit."
        )
    return steps


def training_batches(data: DataSet, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of augmented batches in random order, the last incomplete one dropped."""
    shuffled = torch.randperm(len(data.train), generator=generator).to(data.train.device)
    for start in range(0, len(shuffled) - size + 1, size):
        chosen = shuffled[start : start + size]
        yield data.prepare(data.augment(data.train[chosen], generator)), data.train_labels[chosen]


@torch.no_grad()
def evaluate(model: nn.Module, data: DataSet) -> Scores:
    """Scores on the test set; leaves the model in eval mode."""
    model.eval()
    probabilities = [model(data.prepare(part)).float().softmax(dim=1) for part in data.test.split(TEST_BATCH)]
    return classification_scores(torch.cat(probabilities), data.test_labels)
