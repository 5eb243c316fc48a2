"""A batch in chunks over threads; `mixkit.threads` runs them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mixkit.threads import in_threads


def in_chunks(work: Callable[[int, int], None], size: int) -> None:
    """Call ``work(start, stop)``, which releases the GIL, on chunks of ``range(size)``, on as many threads as torch."""
    chunks = min(4 * torch.get_num_threads(), size)  # more than threads, for some images take longer than others
    in_threads(lambda k: work(size * k // chunks, size * (k + 1) // chunks), chunks)
