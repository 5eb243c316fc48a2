"""Sets of elements of different sizes, and their order within samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mixkit.checks import LARGEST_COORDINATE, check_float, readable
from mixkit.ragged.packed import sample_of


@dataclass(frozen=True, eq=False)
class RaggedSet:
    """A batch of B samples of n_1, ..., n_B elements: what `mixkit.ElementSet` is for samples of one size.

    Args:
        coords: (L, D) floating point, where each element is, sample after sample; L is the sum of the lengths.
        values: (L, C) floating point, the channels that are not coordinates.
        offsets: (B + 1,) long, where each sample begins, and last L.
        length_scale: the unit of locality in the coordinates' units; a method's ``sigma=None`` means this.

    Raises:
        TypeError: coordinates or values that are not floating point.
        ValueError: shapes that do not fit together;
            coordinates that are not finite, which names the sample (read on the CPU only).

    Example:
        >>> clouds = RaggedSet(torch.rand(5, 3), torch.zeros(5, 0), offsets=torch.tensor([0, 2, 5]))
        >>> clouds.num_samples, clouds.lengths.tolist()
        (2, [2, 3])
    """

    coords: Tensor
    values: Tensor
    offsets: Tensor
    length_scale: float | None = None

    def __post_init__(self) -> None:
        check_float("coords", self.coords)
        check_float("values", self.values)
        if self.coords.dim() != 2 or self.values.dim() != 2 or len(self.coords) != len(self.values):
            raise ValueError(
                f"coords (L, D) and values (L, C) do not fit together: got {tuple(self.coords.shape)} and "
                f"{tuple(self.values.shape)}"
            )
        if readable(self.coords):
            peak = self.coords.detach().abs().amax(1)
            if not bool((peak < LARGEST_COORDINATE).all()):  # NaN is not below
                row = int((~(peak < LARGEST_COORDINATE)).nonzero()[0])
                raise ValueError(
                    f"coordinates must be finite and below {LARGEST_COORDINATE:g}, got {float(peak[row])} in sample "
                    f"{int(self.sample[row])}"
                )

    @property
    def num_samples(self) -> int:
        """B, the number of samples."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Tensor:
        """(B,) long, the number of elements of each sample."""
        return self.offsets.diff()

    @property
    def sample(self) -> Tensor:
        """(L,) long, which sample each element is of."""
        return sample_of(self.offsets, len(self.coords))

    @property
    def positions(self) -> Tensor:
        """(L, D) the coordinates, in float32 or more."""
        return self.coords.detach().to(torch.promote_types(self.coords.dtype, torch.float32))


def rank(keys: Tensor, offsets: Tensor) -> Tensor:
    """(L,) long, how many of its sample's keys (L,) come before each; of equal keys the first element comes first."""
    sample = sample_of(offsets, len(keys))
    by_key = keys.argsort(stable=True)
    order = by_key[sample[by_key].argsort(stable=True)]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(keys), device=keys.device)
    return place - offsets[sample]
