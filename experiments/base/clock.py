"""The clock of runs and benchmarks: it reads when the device has done all that it was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def now(device: torch.device, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds, with nothing left to do on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock()
