"""SciPy's exact solver, one pair after the other: the oracle that the fast solvers are held against."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor


def solve(coords_a: Tensor, coords_b: Tensor) -> Tensor:
    """The optimal bijection of each pair. coords: two (B, N, D) float64; returns index (B, N) long, on the input's device."""
    index = [
        linear_sum_assignment(cdist(a, b))[1]
        for a, b in zip(coords_a.cpu().numpy(), coords_b.cpu().numpy(), strict=True)
    ]
    return torch.from_numpy(np.stack(index).astype(np.int64)).to(coords_a.device)
