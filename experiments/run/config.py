"""What one training run is: its configuration, every value resolved."""

from __future__ import annotations

import dataclasses
import re
import typing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import tomlkit

from experiments.base.errors import ExperimentError
from experiments.models import check_name, record_of
from experiments.run import limits

if TYPE_CHECKING:
    from experiments.run.methods import MethodSpec


@dataclass(frozen=True, kw_only=True)
class Config:
    """One run, every value resolved; what recipe.toml in a run's folder holds.

    Attributes:
        dataset, model, method: names; the method may carry options, ``sagemix:sigma=2.0``.
        seed: the seed of weights, data order, augmentation and mixing.
        epochs, batch_size: the budget; a batch is shared by all devices, and the last incomplete one is dropped.
        width: channels of the model's first layer, 64 in the papers; torchvision's and timm's models ignore it.
        num_points: the size of a point set. Default None: as the data set has them.
        limit: training samples, class-balanced. Default None: all.
        validation: training samples that are scored in place of the test samples, which are not looked at; below 1 a
            share of the training samples, from 1 on a number, class-balanced, the same ones for every seed. They come
            from what `limit` leaves out where that serves, else they are cut from what is trained on. Default 0: none.
        calibration: training samples to fit a temperature on, alike. Default None: up to 1,000 that `limit` leaves out;
            none where it leaves out fewer than 100, or where parts are labelled.
        optimizer, lr, momentum, nesterov, weight_decay: the last applies to every parameter.
        schedule: "constant", "one-cycle" (up for 30 % of the steps, then down to nothing), "cosine" (to `min_lr`), or
            "step" (times `gamma` after each epoch of `milestones`).
        loss: "cross-entropy" with soft targets, or "bce": binary cross entropy of the softmax, mean over batch and
            classes, as in Co-Mixup's code.
        label_smoothing: epsilon: the true class has 1 - epsilon, every other epsilon / (K - 1).
        precision: "32", or "bf16" by autocast.
        test_every: epochs between tests; the last epoch is always tested.
        corrupted: whether the last epoch is also scored on corrupted samples (`robustness.COMPARED`); not with parts.
    """

    dataset: str
    model: str
    method: str = "vanilla"
    seed: int = 0
    epochs: int
    batch_size: int
    width: int = 64
    num_points: int | None = None
    limit: int | None = None
    validation: float = 0
    calibration: float | None = None
    optimizer: str = "sgd"
    lr: float
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: str = "constant"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    min_lr: float = 0.0
    loss: str = "cross-entropy"
    label_smoothing: float = 0.0
    precision: str = "32"
    test_every: int = 1
    corrupted: bool = False

    def __post_init__(self) -> None:
        limits.check(self, HINTS)

    @property
    def domain(self) -> str:
        """What the model decides: one of `experiments.data.DATASETS`."""
        return record_of(self.model).domain

    @property
    def parts(self) -> bool:
        """Whether the run labels every point of a shape rather than the shape."""
        return record_of(self.model).parts

    @cached_property
    def spec(self) -> MethodSpec:
        """The method, read and checked; ExperimentError where it is unknown, or an option is."""
        from experiments.run.methods import parse_method  # takes a second

        return parse_method(self.method, self.domain)

    def check(self) -> None:
        """ExperimentError where no run can begin: the model or the method is unknown, or they do not go together."""
        check_name(self.model)
        if self.spec.space == "feature" and self.parts:
            raise ExperimentError(f"{self.method}: mixing in feature space is for whole samples, not for parts.")

    @property
    def scored(self) -> str:
        """What the scores are of: "test", or "validation"."""
        return "validation" if self.validation else "test"

    @property
    def fold(self) -> str:
        """Which fold of a data set is tested on, "fold0" for one; "" where there are none."""
        match = re.search(r"-(fold\d+)$", self.dataset)
        return match[1] if match else ""

    @property
    def arm(self) -> str:
        """What runs must have in common to be compared: data set (any fold), model, and what they are scored on."""
        dataset = self.dataset.removesuffix(f"-{self.fold}")
        return f"{dataset}-{self.model.replace('/', '-')}{'-validation' if self.validation else ''}"

    @property
    def title(self) -> str:
        """The run in a few words."""
        scored = ", validation" if self.validation else ""
        return f"{self.dataset}, {self.model}, {self.method}, seed {self.seed}{scored}"

    def values(self) -> dict[str, Any]:
        """Every value by its name, as JSON has them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    def in_words(self) -> str:
        """The recipe in words."""
        optimizer = {"sgd": f"SGD with momentum {self.momentum:g}", "adam": "Adam", "adamw": "AdamW"}[self.optimizer]
        schedule = {
            "constant": "constant",
            "one-cycle": "peak of one cycle",
            "cosine": f"cosine to {self.min_lr:g}",
            "step": f"times {self.gamma:g} after epochs {', '.join(map(str, self.milestones))}",
        }[self.schedule]
        loss = {"cross-entropy": "soft cross entropy", "bce": "binary cross entropy of the softmax"}[self.loss]
        smoothing = f", label smoothing {self.label_smoothing:g}" if self.label_smoothing else ""
        return (
            f"{self.epochs} epochs, batches of {self.batch_size}, {optimizer}{' (Nesterov)' if self.nesterov else ''}, "
            f"learning rate {self.lr:g} ({schedule}), weight decay {self.weight_decay:g}, {loss}{smoothing}"
        )


FIELDS = {f.name: f for f in dataclasses.fields(Config)}
HINTS = typing.get_type_hints(Config)


def to_toml(config: Config) -> str:
    """A configuration as a TOML file; what is None is left out."""
    return tomlkit.dumps({key: value for key, value in config.values().items() if value is not None})


def folder_name(config: Config) -> str:
    """A run's folder: data set, model, method, fold and seed."""
    method = re.sub(r"[^\w.+-]+", "-", config.method.replace("=", ""), flags=re.ASCII).strip("-")
    fold = f"-{config.fold}" if config.fold else ""
    return f"{config.arm}-{method}{fold}-s{config.seed}"
