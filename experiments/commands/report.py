"""`python -m experiments report`: tables, curves and a gallery of finished runs, on one page."""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.base.console import make_console
from experiments.base.files import make_output
from experiments.commands.options import add_data_root, roots_of
from experiments.report.export import find_runs, write_export
from experiments.report.summary import make_summary
from experiments.report.terminal import print_tables
from experiments.report.write import write_report, write_summary
from experiments.run.methods import VANILLA


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m experiments report`."""
    parser.description = "Sum up finished runs: tables with the paper's figures, curves, and a gallery, on one page."
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="DIR", help="folders of runs or of sweeps, or exported files"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: runs/report, the next free one")
    add_data_root(parser)
    parser.add_argument(
        "--baseline", default=VANILLA, metavar="METHOD", help="compare rows with this method, pair by pair (vanilla)"
    )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="also write the runs' settings, curves and scores as one small file (.json), which `report` reads again",
    )
    parser.add_argument("--gallery", type=Path, metavar="FILE", help="save the gallery as one picture too (.png)")


def main(args: argparse.Namespace) -> int:
    """Write the report and print its tables; returns the exit code."""
    results = find_runs(args.runs)
    folder = make_output(args.output or Path("runs/report"))
    well = all(result.status == "complete" for result in results)
    summary = make_summary("report", folder.name, results, "complete" if well else "stopped", baseline=args.baseline)
    if args.export is not None:
        write_export(args.export, results)
    write_summary(folder, summary)
    page = write_report(folder, summary, results, roots_of(args), args.gallery)
    console = make_console()
    print_tables(console, summary)
    console.print(f"\n{page}", highlight=False, soft_wrap=True)
    return 0
