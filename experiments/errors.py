"""Errors that a person running an experiment sees as one sentence; all others are defects and keep their traceback."""

from __future__ import annotations

LONGEST = 4000  # characters of a text


class ExperimentError(Exception):
    """What the user can put right: an option, a missing or damaged file. Shown without a traceback, exit code 2."""


class RunStoppedError(ExperimentError):
    """One run could not go on (its loss is not finite); the runs beside it are not affected."""


def plain(text: str) -> str:
    """A text of which every character can be printed: neither a line break, nor a terminal's codes, nor half of one."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:LONGEST])
