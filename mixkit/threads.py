"""A batch spread over plain threads, for compiled code that releases the GIL.

The threads are made and joined within the call: a forked worker inherits nothing half alive (numba's own parallel loops
do not survive a fork), and bare threads start in a fifth of the time of a pool's. One thread is a thread too: a signal
(Ctrl-C) is handled in the main thread, and what its handler raises there within compiled code comes out as numba's
SystemError; while the main thread waits, it comes out as itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch


def in_threads(work: Callable[[int], Any], count: int) -> None:
    """Call ``work`` on 0 ... count - 1, on as many threads as torch would use; who does it changes no result.

    What ``work`` raises is raised here, once every call that was begun has ended. An interrupt is raised at once; the
    calls that were begun end by themselves, and no more are.
    """
    left = iter(range(count))  # the GIL gives each number to one thread
    errors: list[BaseException] = []

    def pull() -> None:
        try:
            for i in left:
                work(i)
        except BaseException as error:
            errors.append(error)
            list(left)  # nothing more is begun

    threads = [threading.Thread(target=pull, daemon=True) for _ in range(min(torch.get_num_threads(), count))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        list(left)
    if errors:
        raise errors[0]
