"""`python -m experiments compare`: its options and the settings they resolve to; `runner` does the work.

Imports nothing heavy, so that --help and mistakes in the options answer at once.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.settings import Settings

SUMMARY = "train both domains with each method at one budget, and report accuracy, calibration and cost"
DESCRIPTION = """\
Trains, with the same budget and seed for every row, a small PreActResNet18 on images and a PointNet on point sets:
without mixing, with plain mixing, and with SageMix. Without options: scikit-learn's real digits in both domains, a few
minutes on two cores. Ends with a table, runs/NAME/{summary.json, metrics.jsonl} and one self-contained report.html.
"""
EPILOG = """\
methods are written [domain/]name[:option=value,...], and vanilla always runs, as it is what costs are compared with:
  --methods mixup sagemix points/pointmixup points/sagemix:sigma=2.0
  --methods all

examples:
  python -m experiments compare
  python -m experiments compare --domains points --seeds 0 1 2
  python -m experiments compare --image-data cifar100 --point-data modelnet10 --limit 5000 --epochs 10
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `compare`."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    data = parser.add_argument_group("data")
    data.add_argument("--domains", nargs="+", choices=("image", "points"), default=["image", "points"])
    data.add_argument("--image-data", choices=("digits", "cifar100"), default="digits")
    data.add_argument("--point-data", choices=("digits", "modelnet10"), default="digits")
    data.add_argument(
        "--data-root",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="folders that hold the data sets' files (default: ./data and ../shared/data, those that exist)",
    )
    data.add_argument(
        "--limit",
        type=_positive,
        metavar="N",
        help="train on N samples, the same ones every time, classes as equal as they allow; the test samples are "
        "limited to max(N, 1000) alike (default: all)",
    )
    training = parser.add_argument_group("training (defaults suit each data set)")
    training.add_argument("--methods", nargs="+", metavar="METHOD", help="rows to compare, see below")
    training.add_argument("--epochs", type=_positive, metavar="E")
    training.add_argument(
        "--seeds", type=_seed, nargs="+", default=[0], metavar="S", help="one run of each row per seed"
    )
    training.add_argument("--batch-size", type=_at_least_two, metavar="B")
    training.add_argument(
        "--width", type=_positive, metavar="W", help="channels of the model's first layer, 64 in the papers"
    )
    training.add_argument("--precision", choices=("32", "bf16"), default="32", help="bf16 is autocast")
    training.add_argument(
        "--threads", type=_positive, metavar="T", help="CPU threads (default: all cores; 1 is wise on a busy machine)"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output", type=Path, metavar="DIR", help="folder to write to (default: runs/NAME, the next free one)"
    )
    output.add_argument("--gallery", type=Path, metavar="FILE", help="save the gallery as one picture too (.png)")


def main(args: argparse.Namespace) -> int:
    """Run the comparison; returns the exit code: 0, or 1 where a run stopped early."""
    settings = resolve(args)
    from experiments.runner import run_comparison

    return run_comparison(settings)


def resolve(args: argparse.Namespace) -> Settings:
    """Settings from parsed options."""
    names = {"image": args.image_data, "points": args.point_data}
    data = {domain: names[domain] for domain in dict.fromkeys(args.domains)}
    title = "-".join(["compare", *dict.fromkeys(data.values())] + (list(data) if len(data) == 1 else []))
    return Settings(
        data=data,
        roots=tuple(args.data_root or default_roots()),
        methods=tuple(args.methods) if args.methods else None,
        seeds=tuple(dict.fromkeys(args.seeds)),
        limit=args.limit,
        epochs=args.epochs,
        batch_size=args.batch_size,
        width=args.width,
        precision=args.precision,
        output=args.output or Path("runs") / title,
        gallery=args.gallery,
        threads=args.threads,
    )


def default_roots() -> list[Path]:
    """./data and ../shared/data, those that exist; ./data where neither does."""
    candidates = [Path("data"), Path("../shared/data")]
    return [root for root in candidates if root.is_dir()] or candidates[:1]


def _whole(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"wanted a whole number of at least {least}, got {text!r}")
    return number


def _positive(text: str) -> int:
    return _whole(text, 1)


def _seed(text: str) -> int:
    return _whole(text, 0)


def _at_least_two(text: str) -> int:
    return _whole(text, 2)  # BatchNorm cannot train on one sample
