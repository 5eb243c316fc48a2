"""The clouds on which both GPU solvers are tried, and what every answer must satisfy, judged by SciPy in float64."""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Solver = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


def _random(batch: int, n: int, dims: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.rand(batch, n, dims, generator=generator) * 2 - 1 for _ in range(2))
    return a, b


def _lattice(n: int) -> tuple[Tensor, Tensor]:
    a, b = _random(2, n, 2)
    return (a * 2).round() / 2, (b * 2).round() / 2


def _permuted(n: int) -> tuple[Tensor, Tensor]:
    a, _ = _random(2, n, 3)
    return a, a[:, torch.randperm(n, generator=torch.Generator().manual_seed(1))]


def _clusters(n: int, spread: float) -> tuple[Tensor, Tensor]:
    """Two far clusters, a quarter of a and three quarters of b near one: half must cross, at far higher prices."""
    a, b = (x * spread for x in _random(1, n, 3))
    a[:, : n // 4] += 0.9
    b[:, : 3 * n // 4] += 0.9
    return a, b


def _one_point(n: int) -> tuple[Tensor, Tensor]:
    a, b = _random(1, n, 3)
    return torch.zeros_like(a), b


CASES: dict[str, tuple[Callable[[int], tuple[Tensor, Tensor]], float]] = {
    "power of two": (lambda n: _random(2, 1 << (n.bit_length() - 1), 3), 0.01),
    "not a power of two": (lambda n: _random(3, n | 1, 3), 0.01),
    "one point": (lambda n: _random(3, 1, 3), 0.01),
    "two points": (lambda n: _random(3, 2, 3), 0.01),
    "one dimension": (lambda n: _random(2, n, 1), 0.01),
    "two dimensions, finer": (lambda n: _random(2, n, 2), 0.001),
    "five dimensions": (lambda n: _random(2, n, 5), 0.01),
    "twelve dimensions": (lambda n: _random(1, n, 12), 0.01),
    "as exact as float32": (lambda n: _random(2, n, 3), 0.0),
    "lattice with duplicates": (_lattice, 0.01),
    "permuted": (_permuted, 0.01),
    "all points equal": (lambda n: (torch.zeros(2, n, 3), torch.zeros(2, n, 3)), 0.01),
    "a is one point": (_one_point, 0.01),
    "far clusters": (lambda n: _clusters(n, 0.01), 0.01),
    "far tight clusters": (lambda n: _clusters(n, 1e-4), 0.01),
}
"""Name -> (about how many points -> clouds, tolerance)."""


def check(solve: Solver, a: Tensor, b: Tensor, tolerance: float, again: bool = True) -> None:
    """A bijection, a certificate that float64 confirms, a true gap no larger, and the same answer `again`."""
    index, price = solve(a, b, tolerance)
    batch, n, _ = a.shape
    assert index.shape == price.shape == (batch, n)
    assert index.dtype == torch.long
    assert price.isfinite().all()
    assert torch.equal(index.sort(1).values, torch.arange(n).expand(batch, n))
    cost = (a.double()[:, :, None] - b.double()[:, None]).norm(dim=3)
    allowed = max(tolerance, 1e-5)
    for k in range(batch):
        rows, columns = linear_sum_assignment(cost[k])
        optimum = float(cost[k][rows, columns].sum())
        ours = float(cost[k].gather(1, index[k][:, None]).sum())
        bound = float((cost[k] + price[k].double()).amin(1).sum() - price[k].double().sum())
        assert bound <= optimum + 1e-9
        assert optimum - 1e-9 <= ours <= optimum * (1 + allowed) + 1e-9
        assert ours - bound <= allowed * bound + 1e-6 * n
    if again:
        second = solve(a, b, tolerance)
        assert torch.equal(index, second[0])
        assert torch.equal(price, second[1])
