"""Channels of a cloud that are not plain values: copies of coordinates, unit vectors, ids; and how each is mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mixkit import ElementSet, MixPlan
from mixkit.checks import check_count
from mixkit.plan_parts import per_element
from mixkit.ragged import Packed, RaggedPlan, RaggedSet


@dataclass(frozen=True)
class Channels:
    """Which channels of a cloud are not plain values. All are numbered from 0 as in the cloud, coordinates included.

    What is not named is a plain value, such as a colour or an intensity, and is interpolated.

    Args:
        copies: ``{channel: coordinate}``, channels that repeat a coordinate, at any scale and from any origin: the
            height above the floor, or coordinates relative to the room, which have a scale in each sample. Where a
            method moves points (RSMix), they move as far, in their own units.
        units: vectors of length 1, such as ``[(3, 4, 5)]`` for normals after three coordinates. Mixed ones are brought
            back to length 1; where opposite ones cancel out, that of the element with the larger weight is taken. A
            vector that is not mixed stays as it is, one of length 0 too.
        ids: labels, numbers of instances or scan lines: never interpolated, but taken from the element with the larger
            weight, of equal weights from the sample itself.

    Raises:
        TypeError: a channel that is no whole number.
        ValueError: a channel that is named twice.

    Example:
        >>> import mixkit
        >>> normals = Channels(units=[(3, 4, 5)], ids=[6])
        >>> mixer = mixkit.create_mixer("pointmixup", domain="points", num_classes=2, channels=normals)
        >>> clouds = torch.randn(2, 16, 7)
        >>> clouds[:, :, 3:6] /= torch.linalg.vector_norm(clouds[:, :, 3:6], dim=2, keepdim=True)
        >>> mixed, targets = mixer(clouds, torch.tensor([0, 1]))
        >>> bool(torch.linalg.vector_norm(mixed[:, :, 3:6], dim=2).allclose(torch.ones(())))
        True
    """

    copies: Mapping[int, int] = field(default_factory=dict)
    units: Sequence[Sequence[int]] = ()
    ids: Sequence[int] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.copies, Mapping):
            raise TypeError(f"copies must be {{channel: coordinate}}, got {self.copies!r}")
        for name, value in (("units", self.units), ("ids", self.ids)):
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise TypeError(f"{name} must be a sequence, got {value!r}")
        for vector in self.units:
            if not isinstance(vector, Sequence) or isinstance(vector, str) or not vector:
                raise TypeError(f"units must be vectors, each a sequence of channels, got {vector!r} among them")
        for coordinate in self.copies.values():
            check_count("a coordinate", coordinate, 0)
        named = [check_count("a channel", channel, 0) for channel in self._named()]
        if twice := sorted({channel for channel in named if named.count(channel) > 1}):
            raise ValueError(f"a channel can be one thing only, got {twice[0]} more than once")

    def check(self, num_coords: int, num_channels: int) -> None:
        """Raise ValueError where clouds with so many coordinates and channels cannot have these."""
        wrong = [channel for channel in self._named() if not num_coords <= channel < num_channels]
        if wrong:
            raise ValueError(
                f"channels= names channel {wrong[0]}, and clouds of {num_channels} channels, of which the first "
                f"{num_coords} are coordinates, have {num_coords} .. {num_channels - 1} besides"
            )
        if far := [coordinate for coordinate in self.copies.values() if coordinate >= num_coords]:
            raise ValueError(f"channels= copies coordinate {far[0]}, and there are {num_coords}, counted from 0")

    def mix(self, plan: MixPlan, elements: ElementSet) -> Tensor:
        """(M, N, C) the mixed ``elements.values``, each channel as its kind wants it."""
        values, first = elements.values, elements.coords.shape[2]
        mixed = plan.apply(values, finite=True)
        if plan.num_terms == 1 and plan.shift is None:
            return mixed
        mixed = mixed.clone() if plan.num_terms == 1 else mixed
        if self.copies and plan.shift is not None:
            columns = [channel - first for channel in self.copies]
            mixed[:, :, columns] += _moved(plan, elements, columns, list(self.copies.values())).to(mixed.dtype)
        for vector in self.units:
            columns = [channel - first for channel in vector]
            mixed[:, :, columns] = _unit(plan, values[:, :, columns], mixed[:, :, columns])
        if self.ids:
            columns = [channel - first for channel in self.ids]
            mixed[:, :, columns] = _heaviest(plan, values[:, :, columns])
        return mixed

    def mix_ragged(self, plan: RaggedPlan, elements: RaggedSet) -> Tensor:
        """(L', C) the mixed ``elements.values`` of samples of different sizes, each channel as its kind wants it."""
        values, first = elements.values, elements.coords.shape[1]
        mixed = plan.apply(values, finite=True)
        flat = plan.as_one_sample()
        if self.copies and plan.shift is not None:
            columns, coordinates = [channel - first for channel in self.copies], list(self.copies.values())
            parts = (elements.coords[:, coordinates], values[:, columns])
            coords, copies = (Packed(part, elements.offsets).padded(torch.nan)[0] for part in parts)
            scale = _units_of(coords, copies)[plan.source]  # (K, L', copies)
            moved = plan.weight[..., None].to(scale.dtype) * scale * plan.shift[:, :, coordinates].to(scale.dtype)
            mixed[:, columns] += moved.sum(0).to(mixed.dtype)
        for vector in self.units:
            columns = [channel - first for channel in vector]
            mixed[:, columns] = _unit(flat, values[None, :, columns], mixed[None, :, columns])[0]
        if self.ids:
            columns = [channel - first for channel in self.ids]
            mixed[:, columns] = _heaviest(flat, values[None, :, columns])[0]
        return mixed

    def _named(self) -> list[int]:
        return [*self.copies, *(channel for vector in self.units for channel in vector), *self.ids]


def _moved(plan: MixPlan, elements: ElementSet, columns: list[int], coordinates: list[int]) -> Tensor:
    """(M, N or 1, copies) how far copies of coordinates move with the plan's shift, in their own units."""
    assert plan.shift is not None
    scale = _units_of(elements.coords[:, :, coordinates], elements.values[:, :, columns])
    shift = per_element(plan.shift)[..., coordinates].to(scale.dtype)  # (M, K, N or 1, copies)
    return (plan.weight[..., None].to(scale.dtype) * scale[plan.source] * shift).sum(1)


def _units_of(coords: Tensor, copies: Tensor) -> Tensor:
    """(B, copies) how many of a copy's units a unit of its coordinate is, in each sample, from both as (B, N, copies).

    It is 1 where all elements are at one place.
    """
    finite_copies = copies.isfinite()  # what is not may be absent from the mix
    wide = torch.promote_types(coords.dtype, torch.float32)
    coords, copies = (part.to(wide).masked_fill(~finite_copies, 0) for part in (coords, copies))
    count = finite_copies.sum(1, keepdim=True).clamp_min(1)
    coords, copies = ((part - part.sum(1, keepdim=True) / count) * finite_copies for part in (coords, copies))
    spread = coords.square().sum(1)
    return torch.where(spread > 0, (coords * copies).sum(1) / spread, 1.0)


def _unit(plan: MixPlan, values: Tensor, mixed: Tensor) -> Tensor:
    """Mixed vectors (M, N, d) of vectors (B, N, d), brought back to length 1 where more than one took part."""
    wide = torch.promote_types(mixed.dtype, torch.float32)
    length = torch.linalg.vector_norm(mixed.to(wide), dim=2, keepdim=True)
    usable = length > 4 * torch.finfo(mixed.dtype).eps
    unit = torch.where(usable, (mixed.to(wide) / length).to(mixed.dtype), _heaviest(plan, values))
    several = (plan.weight > 0).sum(1) > 1  # (M, N or 1)
    return torch.where(several[:, :, None], unit, mixed)


def _heaviest(plan: MixPlan, values: Tensor) -> Tensor:
    """(M, N, ...) of the terms of each element the one with the largest weight, the first of equals."""
    best, picked = plan.weight[:, 0], plan.gather(values, 0)
    for k in range(1, plan.num_terms):
        heavier = plan.weight[:, k] > best
        best = torch.where(heavier, plan.weight[:, k], best)
        picked = torch.where(heavier[:, :, None], plan.gather(values, k), picked)
    return picked
