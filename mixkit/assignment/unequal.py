"""Sets of unequal sizes, distances other than the Euclidean one, and matrices of costs, on the CPU: threads over pairs.

A pair of one size at Euclidean distance is solved as in a batch of such pairs, to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

from mixkit.assignment import cpu, cpu_small, small
from mixkit.assignment.arguments import SMALL, Metric
from mixkit.assignment.cpu_order import normalise, prepare
from mixkit.assignment.normalise import LARGEST
from mixkit.threads import in_threads

DENSE = 2**16  # up to so many distances between unequal sets, the exact solver on all of them is the fastest

Match: TypeAlias = tuple[np.ndarray, float, float]  # each row's partner in the other set, -1 for none; cost; gap


def solve(
    coords_a: Tensor,
    coords_b: Tensor,
    lengths_a: Sequence[int],
    lengths_b: Sequence[int],
    metric: Metric,
    tolerance: float,
    solver: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Index (B, N) long, cost (B,) and certified gap (B,) float64, of (B, N, D) and (B, M, D) floats on any device.

    Raises ValueError for a sample whose real rows hold NaN, infinity or a coordinate too large.
    """
    a, b = (cpu.float64(coords.cpu()) for coords in (coords_a, coords_b))

    def match_sample(sample: int) -> Match:
        return match(a[sample, : lengths_a[sample]], b[sample, : lengths_b[sample]], metric, tolerance, solver, sample)

    return _batch(match_sample, len(a), a.shape[1], coords_a.device)


def solve_costs(cost: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Index (B, N) long, cost (B,) and certified gap (B,) float64, of (B, N, M) floats that were checked.

    Raises ValueError for a sample whose infinite costs leave no matching.
    """
    costs = np.minimum(cpu.float64(cost.cpu()), cpu_small.BIG)  # compiled code knows no infinity

    def match_sample(sample: int) -> Match:
        return match_costs(costs[sample], sample)

    return _batch(match_sample, len(costs), costs.shape[1], cost.device)


def _batch(
    match_sample: Callable[[int], Match], batch: int, size: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    index, bounds, bad = np.full((batch, size), -1, np.int64), np.empty((2, batch)), dict[int, ValueError]()

    def work(sample: int) -> None:
        try:
            matching, *bounds[:, sample] = match_sample(sample)
            index[sample, : len(matching)] = matching
        except ValueError as error:
            bad[sample] = error

    in_threads(work, batch)
    if bad:
        raise bad[min(bad)]
    cost, gap = torch.from_numpy(bounds).to(device).unbind()
    return torch.from_numpy(index).to(device), cost, gap


def match(a: np.ndarray, b: np.ndarray, metric: Metric, tolerance: float, solver: str, sample: int) -> Match:
    """Match the smaller of a (N, D) and b (M, D), float64, into the larger."""
    if not len(a) or not len(b):
        return np.full(len(a), -1), 0.0, 0.0
    if len(a) > len(b):
        return _inverse(match(b, a, metric, tolerance, solver, sample), len(a))
    ours = metric == 2 and solver != "exact"
    large = len(a) > SMALL if len(a) == len(b) else len(a) * len(b) > DENSE
    if ours and large:
        first, second, scale, order_a, order_b = prepare(a, b)
    else:
        first, second, scale = normalise(a, b)
    if math.isnan(scale):
        both = np.concatenate([a, b])
        bad = both[~(np.abs(both) < LARGEST)][0]
        raise ValueError(f"coordinates must be finite and below {LARGEST:g}, got {bad} in sample {sample}")
    if ours and not large and len(a) == len(b):
        found = small.solve(*(torch.from_numpy(coords)[None] for coords in (a, b)))
        return found[0][0].numpy(), float(found[1]), float(found[2])
    if ours and large:
        matching, cost, lower = cpu.match_ordered(first, second, tolerance)
        index = np.empty(len(a), np.int64)
        index[order_a] = order_b[matching]
        return index, cost * scale, _gap(cost * scale, lower * scale)
    matching, cost, gap = match_costs(distances(first, second, metric), sample, solver)
    return matching, cost * (scale * scale if metric == "sqeuclidean" else scale), gap


def match_costs(costs: np.ndarray, sample: int, solver: str = "auto") -> Match:
    """Match the fewer of rows and columns of costs (N, M), float64, at least total cost: the optimum."""
    if not costs.size:
        return np.full(len(costs), -1), 0.0, 0.0
    if costs.shape[0] > costs.shape[1]:
        return _inverse(match_costs(costs.T.copy(), sample, solver), len(costs))
    matching = np.empty(len(costs), np.int64)
    cost, lower = cpu_small.match_costs(costs, matching)
    if cost >= cpu_small.FORBIDDEN:
        raise ValueError(f"the infinite costs of sample {sample} leave no way to match its smaller side")
    if solver == "exact":
        rows, matching = linear_sum_assignment(costs)
        cost = float(costs[rows, matching].sum())
    return matching, cost, _gap(cost, lower)


def distances(a: np.ndarray, b: np.ndarray, metric: Metric) -> np.ndarray:
    """(N, M) float64, the distances between a (N, D) and b (M, D)."""
    if metric in ("sqeuclidean", 2.0):
        return cdist(a, b, "sqeuclidean" if metric == "sqeuclidean" else "euclidean")
    largest = cdist(a, b, "chebyshev")
    if metric == math.inf:
        return largest
    total = np.zeros_like(largest)
    peak = np.where(largest > 0, largest, 1.0)  # no power overflows or vanishes
    for d in range(a.shape[1]):
        total += (np.abs(a[:, d, None] - b[None, :, d]) / peak) ** metric
    return largest * total ** (1 / float(metric))


def _inverse(found: Match, size: int) -> Match:
    """The match seen from the larger side, of this size."""
    matching, cost, gap = found
    index = np.full(size, -1)
    index[matching] = np.arange(len(matching))
    return index, cost, gap


def _gap(cost: float, lower: float) -> float:
    """(cost - lower) / lower, 0 where nothing lies between, infinite where nothing bounds the cost away from 0.

    Negative costs are optimal up to this part of themselves.
    """
    excess, bound = max(cost - lower, 0.0), max(lower, -cost)
    if excess == 0 or cost == 0:
        return 0.0
    return excess / bound if bound > 0 else math.inf
