"""`assign`: checks its input, centres the clouds, picks a solver, returns a certificate. No algorithm lives here."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from mixkit.assignment.arguments import check_arguments, check_coordinates
from mixkit.assignment.certificate import certify, matching_cost
from mixkit.assignment.normalise import normalise

SMALL = 64  # up to so many points a dense exact solver is the fastest on a CPU, at every tolerance
FLOAT32_TOLERANCE = 1e-4  # below it accelerators, which work in float32, leave the pair to the CPU


@dataclass(frozen=True, repr=False)
class Assignment:
    """A one-to-one assignment of the elements of a to those of b, per pair of the batch, with its certificate."""

    index: Tensor
    """(B, N) long: element i of a is paired with element index[b, i] of b."""
    cost: Tensor
    """(B,) float64: sum of the Euclidean distances between partners, in the unit of the coordinates. Differentiable in
    the coordinates that require a gradient, at the fixed matching; `index` and `gap` are not."""
    gap: Tensor
    """(B,) float64: optimum <= cost <= (1 + gap) * optimum. Infinite where nothing is certified."""

    def __repr__(self) -> str:
        sizes = f"index {tuple(self.index.shape)}, cost and gap {tuple(self.gap.shape)}, on {self.index.device}"
        return f"Assignment({sizes}" + (f", gap at most {float(self.gap.max()):.3g})" if self.gap.numel() else ")")


def assign(
    coords_a: Tensor, coords_b: Tensor, *, tolerance: float = 0.01, solver: str = "auto", **options: Any
) -> Assignment:
    """Pair every element of a with one of b so that the sum of the Euclidean distances is the least, up to `tolerance`.

    Args:
        coords_a: (B, N, D) floats, any B, N, D >= 1, any strides. Not changed. Where it requires a gradient, that of
            `cost` flows to it, as if the matching were fixed: at a unique optimum this is the gradient of the optimum
            (envelope theorem). It is the unit vector from the partner to the point; zero, a subgradient, where both
            coincide. Without such an input no graph is built, and nothing costs more.
        coords_b: (B, N, D), same shape, dtype and device.
        tolerance: the certified relative gap to reach, >= 0; 0 is exact (gap <= 1e-9). On a CPU pairs of up to 64
            elements are exact at any tolerance.
        solver: "auto" and "auction", the epsilon-scaled auction for the input's device: compiled by numba on a CPU, a
            Triton kernel on CUDA, batched torch elsewhere. "exact", SciPy pair by pair, on the CPU. "identity", i with
            i, of which nothing is certified (infinite gap). "auction_rounds", the auction that the SageMix authors
            stop early, for reproduction only: it is **not** a bijection (infinite gap).
        options: `eps` (0.005) and `iterations` (500), for "auction_rounds" only.

    Returns:
        `Assignment(index (B, N) long, cost (B,) float64, gap (B,) float64)` on the input's device. The same input gives
        the same output, whatever the number of threads.

    Raises:
        TypeError: not tensors, not floating point, different dtypes or devices, an option the solver does not take.
        ValueError: shapes that are not one (B, N, D) without empty sides, a tolerance that is negative or not finite,
            an unknown solver, coordinates that are not finite or 1e303 and more (the sample is named). On an
            accelerator, where raising would make the host wait, a pair with NaN or infinity gets a NaN cost and gap
            instead, and a pair that float32 cannot bring within the tolerance its true, larger gap; a tolerance below
            1e-4 is worked out on the CPU.
    """
    check_arguments(coords_a, coords_b, tolerance, solver, options)
    if not (coords_a.requires_grad or coords_b.requires_grad):
        return _solve(coords_a, coords_b, tolerance, solver, options)
    match = _solve(coords_a.detach(), coords_b.detach(), tolerance, solver, options)
    if torch.is_grad_enabled():
        from mixkit.assignment.gradient import PairedCost

        return Assignment(match.index, PairedCost.apply(coords_a, coords_b, match.index, match.cost), match.gap)
    return match


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
