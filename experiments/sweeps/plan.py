"""Which runs a sweep has, and where they are to go."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from experiments.base.errors import ExperimentError
from experiments.base.machine import Machine
from experiments.run.config import Config


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
    """

    command: str
    runs: tuple[Config, ...]
    output: Path
    roots: tuple[Path, ...]
    machine: Machine
    resume: bool = False
    jobs: int = 1
    gallery: Path | None = None

    @property
    def processes(self) -> int:
        """That share the batches of one run."""
        return self.machine.devices * self.machine.nodes


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
