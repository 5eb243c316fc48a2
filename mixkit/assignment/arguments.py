"""What `assign` refuses, and in which words. A call for one small pair takes microseconds: so does all of this."""

from __future__ import annotations

from typing import Any, NoReturn

from torch import Tensor

from mixkit.assignment.normalise import LARGEST
from mixkit.checks import check_not_negative

OPTIONS: dict[str, tuple[str, ...]] = {
    "auto": (),
    "auction": (),
    "exact": (),
    "identity": (),
    "auction_rounds": ("eps", "iterations"),
}


def check_arguments(a: Tensor, b: Tensor, tolerance: float, solver: str, options: dict[str, Any]) -> None:
    """Raise TypeError or ValueError for what `assign` does not take, except for the coordinates themselves."""
    for name, coords in (("coords_a", a), ("coords_b", b)):
        if not isinstance(coords, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(coords).__name__}")
        if not coords.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {coords.dtype}: use {name}.float()")
        if coords.ndim != 3 or not coords.numel():
            raise ValueError(f"{name} must be (B, N, D) with B, N, D >= 1, got {tuple(coords.shape)}")
    if a.shape != b.shape:
        raise ValueError(f"a bijection needs equal shapes, got coords_a {tuple(a.shape)} and coords_b {tuple(b.shape)}")
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
