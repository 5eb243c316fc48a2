"""Timing that the benchmarks share: interleaved repeats, so that a noisy machine is noisy to all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch


def interleaved_medians(
    work: Mapping[str, Callable[[], object]], *, repeats: int, warmup: int = 2, seconds: float = 0.0
) -> dict[str, float]:
    """Median seconds of each piece of work, taken in turns.

    Args:
        work: functions by name.
        repeats: how often each is timed, at least.
        warmup: calls before that, untimed.
        seconds: go on until each has been timed for so long in all. Default 0.
    """
    for function in work.values():
        for _ in range(warmup):
            function()
    times: dict[str, list[float]] = {name: [] for name in work}
    while any(len(taken) < repeats or sum(taken) < seconds for taken in times.values()):
        for name, function in work.items():
            _synchronise()
            start = time.perf_counter()
            function()
            _synchronise()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
