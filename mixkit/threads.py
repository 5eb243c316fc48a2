"""A batch spread over plain threads, for compiled code that releases the GIL.

The threads are made and joined within the call: a forked worker inherits nothing half alive (numba's own parallel loops
do not survive a fork).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch


def in_threads(work: Callable[[int], Any], count: int) -> None:
    """Call ``work`` on 0 ... count - 1, on as many threads as torch would use; who does it changes no result."""
    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        for i in range(count):
            work(i)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, range(count)):
            pass
