"""What runs leave on disk and how they are summed up: the output folder, metrics.jsonl, summary.json; no training."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.errors import ExperimentError
from experiments.train import EpochRecord, History

LAST = 10


@dataclass(frozen=True)
class RunResult:
    """One trained model: which row and seed, what it left behind, and why it stopped early (None: it did not)."""

    domain: str
    method: str
    seed: int
    history: History
    stopped: str | None = None


@dataclass(frozen=True)
class Spread:
    """Mean over seeds, and their standard deviation (n - 1); 0 with one seed."""

    mean: float
    std: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0)


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


def append_metrics(folder: Path, domain: str, method: str, seed: int, record: EpochRecord) -> None:
    """One line of metrics.jsonl: one epoch of one run."""
    line = {"domain": domain, "method": method, "seed": seed, **asdict(record)}
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """summary.json, replaced in one go so that a reader never sees half of it."""
    unfinished = folder / "summary.json.tmp"
    unfinished.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(unfinished, folder / "summary.json")


def summarise(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """One entry per row (domain and method), in the order of their first runs.

    Accuracies are the best epoch's, the last epoch's and the mean of the last 10 epochs'; ECE and gap the last epoch's;
    all in %, as mean and standard deviation over seeds. `cost` is a step's time over that of the
    same step without its mixing (`History.cost`). Runs that stopped early are listed, and left out of the means.
    """
    rows: dict[tuple[str, str], list[RunResult]] = {}
    for result in results:
        rows.setdefault((result.domain, result.method), []).append(result)
    summary = []
    for (domain, method), runs in rows.items():
        scores = [_scores(run.history.records) for run in runs if run.stopped is None]
        steps = [seconds for run in runs for seconds in run.history.step_seconds]
        costs = [run.history.cost for run in runs if run.history.step_seconds]
        summary.append(
            {
                "domain": domain,
                "method": method,
                "seeds": [run.seed for run in runs],
                "epochs": [len(run.history.records) for run in runs],
                "stopped": {str(run.seed): run.stopped for run in runs if run.stopped is not None},
                **{name: asdict(Spread.of([s[name] for s in scores])) if scores else None for name in SCORES},
                "step_seconds": statistics.median(steps) if steps else None,
                "cost": statistics.fmean(costs) if costs else None,
            }
        )
    return summary


SCORES = ("best", "final", "last10", "ece", "gap")


def _scores(records: Sequence[EpochRecord]) -> dict[str, float]:
    accuracies = [record.test_accuracy for record in records]
    return {
        "best": max(accuracies),
        "final": accuracies[-1],
        "last10": statistics.fmean(accuracies[-LAST:]),
        "ece": records[-1].ece,
        "gap": records[-1].gap,
    }


def cells(row: dict[str, Any]) -> list[str]:
    """A row's figures as text, for every table: best, final, last 10, ECE, gap, cost."""

    def text(name: str, form: str) -> str:
        spread = row[name]
        if spread is None:
            return "–"
        mean = f"{spread['mean']:{form}}".replace("-", "−")
        return f"{mean}±{spread['std']:.1f}" if len(row["seeds"]) > 1 else mean

    cost = row["cost"]
    return [
        *(text(name, ".1f") for name in ("best", "final", "last10", "ece")),
        text("gap", "+.1f"),
        "–" if cost is None else f"{cost:.2f}×",
    ]


def curves_of(results: Sequence[RunResult], domain: str) -> dict[str, np.ndarray]:
    """Test accuracy of the domain's rows, (seeds, epochs) each; runs that stopped early are left out."""
    rows: dict[str, list[list[float]]] = {}
    for result in results:
        if result.domain == domain and result.history.records:
            rows.setdefault(result.method, []).append([record.test_accuracy for record in result.history.records])
    return {method: np.array([run for run in runs if len(run) == max(map(len, runs))]) for method, runs in rows.items()}
