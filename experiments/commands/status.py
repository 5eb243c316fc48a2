"""`python -m experiments status`: how the runs of a sweep stand, from their folders alone."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.commands import options

if TYPE_CHECKING:
    from experiments.sweeps.state import RunState

EPILOG = """\
A run is running while its process is at work; lost where that died or has been silent for a minute, until a worker
takes it over; failed where it cannot go on; waiting where nobody has begun it, or where it was interrupted.

examples:
  python -m experiments status runs/table2
  python -m experiments status /shared/table2 --watch 10
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `status`."""
    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of a sweep")
    parser.add_argument(
        "--watch", nargs="?", type=options.whole(1), const=5, metavar="S",
        help="look again every S seconds (5 where no number is given) until every run has ended",
    )  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Show the table; returns the exit code: 0, or 1 where a run failed or is lost."""
    from rich.live import Live

    from experiments.base.console import make_console
    from experiments.sweeps.state import Observer

    observer, console = Observer(args.folder), make_console()
    states = observer.look()
    if args.watch is None:
        console.print(table(states, args.folder))
    else:
        with Live(table(states, args.folder), console=console, auto_refresh=False, screen=False) as live:
            while any(state.phase not in ("done", "failed") for state in states):
                time.sleep(args.watch)
                states = observer.look()
                live.update(table(states, args.folder), refresh=True)
    return 1 if any(state.phase in ("failed", "lost") for state in states) else 0


def table(states: Sequence[RunState], folder: Path) -> Any:
    """The counts, and a row for each run that is neither waiting nor done."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from experiments.sweeps.state import count

    counts = ", ".join(f"{number} {phase}" for phase, number in count(states).items() if number)
    heading = Text(f"{folder}: {len(states)} runs, {counts}")
    shown = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("run", "state", "epoch", "left", "where"):
        shown.add_column(name, no_wrap=name != "where")
    open_runs = [state for state in states if state.phase in ("running", "lost", "failed")]
    for state in open_runs:
        holder = state.holder
        where = "" if holder is None else f"{holder.host}, process {holder.pid}"
        left = "" if state.seconds_left is None else duration(state.seconds_left)
        epoch = f"{state.trained}/{state.epochs}" if state.epochs else ""
        shown.add_row(Text(state.title), state.phase, epoch, left, Text(state.why or where))
    return Group(heading, shown) if open_runs else heading


def duration(seconds: float) -> str:
    """A time in two of its units: 42 s, 3 min 20 s, 5 h 12 min, 2 d 3 h."""
    whole = round(seconds)
    for unit, size, smaller, small in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // small} {smaller}"
    return f"{whole} s"
