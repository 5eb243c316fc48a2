"""The gradient of a matching's cost, on any device. Knows no solver."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class PairedCost(torch.autograd.Function):
    """The costs (B,) that a solver found, with the gradient of the sum of the paired distances at that matching.

    By the envelope theorem this is the gradient of the optimum itself wherever the optimal matching is unique; where
    several are, or the matching is optimal up to a tolerance only, it is the gradient at the matching that was found.
    """

    @staticmethod
    def forward(ctx: Any, coords_a: Tensor, coords_b: Tensor, index: Tensor, cost: Tensor) -> Tensor:
        ctx.save_for_backward(coords_a, coords_b, index)
        return cost.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        coords_a, coords_b, index = ctx.saved_tensors
        batch, size, dim = coords_a.shape
        grad = grads[0].to(coords_a.device)
        rows = (index + size * torch.arange(batch, device=index.device)[:, None]).flatten()
        apart = coords_a.reshape(-1, dim).to(grad.dtype) - coords_b.reshape(-1, dim).to(grad.dtype)[rows]
        pull = grad.repeat_interleave(size)[:, None] * directions(apart)  # on a; its partner gets minus it
        pull_b = torch.zeros_like(pull).index_add(0, rows, -pull) if ctx.needs_input_grad[1] else None
        return (
            pull.view_as(coords_a).to(coords_a.dtype) if ctx.needs_input_grad[0] else None,
            pull_b.view_as(coords_b).to(coords_b.dtype) if pull_b is not None else None,
            None,
            None,
        )


def directions(vectors: Tensor) -> Tensor:
    """Unit vectors along `vectors` (M, D), of any finite length; zero, a subgradient of the norm, where a vector is."""
    longest = vectors.detach().abs().amax(-1, keepdim=True)
    zero = longest == 0
    vectors = vectors / torch.where(zero, 1.0, longest)  # so that no square overflows or vanishes
    length = torch.linalg.vector_norm(torch.where(zero, 1.0, vectors), dim=-1, keepdim=True)
    return torch.where(zero, 0.0, vectors / length)
