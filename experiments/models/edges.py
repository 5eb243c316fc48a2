"""What is computed on the edges from points to their neighbours, without holding what need not be held.

A linear layer on an edge splits: of [x_j - x_i, x_i] it is W1 x_j + (W2 - W1) x_i, so it runs on points, and an edge
is a sum of two rows, here h[s, k] = values[index[s, k]] + centres[s]. And since BatchNorm and a leaky ReLU are monotone
in each channel, the maximum over the edges can come first, if the mean and the variance over all edges are known: those
and the maximum are what one pass over the edges finds, and none is stored. All of it is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.models import kernels
from experiments.models.row_norm import track
from mixkit.threads import in_threads


def gather(values: Tensor, index: Tensor) -> Tensor:
    """Rows of values (B, M, C) at index (B, S, K): (B, S, K, C)."""
    return add_edges(values, values.new_zeros(1, 1, 1).expand(*index.shape[:2], values.shape[2]), index)


def add_edges(values: Tensor, centres: Tensor, index: Tensor) -> Tensor:
    """Values (B, M, C) at index (B, S, K), plus centres (B, S, C): h (B, S, K, C), float32 or more on the CPU."""
    if values.device.type == "cpu":
        return _AddEdges.apply(_full(values), _full(centres), index.contiguous())
    return _rows(values, index) + centres[:, :, None]


def reduce_edges(values: Tensor, centres: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The maximum of h over k (B, S, C), and the mean and the variance (C,) of h over all edges, in float32 or more.

    Args:
        values: (B, M, C).
        centres: (B, S, C).
        index: (B, S, K) long, which of the M.
    """
    values, centres = _full(values), _full(centres)
    if values.device.type == "cpu":
        return _ReduceEdges.apply(values, centres, index.contiguous())
    edges = _rows(values, index) + centres[:, :, None]
    variance, mean = torch.var_mean(edges, (0, 1, 2), correction=0)
    return edges.max(2).values, mean, variance


class EdgeNorm(nn.BatchNorm1d):
    """BatchNorm over all edges, a leaky ReLU, and the maximum over the edges of each point; parameters as BatchNorm's.

    Args:
        channels: C.
        slope: of the leaky ReLU for negative numbers. Default 0, a ReLU.
    """

    def __init__(self, channels: int, slope: float = 0.0) -> None:
        super().__init__(channels)
        self.slope = slope

    def forward(self, values: Tensor, centres: Tensor | None = None, index: Tensor | None = None) -> Tensor:
        """Edges as in `reduce_edges`, or given as such, (B, S, K, C), to (B, S, C)."""
        if centres is None or index is None:
            batch, size, count, channels = values.shape
            index = torch.arange(size * count, device=values.device).view(size, count).expand(batch, -1, -1)
            centres = values.new_zeros(1, 1, 1).expand(batch, size, channels)
            values = values.flatten(1, 2)
        # Where the scale is negative, the maximum after it is the minimum before it: channels are turned round.
        sign = torch.where(self.weight.detach() < 0, -1.0, 1.0)
        turned = values.device.type != "cpu" or bool((sign < 0).any())
        if turned:
            values, centres = values * sign, centres * sign
        top, mean, variance = reduce_edges(values, centres, index)
        if turned:
            top, mean = top * sign, mean * sign
        if self.training:
            track(self, mean, variance, index.numel())
        else:
            mean, variance = self.running_mean, self.running_var  # type: ignore[assignment]
        return F.leaky_relu((top - mean) * (self.weight * torch.rsqrt(variance + self.eps)) + self.bias, self.slope)


class _AddEdges(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, centres: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.size = values.shape[1]
        out = values.new_empty(*index.shape, values.shape[2])
        rows, middles, where, there = (tensor.numpy() for tensor in (values, centres, index, out))
        in_threads(lambda b: kernels.spread_edges(rows[b], middles[b], where[b], there[b]), len(index))
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (index,) = ctx.saved_tensors
        to_values = grad.new_zeros(len(index), ctx.size, grad.shape[3])
        to_centres = grad.new_zeros(*index.shape[:2], grad.shape[3])
        there, where, rows, middles = (t.numpy() for t in (grad.contiguous(), index, to_values, to_centres))
        in_threads(lambda b: kernels.spread_edges_back(there[b], where[b], rows[b], middles[b]), len(index))
        return to_values, to_centres, None


class _ReduceEdges(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, centres: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, _, channels = values.shape
        top, place = torch.empty_like(centres), torch.empty(centres.shape, dtype=torch.int32)
        sums = np.zeros((2, batch, channels))
        rows, middles, where, high, places = (t.numpy() for t in (values, centres, index, top, place))

        def work(b: int) -> None:
            kernels.reduce_edges(rows[b], middles[b], where[b], high[b], places[b], sums[0, b], sums[1, b])

        in_threads(work, batch)
        total, square = torch.from_numpy(sums.sum(1) / index.numel())
        mean, variance = total.to(values.dtype), (square - total * total).clamp_min(0).to(values.dtype)
        ctx.save_for_backward(values, centres, index, place, mean)
        return top, mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, top: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, None]:
        values, centres, index, place, average = ctx.saved_tensors
        slope = variance * (2 / index.numel())
        shift = mean / index.numel() - slope * average
        to_values, to_centres = torch.zeros_like(values), torch.zeros_like(centres)
        rows, middles, where, places = (t.numpy() for t in (values, centres, index, place))
        down, back, forth = top.contiguous().numpy(), to_centres.numpy(), to_values.numpy()
        a, b = shift.numpy(), slope.numpy()

        def work(s: int) -> None:
            kernels.reduce_edges_back(rows[s], middles[s], where[s], places[s], down[s], a, b, forth[s], back[s])

        in_threads(work, len(index))
        return to_values, to_centres, None


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """`gather` in plain torch."""
    batch, size, channels = values.shape
    start = torch.arange(batch, device=index.device).mul(size)[:, None, None]
    return values.reshape(-1, channels)[index + start]


def _full(tensor: Tensor) -> Tensor:
    """Contiguous, in float32 or more."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32)).contiguous()
