"""What `assign` refuses, and in which words. A call for one small pair takes microseconds: so does all of this."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

import torch
from torch import Tensor

from mixkit.assignment.normalise import LARGEST
from mixkit.checks import check_not_negative, check_number

Metric: TypeAlias = str | float
Lengths: TypeAlias = Tensor | Sequence[int] | int | None

SMALL = 64  # up to so many points a dense exact solver is the fastest on a CPU, at every tolerance
SAME_SIZE_SOLVERS = ("identity", "auction_rounds")  # know pairs of sets of one size, and Euclidean distances
LARGEST_COST = 1e290
OPTIONS: dict[str, tuple[str, ...]] = {
    "auto": (),
    "auction": (),
    "exact": (),
    "identity": (),
    "auction_rounds": ("eps", "iterations"),
}


def check_arguments(a: Tensor, b: Tensor, tolerance: float, solver: str, options: dict[str, Any]) -> bool:
    """Raise TypeError or ValueError for what `assign` does not take, except for metric, lengths and the coordinates.

    Returns whether they are two batches (B, N, D) of one shape, none of it 0.
    """
    plain = True
    for name, coords in (("coords_a", a), ("coords_b", b)):
        if not isinstance(coords, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(coords).__name__}")
        if not coords.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {coords.dtype}: use {name}.float()")
        if coords.ndim != 3 or not coords.numel():
            plain = False
            if coords.ndim not in (2, 3) or not coords.shape[-1] or (coords.ndim == 3 and not coords.shape[0]):
                raise ValueError(f"{name} must be (B, N, D) or (N, D) with B and D >= 1, got {tuple(coords.shape)}")
    if a.shape != b.shape:
        plain = False
        if a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-1]:
            got = f"got {tuple(a.shape)} and {tuple(b.shape)}"
            raise ValueError(f"coords_a and coords_b may differ in their number of rows only, {got}")
    if a.dtype != b.dtype or a.device != b.device:
        raise TypeError(f"coords_a is {a.dtype} on {a.device}, coords_b is {b.dtype} on {b.device}: make them alike")
    if not (type(tolerance) is float and 0 <= tolerance <= 1):  # as it nearly always is: the check itself takes longer
        check_not_negative("tolerance", tolerance)  # a larger one would overflow in float32
    if solver not in OPTIONS:
        raise ValueError(f"unknown solver {solver!r}: choose one of {', '.join(OPTIONS)}")
    if options:
        unknown = sorted(set(options) - set(OPTIONS[solver]))
        if unknown:
            takes = ", ".join(OPTIONS[solver]) or "no options"
            raise TypeError(f"solver {solver!r} takes {takes}, got {', '.join(unknown)}")
    return plain


def check_metric(metric: Metric) -> Metric:
    """Return "sqeuclidean" or the p >= 1 of the norm, 2.0 for "euclidean", or raise TypeError or ValueError."""
    if isinstance(metric, str):
        if metric not in ("euclidean", "sqeuclidean"):
            raise ValueError(f'metric must be "euclidean", "sqeuclidean" or a number p >= 1, got {metric!r}')
        return 2.0 if metric == "euclidean" else metric
    number = check_number("metric", metric)
    if number < 1:
        raise ValueError(f"metric must be at least 1 where it is the p of a norm, got {metric}")
    return number


def check_lengths(name: str, lengths: Lengths, coords: Tensor) -> list[int]:
    """How many rows of each sample of coords (B, N, D) are real, or raise TypeError or ValueError."""
    batch, size, _ = coords.shape
    if lengths is None:
        return [size] * batch
    numbers = torch.as_tensor(lengths)
    if numbers.is_floating_point() or numbers.is_complex() or numbers.dtype is torch.bool:
        raise TypeError(f"{name} must be whole numbers, got {numbers.dtype}")
    if numbers.shape != (batch,):
        raise ValueError(f"{name} must be ({batch},), a number for each sample, got {tuple(numbers.shape)}")
    counts: list[int] = numbers.tolist()
    for sample, count in enumerate(counts):
        if not 0 <= count <= size:
            raise ValueError(f"{name} must lie in [0, {size}], the rows there are, got {count} in sample {sample}")
    return counts


def check_costs(cost: Tensor, tolerance: float) -> None:
    """Raise TypeError or ValueError for what `assign_cost` does not take."""
    if not isinstance(cost, Tensor):
        raise TypeError(f"cost must be a tensor, got {type(cost).__name__}")
    if not cost.is_floating_point():
        raise TypeError(f"cost must be floating point, got {cost.dtype}: use cost.double()")
    if cost.ndim not in (2, 3) or (cost.ndim == 3 and not cost.shape[0]):
        raise ValueError(f"cost must be (B, N, M) or (N, M) with B >= 1, got {tuple(cost.shape)}")
    check_not_negative("tolerance", tolerance)
    bad = ~((cost.detach().double().abs() < LARGEST_COST) | (cost.detach() == math.inf))
    if bool(bad.any()):
        value = float(cost.detach()[bad][0])
        where = f" in sample {int(bad.flatten(1).any(1).nonzero()[0])}" if cost.ndim == 3 else ""
        raise ValueError(f"costs must be inf, or within {LARGEST_COST:g} of 0, got {value}{where}")


def check_coordinates(a: Tensor, b: Tensor) -> None:
    """Raise for the first sample of two batches on the CPU that holds what is no coordinate."""
    for sample, clouds in enumerate(zip(a, b, strict=True)):
        if not all((coords.abs() < LARGEST).all() for coords in clouds):
            refuse_sample(a, b, sample)


def refuse_sample(a: Tensor, b: Tensor, sample: int) -> NoReturn:
    """Raise for a sample that holds NaN, infinity or a coordinate too large."""
    for name, coords in (("coords_a", a[sample]), ("coords_b", b[sample])):
        bad = coords[~(coords.double().abs() < LARGEST)]
        if len(bad):
            raise ValueError(
                f"coordinates must be finite and below {LARGEST:g}, got {float(bad[0])} in sample {sample} of {name}"
            )
    raise AssertionError(f"sample {sample} holds coordinates only")
