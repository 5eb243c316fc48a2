"""Small pairs on the CPU: a batch is solved in one compiled call, because all else would take longer than the pairs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mixkit.assignment import cpu_small
from mixkit.assignment.arguments import refuse_sample
from mixkit.threads import in_threads
from mixkit.warm import announce

announce("the assignment of points, of small sets")

THREADED = 2**17  # distances, from which on threads are worth their start
CHUNK = 8  # pairs that a thread solves at a time


def solve(coords_a: Tensor, coords_b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Index (B, N) long, cost (B,) and certified gap (B,) float64, of two (B, N, D) floats on the CPU: the optimum."""
    a, b = _plain(coords_a), _plain(coords_b)
    batch, size, dim = a.shape
    single = a.dtype is torch.float32
    index, cost, gap = np.empty((batch, size), np.int64), np.empty(batch), np.empty(batch)
    if batch * size * size < THREADED:
        bad = cpu_small.solve(a.data_ptr(), b.data_ptr(), single, dim, index, cost, gap)
    else:
        bad = _solve_in_threads(a, b, single, index, cost, gap)
    if bad >= 0:
        refuse_sample(a, b, bad)
    return torch.from_numpy(index), torch.from_numpy(cost), torch.from_numpy(gap)


def _plain(coords: Tensor) -> Tensor:
    """What compiled code can read from memory: float32 or float64, in rows."""
    if coords.dtype not in (torch.float32, torch.float64):
        coords = coords.float()
    return coords if coords.is_contiguous() and not coords.is_neg() else coords.resolve_neg().contiguous()


def _solve_in_threads(a: Tensor, b: Tensor, single: bool, index: np.ndarray, cost: np.ndarray, gap: np.ndarray) -> int:
    """`cpu_small.solve` by chunks of the batch, which change nothing."""
    bad: list[int] = []

    def work(chunk: int) -> None:
        start = chunk * CHUNK
        part = slice(start, start + CHUNK)
        found = cpu_small.solve(
            a[start].data_ptr(), b[start].data_ptr(), single, a.shape[2], index[part], cost[part], gap[part]
        )
        if found >= 0:
            bad.append(start + found)

    in_threads(work, -(-len(a) // CHUNK))
    return min(bad, default=-1)
