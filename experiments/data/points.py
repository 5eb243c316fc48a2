"""What point sets share: normalisation, the first so many points, and the field's usual augmentations; no files."""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.base.errors import ExperimentError
from experiments.data.base import Augmented

AUGMENTATION = "scale per axis by 2/3 to 3/2, shift by up to 0.2"  # in words, for reports
PLANES = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}  # what turns about an axis, from the first towards the second


def to_unit_sphere(points: Tensor) -> Tensor:
    """Centre each set on its mean and scale it so that its farthest point is at distance 1. (B, N, D).

    A set whose points all coincide stays in the origin.
    """
    centred = points - points.mean(dim=1, keepdim=True)
    radius = centred.norm(dim=2).amax(dim=1)[:, None, None]
    return centred / torch.where(radius > 0, radius, 1)


def first_points(points: Tensor, num_points: int | None, name: str) -> Tensor:
    """The first `num_points` points of each set (n, N, ...), all for None; ExperimentError where there are fewer."""
    if num_points is None:
        return points
    if not 1 <= num_points <= points.shape[1]:
        raise ExperimentError(f"{name} has {points.shape[1]} points a shape: {num_points} points cannot be taken.")
    return points[:, :num_points].contiguous()


def scale_shift(points: Tensor, generator: torch.Generator) -> Augmented:
    """Scale each axis of each set by U[2/3, 3/2] and shift it by U[-0.2, 0.2], all points in place. (B, N, 3)."""
    scale, shift = _scale_and_shift(points, generator)
    return Augmented(points.float() * scale + shift)


def scale_shift_shuffle(points: Tensor, generator: torch.Generator) -> Augmented:
    """Scale each axis of each set by U[2/3, 3/2], shift it by U[-0.2, 0.2], and shuffle its points. (B, N, 3)."""
    scale, shift = _scale_and_shift(points, generator)
    order = torch.rand(points.shape[:2], generator=generator).argsort(dim=1).to(points.device)
    return Augmented(take(points.float(), order) * scale + shift, order)


def take(points: Tensor, index: Tensor) -> Tensor:
    """The points of (B, N, D) at index (B, N') of each set: (B, N', D)."""
    return points[torch.arange(len(points), device=points.device)[:, None], index]


def turn(points: Tensor, cosine: Tensor, sine: Tensor, axis: str) -> Tensor:
    """Turn sets (B, N, 3) about the axis "x", "y" or "z", right-handed, by angles of cosine and sine (B, 1)."""
    first, second = PLANES[axis]
    u, v = points[..., first], points[..., second]
    turned = points.clone()
    turned[..., first], turned[..., second] = cosine * u - sine * v, sine * u + cosine * v
    return turned


def _scale_and_shift(points: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A scale and a shift per axis and set, (B, 1, D) each."""
    shape = (len(points), 1, points.shape[2])
    scale = torch.empty(shape).uniform_(2 / 3, 3 / 2, generator=generator).to(points.device)
    shift = torch.empty(shape).uniform_(-0.2, 0.2, generator=generator).to(points.device)
    return scale, shift
