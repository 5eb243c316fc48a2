"""The CPU solver over a batch: threads over the pairs. The algorithm itself is in cpu_order, cpu_auction,
cpu_swaps and cpu_paths.

A pair's result does not depend on who computes it.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mixkit.assignment import cpu_auction, cpu_paths, cpu_swaps
from mixkit.assignment.arguments import refuse_sample
from mixkit.assignment.certificate import relative_gap
from mixkit.assignment.cpu_order import prepare
from mixkit.threads import in_threads
from mixkit.warm import announce

announce("the assignment of points")

EXACT = 1e-6  # a tolerance below this asks for the exact finish: float32 prices cannot certify it
BEFORE_EXACT = 1e-5  # the tolerance at which the auction hands over to it
QUICK = 0.03  # from this tolerance on, matched groups and swaps may do
COARSE = 0.02  # the coarse levels are solved at this tolerance at least: the bound on the optimum comes from them
HOPEFUL = 4  # swaps have not brought a matching within the tolerance that began more than this many times it above


def solve(coords_a: Tensor, coords_b: Tensor, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Index (B, N) long, cost (B,) and certified gap (B,) float64, of two (B, N, D) floats on the CPU.

    NumPy converts the batch: a torch operation on all of it would wake torch's own threads, and they go on spinning for
    a while on the cores that the pairs need.
    """
    batch, size, _ = coords_a.shape
    tolerance = float(tolerance)  # the compiled code would be compiled again for an int
    a, b = (float64(coords) for coords in (coords_a, coords_b))
    index, bounds, bad = np.empty((batch, size), np.int64), np.empty((batch, 2)), list[int]()

    def solve_pair(pair: int) -> None:
        first, second, scale, order_a, order_b = prepare(a[pair], b[pair])
        if math.isnan(scale):
            bad.append(pair)
            return
        matching, cost, lower = match_ordered(first, second, tolerance)
        index[pair, order_a] = order_b[matching]
        bounds[pair] = cost * scale, lower * scale

    in_threads(solve_pair, batch)
    if bad:
        refuse_sample(coords_a, coords_b, min(bad))
    cost, lower = torch.from_numpy(bounds).unbind(1)
    return torch.from_numpy(index), cost, relative_gap(cost, lower)


def float64(coords: Tensor) -> np.ndarray:
    """A copy in rows, whatever the strides: numba would compile again for another layout."""
    narrow = coords.dtype not in (torch.float32, torch.float64)  # NumPy has no bfloat16
    return (coords.float() if narrow else coords).numpy().astype(np.float64, order="C")


def match_ordered(a: np.ndarray, b: np.ndarray, tolerance: float) -> tuple[np.ndarray, float, float]:
    """Matching (N,), cost and lower bound of a pair (N, D), (M, D), N <= M, in k-d order.

    By the least work that meets the tolerance.
    """
    if len(a) == 1:  # a bidder without a rival has no second best
        matching = np.zeros(1, np.int64)
        return matching, *cpu_paths.finish(a, b, np.zeros(len(b)), matching)
    goal = max(tolerance, BEFORE_EXACT)
    coarse_goal = min(goal, COARSE)
    price, eps, groups, _ = cpu_auction.solve_coarse(a, b, coarse_goal)
    if tolerance >= QUICK and len(a) == len(b) and len(groups) and groups.min() >= 0:
        matching = cpu_swaps.spread(groups, len(a))
        lower, profit = cpu_auction.dual_bound(a, b, price, matching)
        cost = cpu_swaps.total(a, b, matching)
        if cost <= (1 + HOPEFUL * tolerance) * lower:
            cost = cpu_swaps.swap(a, b, matching, (1 + tolerance) * lower)
        if cost > (1 + tolerance) * lower:
            lower, value = cpu_auction.dual_bound(b, a, -profit, cpu_auction.inverse(matching, len(b)))
            price = -value
        if cost <= (1 + tolerance) * lower:
            return matching, cost, lower
    matching = np.full(len(a), -1)
    cost, lower, price, _ = cpu_auction.solve_finest(a, b, goal, price, eps * (goal / coarse_goal), matching)
    if tolerance < EXACT or matching.min() < 0 or cost - lower > tolerance * lower:
        cost, lower = cpu_paths.finish(a, b, price, matching)
    return matching, cost, lower


def match(coords_a: Tensor, coords_b: Tensor, tolerance: float) -> Tensor:
    """Index (N,) long of one pair (N, D), on the calling thread: for pairs of many sizes, each on a thread."""
    first, second, _, order_a, order_b = prepare(*(float64(coords) for coords in (coords_a, coords_b)))
    matching, _, _ = match_ordered(first, second, float(tolerance))
    index = np.empty(len(matching), np.int64)
    index[order_a] = order_b[matching]
    return torch.from_numpy(index)
