"""What every form of a batch of samples of different sizes can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from mixkit.ragged.packed import Packed


class Form(ABC):
    """A batch in the form in which it came.

    Args:
        batch: the batch as it came.
        packed: its samples, coordinates first.
    """

    batch: Any
    packed: Packed

    #: The dtype of channels that are integers, such as colours of 0 to 255; None where none are.
    integers: torch.dtype | None = None

    def __init__(self, batch: Any, packed: Packed) -> None:
        if packed.rows.dim() != 2:
            raise ValueError(
                f"samples of different sizes must be (n_i, C) each, got rows of {tuple(packed.rows.shape[1:])}"
            )
        self.batch, self.packed = batch, packed

    @abstractmethod
    def close(self, packed: Packed) -> Any:
        """Other samples in the same form."""

    def pack_labels(self, labels: Any) -> Tensor | None:
        """(L, ...) labels that each element has, where that is what came; else None."""
        rows = self.packed.num_rows
        if isinstance(labels, Tensor) and labels.dim() and len(labels) == rows != self.packed.num_samples:
            return labels
        return None

    def close_targets(self, targets: Packed, classes: bool = False) -> Any:
        """Targets (L, ...) of the elements as users of this form have them; of ``classes``, (L, K)."""
        return targets.rows
