"""`assign`: checks its input, centres the clouds, picks a solver and certifies what it returns. No algorithm lives here."""

from __future__ import annotations

import importlib.util
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mixkit.assignment import cpu, exact
from mixkit.assignment.certificate import certify

OPTIONS: dict[str, tuple[str, ...]] = {
    "auto": (),
    "auction": (),
    "exact": (),
    "identity": (),
    "auction_rounds": ("eps", "iterations"),
}
FLOAT32_TOLERANCE = 1e-4  # below it, float32 solvers cannot be trusted to arrive: the CPU's float64 finish takes over


class Assignment(NamedTuple):
    """A one-to-one assignment of the elements of a to those of b, per pair of the batch, with its certificate."""

    index: Tensor
    """(B, N) long: element i of a is paired with element index[b, i] of b."""
    cost: Tensor
    """(B,) float64: sum of the Euclidean distances between partners, in the unit of the coordinates."""
    gap: Tensor
    """(B,) float64: optimum <= cost <= (1 + gap) * optimum. Infinite where nothing is certified."""


def assign(
    coords_a: Tensor, coords_b: Tensor, *, tolerance: float = 0.01, solver: str = "auto", **options: Any
) -> Assignment:
    """Pair every element of a with one of b so that the sum of the Euclidean distances is the least, up to `tolerance`.

    Args:
        coords_a: (B, N, D) floats, any B, N, D >= 1, any strides. Not changed; gradients do not flow.
        coords_b: (B, N, D), same shape, dtype and device.
        tolerance: the certified relative gap to reach, >= 0; 0 is exact (gap <= 1e-9).
        solver: "auto" or "auction", the epsilon-scaled auction for the input's device: compiled by numba on a CPU, a Triton kernel on
            CUDA, batched torch elsewhere; "exact", SciPy pair by pair; "identity", i with i (its gap is the bound that nearest
            neighbours give); "auction_rounds", the auction that the SageMix authors stop early, for reproduction only: it is
            **not** a bijection, its gap is infinite, and it takes `eps` (0.005) and `iterations` (500).
        options: what the solver takes beside the tolerance; only "auction_rounds" takes any.

    Returns:
        `Assignment(index (B, N) long, cost (B,) float64, gap (B,) float64)` on the input's device. The same input gives the same
        output, whatever the number of threads.

    Raises:
        TypeError: not tensors, not floating point, different dtypes or devices, or an option that the solver does not take.
        ValueError: shapes that are not one (B, N, D) without empty sides, NaN or infinity (on an accelerator, where raising would
            make the host wait, such a pair gets a NaN cost and gap instead), a negative tolerance, an unknown solver.
    """
    _check(coords_a, coords_b, tolerance, solver, options)
    device = coords_a.device
    a, b = coords_a.detach(), coords_b.detach()
    if device.type == "mps" or (device.type != "cpu" and tolerance < FLOAT32_TOLERANCE):
        a, b = a.cpu(), b.cpu()  # no float64 on the device, or not as precise as asked for
    if a.device.type == "cpu" and not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise ValueError("coordinates must be finite, got NaN or infinity")
    a, b, scale = _normalise(a, b)

    if solver == "auction_rounds":
        from mixkit.assignment.rounds import auction_rounds

        index = auction_rounds(coords_a.detach(), coords_b.detach(), **options)
        price, certified = None, False
    elif solver == "identity":
        index, price, certified = torch.arange(a.shape[1], device=a.device).repeat(a.shape[0], 1), None, True
    elif solver == "exact":
        index, price, certified = exact.solve(a, b), None, True
    elif a.device.type == "cpu":
        index, price = cpu.solve(a, b, tolerance)
        certified = True
    else:
        finite = torch.nan_to_num
        index, price = _accelerator().solve(finite(a).float().contiguous(), finite(b).float().contiguous(), tolerance)
        certified = True
    cost, gap = certify(a, b, index, torch.zeros_like(a[..., 0]) if price is None else price)
    gap = gap if certified else torch.full_like(gap, torch.inf)
    return Assignment(index.to(device), (cost * scale).to(device), gap.to(device))


def _normalise(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both clouds in float64 around the middle of their common box, within [-1, 1]; and the length that was 1. Distances keep
    their ratios, and float32 solvers neither overflow nor lose a small cloud far from the origin."""
    a, b = a.to(torch.float64), b.to(torch.float64)
    both = torch.cat([a, b], dim=1)
    low, high = both.amin(1, keepdim=True), both.amax(1, keepdim=True)
    centre = low / 2 + high / 2
    scale = (high / 2 - low / 2).amax(2, keepdim=True)
    scale = torch.where(scale > 0, scale, 1.0)
    return (a - centre) / scale, (b - centre) / scale, scale[:, 0, 0]


def _accelerator() -> Any:
    """The GPU's solver: the Triton kernel where it can run, else plain torch."""
    if torch.cuda.is_available() and importlib.util.find_spec("triton") is not None:
        from mixkit.assignment import triton_auction

        return triton_auction
    from mixkit.assignment import torch_auction

    return torch_auction


def _check(a: Tensor, b: Tensor, tolerance: float, solver: str, options: dict[str, Any]) -> None:
    for name, coords in (("coords_a", a), ("coords_b", b)):
        if not isinstance(coords, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(coords).__name__}")
        if not coords.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {coords.dtype}: use {name}.float()")
        if coords.ndim != 3 or 0 in coords.shape:
            raise ValueError(f"{name} must be (B, N, D) with B, N, D >= 1, got {tuple(coords.shape)}")
    if a.shape != b.shape:
        raise ValueError(f"a bijection needs equal shapes, got coords_a {tuple(a.shape)} and coords_b {tuple(b.shape)}")
    if a.dtype != b.dtype or a.device != b.device:
        raise TypeError(f"coords_a is {a.dtype} on {a.device}, coords_b is {b.dtype} on {b.device}: make them alike")
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance must be a finite number >= 0, got {tolerance}")
    if solver not in OPTIONS:
        raise ValueError(f"unknown solver {solver!r}: choose one of {', '.join(OPTIONS)}")
    unknown = sorted(set(options) - set(OPTIONS[solver]))
    if unknown:
        takes = ", ".join(OPTIONS[solver]) or "no options"
        raise TypeError(f"solver {solver!r} takes {takes}, got {', '.join(unknown)}")
