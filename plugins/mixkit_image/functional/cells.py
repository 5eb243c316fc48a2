"""Grids of cells over an image: which pixel is in which, means over them, saliency per cell. No method lives here."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mixkit.checks import check_count, check_float


def check_grid(grid: tuple[int, int]) -> None:
    """Raise for what is no (H, W), two whole numbers of at least 1."""
    if not isinstance(grid, Sequence) or len(grid) != 2:
        raise TypeError(f"grid must be (H, W), got {grid!r}")
    for side in grid:
        check_count("a side of the grid", side)


def check_saliency(saliency: Tensor, grid: tuple[int, int]) -> int:
    """Raise for what is no floating-point (B, N) with B >= 1 and the grid's N; returns B. Any numbers will do."""
    check_float("saliency", saliency)
    if saliency.dim() != 2 or saliency.shape[1] != grid[0] * grid[1] or not len(saliency):
        raise ValueError(f"saliency must be (B, N) with N = H * W of grid {grid}, got {tuple(saliency.shape)}")
    return len(saliency)


def per_channel(
    name: str, numbers: Sequence[float] | np.ndarray | Tensor | None, check: Callable[[str, float], float]
) -> tuple[float, ...] | None:
    """Numbers as a tuple of floats, each checked; None stays None."""
    if numbers is None:
        return None
    if not isinstance(numbers, (Sequence, np.ndarray, Tensor)) or isinstance(numbers, str):
        raise TypeError(f"{name} must be one number for each channel, got {numbers!r}")
    values = numbers.tolist() if isinstance(numbers, (np.ndarray, Tensor)) else numbers
    return tuple(check(name, number) for number in (values if isinstance(values, Sequence) else [values]))


def cell_means(maps: Tensor, rows: int, columns: int) -> Tensor:
    """Means over a grid of cells, which need not divide the map.

    A pixel in row r of H lies in row ``r * rows // H`` of cells (columns likewise), as in upsampling by nearest; so the
    cells cover every pixel once, and k times as many cells nest in them.

    Args:
        maps: (B, C, H, W) floating point.
        rows: cells per column, 1 to H.
        columns: cells per row, 1 to W.

    Returns:
        (B, C, rows, columns), in float32 or more.
    """
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    height, width = maps.shape[2:]
    if height % rows == 0 and width % columns == 0:
        return F.avg_pool2d(maps, (height // rows, width // columns))
    dtype = torch.float32 if maps.device.type == "mps" else torch.float64  # float64 is never rounded to TF32
    by_row, by_column = (_averages(n, c, maps.device).to(dtype) for n, c in ((height, rows), (width, columns)))
    with torch.autocast(maps.device.type, enabled=False):
        return (by_row @ maps.to(dtype) @ by_column.mT).to(maps.dtype)


def cell_saliency(saliency: Tensor, grid: tuple[int, int], rows: int, columns: int) -> Tensor:
    """Saliency averaged over cells and scaled to sum 1, (B, rows, columns) float32.

    An image whose saliency is zero everywhere, or not finite somewhere, counts as equally salient everywhere.
    """
    means = cell_means(usable_saliency(saliency).unflatten(1, grid)[:, None], rows, columns)[:, 0]
    return means / means.sum((1, 2), keepdim=True)


def usable_saliency(saliency: Tensor) -> Tensor:
    """(B, N) float32 >= 0 with peak 1 in each image; ones where an image's saliency is all zero or not all finite."""
    saliency = saliency.to(torch.promote_types(saliency.dtype, torch.float32)).clamp_min(0)
    peak = saliency.amax(1, keepdim=True)
    usable = torch.isfinite(peak) & (peak > 0)
    return torch.where(usable, saliency / peak, 1.0).float()


@functools.lru_cache(maxsize=64)
def cell_of_pixel(grid: tuple[int, int], rows: int, columns: int, device: torch.device) -> Tensor:
    """(N,) long, the cell (row-major) of each pixel (row-major)."""
    row, column = (torch.arange(size) * cells // size for size, cells in zip(grid, (rows, columns), strict=True))
    return (row[:, None] * columns + column).flatten().to(device)


@functools.lru_cache(maxsize=64)
def cell_corners(grid: tuple[int, int], rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(2, cells) long each: the first (row, column) of each cell, and its (height, width)."""
    edges = [(torch.arange(n + 1) * size + n - 1) // n for size, n in zip(grid, (rows, columns), strict=True)]
    first = torch.stack(torch.meshgrid(edges[0][:-1], edges[1][:-1], indexing="ij"))
    sides = torch.stack(torch.meshgrid(edges[0].diff(), edges[1].diff(), indexing="ij"))
    return first.flatten(1).to(device), sides.flatten(1).to(device)


def _averages(size: int, cells: int, device: torch.device) -> Tensor:
    """(cells, size) the matrix that averages over cells."""
    inside = torch.arange(size) * cells // size == torch.arange(cells)[:, None]
    return (inside / inside.sum(1, keepdim=True)).to(device, non_blocking=True)
