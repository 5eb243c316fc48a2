"""`assign` and `assign_cost`: they check their input, pick a solver, return a certificate. No algorithm lives here."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from mixkit.assignment.arguments import (
    SAME_SIZE_SOLVERS,
    SMALL,
    Lengths,
    Metric,
    check_arguments,
    check_coordinates,
    check_costs,
    check_lengths,
    check_metric,
)
from mixkit.assignment.certificate import certify, matching_cost
from mixkit.assignment.normalise import normalise

FLOAT32_TOLERANCE = 1e-4  # below it accelerators, which work in float32, leave the pair to the CPU


@dataclass(frozen=True, repr=False)
class Assignment:
    """A one-to-one assignment of the elements of a to those of b, per pair of the batch, with its certificate.

    Where the input came without a batch, so do these.
    """

    index: Tensor
    """(B, N) long: element i of a is paired with element index[b, i] of b; -1 where it is left over, or padding."""
    cost: Tensor
    """(B,) float64: sum of the distances between partners, in the unit of the coordinates. Differentiable in the
    coordinates that require a gradient, at the fixed matching; `index` and `gap` are not."""
    gap: Tensor
    """(B,) float64: optimum <= cost <= (1 + gap) * optimum. Infinite where nothing is certified."""

    def __repr__(self) -> str:
        sizes = f"index {tuple(self.index.shape)}, cost and gap {tuple(self.gap.shape)}, on {self.index.device}"
        return f"Assignment({sizes}" + (f", gap at most {float(self.gap.max()):.3g})" if self.gap.numel() else ")")


def assign(
    coords_a: Tensor,
    coords_b: Tensor,
    *,
    tolerance: float = 0.01,
    solver: str = "auto",
    lengths_a: Lengths = None,
    lengths_b: Lengths = None,
    metric: Metric = "euclidean",
    **options: Any,
) -> Assignment:
    """Pair every element of a with one of b so that the sum of the distances is the least, up to `tolerance`.

    Where one set is larger, every element of the smaller one gets a partner of its own, at the least sum that any
    choice of partners allows; what is left over of the larger one has none, and its `index` is -1. Nothing is made up
    for it: the certificate is of the matching alone, and what the rest should do differs from use to use. Mixing wants
    all of both clouds, so it evens the sizes out before it pairs (docs/guide/ragged.md).

    Args:
        coords_a: (B, N, D) floats, or (N, D) for one pair, any B and D >= 1, any N, any strides. Not changed. Where it
            requires a gradient, that of `cost` flows to it, as if the matching were fixed: at a unique optimum this is
            the gradient of the optimum (envelope theorem). It is the unit vector from the partner to the point; zero, a
            subgradient, where both coincide. Without such an input no graph is built, and nothing costs more.
        coords_b: (B, M, D) or (M, D), same dtype and device. M may differ from N.
        tolerance: the certified relative gap to reach, >= 0; 0 is exact (gap <= 1e-9). On a CPU pairs of up to 64
            elements are exact at any tolerance; so are unequal sets of few elements, and other metrics.
        solver: "auto" and "auction", the epsilon-scaled auction for the input's device: compiled by numba on a CPU, a
            Triton kernel on CUDA, batched torch elsewhere. "exact", SciPy pair by pair, on the CPU. "identity", i with
            i, of which nothing is certified (infinite gap). "auction_rounds", the auction that the SageMix authors
            stop early, for reproduction only: it is **not** a bijection (infinite gap).
            These two know sets of one size at Euclidean distance only.
        lengths_a: (B,) whole numbers in [0, N], a number for one pair: how many rows of each sample are real. The rest
            is padding, is never looked at and may be NaN; its `index` is -1. Default None: all.
        lengths_b: likewise, in [0, M].
        metric: "euclidean", the default; "sqeuclidean", its square; or p >= 1, the p of a norm (1 city block, infinity
            the largest difference). Others than the Euclidean one hold all N * M distances of a pair in memory.
        options: `eps` (0.005) and `iterations` (500), for "auction_rounds" only.

    Returns:
        `Assignment(index (B, N) long, cost (B,) float64, gap (B,) float64)` on the input's device, without B where the
        input has none. The same input gives the same output, whatever the number of threads. Empty sets cost 0.

    Raises:
        TypeError: not tensors, not floating point, different dtypes or devices, an option the solver does not take.
        ValueError: shapes that are not (B, N, D) and (B, M, D) or (N, D) and (M, D), lengths that are no numbers of
            rows, an unknown metric, a tolerance that is negative or not finite, an unknown solver, coordinates that are
            not finite or 1e303 and more (the sample is named). On an accelerator, where raising would make the host
            wait, a pair with NaN or infinity gets a NaN cost and gap instead, and a pair that float32 cannot bring
            within the tolerance its true, larger gap; a tolerance below 1e-4, unequal sets, lengths and other metrics
            are worked out on the CPU.

    Example:
        >>> import mixkit, torch
        >>> a, b = torch.tensor([[0.0], [5.0], [9.0]]), torch.tensor([[8.0], [1.0]])
        >>> mixkit.assign(a, b).index
        tensor([ 1, -1,  0])
    """
    plain = check_arguments(coords_a, coords_b, tolerance, solver, options)
    if not plain or lengths_a is not None or lengths_b is not None or metric != "euclidean":
        return _assign_any(coords_a, coords_b, tolerance, solver, lengths_a, lengths_b, metric, options)
    if not (coords_a.requires_grad or coords_b.requires_grad):
        return _solve(coords_a, coords_b, tolerance, solver, options)
    match = _solve(coords_a.detach(), coords_b.detach(), tolerance, solver, options)
    if torch.is_grad_enabled():
        from mixkit.assignment.gradient import PairedCost

        return Assignment(match.index, PairedCost.apply(coords_a, coords_b, match.index, match.cost), match.gap)
    return match


def _assign_any(
    a: Tensor,
    b: Tensor,
    tolerance: float,
    solver: str,
    lengths_a: Lengths,
    lengths_b: Lengths,
    metric: Metric,
    options: dict[str, Any],
) -> Assignment:
    """`assign` for what is not two batches of one shape at Euclidean distance."""
    norm = check_metric(metric)
    if a.ndim == 2:
        known = {"tolerance": tolerance, "solver": solver, "metric": metric, **options}
        found = assign(a[None], b[None], lengths_a=_of_one(lengths_a), lengths_b=_of_one(lengths_b), **known)
        return Assignment(found.index[0], found.cost[0], found.gap[0])
    if norm == 2 and a.shape == b.shape and a.numel() and lengths_a is None and lengths_b is None:
        return assign(a, b, tolerance=tolerance, solver=solver, **options)
    counts_a, counts_b = check_lengths("lengths_a", lengths_a, a), check_lengths("lengths_b", lengths_b, b)
    if solver in SAME_SIZE_SOLVERS:
        raise ValueError(f"solver {solver!r} pairs sets of one size at Euclidean distance only: use 'auto' or 'exact'")
    from mixkit.assignment import unequal

    with torch.no_grad():
        index, cost, gap = unequal.solve(a.detach(), b.detach(), counts_a, counts_b, norm, float(tolerance), solver)
    if torch.is_grad_enabled() and (a.requires_grad or b.requires_grad):
        from mixkit.assignment.gradient import PairedCost

        cost = PairedCost.apply(a, b, index, cost, norm)
    return Assignment(index, cost, gap)


def _of_one(length: Lengths) -> Lengths:
    """The length of a pair without a batch, as that of a batch of one."""
    return None if length is None else torch.as_tensor(length)[None]


def assign_cost(cost: Tensor, *, tolerance: float = 0.01) -> Assignment:
    """Match the rows of a matrix of costs with its columns one to one, at the least total cost.

    Every row gets a column of its own, or every column a row where there are fewer of those.

    Args:
        cost: (B, N, M) or (N, M) floats of either sign; infinity forbids a pair. Where it requires a gradient, that of
            the total flows to it: 1 for each pair that is matched.
        tolerance: the certified relative gap to reach, >= 0. The optimum is found whatever it is.

    Returns:
        `Assignment(index (B, N) long, cost (B,) float64, gap (B,) float64)` on the input's device, without B for one
        matrix: row i is matched with column index[b, i], -1 where it is left over. Of negative totals the gap is
        relative to their absolute value. The solver works on the CPU.

    Raises:
        TypeError: no tensor, or not floating point.
        ValueError: a shape that is neither, NaN, minus infinity or 1e290 and more, infinite costs that leave no way to
            match the smaller side (the sample is named), a tolerance that is negative or not finite.

    Example:
        >>> import mixkit, torch
        >>> mixkit.assign_cost(torch.tensor([[4.0, 1.0, 3.0], [2.0, 0.0, 5.0]])).index
        tensor([1, 0])
    """
    check_costs(cost, tolerance)
    if cost.ndim == 2:
        found = assign_cost(cost[None], tolerance=tolerance)
        return Assignment(found.index[0], found.cost[0], found.gap[0])
    from mixkit.assignment import unequal

    index, total, gap = unequal.solve_costs(cost.detach())
    if cost.requires_grad and torch.is_grad_enabled() and cost.shape[2]:
        matched = cost.gather(2, index.clamp(min=0)[..., None])[..., 0]
        total = torch.where(index >= 0, matched, 0.0).sum(1, dtype=torch.float64)
    return Assignment(index, total, gap)


def _solve(a: Tensor, b: Tensor, tolerance: float, solver: str, options: dict[str, Any]) -> Assignment:
    """`assign` for input that was checked and needs no gradient."""
    optimal = solver in ("auto", "auction")
    if optimal and a.is_cpu and a.shape[1] <= SMALL:
        return Assignment(*_small().solve(a, b))
    device = a.device
    if solver == "exact" or (optimal and tolerance < FLOAT32_TOLERANCE) or device.type == "mps":  # it has no float64
        a, b = a.cpu(), b.cpu()
    if optimal and a.is_cpu:
        from mixkit.assignment import cpu  # its numba takes a while to import

        index, cost, gap = cpu.solve(a, b, tolerance)
        return Assignment(index.to(device), cost.to(device), gap.to(device))
    if a.is_cpu:
        check_coordinates(a, b)
    if solver == "auction_rounds":
        from mixkit.assignment.rounds import auction_rounds

        index = auction_rounds(a, b, **options)
    elif solver == "identity":
        index = torch.arange(a.shape[1], device=a.device).repeat(a.shape[0], 1)
    a, b, scale = normalise(a, b)
    if solver in ("identity", "auction_rounds"):
        cost = matching_cost(a, b, index)
        gap = torch.full_like(cost, torch.inf)
    elif solver == "exact":
        from mixkit.assignment import exact

        index, cost, gap = exact.solve(a, b)
    else:
        index, price = _accelerator(device).solve(_single(a), _single(b), tolerance)
        cost, gap = certify(a, b, index, price)
    return Assignment(index.to(device), (cost * scale).to(device), gap.to(device))


@functools.cache  # an import statement takes longer than the rest of a small call
def _small() -> ModuleType:
    """The solver of small pairs on the CPU; its numba takes a while to import."""
    from mixkit.assignment import small

    return small


def _single(coords: Tensor) -> Tensor:
    """What accelerators work on: float32, contiguous, and finite, whatever came."""
    return torch.nan_to_num(coords, nan=0.0, posinf=0.0, neginf=0.0).float().contiguous()


def _accelerator(device: torch.device) -> ModuleType:
    """The device's solver: the Triton kernel on CUDA, where Triton is installed; else plain torch."""
    if device.type == "cuda" and importlib.util.find_spec("triton") is not None:
        from mixkit.assignment import triton_auction

        return triton_auction
    from mixkit.assignment import torch_auction

    return torch_auction
