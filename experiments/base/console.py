"""Where commands print."""

from __future__ import annotations

import sys

from rich.console import Console

FILE_WIDTH = 120  # characters


def make_console(*, quiet: bool = False) -> Console:
    """Where commands print; what is piped into a file is wide enough for every table.

    Texts are shown as they are: brackets and colons in names are no mark-up.
    """
    width = None if sys.stdout.isatty() else FILE_WIDTH
    return Console(quiet=quiet, width=width, markup=False, emoji=False, highlight=False)
