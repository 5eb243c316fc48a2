"""Runs as one small JSON file, to be kept beside a page of results: tables and curves can be drawn from it anew."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.base import grammar
from experiments.base.errors import ExperimentError, plain
from experiments.base.files import read_bounded, write_whole
from experiments.run.config import Config
from experiments.run.folder import RunFolder
from experiments.run.records import (
    ABOUT,
    MACHINE,
    MAIN,
    STATUSES,
    EpochRecord,
    RunResult,
    evaluation_of,
    known,
    parse_object,
    scores_of,
    text_or_none,
)

FORMAT = 1
DIGITS = 4  # after the point
MOST = 2**28  # bytes
TIMES: dict[str, Any] = {"seconds": float, "step_ms": float | None, "cost": float | None}


def write_export(path: Path, results: Sequence[RunResult]) -> None:
    """Write runs as one file.

    It holds the values of the configuration that all runs share, and a line a run: the values that differ, status,
    tested epochs with the first score, all scores at the last one, the median cost and step, seconds of training, and
    what `evaluate` found. Losses and weights are not in it.

    Args:
        path: the file; its folder is made.
        results: at least one run.

    Raises:
        RunStoppedError: it cannot be written.
    """
    configs = [result.config.values() for result in results]
    common = {n: v for n, v in configs[0].items() if all(config[n] == v for config in configs)}
    arms = {result.config.arm: result.about for result in reversed(results)}
    lines = []
    for result, config in zip(results, configs, strict=True):
        scores = result.scores()
        tested = result.tested
        line = {
            "config": {name: value for name, value in config.items() if name not in common},
            "status": result.status,
            "stopped": result.stopped,
            "epochs": len(result.records),
            "tested": [record.epoch for record in tested],
            "curve": [record.scores[_first(record.scores)] for record in tested],
            "scores": tested[-1].scores if tested else {},
            "cost": scores.get("cost"),
            "step_ms": scores.get("step_ms"),
            "seconds": sum(record.seconds for record in result.records),
            "evaluation": result.evaluation,
        }
        lines.append(_compact(_rounded(line)))
    shared = {"format": FORMAT, "common": common, "arms": arms, "environment": results[0].environment}
    head = ",\n".join(f'"{name}": {_compact(value)}' for name, value in shared.items())
    write_whole(path, f'{{{head},\n"runs": [\n' + ",\n".join(lines) + "\n]}\n")


def read_export(path: Path) -> list[RunResult]:
    """The runs in a file of `write_export`; their records have no loss, and each has the run's median cost and step.

    Raises:
        ExperimentError: no such file, or not one of these.
    """
    try:
        content = parse_object(read_bounded(path, MOST))
        if content["format"] != FORMAT:
            raise ExperimentError(f"{path} has format {content['format']!r}, this version reads {FORMAT}.")
        return [_run(path, k, content, line) for k, line in enumerate(content["runs"])]
    except OSError as error:
        raise ExperimentError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        reason = plain(repr(error))[:200]
        raise ExperimentError(f"{path} is not a file of `report --export`, or damaged: {reason}.") from error


def find_runs(folders: Iterable[Path]) -> list[RunResult]:
    """All runs in folders and below, in the order of their names; then those of exported files (.json) among them.

    Raises:
        ExperimentError: none at all, or a damaged one.
    """
    folders = list(folders)
    runs = RunFolder.below(folders)
    exported = [run for path in folders if path.suffix == ".json" for run in read_export(path)]
    if not runs and not exported:
        raise ExperimentError(f"there are no runs in {', '.join(map(str, folders))}.")
    return [*(run.read() for run in runs), *exported]


def _run(path: Path, place: int, content: Mapping[str, Any], line: Mapping[str, Any]) -> RunResult:
    values: dict[str, Any] = {**content["common"], **line["config"]}
    values["milestones"] = tuple(values["milestones"])
    config = Config(**values)
    status, epochs, tested, scores = line["status"], line["epochs"], line["tested"], scores_of(line["scores"])
    if status not in STATUSES:
        raise ValueError(f"the status of run {place} is none of {', '.join(STATUSES)}")
    grammar.check("epochs", epochs, int)
    grammar.check("tested", tested, list[int])
    if not 0 <= epochs <= config.epochs or [0, *tested, epochs + 1] != sorted({0, *tested, epochs + 1}):
        raise ValueError(f"run {place} was not tested after the epochs that it says")
    first = _first(scores) if tested else ""
    points = {epoch: scores_of({first: value}) for epoch, value in zip(tested, line["curve"], strict=True)}
    points.update({tested[-1]: scores} if tested else {})
    time = known({name: line[name] for name in TIMES}, TIMES)
    records = [
        EpochRecord(
            epoch=epoch,
            train_loss=math.nan,
            lr=math.nan,
            seconds=time["seconds"] / epochs,
            step_ms=time["step_ms"],
            cost=time["cost"],
            scores=points.get(epoch, {}),
        )
        for epoch in range(1, epochs + 1)
    ]
    return RunResult(
        path / str(place),
        config,
        records,
        status,
        text_or_none("stopped", line["stopped"]),
        known(content["arms"][config.arm], ABOUT),
        known(content["environment"], MACHINE),
        evaluation_of(line["evaluation"]),
    )


def _first(scores: Mapping[str, float]) -> str:
    """The score whose curve is kept."""
    for name in MAIN:
        if name in scores:
            return name
    raise ValueError(f"there is none of {' and '.join(MAIN)} among the scores")


def _rounded(value: Any) -> Any:
    """Floats at four digits, to any depth; configurations, and what a table rounds once more, are left as they are."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    if isinstance(value, dict):
        whole = ("config", "cost", "step_ms")  # a time that was rounded twice may end on another digit
        return {name: one if name in whole else _rounded(one) for name, one in value.items()}
    return value


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
