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

from experiments.models.fast import kernels
from experiments.models.fast.row_norm import statistics_of, track
from mixkit.threads import in_threads


def gather(values: Tensor, index: Tensor) -> Tensor:
    """See `experiments.models.layers.gather`; float32 or more on the CPU."""
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


def edge_norm(norm: nn.BatchNorm1d, slope: float, values: Tensor, centres: Tensor, index: Tensor) -> Tensor:
    """BatchNorm over all edges, a leaky ReLU, and the maximum over the edges of each point, (B, S, C).

    Args:
        norm: its parameters and running statistics, which training updates.
        slope: the slope of the leaky ReLU for negative numbers.
        values: see `reduce_edges`.
        centres: see `reduce_edges`.
        index: see `reduce_edges`.
    """
    # Where the scale is negative, the maximum after it is the minimum before it: channels are turned round.
    sign = torch.where(norm.weight.detach() < 0, -1.0, 1.0)
    turned = values.device.type != "cpu" or bool((sign < 0).any())
    if turned:
        values, centres = values * sign, centres * sign
    top, mean, variance = reduce_edges(values, centres, index)
    if turned:
        top, mean = top * sign, mean * sign
    if norm.training:
        track(norm, mean, variance, index.numel())
    else:
        mean, variance = norm.running_mean, norm.running_var  # type: ignore[assignment]
    return F.leaky_relu((top - mean) * (norm.weight * torch.rsqrt(variance + norm.eps)) + norm.bias, slope)


def as_sum(edges: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Edges (B, S, K, C) that are there already as values, centres and index of `reduce_edges`."""
    batch, size, count, channels = edges.shape
    index = torch.arange(size * count, device=edges.device).view(size, count).expand(batch, -1, -1)
    return edges.flatten(1, 2), edges.new_zeros(1, 1, 1).expand(batch, size, channels), index


class _AddEdges(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, centres: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.size = values.shape[1]
        out = values.new_empty(*index.shape, values.shape[2])
        rows, middles, where, edges = (tensor.numpy() for tensor in (values, centres, index, out))
        in_threads(lambda b: kernels.spread_edges(rows[b], middles[b], where[b], edges[b]), len(index))
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (index,) = ctx.saved_tensors
        to_values = grad.new_zeros(len(index), ctx.size, grad.shape[3])
        to_centres = grad.new_zeros(*index.shape[:2], grad.shape[3])
        down, where, rows, middles = (t.numpy() for t in (grad.contiguous(), index, to_values, to_centres))
        in_threads(lambda b: kernels.spread_edges_back(down[b], where[b], rows[b], middles[b]), len(index))
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
        mean, variance = statistics_of(sums, index.numel(), values.dtype)
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
