"""Which values a run's configuration may have, and the form of a method's text; `config` says what they mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from experiments.base import grammar
from experiments.base.errors import ExperimentError

CHOICES = {
    "optimizer": ("sgd", "adam", "adamw"),
    "schedule": ("constant", "one-cycle", "cosine", "step"),
    "loss": ("cross-entropy", "bce"),
    "precision": ("32", "bf16"),
}
NAME = re.compile(r"\w[\w.+:-]*(/\w[\w.+:-]*)*", re.ASCII)
LONGEST = 200  # characters of a name
LONGEST_METHOD = 1000
MOST = 10**18
# a stranger's recipe must not ask for more memory than any machine has
COUNTS = {
    "epochs": (1, 10**6),
    "test_every": (1, MOST),
    "batch_size": (2, 10**6),
    "width": (1, 4096),
    "seed": (0, MOST),
    "num_points": (1, 10**5),
    "limit": (1, MOST),
}
RANGES = {
    "lr": (0, 1e6),
    "min_lr": (0, 1e6),
    "label_smoothing": (0, 0.999),
    "weight_decay": (0, 1e6),
    "momentum": (0, 0.9999),
    "gamma": (0, 1e6),
}


def check(config: Any, hints: Mapping[str, Any]) -> None:
    """ExperimentError names the first value of a `Config` that is not of its type, or out of range."""
    try:
        for name, hint in hints.items():
            grammar.check(name, getattr(config, name), hint)
    except ValueError as error:
        raise ExperimentError(f"{error}.") from error
    for name in ("dataset", "model"):  # they become names of folders
        value = getattr(config, name)
        if not NAME.fullmatch(value) or len(value) > LONGEST:
            raise ExperimentError(f"{name} is a name of letters, digits and . _ - +, not {value[:LONGEST]!r}.")
    if not config.method.isprintable() or len(config.method) > LONGEST_METHOD:
        raise ExperimentError(
            f"method is a line of at most {LONGEST_METHOD:,} printable characters, not {config.method[:LONGEST]!r}."
        )
    for name, choices in CHOICES.items():
        if getattr(config, name) not in choices:
            raise ExperimentError(f"{name} is one of {', '.join(choices)}, not {getattr(config, name)!r}.")
    for name, (least, most) in COUNTS.items():
        value = getattr(config, name)
        if value is not None and not least <= value <= most:
            bound = f"at least {least}" if value < least else f"at most {most:,}"
            raise ExperimentError(f"{name} is a whole number of {bound}, not {value!r}.")
    for name, (low, high) in RANGES.items():
        if not low <= getattr(config, name) <= high:
            raise ExperimentError(f"{name} is a number from {low} to {high:g}, not {getattr(config, name)!r}.")
    if any(epoch < 1 for epoch in config.milestones):
        raise ExperimentError(f"milestones are epochs, whole numbers from 1 on, not {list(config.milestones)}.")
    if config.nesterov and config.optimizer == "sgd" and config.momentum == 0:
        raise ExperimentError("nesterov wants a momentum above 0, which is 0.")
    for name, value in (("validation", config.validation), ("calibration", config.calibration)):
        if value is not None and (not 0 <= value <= MOST or (value >= 1 and value != int(value))):
            raise ExperimentError(f"{name} is a share from 0 to 1 or a number of samples, not {value!r}.")


def read_method(text: str) -> tuple[str, dict[str, str]]:
    """The name and the options, as texts, of a method; ExperimentError where the text is not of this form."""
    try:
        return grammar.read_call(text)
    except ValueError as error:
        raise ExperimentError(f"--method {text}: {error}.") from error
