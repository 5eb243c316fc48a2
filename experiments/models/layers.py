"""What point networks do to rows, edges and clouds, in plain torch; `fast` does the same, quicker, where it is on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.models import fast
from experiments.models.fast.edges import as_sum, edge_norm
from experiments.models.fast.edges import gather as fast_gather
from experiments.models.fast.pool_norm import pool_norm
from experiments.models.fast.row_norm import row_norm


def gather(values: Tensor, index: Tensor) -> Tensor:
    """Rows of values (B, M, C) at index (B, S, K): (B, S, K, C)."""
    if fast.is_on():
        return fast_gather(values, index)
    return values.gather(1, index.flatten(1)[:, :, None].expand(-1, -1, values.shape[2])).unflatten(1, index.shape[1:])


class RowNorm(nn.BatchNorm1d):
    """BatchNorm, then a leaky ReLU, of rows (R, C); parameters and running statistics are BatchNorm's.

    Args:
        channels: C.
        slope: the slope of the leaky ReLU for negative numbers. Default 0, a ReLU.
    """

    def __init__(self, channels: int, slope: float = 0.0) -> None:
        super().__init__(channels)
        self.slope = slope

    def forward(self, rows: Tensor) -> Tensor:
        """Rows (R, C) to (R, C)."""
        if fast.is_on():
            return row_norm(self, self.slope, rows)
        return F.leaky_relu(super().forward(rows), self.slope)


class EdgeNorm(RowNorm):
    """BatchNorm over all edges, a leaky ReLU, and the maximum over the edges of each point."""

    def forward(self, edges: Tensor) -> Tensor:
        """Edges (B, S, K, C) to (B, S, C)."""
        if fast.is_on():
            return edge_norm(self, self.slope, *as_sum(edges))
        return super().forward(edges.flatten(0, 2)).unflatten(0, edges.shape[:3]).amax(2)


class PoolNorm(RowNorm):
    """BatchNorm over all points of a batch, a leaky ReLU, then the maximum beside the mean over each cloud's points."""

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, N, C) to (B, 2 C), the maximum first."""
        if fast.is_on():
            return pool_norm(self, self.slope, features)
        active = super().forward(features.flatten(0, 1)).unflatten(0, features.shape[:2])
        return torch.cat([active.amax(1), active.mean(1)], 1)
