"""The set of elements that every domain turns its batch into, and the engine mixes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from mixkit.show import show_elements


@dataclass(frozen=True, eq=False, repr=False)
class ElementSet:
    """A batch of B samples, each a set of N elements with D coordinates and C further values.

    Args:
        coords: (B, N, D) floating point, where each element is. On a grid all samples share them: expand, don't copy.
        values: (B, N, C) real numbers, the channels that are not coordinates; C is 0 for bare points. Integers, such as
            uint8 pixels, can be moved from one sample to another, but not interpolated.
        grid: the grid's sides, (H, W) for pixels in row-major order; None for sets without one. The coordinates run the
            other way, (x, y): the first belongs to the last side.
        length_scale: how far an element's neighbourhood reaches, in the coordinates' units, > 0; it is what a method's
            ``sigma=None`` means. Default None: unknown, so that such a method asks for its sigma.

    Raises:
        TypeError: integer coordinates, or complex values.
        ValueError: shapes that do not fit together.

    Example:
        >>> elements = ElementSet(coords=torch.rand(2, 100, 3), values=torch.rand(2, 100, 6), length_scale=0.3)
        >>> elements.num_samples, elements.num_elements
        (2, 100)
    """

    coords: Tensor
    values: Tensor
    grid: tuple[int, ...] | None = None
    length_scale: float | None = None

    def __post_init__(self) -> None:
        for name, field in (("coords", self.coords), ("values", self.values)):
            if field.is_complex() or (name == "coords" and not field.is_floating_point()):
                kind = "real numbers" if name == "values" else "floating point"
                raise TypeError(f"{name} must be {kind}, got {field.dtype}; convert them first")
            if field.dim() != 3:
                raise ValueError(f"{name} must be (B, N, channels), got {tuple(field.shape)}")
        if self.coords.shape[:2] != self.values.shape[:2] or not self.coords.numel():
            raise ValueError(
                f"coords (B, N, D) and values (B, N, C) need the same B >= 1 and N >= 1, and D >= 1: "
                f"got {tuple(self.coords.shape)} and {tuple(self.values.shape)}"
            )
        if self.grid is not None and math.prod(self.grid) != self.coords.shape[1]:
            raise ValueError(f"a grid of {self.grid} has {math.prod(self.grid)} elements, got {self.coords.shape[1]}")

    def __repr__(self) -> str:
        return show_elements(self)

    @property
    def num_samples(self) -> int:
        """B, the number of samples."""
        return self.coords.shape[0]

    @property
    def num_elements(self) -> int:
        """N, the number of elements of each sample."""
        return self.coords.shape[1]


def same_in_all(tensor: Tensor) -> bool:
    """Whether a tensor (B, ...) is one sample's, expanded over the batch, as the coordinates of a grid are."""
    return tensor.stride(0) == 0


def take_samples(tensor: Tensor, samples: Tensor) -> Tensor:
    """``tensor[samples]`` along the batch; one expanded over the batch is the same for all, so it is not copied."""
    if same_in_all(tensor) and len(tensor) == len(samples):
        return tensor
    return tensor.index_select(0, samples)


def take_elements(tensor: Tensor, element: Tensor) -> Tensor:
    """One element of each sample: (B, N, D) at (B,) -> (B, D)."""
    return tensor.gather(1, element[:, None, None].expand(-1, 1, tensor.shape[2]))[:, 0]
