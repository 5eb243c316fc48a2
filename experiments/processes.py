"""Runs of a sweep in processes of their own, several at a time; what each says goes to log.txt in its folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from experiments.config import Config, to_toml
from experiments.files import write_whole
from experiments.results import RECIPE, RunResult, read_run
from experiments.stopping import asked_to_stop

if TYPE_CHECKING:
    from experiments.sweeper import Sweep

LOG = "log.txt"
ENDED = (0, 1)  # exit codes of a run that says itself how it ended
POLL = 0.1  # seconds


def in_processes(
    sweep: Sweep, waiting: Sequence[Config], folders: Mapping[Config, Path]
) -> Generator[tuple[Config, RunResult]]:
    """Run configurations, `sweep.jobs` at a time, and yield each as it ends.

    Each has the GPUs of its slot; slots share where there are fewer GPUs than jobs want. Whatever ends the iteration
    early (Ctrl-C, SIGTERM) ends the processes too.
    """
    queue = list(waiting)
    slots = _slots(sweep.jobs, sweep.machine.devices)
    running: dict[subprocess.Popen[bytes], tuple[Config, list[str]]] = {}
    try:
        while queue or running:
            if asked_to_stop():
                raise KeyboardInterrupt
            while queue and slots:
                config, gpus = queue.pop(0), slots.pop(0)
                running[_start(sweep, config, folders[config], gpus)] = config, gpus
            for process in [process for process in running if process.poll() is not None]:
                config, gpus = running.pop(process)
                slots.append(gpus)
                yield config, _result(folders[config], process.returncode)
            time.sleep(POLL)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def _slots(jobs: int, devices: int) -> list[list[str]]:
    """The GPUs of each job, of those that this process may use; none where there are none to share out."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    if len(gpus) < 2:
        return [[] for _ in range(jobs)]
    return [[gpus[(job * devices + i) % len(gpus)] for i in range(devices)] for job in range(jobs)]


def _start(sweep: Sweep, config: Config, folder: Path, gpus: list[str]) -> subprocess.Popen[bytes]:
    write_whole(folder / RECIPE, to_toml(config))
    machine = sweep.machine
    machine = replace(machine, threads=machine.threads or max(1, (os.cpu_count() or 1) // sweep.jobs))
    command = [sys.executable, "-m", "experiments", "pointcloud", "--resume", str(folder), "--data-root"]
    command += [*map(str, sweep.roots), "--accelerator", machine.accelerator, "--devices", str(machine.devices)]
    command += ["--nodes", str(machine.nodes), "--threads", str(machine.threads)]
    environment = dict(os.environ)
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    with (folder / LOG).open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def _result(folder: Path, code: int) -> RunResult:
    """What is in the folder; where the process did not end by itself, with what it said last."""
    result = read_run(folder)
    if code in ENDED and result.status in ("complete", "stopped"):
        return result
    lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["nothing"]
    why = f"its process ended with code {code}, saying: {lines[-1]} (more in {folder / LOG})"
    return replace(result, status="stopped", stopped=why)
