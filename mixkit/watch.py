"""Says once when saliency says nothing, or a bank of it hears nothing, as queries are then drawn uniformly."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from mixkit.arrays import check_dense
from mixkit.elements import ElementSet


def checked_saliency(saliency: Any, elements: ElementSet) -> Tensor:
    """Saliency (B, N) or laid out as the grid, as (B, N), detached, and floating point.

    Raises:
        TypeError: no tensor of real numbers.
        ValueError: another shape.
    """
    wanted = tuple(elements.coords.shape[:2])
    if not isinstance(saliency, Tensor) or saliency.is_complex():
        got = saliency.dtype if isinstance(saliency, Tensor) else type(saliency).__name__
        raise TypeError(f"saliency must be a tensor {wanted} of real numbers, one per element, got {got}")
    check_dense("saliency", saliency)
    flat = saliency.detach().flatten(1) if saliency.dim() > 1 else saliency
    if flat.shape != wanted:
        raise ValueError(f"saliency must be {wanted}, one number per element, got {tuple(saliency.shape)}")
    return flat if flat.is_floating_point() else flat.float()


class EmptyRows:
    """Looks for samples whose saliency is 0 everywhere or not finite, and warns of the first it finds.

    On a CPU it looks at each batch. Elsewhere it counts on the device, and reads the count after the batches 1, 2, 4, 8
    and so on, as each reading waits for the device.
    """

    def __init__(self) -> None:
        self.warned = False
        self._batches = 0
        self._counts: Tensor | None = None  # (2,) empty rows and all rows, on the device

    def look(self, saliency: Tensor) -> None:
        """Look at the saliency (B, N) of a batch."""
        if self.warned or not saliency.numel() or torch.compiler.is_compiling():
            return
        peak = saliency.detach().amax(1)
        empty = (~(torch.isfinite(peak) & (peak > 0))).sum()
        counts = torch.stack([empty, torch.full_like(empty, len(peak))])
        self._batches += 1
        if saliency.device.type != "cpu":
            before = self._counts if self._counts is not None and self._counts.device == counts.device else 0
            self._counts = counts = counts + before
            if self._batches & (self._batches - 1):
                return
        number, rows = counts.tolist()
        if number:
            self.warned = True
            self._counts = None
            warnings.warn(
                f"saliency is 0 everywhere, or not finite, in {number} of {rows} samples, so their queries are drawn "
                "uniformly. Does the loss depend on the input there (a label that is ignored, a saturated loss, dead "
                "units), or does a gradient underflow, or are there NaN in the batch or the model? This is said once.",
                stacklevel=3,
            )


class Unheard:
    """Counts the mixed batches in a row from which no gradient came back, and warns of it once.

    So many may be under way at a time: losses of some batches are added up before one backward pass.
    """

    LIMIT = 32

    def __init__(self) -> None:
        self.count = 0
        self.warned = False

    def expect(self) -> None:
        """A batch is given out; called where gradients are recorded or not."""
        if not torch.is_grad_enabled():
            return
        self.count += 1
        if self.count > self.LIMIT and not self.warned:
            self.warned = True
            warnings.warn(
                f"the SaliencyBank has learnt nothing from the last {self.LIMIT} mixed batches, as no gradient came "
                "back to them. Call loss.backward(), or name the batch: torch.autograd.grad(loss, [*weights, mixed]); "
                "and do not detach or copy what the mixer returns under no_grad",
                stacklevel=4,
            )

    def hear(self) -> None:
        """A gradient came back."""
        self.count = 0
