"""What is known of a run: its epochs, its scores, its state; and checks of such values, which may be a stranger's.

What passes the checks is plain: text of printable characters, finite numbers in their ranges, known names. All else is
a ValueError.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.base import grammar
from experiments.base.errors import plain
from experiments.run.config import Config

LAST_EPOCHS = 10  # whose mean score is told
STATUSES = ("running", "complete", "stopped", "interrupted")
MAIN = ("accuracy", "instance_miou")  # whichever a run has is its first score
MOST_SCORE = 1e6  # of a temperature, or a mean corruption error; what is a percentage is from -100 to 100
RATIOS = ("temperature", "mce")  # what is no percentage
ROUNDING = 1e-3

#: What summary.json says of a run's data and model: names and types. Other names are left out.
ABOUT: dict[str, Any] = {
    "data_title": str, "train_samples": int, "scored": str, "test_samples": int, "validation_samples": int,
    "held_samples": int, "sample_shape": list[int], "classes": int, "augmentation": str, "domain": str,
    "parameters": int, "recipe_in_words": str,
}  # fmt: skip
#: environment.json, alike.
MACHINE: dict[str, Any] = {
    "python": str, "platform": str, "packages": dict[str, str | None], "cpu": str | None, "cpu_count": int | None,
    "threads": int, "device": str, "gpu": str | None, "precision": str,
}  # fmt: skip
EPOCH: dict[str, Any] = {
    "epoch": int, "train_loss": float, "lr": float, "seconds": float, "step_ms": float, "cost": float | None,
    "mixed": float | None, "overfit": float | None,
}  # fmt: skip


@dataclass(frozen=True)
class EpochRecord:
    """One line of metrics.jsonl.

    Attributes:
        epoch: from 1.
        train_loss: mean over the steps and devices.
        lr: after the epoch.
        seconds: the seconds of training only.
        step_ms: mean step, mixing included, data loading and augmentation not.
        cost: time of the steps, and of telling a schedule how far the model overfits, over that of the same steps
            without mixing; None where part of the mixing is inside the model's own passes.
        scores: the scores of the test samples, in %; empty where the epoch was not tested. The last epoch's may also
            have the ECE after temperature scaling and the temperature, and accuracies under corruptions.
        mixed: mean share of a batch's samples that was mixed, where a schedule measures it; else None.
        overfit: `mixkit.Adaptive`'s in this epoch, where a schedule is told of held-out samples; else None.
    """

    epoch: int
    train_loss: float
    lr: float
    seconds: float
    step_ms: float
    cost: float | None
    scores: dict[str, float]
    mixed: float | None = None
    overfit: float | None = None


@dataclass(frozen=True)
class RunResult:
    """One run: its folder, configuration, epochs, status ("running", "complete", "stopped", "interrupted"), and why.

    `about` says what the data and the model were, `environment` what it ran on, `evaluation` what `evaluate` found.
    """

    folder: Path
    config: Config
    records: list[EpochRecord]
    status: str
    stopped: str | None = None
    about: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)

    @property
    def draw(self) -> tuple[int, str]:
        """What runs of different methods are paired by: the seed and the fold."""
        return self.config.seed, self.config.fold

    @property
    def draw_in_words(self) -> str:
        """The seed, and the fold where there is one."""
        return f"{self.config.seed}, {self.config.fold}" if self.config.fold else str(self.config.seed)

    @property
    def label(self) -> str:
        """The method, as tables call it."""
        smoothing = f" (smoothing {self.config.label_smoothing:g})" if self.config.label_smoothing else ""
        return self.config.spec.label + smoothing

    @property
    def tested(self) -> list[EpochRecord]:
        """The epochs with scores."""
        return [record for record in self.records if record.scores]

    def scores(self) -> dict[str, Any]:
        """Best, final and mean of the last 10 of the first score; the other scores at the end; cost and step."""
        tested = self.tested
        if not tested:
            return {}
        main = next(name for name in MAIN if name in tested[-1].scores)
        values = [record.scores[main] for record in tested]
        costs = [record.cost for record in self.records if record.cost is not None]
        return {
            "best": max(values),
            "final": values[-1],
            "last10": statistics.fmean(values[-LAST_EPOCHS:]),
            **{name: value for name, value in tested[-1].scores.items() if name != main},
            "cost": statistics.median(costs) if costs else None,
            "step_ms": statistics.median(record.step_ms for record in self.records),
        }


def outcome(result: RunResult) -> str:
    """The end of a run in a line."""
    if result.stopped:
        return result.stopped
    if not result.records:
        return "nothing trained"
    last = result.records[-1]
    scores = ", ".join(f"{name.replace('_', ' ')} {value:.1f} %" for name, value in list(last.scores.items())[:2])
    step = statistics.median(record.step_ms for record in result.records)
    return f"{scores}, {step:.0f} ms a step, {sum(record.seconds for record in result.records):.0f} s"


def record_of(values: Mapping[str, Any], config: Config, epoch: int) -> EpochRecord:
    """The record of an epoch out of a line of metrics.jsonl."""
    first = f"{config.scored}_"
    scores = {name.removeprefix(first): value for name, value in values.items() if name.startswith(first)}
    own = {name: value for name, value in values.items() if not name.startswith(first)}
    return check_record({**own, "scores": scores}, config, epoch)


def check_record(values: Mapping[str, Any], config: Config, epoch: int) -> EpochRecord:
    """The record of an epoch out of its fields."""
    own = {name: value for name, value in values.items() if name != "scores"}
    if unknown := set(own) - set(EPOCH):
        raise ValueError(f"unknown name {plain(unknown.pop())!r}")
    if missing := set(EPOCH) - {"mixed", "overfit"} - set(own):
        raise ValueError(f"it lacks {missing.pop()}")
    own = known(own, EPOCH)
    if own["epoch"] != epoch or epoch > config.epochs:
        raise ValueError(f"epoch {own['epoch']} of {config.epochs} stands where {epoch} should")
    for name in ("seconds", "step_ms", "cost", "mixed"):
        if own.get(name) is not None and not 0 <= own[name] <= 1e12:
            raise ValueError(f"{name} is {own[name]!r}")
    if own.get("overfit") is not None and not 0 <= own["overfit"] <= 1:
        raise ValueError(f"overfit is {own['overfit']!r}")
    return EpochRecord(**own, scores=scores_of(values["scores"], first=True))


def scores_of(values: Any, *, first: bool = False) -> dict[str, float]:
    """Scores by name; with `first`, if there are any, the one that runs are compared by is among them."""
    if not isinstance(values, Mapping):
        raise ValueError(f"scores are {type(values).__name__}")
    for name, value in values.items():
        grammar.check(plain(name), value, float)
        low, high = (0.0, MOST_SCORE) if name in RATIOS else (0.0 if name in MAIN else -100.0, 100.0)
        if not low <= value <= high + ROUNDING:
            raise ValueError(f"{plain(name)} is {value!r}, which is no score")
    if first and values and not any(name in values for name in MAIN):
        raise ValueError(f"there is none of {' and '.join(MAIN)} among the scores")
    return {plain(name): float(value) for name, value in values.items()}


def known(values: Any, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The values of known names, of the types that these have; texts with printable characters only."""
    if not isinstance(values, Mapping):
        raise ValueError(f"there is {type(values).__name__} where names and values are wanted")
    checked: dict[str, Any] = {}
    for name, kind in kinds.items():
        if name not in values:
            continue
        value = values[name]
        if kind == dict[str, str | None]:
            checked[name] = {plain(key): text_or_none(f"{name}.{plain(key)}", one) for key, one in _items(name, value)}
            continue
        grammar.check(name, value, kind)
        checked[name] = plain(value) if isinstance(value, str) else value
    return checked


def text_or_none(name: str, value: Any) -> str | None:
    """A text with printable characters only, or None."""
    grammar.check(name, value, str | None)
    return None if value is None else plain(value)


def parse_object(text: str) -> dict[str, Any]:
    """A JSON object; ValueError where it is none, or has numbers that JSON has not."""
    value = json.loads(text, parse_constant=_no_number)
    if not isinstance(value, dict):
        raise ValueError("it holds no object")
    return value


def evaluation_of(values: Any) -> dict[str, dict[str, float]]:
    """What `evaluate` found, by corruption."""
    if not isinstance(values, Mapping):
        raise ValueError(f"scores are {type(values).__name__}")
    return {plain(name): scores_of(scores) for name, scores in values.items()}


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """The first name that two configurations differ in, and what they say, as text; one may be of another version."""
    for name in now:
        one, other = before.get(name, now[name]), now[name]
        if one != other or isinstance(one, bool) != isinstance(other, bool):
            return plain(str(name)), plain(repr(one))[:200], plain(repr(other))[:200]
    return None


def _items(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} is {type(value).__name__}")
    return value.items()


def is_number(value: Any) -> bool:
    """Whether a value is a number, which true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")
