"""The workers of a sweep on this machine, and what the folders of its runs say meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from experiments.base.errors import STOPPED, ExperimentError, plain
from experiments.base.machine import Machine
from experiments.base.stopping import PARENT, asked_to_stop
from experiments.run.config import Config
from experiments.run.folder import RunFolder
from experiments.run.records import RunResult
from experiments.sweeps.plan import Sweep
from experiments.sweeps.work import ENDED

LOG = "workers.log"  # in the sweep's folder: what workers say that is of no run
POLL = 0.2  # seconds


def follow(
    folders: Mapping[Config, RunFolder], waiting: Sequence[Config], between: Callable[[], None] = lambda: None
) -> Generator[tuple[Config, RunResult]]:
    """Yield runs as they end, whoever trains them.

    Args:
        folders: the folder of each run.
        waiting: those to wait for.
        between: called between two looks at the folders.

    Raises:
        KeyboardInterrupt: `stopping` heard a signal.
    """
    seen = dict.fromkeys(waiting, -1)
    while seen:
        for config in list(seen):
            run = folders[config]
            if (changed := run.changed()) == seen[config]:
                continue
            seen[config] = changed
            if run.status() in ENDED:
                del seen[config]
                yield config, run.read()
        if asked_to_stop():
            raise KeyboardInterrupt
        between()
        time.sleep(POLL)


def in_processes(
    sweep: Sweep, folder: Path, folders: Mapping[Config, RunFolder], waiting: Sequence[Config]
) -> Generator[tuple[Config, RunResult]]:
    """Have `sweep.jobs` workers train runs, and yield each as it ends.

    Whatever ends the iteration early (Ctrl-C, SIGTERM) ends the workers too; they end themselves where this process is
    killed.
    """
    if not waiting:
        return
    team = Team(sweep, folder)
    try:
        yield from follow(folders, waiting, team.mend)
    finally:
        team.close()


class Team:
    """Workers on this machine, each with the GPUs of its slot; slots share where there are fewer GPUs than wanted.

    Args:
        sweep: says how many, and what machine each has.
        folder: the sweep's.
    """

    def __init__(self, sweep: Sweep, folder: Path) -> None:
        self._sweep, self._folder = sweep, folder
        self._slots = slots(sweep.jobs, sweep.machine.devices)
        self._workers = [self._start(gpus) for gpus in self._slots]

    def mend(self) -> None:
        """Put a new worker where one was killed: its run is taken up again, thrice at most.

        Raises:
            KeyboardInterrupt: a worker was told to stop.
            ExperimentError: a worker could not work.
        """
        for slot, worker in enumerate(self._workers):
            code = worker.poll()
            if code is None or code == 0:
                continue
            if code == STOPPED:
                raise KeyboardInterrupt
            if code > 0:
                log = self._folder / LOG
                words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                said = plain(words[-1]) if words else "nothing"
                raise ExperimentError(f"a worker ended with code {code}, saying: {said} (more in {log}).")
            self._workers[slot] = self._start(self._slots[slot])

    def close(self) -> None:
        """End the workers, who save nothing but what is saved, and wait for them."""
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.wait()

    def _start(self, gpus: list[str]) -> subprocess.Popen[bytes]:
        return start_worker(self._sweep, self._folder, self._folder, gpus)


def start_worker(sweep: Sweep, place: Path, folder: Path, gpus: list[str]) -> subprocess.Popen[bytes]:
    """A worker on the runs in `place`, the sweep's `folder` or that of one run, with these GPUs or any."""
    threads = sweep.machine.threads or max(1, (os.cpu_count() or 1) // sweep.jobs)
    words = ["worker", str(place), *machine_words(replace(sweep.machine, threads=threads), sweep.roots)]
    environment = {**os.environ, PARENT: str(os.getpid())}
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    with (folder / LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "experiments", *words],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip


def machine_words(machine: Machine, roots: Iterable[Path]) -> list[str]:
    """The command line's words for a machine and for the folders with data."""
    words = ["--data-root", *map(str, roots), "--accelerator", machine.accelerator]
    words += ["--devices", str(machine.devices), "--nodes", str(machine.nodes)]
    return words + (["--threads", str(machine.threads)] if machine.threads else [])


def slots(jobs: int, devices: int) -> list[list[str]]:
    """The GPUs of each job, of those that this process may use; none where there are none to share out."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    if len(gpus) < 2:
        return [[] for _ in range(jobs)]
    return [[gpus[(job * devices + i) % len(gpus)] for i in range(devices)] for job in range(jobs)]
