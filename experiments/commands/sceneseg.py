"""`python -m experiments sceneseg`: methods for whole scenes beside each other, scored by mIoU."""

from __future__ import annotations

import argparse
import json
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

from experiments.base.console import make_console
from experiments.base.errors import ExperimentError
from experiments.base.files import read_bounded, write_json
from experiments.base.stopping import end_with
from experiments.commands import options

Results = dict[tuple[str, int], dict[str, Any]]  # of each method and seed
METHODS = ("vanilla", "mix3d", "lasermix", "polarmix", "sagemix_scene")
EPILOG = """\
examples:
  python -m experiments sceneseg
  python -m experiments sceneseg --data semantickitti --data-root /data/kitti/dataset --limit 200 --epochs 20
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sceneseg`."""
    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", default="streets", metavar="NAME", help="streets (default, made up), sydney, "
                        "semantickitti or s3dis")  # fmt: skip
    options.add_data_root(parser)
    parser.add_argument("--limit", type=options.whole(1), metavar="N", help="train on N scenes")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), metavar="METHOD")
    parser.add_argument("--seeds", type=options.whole(0), nargs="+", default=[0, 1, 2], metavar="S")
    parser.add_argument("--epochs", type=options.whole(1), default=30, metavar="E")
    parser.add_argument("--width", type=options.whole(1), default=16, metavar="W")
    parser.add_argument("--jobs", type=options.whole(1), default=2, metavar="N", help="runs at a time (default: 2)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: runs/sceneseg-DATA; what is there is kept")


def main(args: argparse.Namespace) -> int:
    """Train what is not done yet, and show the table."""
    from experiments.data.scans import SCANS
    from experiments.run.scenes import VANILLA

    if args.data not in SCANS:
        raise ExperimentError(f"no data set of scenes {args.data!r}: there are {', '.join(SCANS)}.")
    methods = list(dict.fromkeys([VANILLA, *args.methods]))
    _check(methods)
    folder = args.output or Path("runs") / f"sceneseg-{args.data}"
    setting = {"data": args.data, "limit": args.limit, "epochs": args.epochs, "width": args.width}
    runs = [(method, seed) for seed in dict.fromkeys(args.seeds) for method in methods]
    results = {run: _read(_file(folder, *run), setting) for run in runs}
    roots = list(options.roots_of(args))
    console = make_console()
    waiting = [run for run in runs if results[run] is None]
    with ProcessPoolExecutor(args.jobs, get_context("spawn"), end_with, (os.getpid(),)) as pool:
        futures = {run: pool.submit(train, setting, roots, *run) for run in waiting}
        try:
            for run, future in futures.items():
                results[run] = future.result()
                write_json(_file(folder, *run), {**setting, **future.result()})
                console.print(f"{run[0]}, seed {run[1]}: mIoU {future.result()['miou']:.1f}")
        except BaseException:  # nobody waits for the other runs
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
            raise
    done = {run: result for run, result in results.items() if result}
    console.print(table(done, methods, SCANS[args.data][0]))
    console.print(class_table(done, methods))
    console.print(f"runs in {folder}")
    return 0


def train(setting: dict[str, Any], roots: list[Path], method: str, seed: int) -> dict[str, Any]:
    """One run, in a process of its own."""
    import torch

    from experiments.data.scans import load_scans
    from experiments.run.scenes import train_scenes

    torch.set_num_threads(1)
    scans = load_scans(setting["data"], roots, setting["limit"])
    result = train_scenes(scans, method, seed, epochs=setting["epochs"], width=setting["width"])
    return {"method": method, "seed": seed, **result}


def table(results: Results, methods: list[str], title: str) -> Any:
    """MIoU of each method with its 95 % interval over seeds, and the difference to vanilla on the same seeds."""
    from rich.table import Table

    from experiments.report.paired import paired_difference

    shown = Table(title=title)
    for name in ("method", "mIoU", "minus vanilla, 95 %", "seeds", "a run"):
        shown.add_column(name, no_wrap=True)
    for method, own in _by_method(results, methods).items():
        scores, base = (
            {seed: result["miou"] for (one, seed), result in results.items() if one == name}
            for name in (method, "vanilla")
        )
        difference = None if method == "vanilla" else paired_difference(scores, base)
        against = f"{difference.mean:+.1f}" if difference else ""
        if difference and difference.half is not None:
            against += f" ± {difference.half:.1f}"
        shown.add_row(
            method,
            f"{statistics.fmean(scores.values()):.1f}",
            against,
            str(len(own)),
            f"{statistics.median(result['seconds'] for result in own):.0f} s",
        )
    return shown


def class_table(results: Results, methods: list[str]) -> Any:
    """IoU of each class by each method, the mean over seeds; a row a class, since there may be dozens."""
    from rich.table import Table

    columns = _by_method(results, methods)
    shown = Table(title="IoU of each class, %")
    shown.add_column("class", no_wrap=True)
    for method in columns:
        shown.add_column(method, justify="right", no_wrap=True)
    for name in next(iter(results.values()))["iou"]:
        means = (statistics.fmean(result["iou"][name] for result in own) for own in columns.values())
        shown.add_row(name, *(f"{mean:.0f}" for mean in means))
    return shown


def _by_method(results: Results, methods: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The results of each method that has some."""
    grouped = {method: [result for (one, _), result in results.items() if one == method] for method in methods}
    return {method: own for method, own in grouped.items() if own}


def _check(methods: list[str]) -> None:
    from mixkit.registry import list_methods

    names = ("vanilla", *(name for name in list_methods("scene") if name in METHODS))
    if strange := [name for name in methods if name not in names]:
        raise ExperimentError(f"no method for scenes {strange[0]!r}: there are {', '.join(names)}.")


def _file(folder: Path, method: str, seed: int) -> Path:
    return folder / f"{method}-s{seed}.json"


def _read(file: Path, setting: dict[str, Any]) -> dict[str, Any] | None:
    """A run's result where it is there; ExperimentError where it is of another setting, or damaged."""
    if not file.is_file():
        return None
    try:
        result: dict[str, Any] = json.loads(read_bounded(file))
        other = {name: result[name] for name in setting if result[name] != setting[name]}
        float(result["miou"]), float(result["seconds"]), dict(result["iou"])
    except (ValueError, TypeError, KeyError) as error:
        raise ExperimentError(f"{file} is damaged ({error}): delete it.") from error
    if other:
        raise ExperimentError(f"{file} is of another setting, {other}: choose another --output.")
    return result
