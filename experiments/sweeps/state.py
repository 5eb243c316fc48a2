"""How the runs of a sweep stand, from their folders alone, on any machine that sees them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.base.claims import Holder, holder_of
from experiments.base.errors import ExperimentError
from experiments.run.folder import RunFolder
from experiments.run.records import RunResult, outcome
from experiments.sweeps.plan import read_plan

PHASES = ("running", "lost", "failed", "waiting", "done")


@dataclass(frozen=True)
class RunState:
    """How one run stands.

    Attributes:
        run: its folder.
        phase: "running"; "lost", where its process died or has been silent; "failed"; "waiting", begun or not; "done".
        title: of the run.
        epochs: of the run when it is done.
        trained: epochs that are trained and saved.
        seconds_left: of a running run, by its epochs so far; None where none has ended.
        holder: who is, or was, at work.
        why: of a failed run; of a run that is done, its outcome.
    """

    run: RunFolder
    phase: str
    title: str
    epochs: int
    trained: int
    seconds_left: float | None
    holder: Holder | None
    why: str


class Observer:
    """Looks at a sweep's folder again and again; runs that have ended are read once.

    Args:
        folder: the sweep's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ended: dict[Path, tuple[int, RunState]] = {}

    def look(self) -> list[RunState]:
        """The state of every run, in the plan's order.

        Raises:
            ExperimentError: there are no runs.
        """
        return [self._state(run) for run in read_plan(self._folder)]

    def _state(self, run: RunFolder) -> RunState:
        changed = run.changed()
        before = self._ended.get(run.path)
        if before is not None and before[0] == changed:
            return before[1]
        state = state_of(run)
        if state.phase in ("done", "failed"):
            self._ended[run.path] = (changed, state)
        return state


def state_of(run: RunFolder) -> RunState:
    """The state of one run; "failed" where its files are damaged."""
    try:
        result = run.read()
    except ExperimentError as error:
        return RunState(run, "failed", run.path.name, 0, 0, None, None, str(error))
    holder = holder_of(run.path)
    phase, why = _phase(result, holder)
    return RunState(
        run,
        phase,
        result.config.title,
        result.config.epochs,
        len(result.records),
        _seconds_left(result) if phase == "running" else None,
        holder,
        why,
    )


def _phase(result: RunResult, holder: Holder | None) -> tuple[str, str]:
    if result.status == "complete":
        return "done", outcome(result)
    if holder is not None and holder.alive:
        return "running", ""
    if result.status == "stopped":
        return "failed", result.stopped or "no reason is told"
    if holder is not None:
        return (
            "lost",
            f"its process {holder.pid} on {holder.host or 'an unknown machine'} is no more, or silent for "
            f"{holder.silent:.0f} s",
        )
    return "waiting", ""


def _seconds_left(result: RunResult) -> float | None:
    """By the median of the epochs so far, which one slow epoch does not move."""
    if not result.records:
        return None
    epoch = statistics.median(record.seconds for record in result.records)
    return epoch * (result.config.epochs - len(result.records))


def count(states: Sequence[RunState]) -> dict[str, int]:
    """How many runs are in each phase, in the order of `PHASES`."""
    return {phase: sum(state.phase == phase for state in states) for phase in PHASES}
