"""The maps of a saliency bank as they lie in memory: a row per sample, in few bytes per element."""

from __future__ import annotations

import torch
from torch import Tensor


class Maps:
    """A map of saliency for each sample, all 1 at first.

    Args:
        num_samples: how many rows there are.
        num_elements: how many numbers a row has.
        dtype: float32, float16, bfloat16, or uint8, which keeps the square root in 256 levels of the row's peak.
        device: where they are kept.
    """

    def __init__(self, num_samples: int, num_elements: int, dtype: torch.dtype, device: torch.device) -> None:
        self.rows = torch.empty(num_samples, num_elements, dtype=dtype, device=device)
        self.rows.fill_(255 if dtype == torch.uint8 else 1)
        self.peaks = torch.ones(num_samples, device=device)  # of a row, which uint8 levels are relative to

    def read(self, keys: Tensor) -> Tensor:
        """(B, num_elements) float32 the rows of some samples."""
        rows = self.rows[keys].float()
        return rows.div_(255).square_().mul_(self.peaks[keys, None]) if self.rows.dtype == torch.uint8 else rows

    def write(self, keys: Tensor, rows: Tensor) -> None:
        """Keep float32 rows (B, num_elements) >= 0 as those of some samples."""
        if self.rows.dtype == torch.uint8:
            peaks = rows.amax(1).clamp_min(torch.finfo(torch.float32).tiny)
            self.peaks[keys] = peaks
            rows = (rows / peaks[:, None]).sqrt_().mul_(255).round_()
        else:
            rows = rows.clamp_max(torch.finfo(self.rows.dtype).max)
        self.rows[keys] = rows.to(self.rows.dtype)
