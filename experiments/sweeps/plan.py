"""Which runs a sweep has, and where they are to go; the plan lies in the sweep's folder, for whoever works there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.base.errors import ExperimentError
from experiments.base.files import read_bounded, write_json
from experiments.run.config import Config, folder_name
from experiments.run.folder import RunFolder

if TYPE_CHECKING:
    from experiments.base.machine import Machine

PLAN = "plan.json"  # the runs' folders in the order in which they are to be trained
SHARED = "data"  # the folder of what the processes of the sweep map into their memory; gone when it ends


@dataclass(frozen=True)
class Cluster:
    """What a job asks of the cluster.

    Attributes:
        minutes: of a job, which is queued again and goes on where they do not suffice.
        partition, account: of the cluster; its own default where None.
        gpus, cpus, memory: of a node: GPUs, cores of a task, GiB; the cluster's default where None.
        options: further options of sbatch by their long names, such as {"qos": "low"}.
    """

    minutes: int = 60
    partition: str | None = None
    account: str | None = None
    gpus: int | None = None
    cpus: int | None = None
    memory: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self, machine: Machine, jobs: int) -> dict[str, Any]:
        """As submitit's executor takes them; at most `jobs` run at a time."""
        gpus = machine.devices if self.gpus is None and machine.accelerator in ("cuda", "gpu") else self.gpus
        wanted = {
            "time": self.minutes, "partition": self.partition, "account": self.account, "gpus_per_node": gpus,
            "cpus_per_task": self.cpus, "mem": None if self.memory is None else f"{self.memory}GB",
            "nodes": machine.nodes, "ntasks_per_node": machine.devices, "array_parallelism": jobs,
            "signal_delay_s": 90, "job_name": "mixkit", "additional_parameters": dict(self.options) or None,
        }  # fmt: skip
        return {name: value for name, value in wanted.items() if value is not None}


@dataclass(frozen=True)
class Sweep:
    """What to run and where.

    Attributes:
        command: for the report's heading.
        runs: the configurations, in their order.
        output: the folder; the next free name beside it where it is in use, unless `resume`.
        roots: folders with data.
        machine: the machine of each run.
        resume: go on in `output`.
        jobs: runs at a time, each in a process of its own, on a GPU of its own where there are several.
        gallery: also save the gallery as this picture.
        plan_only: make the runs' folders and train none.
        cluster: train on a Slurm cluster, `jobs` at a time; None for this machine.
        attach: the jobs are queued already; wait for them.
    """

    command: str
    runs: tuple[Config, ...]
    output: Path
    roots: tuple[Path, ...]
    machine: Machine
    resume: bool = False
    jobs: int = 1
    gallery: Path | None = None
    plan_only: bool = False
    cluster: Cluster | None = None
    attach: bool = False

    @property
    def processes(self) -> int:
        """That share the batches of one run."""
        return self.machine.devices * self.machine.nodes


def run_folder(folder: Path, config: Config) -> RunFolder:
    """The folder of one run of a sweep."""
    name = folder_name(config).removeprefix(f"{config.arm}-")
    return RunFolder(folder / config.arm / name)


def write_plan(folder: Path, runs: Iterable[RunFolder]) -> None:
    """Say in a sweep's folder which runs it has, in their order."""
    write_json(folder / PLAN, {"runs": [run.path.relative_to(folder).as_posix() for run in runs]})


def read_plan(folder: Path) -> list[RunFolder]:
    """The runs of a sweep's folder in the order of its plan; without a plan, all that lie there by their names.

    Raises:
        ExperimentError: no runs, a damaged plan, or one that leads out of the folder.
    """
    try:
        plan = json.loads(read_bounded(folder / PLAN))
        places = [Path(place) for place in plan["runs"]]
        if strange := [place for place in places if place.is_absolute() or ".." in place.parts]:
            raise ValueError(f"{strange[0]} leads out of the folder")
    except FileNotFoundError:
        runs = RunFolder.below([folder])
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ExperimentError(f"{folder / PLAN} is damaged ({error}).") from error
    else:
        runs = [run for place in places if (run := RunFolder(folder / place)).holds_run]
    if not runs:
        raise ExperimentError(f"{folder} holds no runs: `sweep` makes them.")
    return runs


def unique(runs: list[Config]) -> list[Config]:
    """The runs without those that a recipe's own options made the same.

    Raises:
        ExperimentError: two runs that tables could not tell apart, such as sigma=2 and sigma=2.0.
    """
    runs = list(dict.fromkeys(runs))
    seen: dict[object, Config] = {}
    for run in runs:
        row = (dataclasses.replace(run, method=run.spec.label), run.label_smoothing)
        if row in seen:
            raise ExperimentError(f"{run.title} is the same run as {seen[row].title}.")
        seen[row] = run
    return runs
