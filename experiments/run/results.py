"""What runs leave on disk, read back and summed up over seeds; no training, no drawing."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from experiments.base.errors import ExperimentError, plain
from experiments.base.files import write_lines
from experiments.run.config import Config
from experiments.run.loop import EpochRecord
from experiments.run.mixing import parse_method
from experiments.run.recipe import load_recipe
from experiments.run.records import (
    ABOUT,
    ENVIRONMENT,
    EVALUATION,
    MACHINE,
    MAIN,
    METRICS,
    RECIPE,
    STATUSES,
    SUMMARY,
    check_summary,
    known,
    read_object,
    read_records,
    scores_of,
    text_or_none,
)

LAST = 10
LOG = "log.txt"


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
        return parse_method(self.config.method, self.config.domain).label + smoothing

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
            "last10": statistics.fmean(values[-LAST:]),
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


def make_output(wanted: Path) -> Path:
    """Create the output folder; where it holds something already, the next free name beside it: NAME-2, NAME-3, ..."""
    folder, number = wanted, 1
    try:
        while folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            number += 1
            folder = wanted.with_name(f"{wanted.name}-{number}")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExperimentError(f"the output folder {folder} cannot be made: {error.strerror}.") from error
    return folder


def read_run(folder: Path) -> RunResult:
    """A run's folder as it is, finished or not.

    Raises:
        ExperimentError: not a run's folder, or a damaged file in it.
    """
    if not (folder / RECIPE).is_file():
        raise ExperimentError(f"{folder} is not the folder of a run: it has no {RECIPE}.")
    config = load_recipe(folder / RECIPE).resolve(None, {})
    try:
        records = read_records(folder / METRICS, config)
        summary, environment, evaluation = (read_object(folder / name) for name in (SUMMARY, ENVIRONMENT, EVALUATION))
        status = summary.get("status", "interrupted")
        if status not in STATUSES:
            raise ValueError(f"{SUMMARY}: status is none of {', '.join(STATUSES)}")
        result = RunResult(
            folder,
            config,
            records,
            status,
            text_or_none(f"{SUMMARY}: stopped", summary.get("stopped")),
            known(summary.get("about", {}), ABOUT),
            known(environment, MACHINE),
            evaluation_of(evaluation.get("scores", {})),
        )
        check_summary(summary, config, records, result.scores().get("final"))
    except ValueError as error:
        raise ExperimentError(f"a file in {folder} is damaged or was changed: {error}.") from error
    return result


def evaluation_of(values: Any) -> dict[str, dict[str, float]]:
    """What `evaluate` found, by corruption."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{EVALUATION}: scores are {type(values).__name__}")
    return {plain(name): scores_of(scores) for name, scores in values.items()}


def epochs_done(folder: Path) -> int:
    """How many epochs of a run its folder has; 0 where there is none, or where its files cannot be read.

    A run that goes on writes them anew from its checkpoint.
    """
    try:
        return len(read_run(folder).records)
    except ExperimentError:
        return 0


def write_metrics(folder: Path, config: Config, records: Sequence[EpochRecord]) -> None:
    """metrics.jsonl: one line an epoch, scores as ``test_...`` or ``validation_...``, whichever samples they are of."""
    lines = []
    for record in records:
        line = asdict(record)
        line.update({f"{config.scored}_{name}": value for name, value in line.pop("scores").items()})
        lines.append(line)
    write_lines(folder / METRICS, lines)
