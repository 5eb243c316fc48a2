"""The compiled ways of `experiments.models.neighbours`, for contiguous tensors on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.models.fast import kernels
from mixkit.threads import in_threads


def largest(scores: Tensor, index: Tensor) -> None:
    """The columns of the largest scores (B, S, N), largest first, to index (B, S, k)."""
    table, out = scores.numpy(), index.numpy()
    in_threads(lambda sample: kernels.largest(table[sample], out[sample]), len(out))


def farthest_points(coords: Tensor, start: Tensor, index: Tensor) -> Tensor:
    """Farthest point sampling of coords (B, N, 3) from start (B,), written to index (B, S), which is returned."""
    axes, begins, out = coords.mT.contiguous().numpy(), start.tolist(), index.numpy()
    in_threads(lambda sample: kernels.farthest(axes[sample], begins[sample], out[sample]), len(coords))
    return index


def ball_query(coords: Tensor, centres: Tensor, radius: float, count: int) -> Tensor:
    """Indices (B, S, count) of coords (B, N, 3) near each of centres (B, S, 3)."""
    index = torch.empty(*centres.shape[:2], count, dtype=torch.long)
    points, middles, out = coords.numpy(), centres.numpy(), index.numpy()
    in_threads(lambda sample: kernels.within(points[sample], middles[sample], radius, out[sample]), len(coords))
    return index
