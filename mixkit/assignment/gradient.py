"""The gradient of a matching's cost, on any device. Knows no solver."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mixkit.assignment.arguments import Metric


class PairedCost(torch.autograd.Function):
    """The costs (B,) that a solver found, with the gradient of the sum of the paired distances at that matching.

    coords_a: (B, N, D). coords_b: (B, M, D). index: (B, N) long, -1 for elements without a partner. metric: as
    `check_metric` returns it.

    By the envelope theorem this is the gradient of the optimum itself wherever the optimal matching is unique; where
    several are, or the matching is optimal up to a tolerance only, it is the gradient at the matching that was found.
    """

    @staticmethod
    def forward(
        ctx: Any, coords_a: Tensor, coords_b: Tensor, index: Tensor, cost: Tensor, metric: Metric = 2.0
    ) -> Tensor:
        ctx.save_for_backward(coords_a, coords_b, index)
        ctx.metric = metric
        return cost.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        coords_a, coords_b, index = ctx.saved_tensors
        batch, size, dim = coords_a.shape
        others = coords_b.shape[1]
        if not size or not others:
            return torch.zeros_like(coords_a), torch.zeros_like(coords_b), None, None, None
        grad = grads[0].to(coords_a.device)
        rows = (index.clamp(min=0) + others * torch.arange(batch, device=index.device)[:, None]).flatten()
        apart = coords_a.reshape(-1, dim).to(grad.dtype) - coords_b.reshape(-1, dim).to(grad.dtype)[rows]
        apart = torch.where((index >= 0).reshape(-1, 1), apart, 0.0)  # whatever stands in padding
        pull = grad.repeat_interleave(size)[:, None] * directions(apart, ctx.metric)  # on a; its partner gets minus it
        pull_b = pull.new_zeros(batch * others, dim).index_add(0, rows, -pull) if ctx.needs_input_grad[1] else None
        return (
            pull.view_as(coords_a).to(coords_a.dtype) if ctx.needs_input_grad[0] else None,
            pull_b.view_as(coords_b).to(coords_b.dtype) if pull_b is not None else None,
            None,
            None,
            None,
        )


def directions(vectors: Tensor, metric: Metric = 2.0) -> Tensor:
    """The gradient of the metric at `vectors` (M, D) of any finite length: of the Euclidean one, unit vectors.

    Zero, a subgradient of the norms, where a vector is.
    """
    if metric == "sqeuclidean":
        return 2 * vectors
    longest = vectors.detach().abs().amax(-1, keepdim=True)
    zero = longest == 0
    vectors = vectors / torch.where(zero, 1.0, longest)  # so that no square overflows or vanishes
    vectors = torch.where(zero, 1.0, vectors)
    if metric == math.inf:
        gradient = torch.where(vectors.abs() == 1, vectors.sign(), 0.0)
        return torch.where(zero, 0.0, gradient / gradient.abs().sum(-1, keepdim=True))
    length = torch.linalg.vector_norm(vectors, float(metric), dim=-1, keepdim=True)
    if metric != 2:
        vectors, length = vectors.sign() * (vectors.abs() / length) ** (float(metric) - 1), torch.ones_like(length)
    return torch.where(zero, 0.0, vectors / length)
