"""`python -m experiments train`: one run of one method; `cifar100`, `pointcloud` and `partseg` are its presets.

Imports nothing heavy, so that --help and mistakes in the options answer at once.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.base.errors import ExperimentError
from experiments.commands import options
from experiments.run.config import Config, folder_name, to_toml
from experiments.run.limits import read_method
from experiments.run.recipe import VARIANTS, load_recipe

if TYPE_CHECKING:
    from experiments.base.claims import Claim
    from experiments.data.shared import DataCache
    from experiments.run.folder import RunFolder


@dataclass(frozen=True)
class Preset:
    """What a command trains unless told otherwise.

    Attributes:
        recipe: the recipe's name.
        dataset, model: where the recipe does not say; None where the command line must.
        examples: for --help.
    """

    recipe: str
    dataset: str | None
    model: str | None
    examples: str


PRESETS = {
    "train": Preset(
        "short",
        None,
        None,
        """\
  python -m experiments train --dataset digits --model pointnet --method sagemix
  python -m experiments train --recipe mine.toml --seed 1
  python -m experiments train --resume runs/digits-pointnet-sagemix-s0""",
    ),
    "cifar100": Preset(
        "table11",
        "cifar100",
        "preact_resnet18",
        """\
  python -m experiments cifar100 --method sagemix
  python -m experiments cifar100 --recipe short --limit 5000 --epochs 10 --width 16 --method cutmix
  python -m experiments cifar100 --model timm/resnet18 --method puzzlemix --precision bf16""",
    ),
    "pointcloud": Preset(
        "table2",
        "modelnet40",
        "pointnet",
        """\
  python -m experiments pointcloud --dataset modelnet40 --model dgcnn --method sagemix
  python -m experiments pointcloud --dataset scanobjectnn-pb-t50-rs --model pointnet2_ssg --method rsmix --variant equal
  python -m experiments pointcloud --recipe short --dataset modelnet10 --model pointnet --method pointmixup""",
    ),
    "partseg": Preset(
        "table6",
        "shapenetpart",
        "dgcnn_partseg",
        """\
  python -m experiments partseg --model dgcnn_partseg --method sagemix
  python -m experiments partseg --recipe short --model pointnet2_partseg --method pointmixup""",
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train` and of its presets; the command is the last word of the program's name."""
    preset = PRESETS[parser.prog.rpartition(" ")[2]]
    parser.epilog = f"examples:\n{preset.examples}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    subject = parser.add_argument_group("what to train")
    subject.add_argument(
        "--recipe", default=preset.recipe, metavar="NAME", help=f"or a file (default: {preset.recipe})"
    )
    subject.add_argument(
        "--variant", choices=VARIANTS, default="paper", help="the authors' settings, or the same for all methods"
    )
    subject.add_argument("--dataset", metavar="NAME")
    subject.add_argument("--model", metavar="NAME")
    subject.add_argument("--method", metavar="METHOD", help="name[:option=value,...] (default: vanilla)")
    subject.add_argument("--seed", type=options.whole(0), metavar="S")
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
    parser.set_defaults(preset=preset)


def main(args: argparse.Namespace) -> int:
    """Train; returns the exit code: 0, or 1 where the run stopped early."""
    config, folder, resume = resolve(args)
    if args.dry_run:
        print(to_toml(config), end="")
        return 0
    options.fetch_data(args, [config.dataset])
    return _train(config, folder, resume, args)


def go_on(run: RunFolder, args: argparse.Namespace, own: Claim, cache: DataCache) -> int:
    """Go on with a run whose folder is claimed; returns the exit code. `args` are of the machine and of the data."""
    return _train(run.config(), run.path, True, args, own, cache)


def _train(
    config: Config,
    folder: Path,
    resume: bool,
    args: argparse.Namespace,
    own: Claim | None = None,
    cache: DataCache | None = None,
) -> int:
    from experiments.base.console import make_console
    from experiments.base.machine import Machine, make_fabric
    from experiments.base.stopping import stopped_by_signals
    from experiments.run.folder import RunFolder
    from experiments.run.loop import steps_per_epoch
    from experiments.run.progress import Monitor
    from experiments.run.records import outcome
    from experiments.run.runner import load, new_model, run

    machine = Machine(args.accelerator, args.devices, args.nodes, args.threads)
    fabric = make_fabric(machine, config.precision)
    data = load(config, options.roots_of(args), cache)
    steps = steps_per_epoch(data, config, fabric.world_size)
    if not resume:
        new_model(config, data)  # a model that cannot be made leaves no folder behind
        folder = fabric.broadcast(RunFolder.create(folder, config).path if fabric.is_global_zero else folder)
    console = make_console(quiet=not fabric.is_global_zero)
    done = RunFolder(folder).epochs_done() if resume else 0
    with Monitor(console, 1, config.epochs * steps, quiet=not fabric.is_global_zero) as monitor, stopped_by_signals():
        watcher = monitor.begin(config.title, config.epochs, steps, done)
        result = run(fabric, config, data, RunFolder(folder), resume=resume, watcher=watcher, own=own)
        monitor.end(outcome(result))
    console.print(str(folder), highlight=False, soft_wrap=True)
    return 1 if result.stopped else 0


def resolve(args: argparse.Namespace) -> tuple[Config, Path, bool]:
    """The configuration, its folder, and whether to go on there.

    Raises:
        ExperimentError: nothing to go on with, or options that differ from those of the run to go on with.
    """
    overrides = options.overrides_of(args)
    if args.resume is None:
        recipe = load_recipe(args.recipe)
        for name, value in (("dataset", args.preset.dataset), ("model", args.preset.model)):
            if overrides.get(name) is None and name not in recipe.defaults:
                overrides[name] = value
        config = recipe.resolve(args.variant, overrides)
        config.check()
        return config, args.output or Path("runs") / folder_name(config), False
    folder = Path(args.resume) if args.resume is not True else args.output
    if folder is None:
        raise ExperimentError("--resume wants the folder of the run to go on with.")
    from experiments.run.folder import RunFolder

    before = RunFolder(folder).config()
    for name, value in overrides.items():
        was = getattr(before, name, None)
        if value is not None and was != value and not (name == "method" and _same_method(before.method, value)):
            raise ExperimentError(f"{folder} is a run with {name} = {was!r}, not {value!r}: a run goes on as it began.")
    return before, folder, True


def _same_method(resolved: str, text: str) -> bool:
    """Whether a recipe may have made the resolved text of the other one, by options of its own."""
    (name, options), (wanted, asked) = read_method(resolved), read_method(text)
    return name == wanted and asked.items() <= options.items()
