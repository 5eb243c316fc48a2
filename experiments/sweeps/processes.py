"""Runs of a sweep in processes, several at a time; what each says goes to log.txt in its folder."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from experiments.base.stopping import PARENT, asked_to_stop
from experiments.run.config import Config
from experiments.run.folder import RunFolder
from experiments.run.records import RunResult
from experiments.sweeps.plan import Sweep

ENDED = (0, 1)  # exit codes of a run that says itself how it ended
POLL = 0.1  # seconds


def in_processes(
    sweep: Sweep, waiting: Sequence[Config], folders: Mapping[Config, Path]
) -> Generator[tuple[Config, RunResult]]:
    """Run configurations, `sweep.jobs` at a time, and yield each as it ends.

    Each has the GPUs of its slot; slots share where there are fewer GPUs than jobs want. A slot's process trains one
    run after the other, unless devices share a run: their processes are made for that run alone. Whatever ends the
    iteration early (Ctrl-C, SIGTERM) ends the processes too; and they end themselves where this one is killed.
    """
    queue = list(waiting)
    slots = [_Slot(gpus) for gpus in _slots(sweep.jobs, sweep.machine.devices)]
    try:
        while queue or any(slot.config for slot in slots):
            if asked_to_stop():
                raise KeyboardInterrupt
            for slot in slots:
                if slot.config is None and queue:
                    slot.config = queue.pop(0)
                    _start(sweep, slot, folders[slot.config])
                if slot.config is not None and (code := slot.ended()) is not None:
                    ended, slot.config = slot.config, None
                    yield ended, _result(folders[ended], code)
            time.sleep(POLL)
    finally:
        processes = [slot.process for slot in slots if slot.process is not None]
        for process in processes:
            process.terminate()
        for process in processes:
            _close(process)


@dataclass
class _Slot:
    """Where one run at a time is trained.

    Attributes:
        gpus: that its process may use; any where there are none to share out.
        process: that is or was at work here.
        config: the run that is at work, None for none.
    """

    gpus: list[str]
    process: subprocess.Popen[str] | None = None
    config: Config | None = None

    def ended(self) -> int | None:
        """The exit code of the run that was begun; None while it is at work."""
        assert self.process is not None
        if self.process.stdout is not None and select.select([self.process.stdout], [], [], 0)[0]:
            answer = self.process.stdout.readline().strip()
            return int(answer) if answer else self.process.wait()  # no answer: the process ended
        return self.process.poll()


def _slots(jobs: int, devices: int) -> list[list[str]]:
    """The GPUs of each job, of those that this process may use; none where there are none to share out."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    if len(gpus) < 2:
        return [[] for _ in range(jobs)]
    return [[gpus[(job * devices + i) % len(gpus)] for i in range(devices)] for job in range(jobs)]


def _start(sweep: Sweep, slot: _Slot, folder: Path) -> None:
    """Have a run trained in a slot, by the process that is there or by a new one."""
    assert slot.config is not None
    RunFolder(folder).write_config(slot.config)
    serves = sweep.processes == 1
    if slot.process is None or slot.process.poll() is not None:
        machine = sweep.machine
        threads = machine.threads or max(1, (os.cpu_count() or 1) // sweep.jobs)
        options = ["--data-root", *map(str, sweep.roots), "--accelerator", machine.accelerator]
        options += ["--devices", str(machine.devices), "--nodes", str(machine.nodes), "--threads", str(threads)]
        words = ["worker"] if serves else ["train", "--resume", str(folder)]
        environment = {**os.environ, PARENT: str(os.getpid())}
        if slot.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(slot.gpus)
        pipe = subprocess.PIPE if serves else None
        if slot.process is not None:
            _close(slot.process)
        with RunFolder(folder).log.open("ab") as log:
            slot.process = subprocess.Popen(
                [sys.executable, "-m", "experiments", *words, *options],
                env=environment, stdin=pipe, stdout=pipe or log, stderr=log, text=True, bufsize=1,
            )  # fmt: skip
    if serves:
        assert slot.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: `ended` finds that out
            slot.process.stdin.write(f"{folder}\n")


def _close(process: subprocess.Popen[str]) -> None:
    """Wait for a process that ends or has ended, and close its pipes; what it did not read is lost."""
    with contextlib.suppress(BrokenPipeError), process:
        pass
    process.wait()


def _result(folder: Path, code: int) -> RunResult:
    """What is in the folder; where the process did not end by itself, with what it said last."""
    home = RunFolder(folder)
    result = home.read()
    if code in ENDED and result.status in ("complete", "stopped"):
        return result
    why = f"its process ended with code {code}, saying: {home.last_words()} (more in {home.log})"
    return replace(result, status="stopped", stopped=why)
