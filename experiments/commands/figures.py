"""`python -m experiments figures`: what the SageMix paper's Figures 1, 3, 4 and 6 show, drawn from real samples.

Writes a PNG per figure, figures.html with all of them, and figures.json with the numbers behind each picture.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from experiments.base.console import make_console
from experiments.base.errors import ExperimentError
from experiments.base.files import make_output, write_json, write_whole
from experiments.base.machine import Machine, make_fabric
from experiments.base.stopping import stopped_by_signals
from experiments.commands.options import add_data_root, roots_of, whole
from experiments.data import DATASETS, WORDS
from experiments.data.base import DataSet
from experiments.models import DEFAULTS, record_of
from experiments.report.drawing import sheet_png
from experiments.report.pages import figures_page
from experiments.report.pairs import draw_pairs
from experiments.report.sheets import make_figures
from experiments.run.config import Config
from experiments.run.folder import RunFolder
from experiments.run.loop import steps_per_epoch
from experiments.run.progress import Monitor
from experiments.run.recipe import load_recipe
from experiments.run.records import outcome
from experiments.run.runner import load, load_trained, run

PAIRS = 3
WISHES = {"image": "cifar100", "points": "modelnet10"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m experiments figures`."""
    parser.description = (
        "Draw what the SageMix paper's Figures 1, 3, 4 and 6 show from real samples: methods side by side, sweeps over "
        "pi and sigma with the query points. The saliency is that of trained models: of the runs named by --run, else "
        "of small ones, trained on the spot."
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: runs/figures, the next free one")
    add_data_root(parser)
    drawn = {
        domain: [name for name, record in some.items() if record.small_budget] for domain, some in DATASETS.items()
    }
    parser.add_argument("--images", choices=drawn["image"], help="default: cifar100, or digits where it is absent")
    parser.add_argument("--points", choices=drawn["points"], help="default: modelnet10, or digits where it is absent")
    parser.add_argument(
        "--run", type=Path, nargs="+", default=[], metavar="DIR", help="finished runs, at most one of each domain"
    )
    parser.add_argument(
        "--pairs",
        type=whole(1),
        default=PAIRS,
        metavar="N",
        help=f"pairs of samples in a figure, in a sweep two at most ({PAIRS})",
    )
    parser.add_argument("--seed", type=whole(0), default=0, metavar="S", help="of the samples and all draws (0)")
    parser.add_argument("--threads", type=whole(1), metavar="T", help="CPU threads (default: all cores)")


def main(args: argparse.Namespace) -> int:
    """Draw the figures; returns the exit code."""
    roots = roots_of(args)
    wanted = {"image": args.images, "points": args.points}
    sources = _named_runs(args.run, wanted, roots)
    configs, notes = _small_runs([domain for domain in WISHES if domain not in sources], wanted, roots, args.seed)
    folder = make_output(args.output or Path("runs/figures"))
    console = make_console()
    sources.update(_train(configs, folder, roots, args.threads, console))

    pairs = {d: draw_pairs(one.data, one.model, args.pairs, args.seed) for d, one in sources.items()}
    figures = make_figures(pairs)
    for figure in figures:
        write_whole(folder / f"{figure.name}.png", sheet_png(figure))
    write_json(folder / "figures.json", {figure.name: figure.numbers() for figure in figures})
    command = f"python -m experiments {shlex.join(sys.argv[1:])}" if sys.argv[1:2] == ["figures"] else ""
    page = folder / "figures.html"
    write_whole(page, figures_page(figures, [sources[d].sentence() for d in WISHES], notes, command))
    for note in notes:
        console.print(note, highlight=False, soft_wrap=True)
    console.print(str(page), highlight=False, soft_wrap=True)
    return 0


@dataclass(frozen=True)
class Source:
    """A trained model, its data, and the folder of its run."""

    folder: Path
    config: Config
    data: DataSet
    model: nn.Module
    accuracy: float | None

    def sentence(self) -> str:
        """Where the pictures of a domain come from."""
        config, kind = self.config, "images" if self.data.domain == "image" else "point sets"
        score = "" if self.accuracy is None else f", {self.accuracy:.1f} % accurate on the test samples"
        epochs = f"{config.epochs} epoch{'s' if config.epochs > 1 else ''}"
        return (
            f"The {kind} are test samples of {self.data.title}, drawn at random, of those that the model gets "
            "right where there are enough. "
            f"Their saliency is the gradient of {record_of(config.model).title} of width {config.width}, "
            f"trained by {config.method} for {epochs} on {len(self.data.train):,} samples{score}."
        )


def _named_runs(folders: Sequence[Path], wanted: dict[str, str | None], roots: Sequence[Path]) -> dict[str, Source]:
    """The runs that --run names, by their domains.

    Raises:
        ExperimentError: two of a domain, one that labels parts, or one of other data than was asked for.
    """
    sources: dict[str, Source] = {}
    for folder in folders:
        result = RunFolder(folder).read()
        config = result.config
        if config.parts:
            raise ExperimentError(f"--run {folder}: {config.model} labels parts, and the figures want a classifier.")
        if config.domain not in WISHES:
            raise ExperimentError(
                f"--run {folder} is of {WORDS[config.domain][0]}: the figures show images and points."
            )
        if config.domain in sources:
            raise ExperimentError(
                f"--run {folder}: {sources[config.domain].folder} is a run on {_plural(config.domain)} already."
            )
        if wanted[config.domain] not in (None, config.dataset):
            option = "--images" if config.domain == "image" else "--points"
            raise ExperimentError(f"--run {folder} is of {config.dataset}, {option} wants {wanted[config.domain]}.")
        _, data, model = load_trained(folder, roots)
        sources[config.domain] = Source(folder, config, data, model, result.scores().get("final"))
    return sources


def _small_runs(
    domains: Sequence[str], wanted: dict[str, str | None], roots: Sequence[Path], seed: int
) -> tuple[dict[str, tuple[Config, DataSet]], list[str]]:
    """What to train for the domains that have no run, and a note for each that makes do with digits."""
    recipe, notes = load_recipe("short"), []
    configs: dict[str, tuple[Config, DataSet]] = {}

    def begin(domain: str, name: str) -> tuple[Config, DataSet]:
        overrides = {
            "dataset": name,
            "model": DEFAULTS[domain],
            "method": "vanilla",
            "seed": seed,
            **DATASETS[domain][name].small_budget,
        }
        config = recipe.resolve(None, overrides)
        return config, load(config, roots)

    for domain in domains:
        try:
            configs[domain] = begin(domain, wanted[domain] or WISHES[domain])
        except ExperimentError as error:
            if wanted[domain]:
                raise
            notes.append(f"The {_plural(domain)} are digits, for want of better: {error}")
            configs[domain] = begin(domain, "digits")
    return configs, notes


def _train(
    configs: dict[str, tuple[Config, DataSet]], folder: Path, roots: Sequence[Path], threads: int | None, console: Any
) -> dict[str, Source]:
    """Train small models into folder/models, and read them back as --run does."""
    sources: dict[str, Source] = {}
    if not configs:
        return sources
    fabric = make_fabric(Machine(threads=threads), "32")
    steps = {domain: steps_per_epoch(data, config) for domain, (config, data) in configs.items()}
    total = sum(config.epochs * steps[domain] for domain, (config, _) in configs.items())
    with Monitor(console, len(configs), total) as monitor, stopped_by_signals():
        for domain, (config, data) in configs.items():
            place = folder / "models" / config.arm
            watcher = monitor.begin(config.title, config.epochs, steps[domain])
            result = run(fabric, config, data, RunFolder(place), watcher=watcher)
            monitor.end(outcome(result))
            if result.stopped:
                raise ExperimentError(f"{place}: {result.stopped}.")
            _, _, model = load_trained(place, roots)
            sources[domain] = Source(place, config, data, model, result.scores().get("final"))
    return sources


def _plural(domain: str) -> str:
    return "images" if domain == "image" else "point sets"
