"""`python -m experiments evaluate`: what a run's checkpoint is worth: robustness, calibration, part scores."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from rich.text import Text
from torch import Tensor

from experiments.base.console import make_console
from experiments.base.errors import ExperimentError
from experiments.base.machine import Machine, make_fabric
from experiments.commands import options
from experiments.data.base import DataSet
from experiments.data.corruptions import (
    COMPARED,
    CORRUPTIONS,
    DGCNN_ACCURACY,
    IMAGE_CORRUPTIONS,
    MODELNET_C,
    Corruption,
    corrupted,
    mean_corruption_error,
    mean_over_levels,
)
from experiments.report.export import find_runs
from experiments.report.tables import paper_figures
from experiments.run.config import Config
from experiments.run.folder import RunFolder
from experiments.run.methods import VANILLA
from experiments.run.runner import load_trained
from experiments.run.tasks import Prepared, Task, fitted_temperature, make_task

CLEAN = "clean"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `evaluate`."""
    parser.description = __doc__
    parser.epilog = "Writes evaluation.json into each run's folder."
    parser.add_argument("runs", nargs="+", type=Path, metavar="DIR", help="folders of runs, or of sweeps")
    parser.add_argument("--best", action="store_true", help="the best epoch's checkpoint (default: the last)")
    parser.add_argument(
        "--split",
        choices=("test", "train"),
        default="test",
        help="test (default) stands for the validation samples where the run was scored on such",
    )
    parser.add_argument(
        "--robustness",
        action="store_true",
        help="also on corrupted test samples: points as in Table 3 of the SageMix paper, images by noise, shift, "
        "rotation, scaling and a hole",
    )
    parser.add_argument(
        "--modelnet-c",
        action="store_true",
        help="also on the 7 corruptions x 5 levels of ModelNet-C, with mCE against the vanilla run of the same seed "
        "and budget, where it is among the runs",
    )
    parser.add_argument("--seed", type=options.whole(0), default=0, help="of the corruptions' draws (default: 0)")
    options.add_data_root(parser)
    machine = options.add_machine_arguments(parser)
    machine.add_argument("--precision", choices=("32", "bf16"), default="32")


def main(args: argparse.Namespace) -> int:
    """Evaluate each run; returns the exit code."""
    console = make_console()
    fabric = make_fabric(Machine(args.accelerator, 1, 1, args.threads), args.precision)
    rows: dict[str, dict[str, dict[str, float]]] = {}
    paper: dict[tuple[str, str], dict[str, float]] = {}
    measured: list[tuple[Path, str, Config, dict[str, float]]] = []
    contents: dict[Path, dict[str, Any]] = {}
    vanilla: dict[object, dict[str, float]] = {}
    for result in find_runs(args.runs):
        points = result.config.domain == "points"
        if (args.robustness or args.modelnet_c) and (result.config.parts or (args.modelnet_c and not points)):
            wanted = "whole shapes" if points else "point sets"
            console.print(f"{result.folder}: left out, the corruptions are for {wanted}", soft_wrap=True)
            continue
        known = {"points": CORRUPTIONS, "image": IMAGE_CORRUPTIONS}
        corruptions = known.get(result.config.domain, COMPARED[result.config.domain]) if args.robustness else {}
        if args.modelnet_c:
            corruptions = {**corruptions, **MODELNET_C}
        try:
            config, data, model = load_trained(result.folder, options.roots_of(args), best=args.best)
        except ExperimentError as error:
            if len(args.runs) == 1 and args.runs[0] == result.folder:
                raise
            console.print(f"{result.folder}: left out, {error}", soft_wrap=True)
            continue
        model, data = model.to(fabric.device), data.to(fabric.device)
        with fabric.autocast():
            scores = evaluate(make_task(config, data), model, data, args.split, corruptions, args.seed)
        if args.modelnet_c:
            means = mean_over_levels({name: values["accuracy"] for name, values in scores.items()})
            scores.update({f"modelnet-c {name}, mean": {"accuracy": mean} for name, mean in means.items()})
            if config.spec.name == VANILLA:
                vanilla[_rivals(config)] = means
        content: dict[str, Any] = {
            "checkpoint": "best" if args.best else "last",
            "split": config.scored if args.split == "test" else args.split,
            "precision": args.precision,
            "scores": scores,
        }
        contents[result.folder] = content
        RunFolder(result.folder).write_evaluation(content)
        title = config.title if config.title not in rows else f"{config.title} ({result.folder})"
        rows[title] = scores
        if args.modelnet_c:
            measured.append((result.folder, title, config, means))
        for name in scores:
            figure = "accuracy" if name == CLEAN else name.removesuffix(" 180").removesuffix(" uniform")
            figures = {"paper": figure, "paper ECE": "ece"} if name == CLEAN else {"paper": figure}
            by_method = {text: paper_figures(config.dataset, config.model, one) for text, one in figures.items()}
            paper[title, name] = {text: row[config.method] for text, row in by_method.items() if config.method in row}
    for folder, title, config, means in measured:  # at the end, as a vanilla run may come after its rivals
        rows[title].update(_corruption_errors(config, means, vanilla.get(_rivals(config))))
        RunFolder(folder).write_evaluation(contents[folder])
    console.print(_table(rows, paper))
    return 0 if rows else 1


def _rivals(config: Config) -> object:
    """What a run and the vanilla run that its errors are measured against have in common."""
    return config.arm, config.dataset, config.seed, config.epochs, config.limit, config.num_points, config.width


def _corruption_errors(
    config: Config, means: Mapping[str, float], vanilla: Mapping[str, float] | None
) -> dict[str, dict[str, float]]:
    """ModelNet-C's mCE, as rows: against published DGCNN on the benchmark's own data, and against vanilla."""
    references = {"mCE against published DGCNN": DGCNN_ACCURACY} if config.dataset == "modelnet40" else {}
    if vanilla is not None:
        references["mCE against vanilla"] = dict(vanilla)
    errors = {title: mean_corruption_error(means, reference) for title, reference in references.items()}
    return {title: {"mce": error} for title, error in errors.items() if error is not None}


def evaluate(
    task: Task, model: torch.nn.Module, data: DataSet, split: str, corruptions: Mapping[str, Corruption], seed: int
) -> dict[str, dict[str, float]]:
    """Scores in %, by name of the corruption; "clean" is without any.

    Where the run held samples out, there is the ECE after temperature scaling too; one temperature serves all rows.

    Args:
        task: the run's.
        model: the run's, in eval mode.
        data: the run's, on the model's device.
        split: "test" or "train".
        corruptions: the corruptions of the samples, by name.
        seed: the seed of the draws; every model meets the same corruption.
    """
    stored, labels = getattr(data, split), getattr(data, f"{split}_labels")
    parts: Tensor | None = getattr(data, f"{split}_parts")
    temperature = fitted_temperature(task, model, data)
    scores = {CLEAN: task.evaluate(model, Prepared(data.prepare(stored), labels, parts), temperature)}
    for name, corrupt in corruptions.items():
        damaged = Prepared(corrupted(data, stored, corrupt, seed), labels)
        scores[name] = task.evaluate(model, damaged, temperature)
    return scores


def _table(rows: dict[str, dict[str, dict[str, float]]], paper: dict[tuple[str, str], dict[str, float]]) -> Table:
    """One line a run and corruption, one column a score, and the paper's figures where it has some."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    names = list(dict.fromkeys(name for row in rows.values() for scores in row.values() for name in scores))
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    ours = list(dict.fromkeys(text for figures in paper.values() for text in figures))
    for text in ours:
        table.add_column(text, justify="right")
    for title, row in rows.items():
        if len(row) > 1:
            table.add_row(Text(title, style="bold"))
        for corruption, scores in row.items():
            figures = [
                (f"{scores[name]:.3f}" if name in ("mce", "temperature") else f"{scores[name]:.1f}")
                if name in scores
                else "–"
                for name in names
            ]
            paper_scores = paper.get((title, corruption), {})
            figures += [f"{paper_scores[text]:.1f}" if text in paper_scores else "–" for text in ours]
            table.add_row(Text(f"  {corruption}" if len(row) > 1 else title), *figures)
    return table
