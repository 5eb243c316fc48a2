"""The CPU solver over a batch: threads over the pairs. The algorithm itself is in cpu_auction and cpu_paths.

Plain threads over code that releases the GIL, made and joined within each call: a forked worker inherits nothing half
alive (numba's own parallel loops do not survive a fork), and a pair's result does not depend on who computes it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from mixkit.assignment import cpu_auction, cpu_paths
from mixkit.assignment.certificate import relative_gap

EXACT = 1e-6  # a tolerance below this asks for the exact finish: float32 prices cannot certify it
BEFORE_EXACT = 1e-5  # the tolerance at which the auction hands over to it


def solve(coords_a: Tensor, coords_b: Tensor, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Index (B, N) long, cost (B,) and certified gap (B,) float64, of two (B, N, D) float64 within [-1, 1]."""
    missing = max(0, 3 - coords_a.shape[2])  # the compiled code has its first three axes unrolled
    a = torch.nn.functional.pad(coords_a, (0, missing)).contiguous().numpy()  # any other layout would be compiled anew
    b = torch.nn.functional.pad(coords_b, (0, missing)).contiguous().numpy()
    batch, size, _ = a.shape
    index, bounds = np.full((batch, size), -1), np.zeros((batch, 2))

    def solve_pair(pair: int) -> None:
        price, proposal = np.zeros(size), index[pair]
        if size > 1:
            cost, lower, _ = cpu_auction.solve_pair(a[pair], b[pair], max(tolerance, BEFORE_EXACT), proposal, price)
        if size == 1 or tolerance < EXACT or proposal.min() < 0 or cost - lower > tolerance * lower:
            cost, lower = cpu_paths.finish(a[pair], b[pair], price, proposal)
        bounds[pair] = cost, lower

    threads = min(torch.get_num_threads(), batch)
    if threads == 1:
        for pair in range(batch):
            solve_pair(pair)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(solve_pair, range(batch)))
    cost, lower = torch.from_numpy(bounds).unbind(1)
    return torch.from_numpy(index), cost, relative_gap(cost, lower)
