"""Runs summed up over seeds and folds: what summary.json of a folder of runs holds; no files, no drawing."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from experiments.base.errors import ExperimentError
from experiments.data import WORDS, title_of
from experiments.models import record_of
from experiments.report.paired import find_baseline, paired_scores
from experiments.run.config import Config
from experiments.run.methods import VANILLA
from experiments.run.records import MAIN, RunResult


def make_summary(
    command: str,
    name: str,
    results: Sequence[RunResult],
    status: str,
    seconds: float | None = None,
    baseline: str = VANILLA,
) -> dict[str, Any]:
    """What summary.json of a folder of runs holds.

    Args:
        command: the command line, for the heading.
        name: the name of the folder, for the heading.
        results: at least one run.
        status: "running", "complete" or "stopped".
        seconds: the time that all runs took. Default None: the sum of the epochs' training.
        baseline: the method that rows are compared with, pair by pair.
    """
    arms: dict[str, dict[str, Any]] = {}
    for result in results:
        config = result.config
        model, dataset = record_of(config.model).title, title_of(config.domain, config.dataset)
        kind = WORDS[config.domain][1]
        first = {
            "title": f"{model} on {dataset} ({kind}{', validation' if config.validation else ''})",
            "model": model,
            "domain": config.domain,
            "config": _common(config),
            "recipes": [],
        }
        shown = arms.setdefault(config.arm, {**first, **result.about})
        if (recipe := config.in_words()) not in shown["recipes"]:
            shown["recipes"].append(recipe)
    if seconds is None:
        seconds = sum(record.seconds for result in results for record in result.records)
    return {
        "command": command,
        "name": name,
        "status": status,
        "written": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "seconds": seconds,
        "seeds": list(dict.fromkeys(result.config.seed for result in results)),
        "arms": arms,
        "environment": results[0].environment,
        "rows": summarise(results, baseline),
    }


def _common(config: Config) -> dict[str, Any]:
    """What the runs of an arm have in common."""
    names = ("dataset", "epochs", "batch_size", "width", "num_points", "limit", "validation", "precision")
    return {name: getattr(config, name) for name in names}


@dataclass(frozen=True)
class Spread:
    """Mean over seeds, and their standard deviation (n - 1); 0 with one seed."""

    mean: float
    std: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0)


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
