"""The runs of a sweep as jobs of a Slurm cluster, by submitit; the folders of the runs say how they stand.

submitit writes the scripts and queues them again where a job's time is over or it is preempted. What it keeps of a job
is not asked for: a sweep is followed by its folders, from wherever they are seen.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.base.claims import holder_of
from experiments.base.errors import ExperimentError, plain
from experiments.base.stopping import PARENT
from experiments.run.config import Config
from experiments.run.folder import RunFolder
from experiments.run.records import RunResult
from experiments.sweeps.plan import Sweep
from experiments.sweeps.processes import follow, machine_words
from experiments.sweeps.work import ENDED, MOST_DEATHS

JOBS = "slurm"  # the folder of submitit's scripts and logs, in the sweep's
TIMEOUTS = 100  # how often a job may be queued again because its time was over
POLL, LOOK = 0.2, 10.0  # seconds: of a job at its process; between looks for runs whose jobs died


@dataclass
class Job:
    """One run, in a process that is told to stop before the job is queued again.

    Attributes:
        folder: the run's.
        words: the command line's for the machine and the data.
    """

    folder: str
    words: Sequence[str]
    process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Train, or go on; returns the exit code. Of the tasks that share a run the first has the folder."""
        first = os.environ.get("SLURM_PROCID", "0") == "0"
        command = ["worker", self.folder] if first else ["train", "--resume", self.folder]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "experiments", *command, *self.words],
            env={**os.environ, PARENT: str(os.getpid())},
            start_new_session=True,  # Slurm's signals are for submitit
        )
        while self.process.poll() is None:  # not `wait`, which a signal's handler must not come into
            time.sleep(POLL)
        return self.process.returncode

    def checkpoint(self) -> Any:
        """What submitit queues in place of this job, whose process has saved what it had and ended by then."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.process.pid, signal.SIGTERM)
                os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(Job(self.folder, self.words))


def on_cluster(
    sweep: Sweep, folder: Path, folders: Mapping[Config, RunFolder], waiting: Sequence[Config]
) -> Generator[tuple[Config, RunResult]]:
    """Have a cluster train runs, and yield each as it ends. The jobs go on where this ends early."""
    if not waiting:
        return
    assert sweep.cluster is not None
    runs = [folders[config] for config in waiting]
    queue = Queue(folder, sweep)
    if not sweep.attach:
        queue.submit(runs)
    yield from follow(folders, waiting, lambda: queue.mend(runs))


class Queue:
    """The jobs of a sweep's runs.

    Args:
        folder: the sweep's.
        sweep: says what each job asks for, and how many run at a time.

    Raises:
        ExperimentError: submitit or the cluster is not there, or takes no such options.
    """

    def __init__(self, folder: Path, sweep: Sweep) -> None:
        try:
            from submitit import SlurmExecutor
        except ImportError as error:
            raise ExperimentError("--launcher slurm needs submitit: pip install 'mixkit[cluster]'.") from error
        for program in ("sbatch", "srun"):
            if shutil.which(program) is None:
                raise ExperimentError(f"there is no Slurm cluster here: {program} is not on the PATH.")
        assert sweep.cluster is not None
        self._words = machine_words(sweep.machine, [root.resolve() for root in sweep.roots])
        self._executor = SlurmExecutor(folder=folder / JOBS, max_num_timeout=TIMEOUTS)
        try:
            self._executor.update_parameters(**sweep.cluster.parameters(sweep.machine, sweep.jobs))
        except (TypeError, ValueError) as error:
            raise ExperimentError(f"submitit takes no such options: {plain(str(error)).splitlines()[0]}") from error
        self._again: dict[Path, int] = {}
        self._looked = time.monotonic()

    def submit(self, runs: Sequence[RunFolder]) -> None:
        """Queue runs as one array of jobs; ExperimentError where the cluster does not take them."""
        try:
            with self._executor.batch():
                for run in runs:
                    self._executor.submit(Job(str(run.path.resolve()), self._words))
        except Exception as error:  # submitit has errors of its own, and those of the programs that it calls
            raise ExperimentError(f"the cluster did not take the jobs: {plain(str(error).strip())}") from error

    def mend(self, runs: Iterable[RunFolder]) -> None:
        """Queue anew what a job died with, once for each death; what died too often a worker gives up itself."""
        if time.monotonic() < self._looked + LOOK:
            return
        self._looked = time.monotonic()
        dead = []
        for run in runs:
            holder = holder_of(run.path)
            if holder is None or holder.alive or run.status() in ENDED:
                continue
            if self._again.get(run.path, 0) < holder.number <= MOST_DEATHS:
                self._again[run.path] = holder.number
                dead.append(run)
        if dead:
            self.submit(dead)
