"""`python -m experiments playground`: an app in the browser that mixes and shows two samples."""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.base.errors import ExperimentError
from experiments.commands.options import add_data_root, roots_of, whole

PORT = 7860


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `playground`."""
    parser.description = (
        "Mix two samples by any method, in the browser: real images and clouds, or your own. The app listens on "
        "127.0.0.1 only and sends nothing anywhere."
    )
    add_data_root(parser)
    parser.add_argument(
        "--port", type=whole(0), default=PORT, metavar="P", help=f"of 127.0.0.1; 0: a free one ({PORT})"
    )
    parser.add_argument("--page", type=Path, metavar="DIR", help="write the page that works without a server, and end")


def main(args: argparse.Namespace) -> int:
    """Serve the app until it is stopped, or write the page; returns the exit code."""
    if args.page:
        from experiments.playground.page import write_page

        print(write_page(args.page))
        return 0
    if args.port > 65535:
        raise ExperimentError(f"--port is at most 65535, got {args.port}.")
    from experiments.playground.serve import serve

    print("The playground learns the digits, which takes seconds.", flush=True)
    serve(args.port, roots_of(args), lambda url: print(f"{url}  (Ctrl-C stops it)", flush=True))
    return 0
