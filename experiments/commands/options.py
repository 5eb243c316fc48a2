"""Options that the commands share, and what they resolve to. Imports nothing heavy: --help answers at once."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.base import grammar
from experiments.base.errors import ExperimentError
from experiments.run.config import HINTS

DATA = "MIXKIT_DATA"  #: the environment variable that names the folders with data


def whole(least: int) -> Any:
    """The type of an option that is a whole number."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"wanted a whole number of at least {least}, got {text!r}")
        return number

    return read


def share_or_number(text: str) -> float:
    """The type of an option that is a share below 1 or a whole number, 0 included."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf") or (number >= 1 and number != int(number)):
        raise argparse.ArgumentTypeError(f"wanted a share from 0 to 1 or a whole number, got {text!r}")
    return number if number < 1 else int(number)


def add_data_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Where the data are, and how much of them."""
    group = parser.add_argument_group("data")
    add_data_root(group)
    group.add_argument(
        "--download",
        metavar="URL",
        help="first fetch the data set's archive from a mirror, check it where its checksum is known, and unpack it "
        "into the first folder of --data-root",
    )
    group.add_argument(
        "--limit",
        type=whole(1),
        metavar="N",
        help="train on N samples, the same ones every time, classes as equal as they allow; the test samples are "
        "limited to max(N, 1000) alike (default: the recipe's, else all)",
    )
    group.add_argument(
        "--validation",
        type=share_or_number,
        metavar="N",
        help="score on N training samples (below 1: a share of them), which are not trained on, in place of the test "
        "samples, which are not looked at: to choose between settings (default: 0)",
    )
    group.add_argument("--num-points", type=whole(1), metavar="N", help="points of a set")
    return group


def add_data_root(parser: argparse._ActionsContainer) -> None:
    """Where the data are; see `roots_of`."""
    parser.add_argument(
        "--data-root",
        type=Path,
        nargs="+",
        metavar="DIR",
        help=f"folders that hold the data sets' files (default: ${DATA}, else ./data)",
    )


def add_budget_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """What a recipe says, and may be overridden."""
    group = parser.add_argument_group("training (the recipe's unless given)")
    group.add_argument("--epochs", type=whole(1), metavar="E")
    group.add_argument("--batch-size", type=whole(2), metavar="B", help="shared by all devices")
    group.add_argument("--width", type=whole(1), metavar="W", help="channels of the first layer, 64 in the papers")
    group.add_argument("--lr", type=float, metavar="LR", help="learning rate, the peak of a schedule")
    group.add_argument("--precision", choices=("32", "bf16"), help="bf16 is autocast")
    group.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="any other value of the recipe: label_smoothing=0.2 schedule=cosine; --dry-run shows them all",
    )
    group.add_argument("--test-every", type=whole(1), metavar="E", help="epochs between tests")
    return group


def add_machine_arguments(
    parser: argparse.ArgumentParser, threads: str = "all cores; 1 is wise on a busy machine"
) -> argparse._ArgumentGroup:
    """Lightning Fabric's devices; `threads` says how many threads there are by default."""
    group = parser.add_argument_group("machine")
    group.add_argument("--accelerator", default="auto", help="cpu, cuda, mps or auto (default: auto)")
    group.add_argument("--devices", type=whole(1), default=1, metavar="N", help="share each batch by N devices")
    group.add_argument("--nodes", type=whole(1), default=1, metavar="N", help="machines, each with so many devices")
    group.add_argument("--threads", type=whole(1), metavar="T", help=f"CPU threads of a run (default: {threads})")
    return group


def roots_of(args: argparse.Namespace) -> tuple[Path, ...]:
    """--data-root; else the folders that the environment variable MIXKIT_DATA names, as PATH does; else ./data."""
    named = [Path(folder) for folder in os.environ.get(DATA, "").split(os.pathsep) if folder]
    return tuple(args.data_root or named or [Path("data")])


def fetch_data(args: argparse.Namespace, datasets: Iterable[str]) -> None:
    """What --download asks for; nothing without it.

    Raises:
        ExperimentError: several data sets, or an archive that cannot be had or is not what it should be.
    """
    if args.download is None:
        return
    from experiments.data.download import KNOWN_MD5, download_archive

    names = list(dict.fromkeys(datasets))
    if len(names) > 1:
        raise ExperimentError(f"--download fetches one data set, not {', '.join(names)}.")
    download_archive(args.download, roots_of(args)[0], KNOWN_MD5.get(names[0]))


def overrides_of(args: argparse.Namespace) -> dict[str, Any]:
    """The recipe's values that the command line gives; None stands for one that it does not."""
    names = (
        "dataset",
        "model",
        "method",
        "seed",
        "epochs",
        "batch_size",
        "width",
        "num_points",
        "limit",
        "validation",
        "lr",
        "precision",
        "test_every",
    )
    values: dict[str, Any] = {name: getattr(args, name, None) for name in names}
    for text in args.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise ExperimentError(f"--set {text}: values are written NAME=VALUE.")
        try:
            values[name] = grammar.read(name, value, HINTS.get(name, Any))
        except ValueError as error:
            raise ExperimentError(f"--set {text}: {error}.") from error
    return values
