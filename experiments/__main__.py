"""`python -m experiments`: the command line. A command's module is imported when the command is asked for."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence

from experiments.base.errors import exit_code

COMMANDS = {
    "train": ("commands.train", "train one model on one data set with one method"),
    "cifar100": ("commands.train", "train an image classifier on CIFAR-100 (Table 11 of the SageMix paper)"),
    "pointcloud": ("commands.train", "train a point cloud classifier (Tables 2, 8, 9 and 10)"),
    "partseg": ("commands.train", "train a part segmentation model on ShapeNetPart (Table 6)"),
    "compare": (
        "commands.compare",
        "train both domains with each method at one budget, and report accuracy, calibration and cost",
    ),
    "sweep": (
        "commands.sweep",
        "train methods x seeds x data sets x models of a recipe, resumable, and report them beside the paper",
    ),
    "sceneseg": ("commands.sceneseg", "train a segmenter of whole scenes with each method for them, and report mIoU"),
    "evaluate": ("commands.evaluate", "robustness, calibration or part scores of a run's checkpoint"),
    "report": ("commands.report", "tables and plots of finished runs, beside the paper's figures"),
    "figures": ("commands.figures", "the paper's Figures 1, 3, 4 and 6 from real samples, as pictures and one page"),
    "playground": ("commands.playground", "mix two samples by any method in the browser, on this machine alone"),
    "prepare": ("commands.prepare", "make ModelNet's archive from its public releases"),
    "cards": ("commands.cards", "draw the pictures of the method cards"),
    "worker": ("commands.worker", "train the runs of a sweep's folder, beside workers here and on other machines"),
    "status": ("commands.status", "how the runs of a sweep stand: waiting, running, done, failed and why"),
}
BENCHMARKS = {
    "assignment": ("bench.assignment", "the assignment between point clouds, beside other solvers"),
    "mixing": ("bench.mixing", "mixing a batch, beside torchvision's MixUp"),
    "models": ("bench.models", "what the fast ways of the point models buy"),
    "quality": ("bench.quality", "what cheap and remembered saliencies find"),
    "step": ("bench.step", "a training step with each method and each saliency"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code, 2 for what the user can put right."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="python -m experiments", description="Experiments with mixkit on real data.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add(commands, COMMANDS, words)
    bench = commands.add_parser("bench", help=f"measure speed: {', '.join(BENCHMARKS)}")
    names = bench.add_subparsers(dest="benchmark", required=True, metavar="NAME")
    _add(names, BENCHMARKS, words[1:] if words[:1] == ["bench"] else [])
    args = parser.parse_args(words)
    return exit_code(lambda: args.main(args))


def _add(parsers: argparse._SubParsersAction, table: Mapping[str, tuple[str, str]], words: Sequence[str]) -> None:
    """A parser for each row of a table, the one that the first word names with its options."""
    for name, (place, summary) in table.items():
        parser = parsers.add_parser(name, help=summary)
        if words[:1] == [name]:
            module = importlib.import_module(f"experiments.{place}")
            parser.description = f"{summary[0].upper()}{summary[1:]}."
            module.add_arguments(parser)
            parser.set_defaults(main=module.main)


if __name__ == "__main__":
    sys.exit(main())
