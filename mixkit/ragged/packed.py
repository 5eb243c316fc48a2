"""Samples of different sizes as one tensor: the rows of all, one sample after another, and where each begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mixkit.arrays import concatenate
from mixkit.checks import readable


@dataclass(frozen=True, eq=False, repr=False)
class Packed:
    """A batch of B samples of n_1, ..., n_B elements in one tensor: the one form in which they are mixed.

    Args:
        rows: (L, ...) what the elements hold, sample after sample; L is the sum of the lengths.
        offsets: (B + 1,) long, where each sample begins, from 0, and last L.

    Raises:
        TypeError: offsets that are no int64.
        ValueError: offsets that do not run from 0 to L, or an empty sample (both
            are read on the CPU only).

    Example:
        >>> clouds = Packed.from_list([torch.zeros(2, 3), torch.ones(4, 3)])
        >>> clouds
        Packed(2 samples of 2 to 4 elements, rows (6, 3) torch.float32)
        >>> clouds.offsets.tolist(), clouds.lengths.tolist(), clouds.sample.tolist()
        ([0, 2, 6], [2, 4], [0, 0, 1, 1, 1, 1])
    """

    rows: Tensor
    offsets: Tensor

    def __post_init__(self) -> None:
        for name, field in (("rows", self.rows), ("offsets", self.offsets)):
            if not isinstance(field, Tensor):
                raise TypeError(f"{name} must be a tensor, got {type(field).__name__}")
        if self.offsets.dtype != torch.long:
            raise TypeError(f"offsets must be int64, got {self.offsets.dtype}")
        if self.offsets.dim() != 1 or len(self.offsets) < 2 or not self.rows.dim():
            raise ValueError(
                f"rows (L, ...) and offsets (B + 1,), B at least 1, do not fit together: got {tuple(self.rows.shape)} "
                f"and {tuple(self.offsets.shape)}"
            )
        if readable(self.offsets):
            if int(self.offsets[0]) != 0 or int(self.offsets[-1]) != len(self.rows):
                raise ValueError(
                    f"offsets must run from 0 to the number of rows, {len(self.rows)}, "
                    f"got {int(self.offsets[0])} to {int(self.offsets[-1])}"
                )
            if bool((self.lengths < 1).any()):
                sample = int((self.lengths < 1).nonzero()[0])
                raise ValueError(f"every sample needs an element, got {int(self.lengths[sample])} in sample {sample}")

    # ---- making one

    @classmethod
    def from_list(cls, samples: Sequence[Tensor]) -> Packed:
        """Pack a list of (n_i, ...) tensors.

        Raises:
            TypeError: anything but tensors of one dtype on one device.
            ValueError: no sample, or other sides than n_i
                that differ.
        """
        for number, sample in enumerate(samples):
            if not isinstance(sample, Tensor) or not sample.dim():
                got = tuple(sample.shape) if isinstance(sample, Tensor) else type(sample).__name__
                raise TypeError(f"samples must be tensors (n_i, ...), got {got} for sample {number}")
            first = samples[0]
            if (sample.dtype, sample.device) != (first.dtype, first.device):
                raise TypeError(
                    f"samples must be of one dtype on one device, got {first.dtype} on {first.device} for sample 0 and "
                    f"{sample.dtype} on {sample.device} for sample {number}"
                )
            if sample.shape[1:] != first.shape[1:]:
                raise ValueError(
                    f"samples must be alike but for their length, got {tuple(first.shape)} for sample 0 and "
                    f"{tuple(sample.shape)} for sample {number}"
                )
        if not samples:
            raise ValueError("a batch needs at least one sample, got an empty list")
        ends = torch.tensor([len(sample) for sample in samples]).cumsum(0)
        return cls.from_offset(concatenate(samples), ends.to(samples[0].device))

    @classmethod
    def from_offset(cls, rows: Tensor, offset: Tensor) -> Packed:
        """Pack rows (L, ...) whose samples end at ``offset`` (B,), as in Pointcept; integers of any width.

        Raises:
            TypeError: an offset that is no integer.
            ValueError: one that does not rise to L.
        """
        return cls(rows, torch.cat([offset.new_zeros(1), _whole("offset", offset)]).long())

    @classmethod
    def from_batch(cls, rows: Tensor, batch: Tensor, num_samples: int | None = None) -> Packed:
        """Pack rows (L, ...) each of which names its sample, ``batch`` (L,), in rising order, as in PyTorch Geometric.

        Args:
            rows: (L, ...).
            batch: (L,) integers.
            num_samples: B. Default None: one more than the last number, which on a GPU waits for it.

        Raises:
            TypeError: a batch that is no integer.
            ValueError: one of another length, or whose numbers fall.
        """
        batch = _whole("batch", batch).long()
        if batch.shape != rows.shape[:1] or not len(batch):
            raise ValueError(f"batch must be ({len(rows)},), a sample's number for each row, got {tuple(batch.shape)}")
        if readable(batch) and (int(batch[0]) < 0 or bool((batch[1:] < batch[:-1]).any())):
            raise ValueError("batch must number the samples in rising order from 0: sort the rows by it")
        samples = torch.arange(int(batch[-1]) + 1 if num_samples is None else num_samples, device=batch.device)
        ends = torch.searchsorted(batch.contiguous(), samples, right=True)
        return cls.from_offset(rows, ends)

    @classmethod
    def from_padded(cls, padded: Tensor, mask: Tensor) -> Packed:
        """Pack what a mask (B, N) bool shows of padded samples (B, N, ...); what it hides is never read.

        Raises:
            TypeError: a mask that is not bool.
            ValueError: one of another shape, or that hides all of a sample.
        """
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
            raise TypeError(f"mask must be a bool tensor, True at the elements that there are, got {got}")
        if mask.dim() != 2 or padded.shape[:2] != mask.shape:
            raise ValueError(f"mask must be (B, N) for a batch (B, N, ...), got {tuple(mask.shape)} "
                             f"for {tuple(padded.shape)}")  # fmt: skip
        return cls.from_offset(padded[mask], mask.sum(1).cumsum(0))

    # ---- what it is

    @property
    def num_samples(self) -> int:
        """B, the number of samples."""
        return len(self.offsets) - 1

    @property
    def num_rows(self) -> int:
        """L, the number of elements of all samples together."""
        return len(self.rows)

    @property
    def lengths(self) -> Tensor:
        """(B,) long, n_i, the number of elements of each sample."""
        return self.offsets.diff()

    @property
    def sample(self) -> Tensor:
        """(L,) long, which sample each row is of: PyTorch Geometric's ``batch``."""
        return sample_of(self.offsets, self.num_rows)

    @property
    def offset(self) -> Tensor:
        """(B,) long, where each sample ends: Pointcept's ``offset``."""
        return self.offsets[1:]

    def __len__(self) -> int:
        return self.num_samples

    def __repr__(self) -> str:
        lengths, shape = self.lengths.tolist(), tuple(self.rows.shape)
        elements = f"{min(lengths)} to {max(lengths)}" if lengths else "no"
        return f"Packed({len(lengths)} samples of {elements} elements, rows {shape} {self.rows.dtype})"

    # ---- undoing it

    def split(self) -> list[Tensor]:
        """The samples, views (n_i, ...) of the rows."""
        return list(self.rows.split(self.lengths.tolist()))

    def padded(self, fill: float = 0.0) -> tuple[Tensor, Tensor]:
        """(B, N, ...) the samples, filled up to the longest, and the mask (B, N) of what is theirs."""
        lengths = self.lengths
        longest = int(lengths.max())
        mask = torch.arange(longest, device=self.rows.device) < lengths[:, None]
        padded = self.rows.new_full((self.num_samples, longest, *self.rows.shape[1:]), fill)
        padded[mask] = self.rows
        return padded, mask

    def to(self, device: torch.device | str) -> Packed:
        """The same samples on another device."""
        return Packed(self.rows.to(device), self.offsets.to(device))


def sample_of(offsets: Tensor, num_rows: int) -> Tensor:
    """(L,) long, which sample each of L rows is of."""
    samples = torch.arange(len(offsets) - 1, device=offsets.device)
    return samples.repeat_interleave(offsets.diff(), output_size=num_rows)


def _whole(name: str, numbers: Tensor) -> Tensor:
    if not isinstance(numbers, Tensor) or numbers.dtype not in (torch.int64, torch.int32, torch.int16):
        got = numbers.dtype if isinstance(numbers, Tensor) else type(numbers).__name__
        raise TypeError(f"{name} must be an integer tensor, got {got}")
    if numbers.dim() != 1 or not len(numbers):
        raise ValueError(f"{name} must have one side, and a number at least, got {tuple(numbers.shape)}")
    return numbers
