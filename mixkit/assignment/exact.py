"""SciPy's exact solver, one pair after the other: the oracle that the fast solvers are held against."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

from mixkit.assignment import cpu_paths
from mixkit.assignment.certificate import relative_gap


def solve(coords_a: Tensor, coords_b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Index (B, N) long, cost (B,) and certified gap (B,) float64, of two (B, N, D) float64 on the CPU.

    SciPy keeps its dual prices to itself: our own exact solver, started from SciPy's matching, finds the certificate's.
    """
    index, cost, lower = [], [], []
    for a, b in zip(coords_a.numpy(), coords_b.numpy(), strict=True):
        distance = cdist(a, b)
        _, columns = linear_sum_assignment(distance)
        index.append(columns.astype(np.int64))
        cost.append(distance[np.arange(len(a)), columns].sum())
        lower.append(cpu_paths.finish(a, b, np.zeros(len(a)), columns.astype(np.int64))[1])
    costs = torch.tensor(cost, dtype=torch.float64)
    return torch.from_numpy(np.stack(index)), costs, relative_gap(costs, torch.tensor(lower, dtype=torch.float64))
