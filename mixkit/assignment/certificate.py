"""What an assignment costs and how far from optimal it can be, on any device. Knows no solver."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK_ELEMENTS = 2**22  # float64 distances held at a time: 32 MB


def certify(coords_a: Tensor, coords_b: Tensor, index: Tensor, price: Tensor) -> tuple[Tensor, Tensor]:
    """Cost of each assignment, and a bound on its relative distance from the optimum.

    coords_a, coords_b: (B, N, D) float64. index: (B, N) long, a bijection per row. price: (B, N), any finite numbers:
    the better, the tighter the bound. Returns cost (B,) and gap (B,) float64: optimum <= cost <= (1 + gap) * optimum.

    For any bijection s and any prices, sum_i c[i, s(i)] = sum_i (c[i, s(i)] + price[s(i)]) - sum_j price_j, and no term
    is less than its minimum over j: sum_i min_j (c_ij + price_j) - sum_j price_j bounds every bijection from below.
    """
    batch, size, _ = coords_a.shape
    price = price.to(torch.float64)
    cost = matching_cost(coords_a, coords_b, index)
    dual = -price.sum(1)
    nearest_b = cost.new_zeros(batch)
    nearest_a = cost.new_full((batch, size), torch.inf)
    for rows in coords_a.split(max(1, CHUNK_ELEMENTS // (batch * size)), dim=1):
        distance = distances(rows, coords_b)  # (B, rows, N)
        dual += (distance + price[:, None]).amin(2).sum(1)
        nearest_b += distance.amin(2).sum(1)
        nearest_a = torch.minimum(nearest_a, distance.amin(1))
    return cost, relative_gap(cost, torch.maximum(torch.maximum(dual, nearest_b), nearest_a.sum(1)))


def matching_cost(coords_a: Tensor, coords_b: Tensor, index: Tensor) -> Tensor:
    """(B,) sum over i of the distance between a_i and b_index[i]."""
    partner = coords_b.gather(1, index[..., None].expand(-1, -1, coords_b.shape[2]))
    return torch.linalg.vector_norm(coords_a - partner, dim=-1).sum(1)


def relative_gap(cost: Tensor, lower: Tensor) -> Tensor:
    """(cost - lower) / lower, 0 where the cost is 0, infinite where nothing bounds the cost from below."""
    gap = torch.where(lower > 0, (cost - lower).clamp(min=0) / lower, torch.inf)
    return torch.where(cost == 0, 0.0, gap)


def distances(coords_a: Tensor, coords_b: Tensor) -> Tensor:
    """Euclidean distances (B, N, M), axis by axis: no (B, N, M, D) tensor, no cancellation (as in |a|^2 - 2ab)."""
    square = torch.zeros((), dtype=coords_a.dtype, device=coords_a.device)
    for a, b in zip(coords_a.unbind(-1), coords_b.unbind(-1), strict=True):
        square = square + (a[:, :, None] - b[:, None, :]).square()
    return square.sqrt()
