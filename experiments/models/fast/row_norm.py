"""BatchNorm and a leaky ReLU of many rows in half the passes over memory that they take one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.models.fast import kernels
from mixkit.threads import in_threads

PIECE = 2**18  # numbers that one thread takes at a time


def row_norm(norm: nn.BatchNorm1d, slope: float, rows: Tensor) -> Tensor:
    """BatchNorm and a leaky ReLU of rows (R, C), in compiled loops on the CPU in float32 and float64.

    Elsewhere, and in half precision, by torch's own functions.
    """
    if rows.device.type != "cpu" or rows.dtype not in (torch.float32, torch.float64) or not rows.numel():
        return F.leaky_relu(nn.BatchNorm1d.forward(norm, rows), slope, inplace=True)
    mean, variance = norm.running_mean, norm.running_var
    running = None if norm.training else (mean, variance)
    out, mean, variance = _RowNorm.apply(rows.contiguous(), norm.weight, norm.bias, running, norm.eps, slope)
    if norm.training:
        track(norm, mean, variance, len(rows))
    return out


@torch.no_grad()
def track(norm: nn.BatchNorm1d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Update the running statistics as BatchNorm does: by its momentum, with the unbiased variance."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    momentum = norm.momentum or 0.0
    norm.running_mean.lerp_(mean, momentum)
    norm.running_var.lerp_(variance * (count / max(count - 1, 1)), momentum)
    norm.num_batches_tracked.add_(1)


def statistics_of(sums: np.ndarray, count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(C,) mean and variance of ``count`` rows, given (2, parts, C) the sums of the rows and of their squares."""
    total, square = torch.from_numpy(sums.sum(1) / count)
    return total.to(dtype), (square - total * total).clamp_min(0).to(dtype)


def as_line(mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """(C,) one over the standard deviation, and scale and shift of BatchNorm as h * scale + shift."""
    spread = torch.rsqrt(variance + eps)
    scale = (weight * spread).to(mean.dtype)
    return spread, scale, (bias - mean * scale).to(mean.dtype)


def back_through_norm(
    total: Tensor, product: Tensor, mean: Tensor, spread: Tensor, scale: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the sums of a gradient g, and of g times the rows h, say of h * scale + shift: the backward of BatchNorm.

    Args:
        total: (C,) float64, the sum of g over all rows.
        product: (C,) float64, the sum of g * h.
        mean: (C,), which was taken off.
        spread: (C,), one over the standard deviation.
        scale: (C,), the weight times the spread.
        count: rows that the statistics are of; 0 for running statistics, which no row changes.

    Returns:
        The gradients of the weight and of the bias, and a, b of the rows' gradient g * scale + a + b * h.
    """
    slope = (product - total * mean) * spread
    linear = torch.zeros_like(scale) if not count else (-scale * spread * slope / count).to(scale.dtype)
    constant = torch.zeros_like(scale) if not count else (-scale * total / count).to(scale.dtype) - linear * mean
    return slope.to(scale.dtype), total.to(scale.dtype), constant, linear


class _RowNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor, running: Any, eps: float, slope: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        h, pieces = rows.numpy(), _pieces(rows)
        if running is None:
            sums = np.zeros((2, len(pieces), rows.shape[1]))
            in_threads(lambda p: kernels.row_sums(h[pieces[p]], sums[0, p], sums[1, p]), len(pieces))
            mean, variance = statistics_of(sums, len(rows), rows.dtype)
        else:
            mean, variance = (tensor.to(rows.dtype) for tensor in running)
        spread, scale, shift = as_line(mean, variance, weight, bias, eps)
        out = torch.empty_like(rows)
        a, b, leak, target = scale.numpy(), shift.numpy(), h.dtype.type(slope), out.numpy()
        in_threads(lambda p: kernels.scale_rows(h[pieces[p]], a, b, leak, target[pieces[p]]), len(pieces))
        ctx.save_for_backward(rows, mean, spread, scale, shift)
        ctx.slope, ctx.fixed = leak, running is not None
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        rows, mean, spread, scale, shift = ctx.saved_tensors
        h, pieces, g = rows.numpy(), _pieces(rows), grad.contiguous().numpy()
        a, b, leak = scale.numpy(), shift.numpy(), ctx.slope
        to_weight = to_bias = None
        constant, linear = torch.zeros_like(scale), torch.zeros_like(scale)
        if not ctx.fixed or ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            sums = np.zeros((2, len(pieces), rows.shape[1]))

            def add(p: int) -> None:
                kernels.scale_rows_sums(h[pieces[p]], g[pieces[p]], a, b, leak, sums[0, p], sums[1, p])

            in_threads(add, len(pieces))
            total, product = torch.from_numpy(sums.sum(1))
            to_weight, to_bias, constant, linear = back_through_norm(
                total, product, mean, spread, scale, 0 if ctx.fixed else len(rows)
            )
        out = torch.empty_like(rows)
        c, d, target = constant.numpy(), linear.numpy(), out.numpy()

        def back(p: int) -> None:
            kernels.scale_rows_back(h[pieces[p]], g[pieces[p]], a, b, leak, c, d, target[pieces[p]])

        in_threads(back, len(pieces))
        return out, to_weight, to_bias, None, None, None


def _pieces(rows: Tensor) -> list[slice]:
    """The rows in slices that do not depend on the number of threads."""
    step = max(1, PIECE // rows.shape[1])
    return [slice(start, min(start + step, len(rows))) for start in range(0, len(rows), step)]
