"""Saliency smoothed over an element's neighbours, and maps of it by which samples can be told apart."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from mixkit.elements import ElementSet
from mixkit.ragged.elements import RaggedSet
from mixkit.weighing import share_of_total

_GRID_BLUR = 3.0  # cells; 7 x 7 of them
_SET_BLUR = 3 / 8  # of the length scale, which is 8 pixels where the grid's blur is 3
_CACHED, _ON_DEVICE = 2**16, 2**26  # numbers that are worked on at a time
_PLACES = 512  # of the lattice on which saliency of sets without a grid is compared


def smooth(saliency: Tensor, elements: ElementSet, blur: float | None = None) -> Tensor:
    """(B, N) saliency (B, N), smoothed by a Gaussian and divided by each sample's total; even where it says nothing.

    On a grid it is a Gaussian window of 2 ceil(blur) + 1 cells along each axis, mirrored at the border. On a set that
    has none it is the mean over all elements, weighed by a Gaussian of their distance.

    Args:
        saliency: (B, N) >= 0.
        elements: whose saliency it is.
        blur: the Gaussian's standard deviation, in cells of the grid or the units of the coordinates; 0 for none.
            Default None: 3 cells, and 3/8 of the length scale (where there is none, 0).
    """
    share = share_of_total(saliency)
    with torch.autocast(share.device.type, enabled=False):  # no product in half precision
        if elements.grid is not None:
            return share_of_total(_blur_grid(share, elements.grid, _GRID_BLUR if blur is None else blur))
        sigma = (elements.length_scale or 0.0) * _SET_BLUR if blur is None else blur
        return share_of_total(_blur_set(share, elements.coords, sigma)) if sigma else share


def smooth_rows(saliency: Tensor, elements: RaggedSet, blur: float | None = None) -> Tensor:
    """(L,) as `smooth`, for samples of different sizes."""
    sizes = elements.lengths.tolist()
    parts = zip(saliency.split(sizes), elements.positions.split(sizes), strict=True)
    scale = elements.length_scale
    sets = [smooth(of[None], ElementSet(at[None], at[None, :, :0], length_scale=scale), blur)[0] for of, at in parts]
    return torch.cat(sets)


def saliency_maps(saliency: Tensor, elements: ElementSet | RaggedSet, blur: float | None = None) -> Tensor:
    """(B, G) shares of saliency by place, comparable from sample to sample.

    On a grid it is the smoothed saliency (B, N) of the cells. Sets without one are looked at on a lattice of about 512
    places over the batch's extent: the map of a sample is the sum of its elements' shares, each spread by a Gaussian of
    one step of the lattice.
    """
    if isinstance(elements, ElementSet):
        if elements.grid is not None:
            return smooth(saliency, elements, blur)
        coords = elements.coords.float()
        low, high = coords.flatten(0, 1).aminmax(dim=0)
        return _spread(share_of_total(saliency).float(), coords, low, high)
    sizes = elements.lengths.tolist()
    coords = elements.positions.float()
    low, high = coords.aminmax(dim=0)
    parts = zip(saliency.split(sizes), coords.split(sizes), strict=True)
    return torch.cat([_spread(share_of_total(of[None]).float(), at[None], low, high) for of, at in parts])


def _spread(share: Tensor, coords: Tensor, low: Tensor, high: Tensor) -> Tensor:
    dim = coords.shape[2]
    side = max(round(_PLACES ** (1 / dim)), 2)
    step = ((high - low) / (side - 1)).clamp_min(torch.finfo(coords.dtype).tiny)
    ticks = torch.arange(side, device=coords.device, dtype=coords.dtype)
    scaled = ((coords - low) / step).mT.contiguous()  # (B, D, N)
    away = scaled.unsqueeze(2).sub(ticks[:, None]).square_()
    near = away.clamp_max_(40).mul_(-1 / 2).exp_()  # (B, D, side, N), none so small that it is slow
    maps = []
    with torch.autocast(share.device.type, enabled=False):
        for of, axes in _parts(side ** (dim - 1) * share.shape[1], share, near):
            rows = of[:, None]  # (b, places so far, N): a product of axes, as a Gaussian is
            for axis in range(dim - 1):
                rows = (rows[:, :, None] * axes[:, axis, None]).flatten(1, 2)
            maps.append((rows @ axes[:, -1].mT).flatten(1))
    return torch.cat(maps)


def _blur_grid(share: Tensor, grid: tuple[int, ...], sigma: float) -> Tensor:
    maps = share.unflatten(1, grid)
    for axis, side in enumerate(grid, start=1):
        radius = min(math.ceil(sigma), side - 1)  # what is mirrored must be there
        if radius < 1:
            continue
        steps = torch.arange(-radius, radius + 1, device=share.device, dtype=share.dtype)
        window = torch.softmax(-steps.square() / (2 * sigma**2), 0)
        place = (torch.arange(side, device=share.device)[:, None] + steps.long()).abs()
        mirrored = torch.where(place < side, place, 2 * (side - 1) - place)
        band = share.new_zeros(side, side).scatter_add_(1, mirrored, window.expand(side, -1))
        maps = (maps.movedim(axis, -1) @ band.T).movedim(-1, axis)
    return maps.flatten(1)


def _blur_set(share: Tensor, coords: Tensor, sigma: float) -> Tensor:
    coords = coords.to(torch.promote_types(coords.dtype, share.dtype))
    coords = (coords - coords.mean(1, keepdim=True)) / sigma  # centred, for precision far from the origin
    if coords.device.type == "cpu" and coords.dtype == torch.float32:
        from mixkit.smooth_cpu import blur  # its numba takes a while to import

        return blur(share, coords).to(share.dtype)
    half = coords.square().sum(2, keepdim=True) / 2
    one = torch.ones_like(half)
    left, right = torch.cat([coords, -half, one], 2), torch.cat([coords, one, -half], 2)
    smoothed = []
    for of, a, b in _parts(share.shape[1] ** 2, share, left, right):
        near = (a @ b.mT).clamp_(-60, 0).exp_()  # -|p - q|^2 / (2 sigma^2), and no number so small that it is slow
        smoothed.append((near @ of.to(near.dtype)[:, :, None])[:, :, 0] / near.sum(2))
    return torch.cat(smoothed).to(share.dtype)


def _parts(numbers: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """As many samples at a time as work on so many numbers each in a CPU's cache, or in a part of a device's memory."""
    most = _CACHED if tensors[0].device.type == "cpu" else _ON_DEVICE
    return zip(*(tensor.split(max(most // numbers, 1)) for tensor in tensors), strict=True)
