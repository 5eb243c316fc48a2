"""The CPU solver over a batch: threads over the pairs. The algorithm itself is in cpu_order, cpu_auction, cpu_paths.

A pair's result does not depend on who computes it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mixkit.assignment import cpu_auction, cpu_paths
from mixkit.assignment.certificate import relative_gap
from mixkit.assignment.cpu_order import kd_order
from mixkit.assignment.normalise import normalise
from mixkit.threads import in_threads

EXACT = 1e-6  # a tolerance below this asks for the exact finish: float32 prices cannot certify it
BEFORE_EXACT = 1e-5  # the tolerance at which the auction hands over to it


def solve(coords_a: Tensor, coords_b: Tensor, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Index (B, N) long, cost (B,) and certified gap (B,) float64, of two (B, N, D) floats on the CPU.

    torch sees one pair at a time: an operation on the whole batch would wake its own threads, and they go on spinning
    for a while on the cores that the pairs need.
    """
    batch, size, dim = coords_a.shape
    missing = max(0, 3 - dim)  # the compiled code has its first three axes unrolled
    index, bounds = np.empty((batch, size), np.int64), np.empty((batch, 2))

    def solve_pair(pair: int) -> None:
        a, b, scale = normalise(coords_a[pair : pair + 1], coords_b[pair : pair + 1])
        first, second = (np.pad(coords[0].contiguous().numpy(), ((0, 0), (0, missing))) for coords in (a, b))
        order_a, order_b = kd_order(first.astype(np.float32)), kd_order(second.astype(np.float32))
        first, second = first[order_a], second[order_b]
        price, matching = np.zeros(size), np.full(size, -1)
        if size > 1:
            cost, lower, _ = cpu_auction.solve_pair(first, second, max(tolerance, BEFORE_EXACT), matching, price)
        if size == 1 or tolerance < EXACT or matching.min() < 0 or cost - lower > tolerance * lower:
            cost, lower = cpu_paths.finish(first, second, price, matching)
        index[pair, order_a] = order_b[matching]
        bounds[pair] = cost * scale.item(), lower * scale.item()

    in_threads(solve_pair, batch)
    cost, lower = torch.from_numpy(bounds).unbind(1)
    return torch.from_numpy(index), cost, relative_gap(cost, lower)
