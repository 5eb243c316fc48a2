"""`python -m experiments evaluate`: what a run's checkpoint is worth: robustness, calibration, part scores."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.fabric import Fabric
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
MEAN = "modelnet-c {}, mean"  # of the levels of a corruption


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
    evaluations: list[Evaluation] = []
    for result in find_runs(args.runs):
        if reason := _reason_against(result.config, args):
            console.print(f"{result.folder}: left out, {reason}", soft_wrap=True)
            continue
        try:
            evaluations.append(_evaluate_run(result.folder, args, fabric))
        except ExperimentError as error:
            if args.runs == [result.folder]:
                raise
            console.print(f"{result.folder}: left out, {error}", soft_wrap=True)
    if args.modelnet_c:  # at the end, as a vanilla run may come after its rivals
        _add_corruption_errors(evaluations)
    rows: dict[str, Evaluation] = {}
    for each in evaluations:
        title = each.config.title
        rows[title if title not in rows else f"{title} ({each.folder})"] = each
    console.print(_table(rows))
    return 0 if rows else 1


@dataclass
class Evaluation:
    """The scores of a run, by name of the corruption, and what `main` writes beside them."""

    folder: Path
    config: Config
    settings: Mapping[str, str]
    scores: dict[str, dict[str, float]]

    def write(self) -> None:
        """Keep the scores in the run's folder."""
        RunFolder(self.folder).write_evaluation({**self.settings, "scores": self.scores})


def _reason_against(config: Config, args: argparse.Namespace) -> str | None:
    """Why a run cannot be evaluated as asked; None where it can."""
    points = config.domain == "points"
    if (args.robustness or args.modelnet_c) and (config.parts or (args.modelnet_c and not points)):
        return f"the corruptions are for {'whole shapes' if points else 'point sets'}"
    return None


def _evaluate_run(folder: Path, args: argparse.Namespace, fabric: Fabric) -> Evaluation:
    """Evaluate the checkpoint of one run, and write its scores."""
    config, data, model = load_trained(folder, options.roots_of(args), best=args.best)
    model, data = model.to(fabric.device), data.to(fabric.device)
    corruptions: dict[str, Corruption] = {}
    if args.robustness:
        of_domain = {"points": CORRUPTIONS, "image": IMAGE_CORRUPTIONS}
        corruptions |= of_domain.get(config.domain, COMPARED[config.domain])
    if args.modelnet_c:
        corruptions |= MODELNET_C
    with fabric.autocast():
        scores = evaluate(make_task(config, data), model, data, args.split, corruptions, args.seed)
    if args.modelnet_c:
        for name, mean in _means(scores).items():
            scores[MEAN.format(name)] = {"accuracy": mean}
    settings = {
        "checkpoint": "best" if args.best else "last",
        "split": config.scored if args.split == "test" else args.split,
        "precision": args.precision,
    }
    evaluation = Evaluation(folder, config, settings, scores)
    evaluation.write()
    return evaluation


def _means(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The accuracy over the levels of each corruption of ModelNet-C."""
    return mean_over_levels({name: values["accuracy"] for name, values in scores.items() if "accuracy" in values})


def _add_corruption_errors(evaluations: Sequence[Evaluation]) -> None:
    """Add ModelNet-C's mCE to the scores: against published DGCNN, and against the vanilla run that it goes with."""
    vanilla = {_rivals(each.config): _means(each.scores) for each in evaluations if each.config.spec.name == VANILLA}
    for each in evaluations:
        each.scores.update(_corruption_errors(each.config, _means(each.scores), vanilla.get(_rivals(each.config))))
        each.write()


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


def _table(rows: Mapping[str, Evaluation]) -> Table:
    """One line a run and corruption, one column a score, and the paper's figures where it has some."""
    paper = {(title, name): _paper_scores(row.config, name) for title, row in rows.items() for name in row.scores}
    columns = list(dict.fromkeys(name for row in rows.values() for scores in row.scores.values() for name in scores))
    paper_columns = list(dict.fromkeys(name for figures in paper.values() for name in figures))
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for name in (*columns, *paper_columns):
        table.add_column(name.replace("_", " "), justify="right")
    for title, row in rows.items():
        several = len(row.scores) > 1
        if several:
            table.add_row(Text(title, style="bold"))
        for corruption, scores in row.scores.items():
            cells = [_number(name, scores.get(name)) for name in columns]
            cells += [_number(name, paper[title, corruption].get(name)) for name in paper_columns]
            table.add_row(Text(f"  {corruption}" if several else title), *cells)
    return table


def _paper_scores(config: Config, corruption: str) -> dict[str, float]:
    """What the SageMix paper has for a run under a corruption, by the column that shows it."""
    figures = {"paper": corruption.removesuffix(" 180").removesuffix(" uniform")}
    if corruption == CLEAN:
        figures = {"paper": "accuracy", "paper ECE": "ece"}
    by_method = {column: paper_figures(config.dataset, config.model, figure) for column, figure in figures.items()}
    return {column: row[config.method] for column, row in by_method.items() if config.method in row}


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if name in ("mce", "temperature") else f"{value:.1f}"
