"""Domains whose elements lie on a grid of any rank: images, volumes, sequences. A subclass names the axes."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mixkit.channels import ambiguous
from mixkit.checks import check_positive
from mixkit.domain import Domain, describe
from mixkit.elements import ElementSet
from mixkit.plan import MixPlan

_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
_POOLS: dict[int, Any] = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
_MOST_EXTRA = 8  # class, distillation and register tokens before those of patches


class Grid(Domain):
    """Batches (B, C, ...) of any size, number of channels and memory format, whose elements are the cells of a grid.

    Cells at the same place are paired. Methods that only move cells (`Method.moves`, such as CutMix) take integers too.
    The coordinates run the other way than the sides, (x, y, z) for (D, H, W), and the length scale is a quarter of the
    shortest side that has more than one cell.

    Args:
        spacing: the distance between neighbours along each axis, > 0, in the order of the sides and in any unit, such
            as (5.0, 0.7, 0.7) mm for the slices of a scan; or one number for all axes. Distances, a method's ``sigma``
            and the length scale are in that unit. Default None: 1.
        layout: the order of the axes, one of the class's `layouts`. Default None: the first.

    Raises:
        TypeError: a spacing that is no number or sequence.
        ValueError: a spacing of another length or out of range, or a layout that is none of the class's.

    Example:
        >>> class Radar(Grid):  # range, angle and speed; a letter each, b for the batch and c for the channels
        ...     layouts = ("bcrav",)
        >>> elements = Radar(spacing=(10.0, 1.0, 1.0)).elements(torch.randn(2, 1, 4, 8, 8))
        >>> elements.grid, elements.coords.shape, elements.length_scale
        ((4, 8, 8), torch.Size([2, 256, 3]), 2.0)
    """

    #: The orders of axes that a batch may have, a letter each: b the batch's, c the channels', the others the sides.
    layouts: ClassVar[tuple[str, ...]]

    #: What batches hold, as an error says it.
    noun: ClassVar[str] = "samples"

    method_defaults: ClassVar = {"sagemix": {"theta": 0.3}}

    layout: str | None = None
    spacing: tuple[float, ...] | None = None

    def __init__(self, spacing: float | Sequence[float] | None = None, layout: str | None = None) -> None:
        if layout is not None:
            if layout not in self.layouts:
                raise ValueError(f"layout must be one of {', '.join(map(repr, self.layouts))}, got {layout!r}")
            self.layout = layout
        if spacing is not None:
            self.spacing = _checked_spacing(spacing, [name for name in self._axes if name not in "bc"])

    @property
    def shapes(self) -> str:
        """The shape that a batch must have, as an error says it."""
        return f"({', '.join(self._axes.upper())})"

    def default_spacing(self, sides: tuple[int, ...]) -> tuple[float, ...]:
        """The distance between neighbours along each axis where ``spacing`` is None; a subclass may depend on sides."""
        return (1,) * len(sides)

    def elements(self, batch: Tensor) -> ElementSet:
        """See `Domain.elements`."""
        if not isinstance(batch, Tensor) or batch.dim() != len(self._axes) or not batch.numel():
            got = tuple(batch.shape) if isinstance(batch, Tensor) else type(batch).__name__
            raise ValueError(f"{self.noun} must be a batch {self.shapes}, got {got}")
        if batch.is_complex():
            raise TypeError(f"{self.noun} must be real numbers, got {batch.dtype}")
        maps = batch.permute(self._order)
        sides = tuple(maps.shape[2:])
        spacing = self.spacing or self.default_spacing(sides)
        extents = [side * step for side, step in zip(sides, spacing, strict=True)]
        long = [extent for extent, side in zip(extents, sides, strict=True) if side > 1]
        coords = cell_coords(sides, spacing, batch.device).expand(len(batch), -1, -1)
        return ElementSet(coords, maps.flatten(2).mT, sides, min(long or extents) / 4)

    def batch(self, elements: ElementSet, like: Tensor) -> Tensor:
        """See `Domain.batch`."""
        maps = elements.values.mT.unflatten(2, elements.grid or ())
        return _in_format_of(like, maps.permute([self._order.index(axis) for axis in range(maps.dim())]))

    def feature_elements(
        self, activation: Any, elements: ElementSet, channels_last: bool | None = None
    ) -> ElementSet | None:
        """A feature map (B, C, ...) or (B, ..., C), or tokens (B, T, C) of patches in one or two dimensions, as cells.

        Each cell lies at its centre in the input's coordinates. Tokens before the patches (class, distillation,
        registers) belong to no place and are mixed by the ratio of the sample, as is a vector (B, C).
        """
        sides = elements.grid or ()
        if not isinstance(activation, Tensor) or not sides or activation.dim() not in (3, len(sides) + 2):
            return super().feature_elements(activation, elements)
        layout = self._layout_of(activation, sides, channels_last)
        if layout is None:
            kind = "neither a feature map nor patch tokens" if len(sides) < 3 else "no feature map"
            raise ValueError(f"{describe(activation)} is {kind} of {' x '.join(map(str, sides))} {self.noun}")
        cells = layout.grid
        step = torch.tensor([side / few for side, few in zip(sides[::-1], cells[::-1], strict=True)])
        coords = cell_coords(cells, (1,) * len(cells), activation.device) + 0.5
        coords = coords * step.to(activation.device, non_blocking=True) - 0.5
        spacing = self.spacing or self.default_spacing(sides)
        if any(distance != 1 for distance in spacing):
            coords = coords * torch.tensor(spacing[::-1], dtype=coords.dtype).to(coords.device, non_blocking=True)
        return ElementSet(coords.expand(len(activation), -1, -1), layout.values, cells, elements.length_scale)

    def mix_feature(
        self, plan: MixPlan, activation: Any, features: ElementSet | None, channels_last: bool | None = None
    ) -> Any:
        """See `Domain.mix_feature`."""
        if features is None:
            return super().mix_feature(plan, activation, features)
        between = activation.shape[1:-1]  # the cells, and perhaps extra tokens, where the channels are last
        extra = between.numel() - features.num_elements
        fits_last = between == features.grid or (len(between) == 1 and 0 <= extra <= _MOST_EXTRA)
        if activation.shape[2:] == features.grid and not (fits_last and channels_last):
            maps = plan.apply(activation.flatten(2).mT).mT.unflatten(2, features.grid)
            return _in_format_of(activation, maps)
        rows = activation.flatten(1, -2)
        mixed = plan.apply(rows[:, extra:])
        if extra:
            mixed = torch.cat([plan.pooled().apply(rows[:, :extra]), mixed], 1)
        return mixed.unflatten(1, between)

    def pool_saliency(self, saliency: Tensor, elements: ElementSet, features: ElementSet) -> Tensor:
        """(B, n) the mean saliency of the input's cells that each cell of a layer covers."""
        grid = features.grid or ()
        if len(grid) not in _POOLS:
            return super().pool_saliency(saliency, elements, features)
        return _POOLS[len(grid)](saliency.unflatten(1, elements.grid or ())[:, None], grid).flatten(1)

    def fits(self, activation: Tensor, sides: tuple[int, ...]) -> tuple[bool, bool]:
        """Whether an activation may be a feature map of inputs of these sides: channels first, channels last.

        By default no side may have grown. A subclass whose models keep the proportions of the sides may ask for more.
        """
        cells = activation.shape[2:], activation.shape[1:-1]
        first, last = (all(few <= side for few, side in zip(each, sides, strict=True)) for each in cells)
        return first, last

    def _layout_of(self, activation: Tensor, sides: tuple[int, ...], channels_last: bool | None) -> _Layout | None:
        """How an activation is laid out, judged by the grid that it makes.

        Raises:
            ValueError: a feature map whose channels may come first or last, and nobody has said which.
        """
        tokens = None if activation.dim() > 3 else patch_tokens(activation.shape[1], sides)
        if activation.dim() != len(sides) + 2:
            if tokens is None:
                return None
            return _Layout(tokens, activation[:, activation.shape[1] - math.prod(tokens) :])
        fits_first, fits_last = self.fits(activation, sides)
        fits_last = fits_last or tokens is not None
        if fits_first and fits_last and channels_last is None:
            names = ", ".join(name for name in self._axes if name not in "bc")
            raise ambiguous(activation, f"(B, C, {names})", f"(B, {names}, C)")
        if fits_last and (channels_last or not fits_first):
            cells = tokens or tuple(activation.shape[1:-1])
            rows = activation.flatten(1, -2)
            return _Layout(cells, rows[:, rows.shape[1] - math.prod(cells) :])
        return _Layout(tuple(activation.shape[2:]), activation.flatten(2).mT) if fits_first else None

    @property
    def _axes(self) -> str:
        return self.layout or self.layouts[0]

    @functools.cached_property
    def _order(self) -> list[int]:
        """Where in a batch the axes of (B, C, ...) are."""
        return [self._axes.index(name) for name in "bc" + self._axes.replace("b", "").replace("c", "")]


class _Layout(NamedTuple):
    grid: tuple[int, ...]
    values: Tensor  # (B, cells, C)


def patch_tokens(number: int, sides: tuple[int, ...]) -> tuple[int, ...] | None:
    """The grid of the patches among so many tokens of a sequence or an image; None where there is none.

    Tokens before the patches are extra: for an image up to 8, if the rest are square patches; for a sequence as many as
    there are more than elements, or one, if without it the rest divide the sequence.
    """
    if len(sides) == 1:
        length = sides[0]
        if number > length:
            return sides if number - length <= _MOST_EXTRA else None
        return (number - 1 if number > 2 and length % number and length % (number - 1) == 0 else number,)
    if len(sides) != 2:  # the patches of a volume may be made in too many ways to tell
        return None
    height, width = sides
    for patches in range(number, max(number - _MOST_EXTRA - 1, 0), -1):
        rows = max(round(math.sqrt(patches * height / width)), 1)
        columns = patches // rows
        whole = rows * columns == patches and height % rows == 0 and width % columns == 0
        if whole and height // rows == width // columns:
            return rows, columns
    return None


@functools.lru_cache(maxsize=16)
def cell_coords(sides: tuple[int, ...], spacing: tuple[float, ...], device: torch.device) -> Tensor:
    """(1, N, D) float32, the coordinates of each cell in row-major order, those of the last side first."""
    axes = [torch.arange(side, dtype=torch.float32) * step for side, step in zip(sides, spacing, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1).reshape(1, -1, len(sides)).to(device)


def _in_format_of(like: Tensor, maps: Tensor) -> Tensor:
    """The same values, contiguous or with the channels last in memory, as ``like`` is."""
    last = _FORMATS.get(like.dim())
    keep = last is not None and like.is_contiguous(memory_format=last) and not like.is_contiguous()
    return maps.contiguous(memory_format=last if keep and last else torch.contiguous_format)


def _checked_spacing(spacing: Any, axes: list[str]) -> tuple[float, ...]:
    steps: Any = [spacing] * len(axes) if isinstance(spacing, Real) else spacing
    if isinstance(steps, str) or not isinstance(steps, Sequence):
        raise TypeError(f"spacing must be a number or one for each of {', '.join(axes).upper()}, got {spacing!r}")
    if len(steps) != len(axes):
        raise ValueError(f"spacing must be {len(axes)} numbers, for {', '.join(axes).upper()}, got {spacing!r}")
    return tuple(check_positive("spacing", step) for step in steps)
