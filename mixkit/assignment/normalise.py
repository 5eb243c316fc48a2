"""The frame that all solvers work in: centred, scaled, float64."""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST = 1e303  # a coordinate from there on could make a sum of distances overflow float64


def normalise(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both clouds in float64 around the middle of their common box, within [-1, 1], and the length (B,) that was 1.

    Distances keep their ratios; float32 solvers neither overflow nor lose a small cloud far from the origin.
    """
    a, b = a.to(torch.float64), b.to(torch.float64)
    both = torch.cat([a, b], dim=1)
    low, high = both.amin(1, keepdim=True), both.amax(1, keepdim=True)
    centre = low / 2 + high / 2
    scale = (high / 2 - low / 2).amax(2, keepdim=True)
    scale = torch.where(scale > 0, scale, 1.0)
    return (a - centre) / scale, (b - centre) / scale, scale[:, 0, 0]
