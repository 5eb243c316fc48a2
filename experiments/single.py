"""`python -m experiments cifar100 | pointcloud | partseg`: one run of one method. `runner` does the work."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from experiments import options
from experiments.config import VARIANTS, Config, load_recipe, to_toml
from experiments.errors import ExperimentError
from experiments.grammar import split


@dataclass(frozen=True)
class Command:
    """One runner: what it trains on what, and the recipe that it takes unless told otherwise."""

    summary: str
    recipe: str
    dataset: str
    model: str
    examples: str


COMMANDS = {
    "cifar100": Command(
        "train an image classifier on CIFAR-100 with one method (Table 11 of the SageMix paper)",
        "table11",
        "cifar100",
        "preact_resnet18",
        """\
  python -m experiments cifar100 --method sagemix
  python -m experiments cifar100 --recipe short --limit 5000 --epochs 10 --width 16 --method cutmix
  python -m experiments cifar100 --model timm/resnet18 --method puzzlemix --precision bf16""",
    ),
    "pointcloud": Command(
        "train a point cloud classifier with one method (Tables 2, 8, 9 and 10)",
        "table2",
        "modelnet40",
        "pointnet",
        """\
  python -m experiments pointcloud --dataset modelnet40 --model dgcnn --method sagemix
  python -m experiments pointcloud --dataset scanobjectnn-pb-t50-rs --model pointnet2_ssg --method rsmix --variant equal
  python -m experiments pointcloud --recipe short --dataset modelnet10 --model pointnet --method pointmixup""",
    ),
    "partseg": Command(
        "train a part segmentation model on ShapeNetPart with one method (Table 6)",
        "table6",
        "shapenetpart",
        "dgcnn_partseg",
        """\
  python -m experiments partseg --model dgcnn_partseg --method sagemix
  python -m experiments partseg --recipe short --model pointnet2_partseg --method pointmixup""",
    ),
}


def add_arguments(command: str) -> Callable[[argparse.ArgumentParser], None]:
    """The options of a runner."""

    def add(parser: argparse.ArgumentParser) -> None:
        about = COMMANDS[command]
        parser.description = f"{about.summary[0].upper()}{about.summary[1:]}."
        parser.epilog = f"examples:\n{about.examples}"
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        what = parser.add_argument_group("what to train")
        what.add_argument("--recipe", default=about.recipe, metavar="NAME", help=f"or a file (default: {about.recipe})")
        what.add_argument(
            "--variant", choices=VARIANTS, default="paper", help="the authors' settings, or the same for all methods"
        )
        what.add_argument("--dataset", metavar="NAME")
        what.add_argument("--model", metavar="NAME")
        what.add_argument("--method", metavar="METHOD", help="name[:option=value,...] (default: vanilla)")
        what.add_argument("--seed", type=options.whole(0), metavar="S")
        options.add_data_arguments(parser)
        options.add_budget_arguments(parser)
        options.add_machine_arguments(parser)
        output = parser.add_argument_group("output")
        output.add_argument("--output", type=Path, metavar="DIR", help="default: runs/NAME, the next free one")
        output.add_argument(
            "--resume",
            nargs="?",
            const=True,
            metavar="DIR",
            help="go on with a run from its last checkpoint: the folder DIR, or that of --output",
        )
        output.add_argument("--dry-run", action="store_true", help="print the resolved recipe and stop")

    return add


def main(args: argparse.Namespace) -> int:
    """Train; returns the exit code: 0, or 1 where the run stopped early."""
    config, folder, resume = resolve(args)
    if args.dry_run:
        print(to_toml(config), end="")
        return 0
    from experiments.console import Monitor, make_console
    from experiments.results import epochs_done, outcome
    from experiments.runner import Machine, begin, load, make_fabric, run
    from experiments.stopping import stopped_by_signals
    from experiments.train import steps_per_epoch

    options.fetch_data(args, [config.dataset])
    machine = Machine(args.accelerator, args.devices, args.nodes, args.threads)
    fabric = make_fabric(machine, config.precision)
    data = load(config, options.roots_of(args))
    steps = steps_per_epoch(data, config, fabric.world_size)
    if not resume:
        folder = fabric.broadcast(begin(folder, config) if fabric.is_global_zero else folder)
    console = make_console(quiet=not fabric.is_global_zero)
    done = epochs_done(folder) if resume else 0
    with Monitor(console, 1, config.epochs * steps, quiet=not fabric.is_global_zero) as monitor, stopped_by_signals():
        watcher = monitor.begin(config.title, config.epochs, steps, done)
        result = run(fabric, config, data, folder, resume=resume, watcher=watcher)
        monitor.end(outcome(result))
    console.print(str(folder), highlight=False, soft_wrap=True)
    return 1 if result.stopped else 0


def resolve(args: argparse.Namespace) -> tuple[Config, Path, bool]:
    """The configuration, its folder, and whether to go on there.

    Raises:
        ExperimentError: nothing to go on with, or options that differ from those of the run to go on with.
    """
    given = options.overrides_of(args)
    if args.resume is None:
        recipe, about = load_recipe(args.recipe), COMMANDS[args.command]
        for name, value in (("dataset", about.dataset), ("model", about.model)):
            if given.get(name) is None and name not in recipe.defaults:
                given[name] = value
        config = recipe.resolve(args.variant, given)
        return config, args.output or Path("runs") / folder_name(config), False
    folder = Path(args.resume) if args.resume is not True else args.output
    if folder is None:
        raise ExperimentError("--resume wants the folder of the run to go on with.")
    if not (folder / "recipe.toml").is_file():
        raise ExperimentError(f"{folder} is not the folder of a run: it has no recipe.toml.")
    before = load_recipe(folder / "recipe.toml").resolve(None, {})
    for name, value in given.items():
        was = getattr(before, name, None)
        if value is not None and was != value and not (name == "method" and _same_method(before.method, value)):
            raise ExperimentError(f"{folder} is a run with {name} = {was!r}, not {value!r}: a run goes on as it began.")
    return before, folder, True


def _same_method(resolved: str, given: str) -> bool:
    """Whether a recipe may have made the resolved text of the given one, by options of its own."""
    (name, _, options), (wanted, _, asked) = resolved.partition(":"), given.partition(":")
    return name == wanted and set(split(asked)) <= set(split(options))


def folder_name(config: Config) -> str:
    """A run's folder: data set, model, method, fold and seed."""
    method = re.sub(r"[^\w.+-]+", "-", config.method.replace("=", ""), flags=re.ASCII).strip("-")
    fold = f"-{config.fold}" if config.fold else ""
    return f"{config.arm}-{method}{fold}-s{config.seed}"
