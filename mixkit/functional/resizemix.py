"""The whole partner, made smaller, inside the sample: ResizeMix."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mixkit.checks import check_coords, check_count, check_index, check_numbers, check_partner
from mixkit.elements import take_elements, take_samples
from mixkit.plan import MixPlan


def resizemix(grid: Sequence[int], partner: Tensor, start: Tensor, size: Tensor) -> MixPlan:
    """Paste the whole partner, shrunk to a box of cells, into the sample (Qin et al. 2020, Eq. 1 and 2).

    A cell of the box shows the partner's cell at ``floor(place * side / size)``: the nearest, as the authors take it.

    Args:
        grid: the grid's sides, such as (H, W).
        partner: (B,) long, the partner of each sample.
        start: (B, D) or (1, D) long, the box's first cell along each side of the grid.
        size: (B, D) or (1, D) long, its cells along each side; 0 for no box.

    Returns:
        A plan with K = 2, term 0 the sample itself, weights 0 and 1; the partner's label weighs the share of the box.

    Raises:
        TypeError: draws of another type.
        ValueError: draws of another shape, or a box that leaves the grid (read on the CPU only).

    Example:
        >>> plan = resizemix((4,), torch.tensor([1, 0]), torch.tensor([[1]]), torch.tensor([[2]]))
        >>> plan.apply(torch.tensor([[[0.0], [1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0], [7.0]]]))[0].flatten()
        tensor([0., 4., 6., 3.])
    """
    sides = check_box(grid, partner, start, size)
    start, size = torch.broadcast_tensors(start, size)
    zero, whole = torch.zeros_like(size), torch.tensor(sides, device=size.device).expand_as(size)
    inside, index = paste(sides, start, size, zero, whole)
    return MixPlan.pair(partner, (~inside).to(torch.float32), index.expand(len(partner), -1))


def resizemix_set(
    coords: Tensor, partner: Tensor, centre: Tensor, scale: Tensor, count: Tensor, keys: Tensor
) -> MixPlan:
    """ResizeMix of sets without a grid: the partner's shape, made smaller, in the place of a part of the sample.

    The ``count`` elements nearest to the sample's centre are erased; as many of the partner's, drawn by ``keys``, are
    put there, scaled about the middle of the partner's box.

    Args:
        coords: (B, N, D), where the elements are.
        partner: (B,) long, the partner of each sample.
        centre: (B,) long, the sample's element at the centre.
        scale: (B,) or (1,) >= 0, by which the partner's coordinates are multiplied.
        count: (B,) or (1,) long, how many elements are replaced, 0 to N.
        keys: (B, N), the order in which the partner's elements are taken, smallest first.

    Returns:
        A plan with K = 2, term 0 the sample itself, weights 0 and 1, and a shift of the partner's elements.

    Raises:
        TypeError: as `resizemix`.
        ValueError: as `resizemix`, or coordinates that are not finite.

    Example:
        >>> coords = torch.rand(2, 8, 3)
        >>> first, half = torch.tensor([0, 0]), torch.tensor([0.5])
        >>> plan = resizemix_set(coords, torch.tensor([1, 0]), first, half, torch.tensor([3]), torch.rand(2, 8))
        >>> plan.apply_coords(coords).shape, plan.weight[:, 0].sum(1)
        (torch.Size([2, 8, 3]), tensor([5., 5.]))
    """
    check_coords(coords)
    size, num_elements, _ = coords.shape
    check_partner(partner, size)
    check_index("centre", centre, (size,), num_elements)
    check_numbers("scale", scale, ((size,), (1,)), 0, 1e15)
    check_numbers("count", count, ((size,), (1,)), 0, num_elements, integer=True)
    check_numbers("keys", keys, ((size, num_elements),))
    positions = coords.to(torch.promote_types(coords.dtype, torch.float32))
    other = take_samples(positions, partner)
    around = take_elements(positions, centre)[:, None]
    rank = (positions - around).square().sum(2).argsort(dim=1, stable=True).argsort(1)
    erased = rank < count[:, None]
    index = keys.argsort(dim=1, stable=True).gather(1, rank)  # the nearest to the centre is the first that is taken
    index = torch.where(erased, index, torch.arange(num_elements, device=coords.device))
    plan = MixPlan.pair(partner, (~erased).to(torch.float32), index)
    low, high = other.aminmax(dim=1, keepdim=True)
    middle = low + (high - low) / 2
    moved = around + (other - middle) * scale.to(other.dtype)[:, None, None]
    shift = (moved - other).gather(1, index[:, :, None].expand(-1, -1, coords.shape[2]))
    return MixPlan(
        plan.source, plan.index, plan.weight, torch.stack([torch.zeros_like(shift), shift], 1), keeps_own=True
    )


def check_box(grid: Sequence[int], partner: Tensor, start: Tensor, size: Tensor, name: str = "") -> tuple[int, ...]:
    """Raise for what is no box of cells of a grid; returns the grid's sides."""
    if isinstance(grid, str) or not isinstance(grid, Sequence) or not grid:
        raise TypeError(f"grid must be its sides, such as (H, W), got {grid!r}")
    sides = tuple(check_count("a side of the grid", side) for side in grid)
    rows = check_partner(partner)
    shapes = ((rows, len(sides)), (1, len(sides)))
    check_numbers(f"{name}start", start, shapes, 0, max(sides), integer=True)
    check_numbers(f"{name}size", size, shapes, 0, max(sides), integer=True)
    if start.device.type == size.device.type == "cpu" and bool((start + size > torch.tensor(sides)).any()):
        raise ValueError(f"a box must lie in the grid {sides}, got one from {start.tolist()} of {size.tolist()} cells")
    return sides


def paste(
    sides: tuple[int, ...], start: Tensor, size: Tensor, from_start: Tensor, from_size: Tensor
) -> tuple[Tensor, Tensor]:
    """(R, N) bool the cells of a box, and (R, N) long the cells of another box that show there, resized by nearest."""
    inside = torch.ones((), dtype=torch.bool, device=start.device)
    index = torch.zeros((), dtype=torch.long, device=start.device)
    for axis, side in enumerate(sides):
        local = torch.arange(side, device=start.device) - start[:, axis, None]  # (R, side)
        within = (local >= 0) & (local < size[:, axis, None])
        seen = local * from_size[:, axis, None] // size[:, axis, None].clamp_min(1) + from_start[:, axis, None]
        seen = torch.where(within, seen, torch.arange(side, device=start.device))
        shape = [-1, *[1] * axis, side, *[1] * (len(sides) - 1 - axis)]
        inside = inside & within.view(shape)
        index = index + seen.view(shape) * math.prod(sides[axis + 1 :])
    inside = inside.expand(len(start), *sides).flatten(1)
    own = torch.arange(inside.shape[1], device=start.device)
    return inside, torch.where(inside, index.expand(len(start), *sides).flatten(1), own)
