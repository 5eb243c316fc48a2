"""`python -m experiments sweep`: methods x seeds x data sets x models of a recipe; `sweeper` does the work."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.base.errors import ExperimentError
from experiments.commands import options
from experiments.models import record_of
from experiments.run.config import Config, to_toml
from experiments.run.recipe import VARIANTS, Recipe, load_recipe

if TYPE_CHECKING:
    from experiments.sweeps.plan import Cluster, Sweep

EPILOG = """\
methods are written name[:option=value,...]; "all" stands for every method that serves the model's domain.

examples:
  python -m experiments sweep --recipe table2 --models dgcnn --seeds 0 1 2 3 4
  python -m experiments sweep --recipe short --datasets modelnet10 --models pointnet dgcnn --seeds 0 1 2 --limit 1000
  python -m experiments sweep --recipe table11 --epochs 30 --precision bf16 --output runs/ladder --resume
  python -m experiments sweep --recipe table2 --launcher slurm --partition gpu --time 240 --accelerator cuda --jobs 16
  python -m experiments sweep --recipe short --datasets digits --models pointnet --methods sagemix --seeds 0 \\
      --validation 300 --tune sigma=0.2:4:log theta=0.05:1 --trials 30 --jobs 2 --output runs/tuning
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sweep`."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    subject = parser.add_argument_group("what to train (the recipe's own table unless given)")
    subject.add_argument("--recipe", default="table11", metavar="NAME", help="or a file (default: table11)")
    subject.add_argument("--variant", choices=VARIANTS, default="paper")
    subject.add_argument("--datasets", nargs="+", metavar="NAME")
    subject.add_argument("--models", nargs="+", metavar="NAME")
    subject.add_argument("--methods", nargs="+", metavar="METHOD")
    subject.add_argument("--seeds", nargs="+", type=options.whole(0), metavar="S")
    options.add_data_arguments(parser)
    options.add_budget_arguments(parser)
    machine = options.add_machine_arguments(parser)
    machine.add_argument(
        "--jobs",
        type=options.whole(1),
        metavar="N",
        help="runs at a time, each on a GPU of its own (default: 1; on a cluster as many as it takes)",
    )
    add_cluster_arguments(parser)
    add_tuning_arguments(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--output", type=Path, metavar="DIR", help="default: runs/RECIPE, the next free one")
    output.add_argument("--resume", action="store_true", help="go on in --output: skip what is done")
    output.add_argument("--gallery", type=Path, metavar="FILE", help="save the gallery as one picture too (.png)")
    output.add_argument(
        "--plan-only", action="store_true", help="make the runs' folders and stop: `worker` trains them"
    )
    output.add_argument("--dry-run", action="store_true", help="print the runs' recipes and stop")


def main(args: argparse.Namespace) -> int:
    """Run the sweep; returns the exit code: 0, or 1 where a run did not end well."""
    recipe = load_recipe(args.recipe)
    if args.tune:
        return run_tuning(args, recipe)
    runs = plan(recipe, args)
    if args.dry_run:
        print("\n".join(f"# {config.title}\n{to_toml(config)}" for config in runs), end="")
        return 0
    from experiments.sweeps.sweeper import run_sweep

    options.fetch_data(args, [config.dataset for config in runs])
    return run_sweep(make_sweep("sweep", runs, args.output or Path("runs") / recipe.name, args))


def add_tuning_arguments(parser: argparse.ArgumentParser) -> None:
    """Which options of the method are searched."""
    tuning = parser.add_argument_group("tuning (one data set, model, method and seed; needs --validation)")
    tuning.add_argument(
        "--tune",
        nargs="+",
        metavar="NAME=RANGE",
        help="search the method's options by Optuna: sigma=0.1:2:log patience=5:40 schedule=steady|mwh",
    )
    tuning.add_argument("--trials", type=options.whole(1), default=20, metavar="N", help="(default: 20)")


def run_tuning(args: argparse.Namespace, recipe: Recipe) -> int:
    """Search the options that --tune names; returns the exit code.

    Raises:
        ExperimentError: no held-out samples to score on, several data sets, models, methods or seeds, or a cluster.
    """
    if not args.validation:
        raise ExperimentError("--tune needs --validation: nothing is chosen by the test samples.")
    if args.launcher != "local":
        raise ExperimentError("--tune runs on this machine: leave --launcher out.")
    first = plan(recipe, args)
    if len(first) != 1:
        raise ExperimentError(
            f"--tune takes one data set, one model, one method and one seed, not {len(first)} runs: choose them by "
            "--datasets, --models, --methods and --seeds."
        )
    from experiments.sweeps.tune import read_choice, tune

    choices = [read_choice(text) for text in args.tune]
    given = {**options.overrides_of(args), "dataset": first[0].dataset, "model": first[0].model, "seed": first[0].seed}
    options.fetch_data(args, [first[0].dataset])
    output = args.output or Path("runs") / f"{recipe.name}-tuning"
    sweep = make_sweep("sweep --tune", first, output, args)
    method = (args.methods or recipe.sweep["methods"])[0]
    return tune(
        sweep, lambda text: recipe.resolve(args.variant, {**given, "method": text}), method, choices, args.trials
    )


def add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the runs go, and what each asks of a cluster."""
    cluster = parser.add_argument_group("cluster")
    cluster.add_argument(
        "--launcher",
        choices=("local", "slurm"),
        default="local",
        help="local: processes on this machine. slurm: an array of jobs, one a run, which go on from the last "
        "checkpoint where they are preempted or their time is over",
    )
    cluster.add_argument("--attach", action="store_true", help="the jobs are queued: wait for them, and report")
    cluster.add_argument("--time", type=options.whole(1), default=60, metavar="MIN", help="of a job (default: 60)")
    cluster.add_argument("--partition", metavar="NAME")
    cluster.add_argument("--account", metavar="NAME")
    cluster.add_argument("--gpus", type=options.whole(0), metavar="N", help="of a node (default: --devices on cuda)")
    cluster.add_argument("--cpus", type=options.whole(1), metavar="N", help="cores of a task")
    cluster.add_argument("--mem", type=options.whole(1), metavar="GIB", help="of a node")
    cluster.add_argument("--set-slurm", nargs="+", default=[], metavar="NAME=VALUE", help="further options of sbatch")


def cluster_of(args: argparse.Namespace) -> Cluster | None:
    """What the command line asks of a cluster; None where it asks for none.

    Raises:
        ExperimentError: --set-slurm without a name and a value, or --attach without a cluster.
    """
    from experiments.sweeps.plan import Cluster

    if args.launcher == "local":
        if args.attach:
            raise ExperimentError("--attach waits for the jobs of a cluster: it goes with --launcher slurm.")
        return None
    settings = [text.partition("=") for text in args.set_slurm]
    if wrong := [
        text for text, (name, equals, _) in zip(args.set_slurm, settings, strict=True) if not name or not equals
    ]:
        raise ExperimentError(f"--set-slurm wants NAME=VALUE, got {wrong[0]!r}.")
    further = {name.lstrip("-").replace("-", "_"): value for name, _, value in settings}
    return Cluster(args.time, args.partition, args.account, args.gpus, args.cpus, args.mem, further)


def make_sweep(command: str, runs: list[Config], output: Path, args: argparse.Namespace) -> Sweep:
    """A sweep of these runs with the machine and output that the command line says."""
    from experiments.base.machine import Machine
    from experiments.sweeps.plan import Sweep

    cluster = cluster_of(args) if hasattr(args, "launcher") else None
    return Sweep(
        command=command,
        runs=tuple(runs),
        output=output,
        roots=options.roots_of(args),
        machine=Machine(args.accelerator, args.devices, args.nodes, args.threads),
        resume=args.resume or getattr(args, "attach", False),
        jobs=args.jobs or (1 if cluster is None else len(runs)),
        gallery=args.gallery,
        plan_only=getattr(args, "plan_only", False),
        cluster=cluster,
        attach=getattr(args, "attach", False),
    )


def plan(recipe: Recipe, args: argparse.Namespace) -> list[Config]:
    """The runs: data sets, then models, then seeds, then methods, so that a row's rivals end at about the same time."""
    import mixkit
    from experiments.run.methods import VANILLA
    from experiments.sweeps.plan import unique

    default = recipe.defaults
    datasets = args.datasets or recipe.sweep.get("datasets") or [default.get("dataset")]
    models = args.models or recipe.sweep.get("models") or [default.get("model")]
    methods = args.methods or recipe.sweep.get("methods") or ["vanilla"]
    seeds = args.seeds or recipe.sweep.get("seeds") or [0]
    overrides = options.overrides_of(args)
    runs = []
    for dataset in datasets:
        for model in models:
            every = [VANILLA, *mixkit.list_methods(domain=record_of(model).domain)]
            texts = [t for text in methods for t in (every if text == "all" else [text])]
            for seed in dict.fromkeys(seeds):
                for method in dict.fromkeys(texts):
                    values = {**overrides, "dataset": dataset, "model": model, "method": method, "seed": seed}
                    config = recipe.resolve(args.variant, values)
                    config.check()
                    runs.append(config)
    return unique(runs)
