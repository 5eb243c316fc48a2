"""Errors that a person running an experiment sees as one sentence; all others are defects and keep their traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

LONGEST = 4000  # characters of a text
STOPPED = 130  # the exit code of what a signal ended


class ExperimentError(Exception):
    """What the user can put right: an option, a missing or damaged file. Shown without a traceback, exit code 2."""


class RunStoppedError(ExperimentError):
    """One run could not go on (its loss is not finite); the runs beside it are not affected."""


def plain(text: str) -> str:
    """A text of which every character can be printed: neither a line break, nor a terminal's codes, nor half of one."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:LONGEST])


def exit_code(command: Callable[[], int]) -> int:
    """The exit code of a command: 2 for what the user can put right, 130 where a signal ended it, else its own."""
    try:
        return int(command())
    except ExperimentError as error:
        print(f"error: {plain(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what was saved is kept", file=sys.stderr)
        return STOPPED
