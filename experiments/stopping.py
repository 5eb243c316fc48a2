"""Ctrl-C and SIGTERM are heard at once and acted on between two steps.

An exception from a signal's handler can come anywhere: in compiled code, which makes another one of it, in a
destructor, which loses it, on one of several devices, which leaves the others waiting.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_heard: list[int] = []


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Within, the first Ctrl-C and every SIGTERM are only noted, for `asked_to_stop`; a second Ctrl-C interrupts."""

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in _heard:
            raise KeyboardInterrupt
        _heard.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _heard.clear()


def asked_to_stop() -> bool:
    """Whether a signal came; who asks raises KeyboardInterrupt where everything is in order."""
    return bool(_heard)
