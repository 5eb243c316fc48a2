"""What is learnt, classes of samples or parts of shapes: passes through a model, and scores; no loop, no files."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.data.base import DataSet
from experiments.data.corruptions import Corruption, corrupted
from experiments.run.config import Config
from experiments.run.metrics import classification_scores, fit_temperature, part_scores
from experiments.run.mixing import Mixing
from mixkit import label_confidence

TEST_BATCH = 256
MOST_WATCHED = 512  # samples of either kind, each time that a schedule is told of them
NONE: Mapping[str, Corruption] = {}


class Batch(NamedTuple):
    """Samples as a model reads them, and what is known of them.

    Attributes:
        inputs: (B, C, H, W) or (B, N, D) float32.
        labels: (B,) classes, or categories of shapes.
        parts: (B, N) part labels, or None.
        keys: (B,) each sample's place in the training set.
        index: (B, N) which element of the stored sample each element is, -1 = none; None = the same places.
    """

    inputs: Tensor
    labels: Tensor
    parts: Tensor | None
    keys: Tensor
    index: Tensor | None  # type: ignore[assignment]  # a tuple has a method of that name, unused here


class Prepared(NamedTuple):
    """Samples to score, as a model reads them: inputs, labels (n,), and parts (n, N) where they have some."""

    inputs: Tensor
    labels: Tensor
    parts: Tensor | None = None


class Classification:
    """One class per sample."""

    score = "accuracy"  #: the score by which the best epoch is chosen

    def __init__(self, data: DataSet) -> None:
        self.num_classes = len(data.classes)

    def mixing_options(self, model: nn.Module) -> dict[str, Any]:
        """What `methods.Mixing` must know of the task and its model."""
        return {"num_classes": self.num_classes, "model": model}

    def forward(self, model: nn.Module, batch: Batch, mixing: Mixing | None) -> tuple[Tensor, Tensor]:
        """Logits (B, K) of the batch, mixed if there is a mixing, and their targets (B, K)."""
        if mixing is None:
            return model(batch.inputs), F.one_hot(batch.labels, self.num_classes).float()
        if mixing.inside:
            return mixing.run(batch.inputs, batch.labels)
        mixed, targets = mixing.mix(batch.inputs, batch.labels, batch.keys, batch.index)
        return model(mixed), targets

    def evaluate(self, model: nn.Module, samples: Prepared, temperature: float | None = None) -> dict[str, float]:
        """Scores in % of prepared samples, in eval mode.

        With a temperature there are two more: `ece_scaled`, the ECE once the logits are divided by it, and
        `temperature` itself, which is no percentage.
        """
        logits = self._logits(model, samples.inputs)
        scores: dict[str, float] = classification_scores(logits.softmax(1), samples.labels)._asdict()
        if temperature is None:
            return scores
        scaled = classification_scores((logits.double() / temperature).softmax(1), samples.labels)
        return {**scores, "ece_scaled": scaled.ece, "temperature": temperature}

    def temperature(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
        """The temperature that prepared samples, which were not trained on, ask for."""
        return fit_temperature(self._logits(model, inputs), labels)

    def confidence(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """(n,) the model's confidence in the labels of prepared samples, in eval mode."""
        return label_confidence(self._logits(model, inputs), labels)

    @staticmethod
    @torch.no_grad()
    def _logits(model: nn.Module, inputs: Tensor) -> Tensor:
        """(n, K) float32."""
        return torch.cat([model(part) for part in inputs.split(TEST_BATCH)]).float()


class PartSegmentation:
    """A part label for every point of a shape whose category is known."""

    score = "instance_miou"

    def __init__(self, data: DataSet) -> None:
        self.parts_of = data.parts_of
        self.num_classes = {"parts": 1 + max(max(parts) for parts in data.parts_of), "category": len(data.classes)}
        self._labeller: ShapeLabeller | None = None

    def mixing_options(self, model: nn.Module) -> dict[str, Any]:
        """What `methods.Mixing` must know of the task and its model."""
        self._labeller = ShapeLabeller(model, self.num_classes["category"])
        return {"num_classes": self.num_classes, "model": self._labeller, "loss": _part_loss}

    def forward(self, model: nn.Module, batch: Batch, mixing: Mixing | None) -> tuple[Tensor, Tensor]:
        """Logits (B, num_parts, N) and their targets; the category that the model reads is mixed as a label is."""
        assert batch.parts is not None
        if mixing is None:
            category = F.one_hot(batch.labels, self.num_classes["category"]).float()
            targets = F.one_hot(batch.parts, self.num_classes["parts"]).movedim(-1, 1).float()
            return model(batch.inputs, category), targets
        assert self._labeller is not None
        self._labeller.category = batch.labels
        labels = {"parts": batch.parts, "category": batch.labels}
        mixed, both = mixing.mix(batch.inputs, labels, batch.keys, batch.index)
        return model(mixed, both["category"]), both["parts"]

    def temperature(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
        """None: parts are scored by IoU alone."""

    @torch.no_grad()
    def evaluate(self, model: nn.Module, samples: Prepared, temperature: float | None = None) -> dict[str, float]:
        """Scores in % of shapes (n, N, D) with their categories (n,) and parts (n, N), in eval mode; T is not used."""
        inputs, labels, parts = samples
        assert parts is not None
        category = F.one_hot(labels, self.num_classes["category"]).float()
        small = max(1, TEST_BATCH // 8)
        pairs = zip(inputs.split(small), category.split(small), strict=True)
        logits = torch.cat([model(*pair) for pair in pairs]).float()
        return part_scores(logits, parts, labels, self.parts_of)._asdict()


Task = Classification | PartSegmentation


def make_task(config: Config, data: DataSet) -> Task:
    """The task of a configuration on its data."""
    return PartSegmentation(data) if config.parts else Classification(data)


def evaluate(
    task: Task, model: nn.Module, data: DataSet, *, scaled: bool = False, corruptions: Mapping[str, Corruption] = NONE
) -> dict[str, float]:
    """Scores of a data set's test samples in %, in eval mode.

    Args:
        task: the run's.
        model: the model in eval mode.
        data: the run's, on the model's device.
        scaled: also score at the held-out samples' temperature.
        corruptions: corruptions by name; `corrupted_NAME` is the accuracy under each, with the same draws for every
            model, and `corrupted` their mean.
    """
    temperature = fitted_temperature(task, model, data) if scaled else None
    scores = task.evaluate(model, Prepared(data.prepare(data.test), data.test_labels, data.test_parts), temperature)
    damaged = {
        f"corrupted_{name}": task.evaluate(model, Prepared(corrupted(data, data.test, corrupt, 0), data.test_labels))
        for name, corrupt in corruptions.items()
    }
    accuracies = {name: one["accuracy"] for name, one in damaged.items()}
    mean = {"corrupted": statistics.fmean(accuracies.values())} if accuracies else {}
    return {**scores, **mean, **accuracies}


def fitted_temperature(task: Task, model: nn.Module, data: DataSet) -> float | None:
    """The temperature that the data set's held-out samples ask for; None where there are none, or for parts."""
    if data.held is None or data.held_labels is None:
        return None
    return task.temperature(model, data.prepare(data.held), data.held_labels)


def confidences(task: Task, model: nn.Module, data: DataSet, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Confidences in the labels of up to 512 training samples, augmented, and of held-out ones, in eval mode."""
    assert data.held is not None
    assert data.held_labels is not None
    assert isinstance(task, Classification)
    some, others = (slice(None, None, -(-len(of) // MOST_WATCHED)) for of in (data.train, data.held))
    stored, _ = data.augment(data.train[some], generator)
    trained = task.confidence(model, data.prepare(stored), data.train_labels[some])
    return trained, task.confidence(model, data.prepare(data.held[others]), data.held_labels[others])


class ShapeLabeller(nn.Module):
    """A part segmentation model whose category is known, so that its saliency is a function of the points alone."""

    def __init__(self, model: nn.Module, num_categories: int) -> None:
        super().__init__()
        self.model = model
        self.num_categories = num_categories
        self.category: Tensor | None = None

    def forward(self, points: Tensor) -> Tensor:
        """Logits (B, num_parts, N) of points (B, N, D) of the categories last told."""
        assert self.category is not None
        return self.model(points, F.one_hot(self.category, self.num_categories).float())


def _part_loss(logits: Tensor, labels: dict[str, Tensor]) -> Tensor:
    """The loss whose gradient is the saliency of a shape: cross entropy of its parts, mean over its points."""
    return F.cross_entropy(logits, labels["parts"], reduction="none").mean(1)
