"""`python -m experiments compare`: domains side by side; a sweep with defaults that end in minutes.

Imports nothing heavy, so that --help and mistakes in the options answer at once.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from experiments.commands import options
from experiments.models import DEFAULTS
from experiments.run.config import Config
from experiments.run.recipe import load_recipe

DESCRIPTION = """\
Trains, with the same budget and seeds for every row, a small PreActResNet18 on images and a PointNet on point sets:
without mixing, with plain mixing, with CutMix, and with SageMix, always and adaptively. Without options: 200 of
scikit-learn's real digits in both domains, three seeds, until training without mixing has stopped gaining; a few
minutes on two cores. Two more domains, on request, are spoken digits, of which a sample comes with the code: as
waveforms with a ResNet in one dimension, and as spectrograms with PreActResNet18. Ends with a table (accuracy, paired
differences with 95 % intervals, calibration before and after temperature scaling, accuracy under corruptions, cost),
runs/NAME/summary.json, a folder per run, and one self-contained report.html that says what may be concluded and what
not.
"""
EPILOG = """\
methods are written [domain/]name[:option=value,...], and vanilla always runs, as it is what others are compared with:
  --methods mixup sagemix points/pointmixup points/sagemix:sigma=2.0
  --methods all

examples:
  python -m experiments compare
  python -m experiments compare --recipe short --seeds 0        # all the digits, 15 epochs
  python -m experiments compare --domains image points sequence spectrogram
  python -m experiments compare --domains points --limit 400 --seeds 0 1 2 3 4
  python -m experiments compare --image-data cifar100 --point-data modelnet10 --limit 5000 --epochs 10
"""
_GRIDS = ("image", "sequence", "spectrogram")
DEFAULT_METHODS = (
    *(f"{grid}/mixup" for grid in _GRIDS),
    "points/pointmixup",
    "cutmix",
    *(f"{grid}/{row}" for grid in _GRIDS for row in ("sagemix", "sagemix:schedule=steady")),
    "points/sagemix:sigma=2.0",  # the paper's value for PointNet
    "points/sagemix:sigma=2.0,schedule=steady",
)
DOMAINS = ("image", "points")
RECIPE = "scarce"
SEEDS = (0, 1, 2)
MOST_JOBS = 4  # of default: a process needs up to 2 GiB of memory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `compare`."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    data = options.add_data_arguments(parser)
    data.add_argument(
        "--domains",
        nargs="+",
        choices=tuple(DEFAULTS),
        default=list(DOMAINS),
        help=f"default: {' '.join(DOMAINS)}",
    )
    data.add_argument("--image-data", default="digits", metavar="NAME", help="digits (default) or cifar100")
    data.add_argument("--point-data", default="digits", metavar="NAME", help="digits (default), modelnet10, ...")
    data.add_argument(
        "--sound-data",
        default="fsdd-sample",
        metavar="NAME",
        help="of sequence (as waveforms) and spectrogram: fsdd-sample (default), a tenth of fsdd, or fsdd",
    )
    training = options.add_budget_arguments(parser)
    training.add_argument(
        "--recipe",
        default=RECIPE,
        metavar="NAME",
        help=f"or a file (default: {RECIPE}, which is 200 samples of the digits and as `short` for other data)",
    )
    training.add_argument("--methods", nargs="+", metavar="METHOD", help="rows to compare, see below")
    training.add_argument(
        "--seeds",
        type=options.whole(0),
        nargs="+",
        default=list(SEEDS),
        metavar="S",
        help=f"one run of each row per seed (default: {' '.join(map(str, SEEDS))}; one seed has no interval)",
    )
    machine = options.add_machine_arguments(
        parser, threads=f"without a GPU its share of the cores, which is 1 on up to {MOST_JOBS} cores"
    )
    machine.add_argument(
        "--jobs",
        type=options.whole(1),
        metavar="N",
        help="runs at a time, each in a process (default: without a GPU one for every --threads cores, for every core "
        f"where --threads is not given, at most {MOST_JOBS}; with a GPU one; --jobs 1 trains in this process)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output", type=Path, metavar="DIR", help="folder to write to (default: runs/NAME, the next free one)"
    )
    output.add_argument("--resume", action="store_true", help="go on in --output: skip what is done")
    output.add_argument("--gallery", type=Path, metavar="FILE", help="save the gallery as one picture too (.png)")


def main(args: argparse.Namespace) -> int:
    """Run the comparison; returns the exit code: 0, or 1 where a run stopped early."""
    names = {"image": args.image_data, "points": args.point_data}
    names.update(dict.fromkeys(("sequence", "spectrogram"), args.sound_data))
    data = {domain: names[domain] for domain in dict.fromkeys(args.domains)}
    title = "-".join(["compare", *dict.fromkeys(data.values())] + (list(data) if len(data) == 1 else []))
    from experiments.commands.sweep import make_sweep
    from experiments.sweeps.sweeper import run_sweep

    runs = plan(args, data)
    args.jobs, args.threads = share_out(args)
    options.fetch_data(args, [config.dataset for config in runs])
    return run_sweep(make_sweep("compare", runs, args.output or Path("runs") / title, args))


def plan(args: argparse.Namespace, data: dict[str, str]) -> list[Config]:
    """The runs: domains, then seeds, then methods."""
    from experiments.run.methods import split_methods
    from experiments.sweeps.plan import unique

    overrides, recipe = {"corrupted": True, **options.overrides_of(args)}, load_recipe(args.recipe)
    methods = split_methods(_all(args.methods or DEFAULT_METHODS, data), list(data))
    runs = [
        recipe.resolve("equal", {**_of_domain(overrides, domain), **subject, "method": method, "seed": seed})
        for domain, subject in ((d, {"dataset": name, "model": DEFAULTS[d]}) for d, name in data.items())
        for seed in dict.fromkeys(args.seeds)
        for method in methods[domain]
    ]
    return unique(runs)


def share_out(args: argparse.Namespace) -> tuple[int, int | None]:
    """Runs at a time and threads of each, where the command line does not say.

    Models this small are no faster on two threads than on one, so that a CPU's cores are best used by a run each.
    """
    import torch

    jobs, threads = args.jobs, args.threads
    gpu = args.accelerator not in ("auto", "cpu") or (
        args.accelerator == "auto" and (torch.cuda.is_available() or torch.backends.mps.is_available())
    )
    if gpu or args.devices * args.nodes > 1:
        return jobs or 1, threads
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = jobs or max(1, min(cores // (threads or 1), MOST_JOBS))
    return jobs, threads or max(1, cores // jobs)


def _all(methods: list[str] | tuple[str, ...], data: dict[str, str]) -> list[str]:
    """The word "all" stands for the default rows and every other method."""
    if list(methods) != ["all"]:
        return list(methods)
    return [text for text in DEFAULT_METHODS if text.split("/")[0] in data] + ["all"]


def _of_domain(overrides: dict[str, object], domain: str) -> dict[str, object]:
    """A number of points is for point sets."""
    return {name: value for name, value in overrides.items() if domain == "points" or name != "num_points"}
