"""Differences between runs that share what chance decides: seeds, and folds; no files, no drawing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from scipy.stats import t as student

if TYPE_CHECKING:
    from experiments.run.records import RunResult

Draw = TypeVar("Draw")

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences.

    Attributes:
        mean: over the pairs.
        half: half the width of its 95 % interval by Student's t; None with one pair.
        pairs: how many there are.
    """

    mean: float
    half: float | None
    pairs: int


def paired_difference(values: Mapping[Draw, float], baseline: Mapping[Draw, float]) -> Difference | None:
    """The difference values - baseline over what both have in common.

    Args:
        values: numbers by what pairs them, such as (seed, fold).
        baseline: those that are taken off, alike.

    Returns:
        None where they have nothing in common. The interval takes the differences for normal and independent; folds of
        one data set share training samples, so that over folds it is somewhat too narrow.
    """
    differences = [value - baseline[key] for key, value in values.items() if key in baseline]
    if not differences:
        return None
    count = len(differences)
    half = None
    if count > 1:
        quantile = float(student.ppf((1 + CONFIDENCE) / 2, count - 1))
        half = quantile * statistics.stdev(differences) / math.sqrt(count)
    return Difference(statistics.fmean(differences), half, count)


def paired_scores(runs: Sequence[RunResult], against: str, others: Sequence[RunResult]) -> dict[str, Any] | None:
    """The differences of a row's scores to those of the runs of another row with the same seeds and folds.

    Args:
        runs: the runs of the row.
        against: the other row's name.
        others: the runs of the other row; empty where there is none.

    Returns:
        `against`; `scores`: a `Difference` for each score that all runs have, as a dict; and `error_cut`: by how many %
        the mean final error is below the other row's over the same seeds and folds, negative where it is above, None
        where the other row makes no error. None where the rows have no seed and fold in common.
    """
    own, other = (
        {run.draw: scores for run in row if run.status == "complete" and (scores := run.scores())}
        for row in (runs, others)
    )
    every = [*own.values(), *other.values()]
    differences = {}
    for name in every[0] if every else ():
        if name in ("cost", "step_ms", "temperature") or any(name not in scores for scores in every):
            continue
        values, baseline = ({draw: scores[name] for draw, scores in row.items()} for row in (own, other))
        if (difference := paired_difference(values, baseline)) is not None:
            differences[name] = asdict(difference)
    if not differences:
        return None
    shared = [scores["final"] for draw, scores in other.items() if draw in own]
    error = 100 - statistics.fmean(shared)
    cut = 100 * differences["final"]["mean"] / error if error > 0 else None
    return {"against": against, "scores": differences, "error_cut": cut}


def find_baseline(
    rows: Mapping[tuple[str, str], Sequence[RunResult]], arm: str, label: str, method: str
) -> tuple[str, Sequence[RunResult]]:
    """The name and the runs of the row that a row is compared with.

    Args:
        rows: all runs by arm and row's name.
        arm: the arm of the row.
        label: the row's name; what is in square brackets is its budget.
        method: the baseline: a method's name, with its options or without, or as tables call it.

    Returns:
        The arm's row of exactly that method, else of that name; the one of the same budget where there are several.
        ("", ()) where there is none, where several are left, and for the baseline itself.
    """
    rows_of_arm = {name: runs for (where, name), runs in rows.items() if where == arm}
    exact = [name for name, runs in rows_of_arm.items() if method in (runs[0].config.method, runs[0].label)]
    named = [name for name, runs in rows_of_arm.items() if method == runs[0].config.spec.name]
    candidates, budget = exact or named, label.partition(" [")[2]
    same_budget = [name for name in candidates if name.partition(" [")[2] == budget] or candidates
    if len(same_budget) != 1 or same_budget[0] == label:
        return "", ()
    return same_budget[0], rows_of_arm[same_budget[0]]
