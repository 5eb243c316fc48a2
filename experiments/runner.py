"""Runs a comparison: data, every row and seed in turn, files, table and report. Options are read in `compare`."""

from __future__ import annotations

import datetime
import logging
import statistics
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from rich.console import Console
from torch import nn

from experiments.console import NOTE, Monitor, make_table
from experiments.data import DataSet, load_data
from experiments.environment import describe_environment
from experiments.errors import RunStoppedError
from experiments.methods import DEFAULT_METHODS, MethodSpec, make_mixer, parse_methods
from experiments.models import create_model
from experiments.recipes import RECIPES, Recipe
from experiments.report import write_report
from experiments.results import RunResult, append_metrics, make_output, summarise, write_summary
from experiments.settings import Settings
from experiments.train import History, Watcher, steps_per_epoch, train

MODELS = {"image": "PreActResNet18", "points": "PointNet"}
PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True)
class Arm:
    """One domain of the comparison."""

    data: DataSet
    recipe: Recipe
    methods: tuple[MethodSpec, ...]

    @property
    def title(self) -> str:
        """A line for tables and headings."""
        return (
            f"{MODELS[self.data.domain]} on {self.data.title} ({'pixels' if self.data.domain == 'image' else 'points'})"
        )

    def new_model(self, seed: int) -> nn.Module:
        """The untrained model; one seed, one set of weights, whatever the method."""
        torch.manual_seed(seed)
        classes = len(self.data.classes)
        return create_model(self.data.domain, channels=self.data.channels, num_classes=classes, width=self.recipe.width)

    def describe(self) -> dict[str, Any]:
        """The resolved configuration, for summary.json and the report."""
        return {
            "title": self.title,
            "data": self.data.name,
            "data_title": self.data.title,
            "train_samples": len(self.data.train),
            "test_samples": len(self.data.test),
            "sample_shape": list(self.data.train.shape[1:]),
            "classes": len(self.data.classes),
            "augmentation": self.data.augmentation,
            "model": MODELS[self.data.domain],
            "parameters": sum(parameter.numel() for parameter in self.new_model(0).parameters()),
            "recipe": asdict(self.recipe),
            "recipe_in_words": self.recipe.describe(),
            "loss": "soft cross entropy",
            "methods": [{"label": spec.label, "name": spec.name, "options": spec.options} for spec in self.methods],
        }


def run_comparison(settings: Settings) -> int:
    """Train every row, write everything, print the table. Returns 0, or 1 where a run stopped early."""
    console = Console()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    arms = prepare(settings)
    steps = {domain: steps_per_epoch(arm.data, arm.recipe) for domain, arm in arms.items()}
    fabric = make_fabric(settings.precision)
    folder = make_output(settings.output)
    if folder != settings.output:
        console.print(f"{settings.output} is in use; writing to {folder}", highlight=False, soft_wrap=True)
    summary: dict[str, Any] = {
        "command": "compare",
        "name": folder.name,
        "status": "running",
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "seconds": 0.0,
        "config": {
            "seeds": list(settings.seeds),
            "limit": settings.limit,
            "precision": settings.precision,
            "domains": {domain: arm.describe() for domain, arm in arms.items()},
        },
        "environment": describe_environment(fabric.device, settings.precision),
        "rows": [],
    }
    started = time.perf_counter()
    results: list[RunResult] = []
    shown: dict[str, nn.Module] = {}
    runs = [(domain, seed, spec) for domain, arm in arms.items() for seed in settings.seeds for spec in arm.methods]
    total = sum(steps[domain] * arms[domain].recipe.epochs for domain, _, _ in runs)
    write_summary(folder, summary)
    with Monitor(console, len(runs), total) as monitor, _marked_if_interrupted(folder, summary):
        for domain, seed, spec in runs:
            title = f"{domain}, {spec.label}, seed {seed}"
            watcher = monitor.begin(title, arms[domain].recipe.epochs, steps[domain])
            model = arms[domain].new_model(seed)
            result = run_one(fabric, model, arms[domain], spec, seed, folder, watcher)
            results.append(result)
            monitor.end(result.stopped or _outcome(result.history))
            summary.update(rows=summarise(results), seconds=time.perf_counter() - started)
            write_summary(folder, summary)
            if result.stopped is None and (domain not in shown or spec.name == "sagemix"):
                shown[domain] = model  # the gallery's saliency: SageMix's model where there is one
    summary["status"] = "stopped" if any(result.stopped for result in results) else "complete"
    write_summary(folder, summary)

    with console.status("writing the report"):
        samples = {domain: (arms[domain].data, model) for domain, model in shown.items()}
        write_report(folder, summary, results, samples, settings.gallery)
    for domain, arm in arms.items():
        console.print(make_table(arm.title, [row for row in summary["rows"] if row["domain"] == domain]))
    console.print(NOTE, style="dim")
    console.print(f"\n{folder / 'report.html'}  ({summary['seconds']:.0f} s)", highlight=False, soft_wrap=True)
    return 1 if summary["status"] == "stopped" else 0


def prepare(settings: Settings) -> dict[str, Arm]:
    """Data, recipe and rows of each domain, checked before anything is trained."""
    methods = parse_methods(settings.methods or DEFAULT_METHODS, list(settings.data))
    changes: dict[str, Any] = {"epochs": settings.epochs, "batch_size": settings.batch_size, "width": settings.width}
    arms = {}
    for domain, name in settings.data.items():
        recipe = replace(RECIPES[domain, name], **{key: value for key, value in changes.items() if value is not None})
        data = load_data(domain, name, settings.roots, limit=settings.limit)
        arms[domain] = Arm(data, recipe, tuple(methods[domain]))
    return arms


def make_fabric(precision: str) -> Fabric:
    """Fabric on one device, the GPU where there is one."""
    for name in ("lightning.fabric", "lightning.pytorch"):  # they announce each precision
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        return Fabric(accelerator="auto", devices=1, precision=PRECISIONS[precision])  # type: ignore[arg-type]


def run_one(
    fabric: Fabric, model: nn.Module, arm: Arm, spec: MethodSpec, seed: int, folder: Path, watcher: Watcher
) -> RunResult:
    """Train one row at one seed, writing metrics.jsonl as it goes; a loss that is not finite ends this run only."""
    domain, history, stopped = arm.data.domain, History(), None

    def epoch(record: Any) -> None:
        append_metrics(folder, domain, spec.label, seed, record)
        watcher.epoch(record)

    mixer = make_mixer(spec, domain, num_classes=len(arm.data.classes), model=model, fabric=fabric, seed=seed)
    try:
        train(
            fabric,
            model,
            arm.data,
            arm.recipe,
            seed=seed,
            mixer=mixer,
            watcher=Watcher(watcher.step, epoch),
            history=history,
        )
    except RunStoppedError as error:
        stopped = f"{error}; the run stops here and keeps what was saved"
    return RunResult(domain, spec.label, seed, history, stopped)


@contextmanager
def _marked_if_interrupted(folder: Path, summary: dict[str, Any]) -> Iterator[None]:
    """Ctrl-C leaves a summary of the runs that ended, which says that there is no more to come."""
    try:
        yield
    except KeyboardInterrupt:
        write_summary(folder, {**summary, "status": "interrupted"})
        raise


def _outcome(history: History) -> str:
    last, step = history.records[-1], statistics.median(history.step_seconds)
    return (
        f"accuracy {last.test_accuracy:.1f} %, ECE {last.ece:.1f} %, {1000 * step:.0f} ms a step, "
        f"{sum(record.seconds for record in history.records):.0f} s"
    )
