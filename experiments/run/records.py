"""What stands in the files of a run, checked before anything looks at it: the folder may be a stranger's, or damaged.

What is read is plain: text of printable characters, finite numbers in their ranges, known names. All else is a
ValueError with the file's name, which `results` makes one sentence of.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.base import grammar
from experiments.base.errors import plain
from experiments.base.files import read_bounded
from experiments.run.config import Config
from experiments.run.loop import EpochRecord

RECIPE, SUMMARY, METRICS = "recipe.toml", "summary.json", "metrics.jsonl"
ENVIRONMENT, EVALUATION = "environment.json", "evaluation.json"
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
    "mixed": float | None,
}  # fmt: skip


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object; empty where there is no file."""
    try:
        return parse_object(read_bounded(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path.name}: {_reason(error)}") from error


def read_records(path: Path, config: Config) -> list[EpochRecord]:
    """The epochs in metrics.jsonl, 1, 2, 3, ...; none where there is no file."""
    records: list[EpochRecord] = []
    try:
        lines = read_bounded(path).splitlines()
        for line in lines:
            records.append(record_of(parse_object(line), config, len(records) + 1))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path.name}, line {len(records) + 1}: {_reason(error)}") from error
    return records


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
    if missing := set(EPOCH) - {"mixed"} - set(own):
        raise ValueError(f"it lacks {missing.pop()}")
    own = known(own, EPOCH)
    if own["epoch"] != epoch or epoch > config.epochs:
        raise ValueError(f"epoch {own['epoch']} of {config.epochs} stands where {epoch} should")
    for name in ("seconds", "step_ms", "cost", "mixed"):
        if own.get(name) is not None and not 0 <= own[name] <= 1e12:
            raise ValueError(f"{name} is {own[name]!r}")
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
    found: dict[str, Any] = {}
    for name, kind in kinds.items():
        if name not in values:
            continue
        value = values[name]
        if kind == dict[str, str | None]:
            found[name] = {plain(key): text_or_none(f"{name}.{plain(key)}", one) for key, one in _items(name, value)}
            continue
        grammar.check(name, value, kind)
        found[name] = plain(value) if isinstance(value, str) else value
    return found


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


def check_summary(summary: Mapping[str, Any], config: Config, records: list[EpochRecord], final: float | None) -> None:
    """ValueError where summary.json contradicts the other files of its run."""
    if isinstance(said := summary.get("config"), Mapping):
        if difference := differing(said, config.values()):
            name, before, now = difference
            raise ValueError(f"{RECIPE} says {name} = {now}, but {SUMMARY} that the run was trained with {before}")
    elif said is not None:
        raise ValueError(f"{SUMMARY}: config is {type(said).__name__}")
    if summary.get("status") != "complete":
        return
    if len(records) != config.epochs:
        raise ValueError(f"{METRICS} has {len(records)} epochs of the {config.epochs} that {SUMMARY} calls complete")
    told = summary.get("final")
    if final is None or (told is not None and not (_is_number(told) and math.isclose(told, final, abs_tol=1e-6))):
        raise ValueError(f"the last epoch of {METRICS} is not the one that {SUMMARY} tells of")


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


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _reason(error: BaseException) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is no text"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return plain(str(error).split("\n")[0])[:200]
