"""CutMix and SaliencyMix: a box of the partner pasted into the sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mixkit import draws, functional
from mixkit.elements import ElementSet, take_elements, take_samples
from mixkit.methods.base import Assign, Method, assigned, check_concentration
from mixkit.plan import MixPlan
from mixkit.query import maximum
from mixkit.registry import register_method


@register_method("cutmix")
class CutMix(Method):
    """CutMix (Yun et al. 2019): a box of volume 1 - lambda of the set's extent, lambda ~ Beta(alpha, alpha).

    Its centre is uniform, the box is clipped, and the label counts the elements that were replaced. On a grid the
    centre is a cell and half a side a whole number of cells, as in torchvision's ``v2.CutMix``.

    Args:
        alpha: concentration of the Beta, > 0. Default 1.
        per_sample: one box per sample instead of one per batch. Default False, as the authors do.
    """

    p = 0.5  # on CIFAR; the paper mixes every batch of ImageNet
    needs = frozenset({"assign"})

    def __init__(self, alpha: float = 1.0, per_sample: bool = False) -> None:
        self.alpha = check_concentration("alpha", alpha)
        self.per_sample = per_sample

    def plan(
        self,
        elements: ElementSet,
        *,
        saliency: Tensor | None = None,
        assign: Assign | None = None,
        generator: torch.Generator | None = None,
    ) -> MixPlan:
        """See `Method.plan`."""
        size, device = elements.num_samples, elements.coords.device
        boxes = size if self.per_sample else 1
        partner = draws.partners(size, generator, device)
        log_ratio = draws.beta_log_ratio(self.alpha, boxes, generator, device)
        share = torch.sigmoid(-log_ratio)[:, None] ** (1 / elements.coords.shape[2])  # of each side
        frame = _frame(elements)
        centre = self._centre(elements, frame, boxes, saliency, partner, generator)
        half = frame.snap(share * frame.sides / 2) * frame.cell
        if elements.grid is not None:
            centre = centre - frame.cell / 2  # between cells, where no rounding can move an edge across one
        assignment = assigned(elements, partner, assign)
        return functional.cutmix(elements.coords, partner, assignment, *torch.broadcast_tensors(centre, half))

    def _centre(
        self,
        elements: ElementSet,
        frame: _Frame,
        boxes: int,
        saliency: Tensor | None,
        partner: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        """(boxes, D) the centre of each box: uniform in the frame."""
        uniform = draws.uniform((boxes, elements.coords.shape[2]), generator, elements.coords.device)
        return frame.low + frame.snap(uniform * frame.sides) * frame.cell


@register_method("saliencymix")
class SaliencyMix(CutMix):
    """SaliencyMix (Uddin et al. 2021): CutMix with the box centred on the partner's most salient element.

    Args:
        alpha: concentration of the Beta, > 0. Default 1.
        per_sample: one box per sample. Default True; False takes one box for the batch, around the most salient element
            of the first sample's partner, as the authors do.
    """

    needs = frozenset({"assign", "saliency"})

    def __init__(self, alpha: float = 1.0, per_sample: bool = True) -> None:
        super().__init__(alpha, per_sample)

    def _centre(
        self,
        elements: ElementSet,
        frame: _Frame,
        boxes: int,
        saliency: Tensor | None,
        partner: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        uniform = draws.uniform((2, elements.num_samples), generator, elements.coords.device)
        most = maximum(elements.coords, saliency, partner, uniform)[1]
        return take_elements(take_samples(elements.coords, partner), most).to(frame.low.dtype)[:boxes]


class _Frame(NamedTuple):
    """The box around a set: its lowest corner, its sides in cells, and the size of a cell, each (B or 1, D)."""

    low: Tensor
    sides: Tensor
    cell: Tensor
    snap: Callable[[Tensor], Tensor]  # to whole cells on a grid


def _frame(elements: ElementSet) -> _Frame:
    coords = elements.coords.to(torch.promote_types(elements.coords.dtype, torch.float32))
    if elements.grid is None:
        low = coords.amin(1)
        return _Frame(low, coords.amax(1) - low, torch.ones_like(low), lambda length: length)
    low, high = coords[:1, 0], coords[:1, -1]  # a grid's first and last cells are its corners
    sides = torch.tensor([elements.grid[::-1]], dtype=low.dtype).to(low.device, non_blocking=True)
    cell = torch.where(sides > 1, (high - low) / (sides - 1).clamp_min(1), 1.0)
    return _Frame(low, sides, cell, torch.floor)
