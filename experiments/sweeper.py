"""Many runs in one folder: what is done is skipped, what was begun goes on, and a report stands at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from rich.console import Console

from experiments.config import Config, to_toml
from experiments.console import Monitor, print_tables
from experiments.data import DataSet
from experiments.errors import ExperimentError
from experiments.files import write_json, write_whole
from experiments.report import make_summary, write_report
from experiments.results import RECIPE, SUMMARY, RunResult, make_output, read_run
from experiments.runner import Machine, load, make_fabric, outcome, run, stopped_by_signals
from experiments.single import folder_name
from experiments.train import steps_per_epoch


@dataclass(frozen=True)
class Sweep:
    """What to run and where.

    Attributes:
        command: for the report's heading.
        runs: the configurations, in their order.
        output: the folder; the next free name beside it where it is in use, unless `resume`.
        roots: folders with data.
        machine: of each run.
        resume: go on in `output`.
        jobs: runs at a time, each in a process of its own, on a GPU of its own where there are several.
        test_every: epochs between tests.
        gallery: also save the gallery as this picture.
    """

    command: str
    runs: tuple[Config, ...]
    output: Path
    roots: tuple[Path, ...]
    machine: Machine
    resume: bool = False
    jobs: int = 1
    test_every: int = 1
    gallery: Path | None = None


def run_sweep(sweep: Sweep) -> int:
    """Train every run that is not done, write everything, print the table.

    Returns:
        0, or 1 where a run did not end well.

    Raises:
        ExperimentError: data that are not there, or a folder with runs of other configurations; before anything runs.
    """
    console = Console()
    data: dict[Any, DataSet] = {}
    steps = {config: steps_per_epoch(_data(config, sweep, data), config) for config in sweep.runs}
    folder = sweep.output if sweep.resume else make_output(sweep.output)
    if folder != sweep.output:
        console.print(f"{sweep.output} is in use; writing to {folder}", highlight=False, soft_wrap=True)
    folders = {config: run_folder(folder, config) for config in sweep.runs}
    done = {config: _done(folders[config], config) for config in sweep.runs}
    started, lock = time.perf_counter(), Lock()
    results: dict[Config, RunResult] = {}
    total = sum(config.epochs * steps[config] for config in sweep.runs)

    def note(config: Config, result: RunResult, status: str = "running") -> None:
        results[config] = result
        ordered = [results[one] for one in sweep.runs if one in results]
        summary = make_summary(sweep.command, folder.name, ordered, status, time.perf_counter() - started)
        write_json(folder / SUMMARY, summary)

    with Monitor(console, len(sweep.runs), total, quiet=False) as monitor, stopped_by_signals():
        waiting = []
        for config in sweep.runs:
            before = done[config]
            if before is not None:
                monitor.skip(config.title, config.epochs * steps[config], f"done before: {outcome(before)}")
                note(config, before)
            else:
                waiting.append(config)
        if sweep.jobs == 1:
            for config in waiting:
                fabric = make_fabric(sweep.machine, config.precision)
                epochs = len(read_run(folders[config]).records) if (folders[config] / RECIPE).exists() else 0
                watcher = monitor.begin(config.title, config.epochs, steps[config], epochs)
                result = run(
                    fabric,
                    config,
                    _data(config, sweep, data),
                    folders[config],
                    resume=True,
                    test_every=sweep.test_every,
                    watcher=watcher,
                )
                monitor.end(outcome(result))
                note(config, result)
        else:
            data.clear()

            def work(numbered: tuple[int, Config]) -> None:
                number, config = numbered
                result = _in_process(sweep, config, folders[config], number)
                with lock:
                    monitor.skip(config.title, config.epochs * steps[config], outcome(result))
                    note(config, result)

            with ThreadPoolExecutor(sweep.jobs) as pool:
                list(pool.map(work, enumerate(waiting)))
    ordered = [results[config] for config in sweep.runs]
    well = all(result.status == "complete" for result in ordered)
    summary = make_summary(
        sweep.command, folder.name, ordered, "complete" if well else "stopped", time.perf_counter() - started
    )
    write_json(folder / SUMMARY, summary)
    with console.status("writing the report"):
        page = write_report(folder, summary, ordered, sweep.roots, sweep.gallery)
    print_tables(console, summary)
    console.print(f"\n{page}  ({summary['seconds']:.0f} s)", highlight=False, soft_wrap=True)
    return 0 if well else 1


def run_folder(folder: Path, config: Config) -> Path:
    """The folder of one run of a sweep."""
    name = folder_name(config).removeprefix(f"{config.arm}-")
    return folder / config.arm / name


def _data(config: Config, sweep: Sweep, cache: dict[Any, DataSet]) -> DataSet:
    """The run's data, loaded once for all runs on the same."""
    key = (config.domain, config.dataset, config.limit, config.num_points, config.parts)
    if key not in cache:
        cache[key] = load(config, sweep.roots)
    return cache[key]


def _done(folder: Path, config: Config) -> RunResult | None:
    """The run in the folder if it is complete; None if it is not, or there is none."""
    if not (folder / RECIPE).exists():
        return None
    result = read_run(folder)
    if result.config != config:
        raise ExperimentError(f"{folder} holds a run of another configuration: choose another --output.")
    return result if result.status == "complete" else None


def _in_process(sweep: Sweep, config: Config, folder: Path, number: int) -> RunResult:
    """Run one configuration in a process of its own; its messages go to log.txt in its folder."""
    write_whole(folder / RECIPE, to_toml(config))
    machine = replace(sweep.machine, threads=sweep.machine.threads or max(1, (os.cpu_count() or 1) // sweep.jobs))
    command = [sys.executable, "-m", "experiments", "pointcloud", "--resume", str(folder), "--data-root"]
    command += [*map(str, sweep.roots), "--accelerator", machine.accelerator, "--devices", str(machine.devices)]
    command += ["--threads", str(machine.threads), "--test-every", str(sweep.test_every)]
    environment = dict(os.environ)
    gpus = torch.cuda.device_count()
    if gpus > 1 and machine.devices == 1:
        environment["CUDA_VISIBLE_DEVICES"] = str(number % gpus)
    with (
        (folder / "log.txt").open("ab") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            process.wait()
        except BaseException:
            process.terminate()
            raise
    return read_run(folder)
