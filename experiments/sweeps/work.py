"""Train the runs of a sweep's folder one after the other, whoever else does so: any number of processes and machines.

A run is claimed before it is trained (`base.claims`), so that nobody else trains it, and goes on from its last
checkpoint. A run whose process died is anybody's; one that killed its process three times is given up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from experiments.base.claims import Claim, TakenOverError, claim
from experiments.base.errors import STOPPED, ExperimentError, RunStoppedError
from experiments.base.stopping import asked_to_stop, stopped_by_signals
from experiments.run.folder import RunFolder
from experiments.sweeps.plan import read_plan

ENDED = ("complete", "stopped")  # statuses of runs that are not trained again
MOST_DEATHS = 3
POLL = 1.0  # seconds between looks at runs that others train

Train = Callable[[RunFolder, Claim], int]
"""Trains the run in a folder that is claimed, from its last checkpoint; returns the exit code, raises nothing."""


def work(folder: Path, train: Train, tell: Callable[[RunFolder], None]) -> int:
    """Train runs until none is left that is neither ended nor another's; wait for others, who may die.

    Args:
        folder: the sweep's. Its plan is read once.
        train: trains one run.
        tell: is told of each run that ended here.

    Returns:
        The exit code: 0, or 130 where a signal asked to stop.

    Raises:
        ExperimentError: there are no runs.
    """
    left = read_plan(folder)
    with stopped_by_signals():
        while left:
            waiting = []
            for run in left:
                if asked_to_stop():
                    return STOPPED
                if run.status() in ENDED:
                    continue
                code = _try(run, train)
                if code == STOPPED:
                    return code
                if code is None:
                    waiting.append(run)
                else:
                    tell(run)
            left = waiting
            if left:
                time.sleep(POLL)
    return 0


def _try(run: RunFolder, train: Train) -> int | None:
    """The exit code of a run that was trained here; None where it is another's."""
    try:
        own = claim(run.path)
    except RunStoppedError:  # the folder cannot be written
        raise
    except ExperimentError:
        return None
    with own:
        if run.status() in ENDED:  # since it was last looked at
            return 0
        if own.deaths >= MOST_DEATHS:
            run.write_end("stopped", f"its process died {own.deaths} times, saying: {_words(run)}")
            return 1
        code = train(run, own)
        try:
            own.check()
        except TakenOverError:
            return None
        if code != STOPPED and run.status() not in ENDED:
            run.write_end("stopped", f"its process ended with code {code}, saying: {_words(run)}")
        return code


def _words(run: RunFolder) -> str:
    return f"{run.last_words()} (more in {run.log})"
