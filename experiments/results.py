"""What runs leave on disk, read back and summed up over seeds; no training, no drawing."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from experiments.config import Config, load_recipe
from experiments.errors import ExperimentError, plain
from experiments.files import write_lines
from experiments.methods import VANILLA, parse_method
from experiments.paired import find_baseline, paired_scores
from experiments.runfiles import (
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
from experiments.train import EpochRecord

LAST = 10


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


@dataclass(frozen=True)
class Spread:
    """Mean over seeds, and their standard deviation (n - 1); 0 with one seed."""

    mean: float
    std: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0)


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


def find_runs(folders: Iterable[Path]) -> list[RunResult]:
    """All runs in folders and below, in the order of their names; then those of exported files (.json) among them.

    Raises:
        ExperimentError: none at all, or a damaged one.
    """
    from experiments.export import read_export

    folders = list(folders)
    paths = sorted({path.parent for folder in folders for path in folder.rglob(RECIPE)})
    exported = [run for path in folders if path.suffix == ".json" for run in read_export(path)]
    if not paths and not exported:
        raise ExperimentError(f"there are no runs in {', '.join(map(str, folders))}.")
    return [*(read_run(path) for path in paths), *exported]


def write_metrics(folder: Path, config: Config, records: Sequence[EpochRecord]) -> None:
    """metrics.jsonl: one line an epoch, scores as ``test_...`` or ``validation_...``, whichever samples they are of."""
    lines = []
    for record in records:
        line = asdict(record)
        line.update({f"{config.scored}_{name}": value for name, value in line.pop("scores").items()})
        lines.append(line)
    write_lines(folder / METRICS, lines)


def summarise(results: Sequence[RunResult], baseline: str = VANILLA) -> list[dict[str, Any]]:
    """One entry per row (data set, model and method), in the order of their first runs.

    A row's runs differ in seed and fold. The first score's best and last epoch and the mean of the last 10 tested
    epochs; the other scores at the last epoch; all in %, as mean and standard deviation over the runs. `cost` is the
    time of a step over that of the same step without its mixing; for mixing inside the model, which has no such step,
    over vanilla's step in the same arm. `paired` is of `paired.paired_scores`. Runs that did not end well are listed,
    and left out of the means.

    Args:
        results: the runs.
        baseline: the method that rows are compared with, pair by pair.

    Raises:
        ExperimentError: two runs of one row have the same seed.
    """
    rows: dict[tuple[str, str], list[RunResult]] = {}
    for result, label in zip(results, row_labels(results), strict=True):
        rows.setdefault((result.config.arm, label), []).append(result)
    summary: list[dict[str, Any]] = []
    for (arm, label), runs in rows.items():
        draws = [run.draw for run in runs]
        if len(set(draws)) < len(draws):
            twice = [str(run.folder) for run in runs if draws.count(run.draw) > 1]
            raise ExperimentError(f"{arm}, {label} has a seed twice: {' and '.join(twice[:2])}.")
        ended = [scores for run in runs if run.status == "complete" and (scores := run.scores())]
        common = [n for n in (ended[0] if ended else {}) if all(n in scores for scores in ended)]
        names = [name for name in common if name not in ("cost", "step_ms")]
        costs = [scores["cost"] for scores in ended if scores["cost"] is not None]
        summary.append(
            {
                "arm": arm,
                "dataset": runs[0].config.dataset,
                "model": runs[0].config.model,
                "scored": runs[0].config.scored,
                "method": label,
                "name": runs[0].config.method,
                "seeds": list(dict.fromkeys(run.config.seed for run in runs)),
                "folds": sorted({run.config.fold for run in runs} - {""}),
                "ended": len(ended),
                "epochs": [len(run.records) for run in runs],
                "stopped": {r.draw_in_words: r.stopped or r.status for r in runs if r.status != "complete"},
                "scores": {name: asdict(Spread.of([scores[name] for scores in ended])) for name in names},
                "step_ms": statistics.median(scores["step_ms"] for scores in ended) if ended else None,
                "cost": statistics.fmean(costs) if costs else None,
                "cost_is_rough": False,
                "paired": paired_scores(runs, *find_baseline(rows, arm, label, baseline)),
            }
        )
    for row in summary:
        vanilla = next((r for r in summary if r["arm"] == row["arm"] and r["method"].startswith("vanilla")), None)
        if row["cost"] is None and row["step_ms"] and vanilla is not None and vanilla["step_ms"]:
            row.update(cost=row["step_ms"] / vanilla["step_ms"], cost_is_rough=True)
    return summary


def row_labels(results: Sequence[RunResult]) -> list[str]:
    """Each run's method, and what else its row differs in from the others of its arm, such as the epochs."""
    budgets = [_budget(result.config) for result in results]
    seen: dict[tuple[str, str], set[Any]] = {}
    for result, budget in zip(results, budgets, strict=True):
        for name, value in budget.items():
            seen.setdefault((result.config.arm, name), set()).add(value)
    labels = []
    for result, budget in zip(results, budgets, strict=True):
        varied = [name for name in sorted(budget) if len(seen[result.config.arm, name]) > 1]
        words = ", ".join(f"{name.replace('_', ' ')} {budget[name]}" for name in varied)
        labels.append(f"{result.label} [{words}]" if words else result.label)
    return labels


def _budget(config: Config) -> dict[str, Any]:
    """All that makes runs another row, besides the method and its label smoothing, which the label has."""
    aside = ("dataset", "model", "method", "seed", "label_smoothing", "test_every", "corrupted")
    return {name: value for name, value in asdict(config).items() if name not in aside}


def curves_of(results: Sequence[RunResult], arm: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Epochs (n,) and first scores (seeds, n) of the arm's rows; runs that did not end well are left out."""
    rows: dict[str, list[RunResult]] = {}
    for result, label in zip(results, row_labels(results), strict=True):
        if result.config.arm == arm and result.status == "complete" and result.tested:
            rows.setdefault(label, []).append(result)
    curves = {}
    for label, runs in rows.items():
        main = next(name for name in MAIN if name in runs[0].tested[-1].scores)
        epochs = np.array([record.epoch for record in runs[0].tested])
        curves[label] = (epochs, np.array([[record.scores[main] for record in run.tested] for run in runs]))
    return curves
