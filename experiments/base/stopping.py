"""Ctrl-C, SIGTERM, SIGHUP and the end of the process that began this one are acted on between two steps.

An exception from a signal's handler can come anywhere: in compiled code, which makes another one of it, in a
destructor, which loses it, on one of several devices, which leaves the others waiting.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PARENT = "MIXKIT_PARENT"  #: the environment variable in which a process leaves its number for one that ends with it
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_heard: list[int] = []
_within = False  # a block of `stopped_by_signals`
_parent = os.environ.pop(PARENT, "")  # not for the processes that this one begins


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Within, the first Ctrl-C and every SIGTERM and SIGHUP are only noted, for `asked_to_stop`.

    A second Ctrl-C interrupts. A SIGHUP that is ignored, as under nohup, stays so. Within another such block nothing
    changes, so that the outer one hears what came at the end of the inner one.
    """
    global _within
    if _within:
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in _heard:
            raise KeyboardInterrupt
        _heard.append(number)

    minded = [number for number in SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in minded}
    _within = True
    try:
        yield
    finally:
        _within = False
        for number, handler in before.items():
            signal.signal(number, handler)
        _heard.clear()


def end_with(parent: int) -> None:
    """Have this process end soon after the one of this number, which began it: for pools that know nothing of signals.

    What the process is at is lost.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent").start()


def asked_to_stop() -> bool:
    """Whether a signal came, or the process that began this one, and left its number in `PARENT`, is no more.

    Who asks raises KeyboardInterrupt where everything is in order.
    """
    return bool(_heard) or (bool(_parent) and str(os.getppid()) != _parent)
