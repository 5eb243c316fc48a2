"""Integers through a plan: they can be moved from sample to sample, but not interpolated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mixkit.plan_parts import check_aligned

if TYPE_CHECKING:
    from mixkit.methods.base import Method
    from mixkit.plan import MixPlan


def move(plan: MixPlan, values: Tensor) -> Tensor:
    """(M, N, ...) integers (B, N, ...), such as uint8 pixels, each of which is one of the plan's terms.

    The weights are read to know that they are 0 and 1, which on a GPU waits for it.

    Raises:
        TypeError: complex values, or a plan with other weights than 0 and 1.
        ValueError: another B or N than the plan's.
    """
    if values.is_complex():
        raise TypeError(f"values must be real numbers, got {values.dtype}")
    if not bool(((plan.weight == 0) | (plan.weight == 1)).all()):
        raise TypeError(f"this plan interpolates, so values must be floating point, got {values.dtype}; convert them")
    check_aligned(plan, "values", values, plan.num_samples)
    moved = plan.gather(values, 0)
    for k in range(1, plan.num_terms):
        shown = (plan.weight[:, k] > 0).reshape(-1, plan.weight.shape[2], *[1] * (values.dim() - 2))
        moved = torch.where(shown, plan.gather(values, k), moved)
    return moved


def refuse_integers(method: Method, dtype: torch.dtype, conversion: str, *, gradient: bool) -> None:
    """Raise TypeError for integer values, unless the method only moves them and there is no ``gradient``."""
    if not method.moves:
        name = type(method).__name__
        raise TypeError(f"{name} interpolates, so it takes floating-point values, got {dtype}; {conversion}")
    if gradient:
        raise TypeError(f"a model's saliency is a gradient by floating-point values, got {dtype}; {conversion}")
