"""Chunks of a batch in threads. The pool lives as long as the call, so nothing is left for a fork to break."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def in_chunks(work: Callable[[int, int], None], size: int) -> None:
    """Call ``work(start, stop)``, which releases the GIL, on chunks of ``range(size)``, on as many threads as torch."""
    threads = min(torch.get_num_threads(), size)
    if threads <= 1:
        work(0, size)
        return
    chunks = min(4 * threads, size)  # more than threads, for some images take longer than others
    edges = [size * k // chunks for k in range(chunks + 1)]
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, edges[:-1], edges[1:]):
            pass
