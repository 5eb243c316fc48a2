"""Many runs in one folder: what is done is skipped, what was begun goes on, and a report stands at the end."""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.base.claims import claim, claimed
from experiments.base.console import make_console
from experiments.base.errors import ExperimentError
from experiments.base.files import make_output
from experiments.base.machine import make_fabric
from experiments.base.stopping import stopped_by_signals
from experiments.data.base import DataSet
from experiments.data.shared import DataCache
from experiments.report.summary import make_summary
from experiments.report.terminal import print_tables
from experiments.report.write import write_report, write_summary
from experiments.run.config import Config
from experiments.run.folder import RunFolder
from experiments.run.loop import Watcher, steps_per_epoch
from experiments.run.progress import Monitor
from experiments.run.records import RunResult, outcome
from experiments.run.runner import load, run
from experiments.sweeps.plan import SHARED, Sweep, run_folder, write_plan
from experiments.sweeps.processes import in_processes
from experiments.sweeps.slurm import on_cluster


def run_sweep(sweep: Sweep) -> int:
    """Train every run that is not done, write everything, print the table.

    Returns:
        0, or 1 where a run did not end well.

    Raises:
        ExperimentError: data that are not there, a folder with runs of other configurations, or one that another
            process is training in; before anything runs.
    """
    console = make_console()
    data = DataCache()
    steps = {config: steps_per_epoch(load(config, sweep.roots, data), config, sweep.processes) for config in sweep.runs}
    folder = sweep.output if sweep.resume else make_output(sweep.output)
    if folder != sweep.output:
        console.print(f"{sweep.output} is in use; writing to {folder}", highlight=False, soft_wrap=True)
    folders = {config: run_folder(folder, config) for config in sweep.runs}
    with claim(folder):
        return _sweep(sweep, console, folder, folders, data, steps)


def _sweep(
    sweep: Sweep,
    console: Console,
    folder: Path,
    folders: dict[Config, RunFolder],
    data: DataCache,
    steps: dict[Config, int],
) -> int:
    """`run_sweep` in a folder that is this process's; in the folders of the runs others may be at work."""
    done = {config: _done(folders[config], config) for config in sweep.runs}
    waiting = [config for config in sweep.runs if done[config] is None]
    for config in waiting:
        _plan(folders[config], config)
    write_plan(folder, folders.values())
    if sweep.plan_only:
        console.print(f"{len(waiting)} runs are planned in {folder}", highlight=False, soft_wrap=True)
        return 0
    started = time.perf_counter()
    results: dict[Config, RunResult] = {}

    def note(config: Config, result: RunResult) -> None:
        results[config] = result
        write_summary(folder, summarise("running"))

    def summarise(status: str) -> dict[str, Any]:
        ordered = [results[one] for one in sweep.runs if one in results]
        seconds = time.perf_counter() - started if len(waiting) == len(sweep.runs) else None
        return make_summary(sweep.command, folder.name, ordered, status, seconds)

    total = sum(config.epochs * steps[config] for config in sweep.runs)
    with Monitor(console, len(sweep.runs), total) as monitor, stopped_by_signals():
        for config, before in done.items():
            if before is not None:
                monitor.skip(config.title, config.epochs * steps[config], f"done before: {outcome(before)}")
                note(config, before)
        alone = sweep.jobs == 1 and sweep.processes == 1 and sweep.cluster is None
        for config in waiting if alone else ():
            if claimed(folders[config].path):  # a worker elsewhere trains it
                continue
            watcher = monitor.begin(config.title, config.epochs, steps[config], folders[config].epochs_done())
            result = _here(sweep, config, load(config, sweep.roots, data), folders[config], watcher)
            monitor.end(outcome(result))
            note(config, result)
        others = [config for config in waiting if config not in results]
        data.clear()
        launch = in_processes if sweep.cluster is None else on_cluster
        with closing(launch(sweep, folder, folders, others)) as ended:
            for config, result in ended:
                monitor.skip(config.title, config.epochs * steps[config], outcome(result))
                note(config, result)
    shutil.rmtree(folder / SHARED, ignore_errors=True)  # who has mapped it keeps it
    well = all(result.status == "complete" for result in results.values())
    summary = summarise("complete" if well else "stopped")
    write_summary(folder, summary)
    with console.status("writing the report"):
        ordered = [results[config] for config in sweep.runs]
        page = write_report(folder, summary, ordered, sweep.roots, sweep.gallery)
    print_tables(console, summary)
    console.print(f"\n{page}  ({summary['seconds']:.0f} s)", highlight=False, soft_wrap=True)
    return 0 if well else 1


def _done(run: RunFolder, config: Config) -> RunResult | None:
    """The run in the folder if it is complete; None if it is not, or there is none."""
    if not run.holds_run:
        return None
    result = run.read()
    if result.config != config:
        raise ExperimentError(f"{run.path} holds a run of another configuration: choose another --output.")
    return result if result.status == "complete" else None


def _plan(run: RunFolder, config: Config) -> None:
    """Make a run's folder, and have a run that stopped tried anew."""
    if not run.holds_run:
        run.write_config(config)
    elif run.status() == "stopped" and not claimed(run.path):
        run.write_end("interrupted")


def _here(sweep: Sweep, config: Config, data: DataSet, folder: RunFolder, watcher: Watcher) -> RunResult:
    """Run one configuration in this process; what the user can put right stops this run alone."""
    fabric = make_fabric(sweep.machine, config.precision)
    try:
        return run(fabric, config, data, folder, resume=True, watcher=watcher)
    except ExperimentError as error:
        result = replace(folder.read(), status="stopped", stopped=str(error))
        return result
