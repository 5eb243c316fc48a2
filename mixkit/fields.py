"""Where a set of elements lies, and smooth random fields over it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mixkit.elements import ElementSet
from mixkit.ragged import RaggedSet

CUT_AXES = 3  #: along which the box around a sample is cut into cells, at most
_MODES = 3  # waves along each axis of a set without a grid, at most; those beyond have no weight to speak of
_MOST_COEFFICIENTS = 4096


def frame(elements: ElementSet) -> tuple[Tensor, Tensor]:
    """The lowest corner and the sides of the box around each sample, (B, D) each; on a grid (1, D), of whole cells."""
    coords = elements.coords if elements.grid is None else elements.coords[:1]
    coords = coords.to(torch.promote_types(coords.dtype, torch.float32))
    low, high = coords.aminmax(dim=1)
    sides = high - low
    if elements.grid is None:
        return low, sides
    count = torch.tensor(elements.grid[::-1], dtype=sides.dtype).to(sides.device, non_blocking=True)
    cell = torch.where(count > 1, sides / (count - 1).clamp_min(1), 1)
    return low - cell / 2, cell * count


def shortest_side(elements: ElementSet, sides: Tensor) -> Tensor:
    """(B or 1,) the shortest side of a grid that has more than one cell; the longest of a set without one."""
    if elements.grid is None:
        return sides.amax(1)
    long = torch.tensor([side > 1 for side in elements.grid[::-1]]).to(sides.device, non_blocking=True)
    return sides.masked_fill(~long, math.inf).amin(1) if any(side > 1 for side in elements.grid) else sides.amax(1)


def number_cells(elements: ElementSet, cells: int) -> Tensor:
    """(B, N) long, on a grid (1, N): the cell of each element, of so many along each axis of the box around its sample.

    They are numbered from 0 by coordinates; more axes than three are cut along the first three.
    """
    low, sides = frame(elements)
    coords = elements.coords if elements.grid is None else elements.coords[:1]
    place = (coords.to(low.dtype) - low[:, None]) / torch.where(sides > 0, sides, 1)[:, None]
    cell = (place * cells).long().clamp(0, cells - 1)
    number = torch.zeros_like(cell[:, :, 0])
    for axis in range(min(cell.shape[2], CUT_AXES)):
        number = number * cells + cell[:, :, axis]
    return number


def number_cells_ragged(elements: RaggedSet, cells: int) -> list[Tensor]:
    """(n,) long for each sample of n elements: what `number_cells` gives for samples of one size."""
    parts = elements.positions.split(elements.lengths.tolist())
    return [number_cells(ElementSet(part[None], part[None, :, :0]), cells)[0] for part in parts]


def count_cells(elements: ElementSet | RaggedSet, cells: int) -> int:
    """How many cells `number_cells` tells apart."""
    return cells ** min(elements.coords.shape[-1], CUT_AXES)


# ---- fields of low frequencies, as FMix cuts its masks out of


def grid_waves(fields: int, grid: tuple[int, ...], decay: float, generator: torch.Generator | None) -> Tensor:
    """(fields, N) random fields over a grid, whose spectrum falls off as ``1 / frequency ** decay`` (FMix, Eq. 2).

    Args:
        fields: how many.
        grid: the grid's sides.
        decay: >= 0.
        generator: CPU generator.
    """
    axes = [torch.fft.fftfreq(side) for side in grid[:-1]] + [torch.fft.rfftfreq(grid[-1])]
    frequency = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0).sqrt()
    # no wave is longer than the longest side
    scale = (frequency.clamp_min(1 / max(grid)) * max(grid)) ** -decay
    noise = torch.randn(fields, *frequency.shape, 2, generator=generator)
    spectrum = torch.view_as_complex(noise * scale[..., None])
    return torch.fft.irfftn(spectrum, s=grid, dim=tuple(range(1, len(grid) + 1))).flatten(1)


def wave_coefficients(fields: int, dim: int, decay: float, generator: torch.Generator | None) -> Tensor:
    """(fields, W, ..., W) complex, the amplitudes of random waves in D dimensions, k = -3 ... 3 along each axis."""
    modes = _MODES
    while modes > 1 and (2 * modes + 1) ** dim > _MOST_COEFFICIENTS:
        modes -= 1
    numbers = torch.arange(-modes, modes + 1, dtype=torch.float32)
    length = torch.stack(torch.meshgrid(*[numbers] * dim, indexing="ij")).square().sum(0).sqrt()
    noise = torch.randn(fields, *length.shape, 2, generator=generator)
    return torch.view_as_complex(noise * (length.clamp_min(1) ** -decay)[..., None])


def set_waves(places: Tensor, coefficients: Tensor) -> Tensor:
    """(B, N) the fields at places (B, N, D), whose unit is the longest wave; one field for each sample, or one for all.

    Args:
        places: (B, N, D) floating point.
        coefficients: (B or 1, W, ..., W) as `wave_coefficients` gives them.
    """
    dim, width = places.shape[2], coefficients.shape[1]
    numbers = torch.arange(width, device=places.device, dtype=torch.float32) - width // 2
    angle = 2 * math.pi * places.float()[..., None] * numbers
    waves = torch.polar(torch.ones_like(angle), angle)  # (B, N, D, W): a wave is a product of its axes'
    total = coefficients.to(places.device, waves.dtype)
    if dim == 1:
        return (waves[:, :, 0] * total[:, None]).sum(2).real
    total = (waves[:, :, 0] @ total.flatten(2)).unflatten(2, total.shape[2:])
    for axis in range(1, dim - 1):
        wave = waves[:, :, axis].reshape(*waves.shape[:2], width, *[1] * (dim - 1 - axis))
        total = (wave * total).sum(2)
    return (total * waves[:, :, dim - 1]).sum(2).real
