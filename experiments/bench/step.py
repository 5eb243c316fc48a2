"""What a training step costs with each method and each saliency, as a ratio to the vanilla step of the same round.

The floor is a vanilla step and the pass that exact saliency cannot do without, written with torch alone: a forward in
eval mode and a backward to the input. Every row runs at the same precision, mixing included, and all rows take turns;
ratios are medians over the rounds. What a bank learns it learns in the backward pass, so that time is in "train".
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor, nn

import mixkit
from experiments.base.clock import now
from experiments.base.console import make_console
from experiments.base.files import write_json
from experiments.base.machine import describe_environment
from experiments.bench.timing import extra_memory
from experiments.bench.workloads import synthetic_shape
from experiments.models import create_model

NUM_CLASSES = 100
REFRESH = 8
TOGETHER: dict[str, Any] = {"resolution": 0.5, "autocast": torch.bfloat16, "channels_last": True}


@dataclass(frozen=True)
class Case:
    """A model and its batches; ``options`` are SageMix's."""

    model: str
    domain: str
    shape: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)


CASES = {
    "preact": Case("preact_resnet18", "image", (100, 3, 32, 32)),
    "resnet50": Case("torchvision/resnet50", "image", (8, 3, 224, 224)),
    "pointnet": Case("pointnet", "points", (32, 1024, 3), {"sigma": 2.0}),
    "dgcnn": Case("dgcnn", "points", (32, 1024, 3)),
}


def _gradient(model: nn.Module, **options: Any) -> dict[str, Any]:
    return {"saliency": mixkit.GradientSaliency(model, **options)}


SALIENCIES: dict[str, Callable[[nn.Module, int], dict[str, Any]]] = {
    "exact": lambda model, size: {"model": model},
    "clean pass": lambda model, size: {"model": model, "clean_weight": 1.0},
    "channels last": lambda model, size: _gradient(model, channels_last=True),
    "compiled": lambda model, size: _gradient(model, compile=True),
    "resolution 0.75": lambda model, size: _gradient(model, resolution=0.75),
    "resolution 0.5": lambda model, size: _gradient(model, resolution=0.5),
    "resolution 0.25": lambda model, size: _gradient(model, resolution=0.25),
    "bfloat16": lambda model, size: _gradient(model, autocast=torch.bfloat16),
    "together": lambda model, size: _gradient(model, **TOGETHER),
    "together, compiled": lambda model, size: _gradient(model, **TOGETHER, compile=True),
    "bank": lambda model, size: {"saliency": mixkit.SaliencyBank(4 * size)},
    "bank, uint8": lambda model, size: {"saliency": mixkit.SaliencyBank(4 * size, dtype=torch.uint8)},
    "bank, refreshed": lambda model, size: {
        "saliency": mixkit.SaliencyBank(4 * size, refresh_every=REFRESH),
        "model": model,
    },
}

DEFAULT = tuple(saliency for saliency in SALIENCIES if "compiled" not in saliency)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench step`."""
    names = f"{', '.join(SALIENCIES)} (default: all but the compiled ones, which compile for minutes)"
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=["preact", "pointnet"], help="default: two")
    parser.add_argument("--methods", nargs="*", metavar="METHOD", help="beside SageMix (default: every method)")
    parser.add_argument("--saliencies", nargs="*", choices=list(SALIENCIES), metavar="SALIENCY", help=names)
    parser.add_argument("--precision", choices=["32", "bf16"], default="32", help="default: 32")
    parser.add_argument("--width", type=int, default=64, help="of the models but torchvision's (default: 64)")
    parser.add_argument("--batch-size", type=int, help="default: 100, 8, 32 and 32")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--threads", type=int, help="default: torch's")
    parser.add_argument("--device", default="cpu", help="default: cpu")
    parser.add_argument("--cpu-time", action="store_true", help="processor time, for a machine that others use as well")
    parser.add_argument("--memory", action="store_true", help="peak memory too; on a CPU a new process for each row")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")


def main(args: argparse.Namespace) -> int:
    """Run the benchmark and print one table per case."""
    if args.threads:
        torch.set_num_threads(args.threads)
    console, results = make_console(), {}
    for name in args.cases:
        results[name] = measure(name, args)
        console.print(_table(name, results[name], args))
    if args.json:
        environment = describe_environment(torch.device(args.device), args.precision)
        write_json(args.json, {"environment": environment, "results": results})
    return 0


def measure(name: str, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Each row's milliseconds, ratio to vanilla, and parts of a vanilla step that its stages take."""
    rows = ["vanilla", "floor", *(f"sagemix, {saliency}" for saliency in args.saliencies or DEFAULT)]
    if args.precision != "32" and not args.saliencies:
        rows = [row for row in rows if row not in ("sagemix, bfloat16", "sagemix, together")]  # others are these there
    served = [
        method for method in mixkit.list_methods(CASES[name].domain) if method not in ("sagemix", "manifold_mixup")
    ]
    for method in served if args.methods is None else args.methods:
        if method in served:
            rows.append(method)
        if method == "puzzlemix" and method in served and "sagemix, clean pass" in rows:
            rows.append("puzzlemix, clean pass")
    workload = Workload(name, args)
    steps = {row: workload.step(row) for row in rows}
    for step in steps.values():
        step.run()
        step.run()
        step.rounds.clear()
    for _ in range(args.repeats):
        for step in steps.values():
            step.run()
    results = {row: _figures(step.rounds, steps["vanilla"].rounds) for row, step in steps.items()}
    if args.memory:
        for row in rows:
            results[row]["MB"] = peak_memory(name, row, args)
    return results


class Workload:
    """A model, its optimiser and one batch, that the rows of a case share."""

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        self.case = case = CASES[name]
        self.device = torch.device(args.device)
        self.clock = time.process_time if args.cpu_time else time.perf_counter
        self.amp = torch.autocast(self.device.type, torch.bfloat16, enabled=args.precision == "bf16")
        torch.manual_seed(0)
        self.size = args.batch_size or case.shape[0]
        width = 64 if "/" in case.model else args.width
        channels = case.shape[1] if case.domain == "image" else case.shape[2]
        model = create_model(case.model, channels=channels, num_classes=NUM_CLASSES, width=width)
        self.model = model.to(self.device)
        self.optimiser = torch.optim.SGD(self.model.parameters(), 0.01, momentum=0.9)
        self.batch = _inputs(case, self.size).to(self.device)
        self.labels = torch.randint(NUM_CLASSES, (self.size,)).to(self.device)
        self.keys = torch.randperm(4 * self.size)[: self.size]

    def step(self, row: str) -> Step:
        """What the row of this name does."""
        method, _, saliency = row.partition(", ")
        if row in ("vanilla", "floor"):
            return Step(self, None, floor=row == "floor")
        options = dict(self.case.options) if method == "sagemix" else {}
        made = SALIENCIES[saliency or "exact"](self.model, self.size)
        return Step(
            self, mixkit.create_mixer(method, self.case.domain, num_classes=NUM_CLASSES, p=1.0, **made, **options)
        )


def _inputs(case: Case, size: int) -> Tensor:
    """Noise for images; for points shapes, whose assignment is neither easier nor harder than that of real ones."""
    if case.domain == "image":
        return torch.randn(size, *case.shape[1:])
    draw = np.random.default_rng(0)
    return torch.from_numpy(np.stack([synthetic_shape(case.shape[1], draw) for _ in range(size)]))


class Step:
    """A training step that takes the time of its stages."""

    def __init__(self, work: Workload, mixer: mixkit.Mixer | None, *, floor: bool = False) -> None:
        self.work, self.mixer, self.floor = work, mixer, floor
        self.rounds: list[dict[str, float]] = []
        self._seconds: dict[str, float] = {}

    def run(self) -> None:
        """One step, its seconds appended to ``rounds``."""
        self._seconds = {"saliency": 0.0, "plan": 0.0, "assignment": 0.0}
        start = self._now()
        batch, targets = self.work.batch, self.work.labels
        model, optimiser = self.work.model, self.work.optimiser
        model.train()
        with self.work.amp, mixkit.watch_stages(self._timed):
            if self.floor:
                with self._timed("saliency"):
                    self._bare_pass()
            if self.mixer is not None:
                batch, targets = self.mixer(batch, targets, samples=self.work.keys)
            mixed = self._now()
            loss = F.cross_entropy(model(batch), targets)
            if self.mixer is not None:
                loss = loss + self.mixer.clean_loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        end = self._now()
        seconds = {**self._seconds, "total": end - start, "train": end - mixed}
        seconds["mixing"] = mixed - start - seconds["saliency"] - seconds["assignment"]
        self.rounds.append(seconds)

    def _bare_pass(self) -> None:
        model = self.work.model.eval().requires_grad_(False)
        inputs = self.work.batch.clone().requires_grad_()
        torch.autograd.grad(F.cross_entropy(model(inputs), self.work.labels), inputs)
        model.train().requires_grad_(True)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = self._now()
        yield
        self._seconds[stage] += self._now() - start

    def _now(self) -> float:
        return now(self.work.device, self.work.clock)


def peak_memory(name: str, row: str, args: argparse.Namespace) -> float:
    """MB that two steps of a row allocate at most: on a GPU in all, on a CPU beyond model and batch."""
    if args.device != "cpu":
        step = Workload(name, args).step(row)
        torch.cuda.reset_peak_memory_stats()
        step.run()
        step.run()
        return torch.cuda.max_memory_allocated() / 2**20
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_resident, (name, row, argparse.Namespace(**{**vars(args), "main": None})))


def _resident(name: str, row: str, args: argparse.Namespace) -> float:
    """In a process of its own, whose heap has kept nothing yet: how far two steps make it grow."""
    if args.threads:
        torch.set_num_threads(args.threads)
    step = Workload(name, args).step(row)

    def both() -> None:
        step.run()
        step.run()

    grown = extra_memory(both)
    return float("nan") if grown is None else grown


def _figures(rounds: list[dict[str, float]], vanilla: list[dict[str, float]]) -> dict[str, float]:
    """Medians over the rounds; each round is compared with its own vanilla step."""
    figures = {"ms": 1e3 * statistics.median(one["total"] for one in rounds)}
    for column in ("total", "saliency", "assignment", "mixing", "train"):
        ratios = (one[column] / base["total"] for one, base in zip(rounds, vanilla, strict=True))
        figures["ratio" if column == "total" else column] = statistics.median(ratios)
    return figures


def _table(name: str, rows: dict[str, dict[str, float]], args: argparse.Namespace) -> Table:
    case = CASES[name]
    size = " x ".join(map(str, (args.batch_size or case.shape[0], *case.shape[1:])))
    how = f"precision {args.precision}, {torch.get_num_threads()} threads{', processor time' if args.cpu_time else ''}"
    title = f"{case.model}, {size}, {how}: parts of a vanilla step"
    table = Table(title=title, title_justify="left")
    table.add_column("step", no_wrap=True)
    columns = ["ms", "ratio", "to floor", "saliency", "assignment", "mixing", "train", *(["MB"] if args.memory else [])]
    for column in columns:
        table.add_column(column, justify="right")
    for row, figures in rows.items():
        # the assignment is not part of what the floor is the floor of
        shown = {**figures, "to floor": (figures["ratio"] - figures["assignment"]) / rows["floor"]["ratio"]}
        table.add_row(row, *(f"{shown[column]:.{0 if column in ('ms', 'MB') else 3}f}" for column in columns))
    return table
