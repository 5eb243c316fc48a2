"""BatchNorm, a leaky ReLU, and both the maximum and the mean over a cloud's points, with nothing held between."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.models.fast import kernels
from experiments.models.fast.row_norm import as_line, back_through_norm, statistics_of, track
from mixkit.threads import in_threads


def pool_norm(norm: nn.BatchNorm1d, slope: float, features: Tensor) -> Tensor:
    """BatchNorm over all points, a leaky ReLU, then the maximum beside the mean: (B, N, C) to (B, 2 C).

    In compiled loops on the CPU, where the result is float32 or more.
    """
    if features.device.type != "cpu":
        rows = F.leaky_relu(nn.BatchNorm1d.forward(norm, features.flatten(0, 1)), slope, inplace=True)
        active = rows.unflatten(0, features.shape[:2])
        return torch.cat([active.max(1).values, active.mean(1)], 1)
    features = features.to(torch.promote_types(features.dtype, torch.float32)).contiguous()
    running = None if norm.training else (norm.running_mean, norm.running_var)
    pooled, mean, variance = _PoolNorm.apply(features, norm.weight, norm.bias, running, norm.eps, slope)
    if norm.training:
        track(norm, mean, variance, features.shape[0] * features.shape[1])
    return pooled


class _PoolNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, running: Any, eps: float, slope: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        batch, size, channels = features.shape
        h = features.numpy()
        if running is None:
            sums = np.zeros((2, batch, channels))
            in_threads(lambda b: kernels.row_sums(h[b], sums[0, b], sums[1, b]), batch)
            mean, variance = statistics_of(sums, batch * size, features.dtype)
        else:
            mean, variance = (tensor.to(features.dtype) for tensor in running)
        spread, scale, shift = as_line(mean, variance, weight, bias, eps)
        top, counts, products = (features.new_empty(batch, channels) for _ in range(3))
        place = torch.empty(batch, channels, dtype=torch.int32)
        factors = scale.numpy(), shift.numpy(), h.dtype.type(slope)
        outs = [tensor.numpy() for tensor in (top, place, counts, products)]
        in_threads(lambda b: kernels.pool_rows(h[b], *factors, *(out[b] for out in outs)), batch)
        average = (products * scale + counts * shift) / size  # a leaky ReLU is its slope times its argument
        ctx.save_for_backward(features, mean, spread, scale, shift, top, place, counts, products)
        ctx.slope, ctx.fixed = slope, running is not None
        ctx.mark_non_differentiable(mean, variance)
        return torch.cat([F.leaky_relu(top, slope), average], 1), mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        features, mean, spread, scale, shift, top, place, counts, products = ctx.saved_tensors
        batch, size, channels = features.shape
        h = features.numpy()
        to_top, to_mean = grad.to(features.dtype).split(channels, 1)
        to_top = torch.where(top > 0, to_top, to_top * ctx.slope)
        to_mean = to_mean / size
        highest = features.gather(1, place.long()[:, None])[:, 0]
        total = (to_mean * counts + to_top).sum(0, dtype=torch.float64)
        product = (to_mean * products + to_top * highest).sum(0, dtype=torch.float64)
        to_weight, to_bias, constant, linear = back_through_norm(
            total, product, mean, spread, scale, 0 if ctx.fixed else batch * size
        )
        out = torch.empty_like(features)
        a, b, c, d = (tensor.numpy() for tensor in (scale, shift, constant, linear))
        where, high, flat = (tensor.contiguous().numpy() for tensor in (place, to_top, to_mean))
        leak, gradient = h.dtype.type(ctx.slope), out.numpy()

        def back(n: int) -> None:
            kernels.pool_rows_back(h[n], a, b, leak, where[n], high[n], flat[n], c, d, gradient[n])

        in_threads(back, batch)
        return out, to_weight, to_bias, None, None, None
