"""Which samples of a data set a batch shows, and which of their elements, whatever augmentation did to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of a data set that a batch is of, for a saliency that is remembered per sample.

    Where a batch shows the stored samples as they are, ``samples=`` of a mixer takes their keys alone.

    Args:
        keys: (B,) integers, which samples they are.
        index: (B, N) or (B, H, W) integers, which element of the stored sample each element of the batch is, -1 for
            none. Default None: the same positions.

    Raises:
        TypeError: keys or an index that are no integers.
        ValueError: keys or an index of another shape.

    Example:
        >>> samples = Samples(keys=[7, 3], index=torch.tensor([[0, 2], [1, -1]]))
        >>> samples.keys
        tensor([7, 3])
    """

    keys: Tensor
    index: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("keys", "index"):
            value = getattr(self, name)
            if value is None and name == "index":
                continue
            numbers = torch.as_tensor(value)
            if numbers.dtype == torch.bool or numbers.is_floating_point() or numbers.is_complex():
                raise TypeError(f"{name} must be integers, got {numbers.dtype}")
            object.__setattr__(self, name, numbers)
        if self.keys.dim() != 1:
            raise ValueError(f"keys must be (B,), one for each sample of the batch, got {tuple(self.keys.shape)}")
        if self.index is not None:
            if self.index.dim() < 2 or len(self.index) != len(self.keys):
                wanted = f"({len(self.keys)}, N) or ({len(self.keys)}, H, W)"
                raise ValueError(f"index must be {wanted}, one for each element, got {tuple(self.index.shape)}")
            object.__setattr__(self, "index", self.index.flatten(1))

    @classmethod
    def of(cls, samples: Any) -> Samples:
        """The samples themselves, or those of keys (B,) in a tensor, an array or a list."""
        return samples if isinstance(samples, cls) else cls(samples)

    def check_size(self, num_samples: int, num_elements: int) -> None:
        """ValueError where a batch has another number of samples, or the index is not of all their elements."""
        if len(self.keys) != num_samples:
            raise ValueError(
                f"keys must be ({num_samples},), one for each sample of the batch, got {tuple(self.keys.shape)}"
            )
        if self.index is not None and self.index.shape != (num_samples, num_elements):
            wanted = (num_samples, num_elements)
            raise ValueError(f"index must be {wanted}, one for each element, got {tuple(self.index.shape)}")

    def take(self, rows: Tensor) -> Samples:
        """The samples of some rows of the batch."""
        return Samples(self.keys[rows], None if self.index is None else self.index[rows])

    # ---- places that travel through an image pipeline

    @staticmethod
    def places(*sides: int, cells: Sequence[int] | None = None) -> Tensor:
        """(1, H, W) int32 the number of each place of a stored grid, from 1: 0 is what a transform fills in.

        Wrapped as ``tv_tensors.Mask`` beside the image, it goes through the same crop and flip; `at_places` reads it.

        Args:
            sides: the sides of the stored sample, (H, W) for an image.
            cells: remember a grid of so many cells instead of one place per pixel; a bank's ``num_elements`` is their
                product. Default None: one cell per pixel.

        Raises:
            ValueError: cells of another number of sides, or a side below 1.

        Example:
            >>> Samples.places(2, 3)
            tensor([[[1, 2, 3],
                     [4, 5, 6]]], dtype=torch.int32)
            >>> Samples.places(2, 4, cells=(1, 2))
            tensor([[[1, 1, 2, 2],
                     [1, 1, 2, 2]]], dtype=torch.int32)
        """
        cells = sides if cells is None else cells
        if len(cells) != len(sides) or not sides or min(*sides, *cells, 1) < 1:
            raise ValueError(f"cells must have as many sides >= 1 as the sample, got {tuple(cells)} for {sides}")
        number = torch.zeros((), dtype=torch.long)
        for side, count in zip(sides, cells, strict=True):
            number = number[..., None] * count + torch.arange(side) * count // side
        return (number + 1).to(torch.int32)[None]

    @classmethod
    def at_places(cls, keys: Any, places: Tensor) -> Samples:
        """The samples of a batch of `places` (B, 1, H, W) or (B, H, W): the index is -1 where these are 0."""
        return cls(keys, places.flatten(1).long() - 1)


def placed(name: str, values: Tensor, device: torch.device, low: int, end: int) -> Tensor:
    """The values as long on a device; ValueError for any outside [low, end), where they can be read without a wait."""
    moved = values.to(device, torch.long)
    near = values if values.device.type == "cpu" else moved
    if near.device.type == "cpu" and near.numel() and (near.min() < low or near.max() >= end):
        raise ValueError(f"{name} must lie in [{low}, {end}), got {int(near.min())} to {int(near.max())}")
    return moved
