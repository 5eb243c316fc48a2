"""CutMix and SaliencyMix: a box of the partner pasted into the sample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mixkit import draws, functional
from mixkit.checks import check_concentration, check_flag
from mixkit.elements import ElementSet, take_elements, take_samples
from mixkit.methods.base import Assign, Method, assigned
from mixkit.plan import MixPlan
from mixkit.query import maximum
from mixkit.registry import register_method

_HOST = torch.device("cpu")


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
    moves = True

    def __init__(self, alpha: float = 1.0, per_sample: bool = False) -> None:
        self.alpha = check_concentration("alpha", alpha)
        self.per_sample = check_flag("per_sample", per_sample)

    def plan(
        self,
        elements: ElementSet,
        *,
        saliency: Tensor | None = None,
        assign: Assign | None = None,
        generator: torch.Generator | None = None,
    ) -> MixPlan:
        """See `Method.plan`."""
        from scipy.special import expit  # SciPy is imported when first used

        boxes = elements.num_samples if self.per_sample else 1
        partner = draws.partners(elements.num_samples, generator, elements.coords.device)
        log_ratio = draws.beta_log_ratio(self.alpha, boxes, generator, _HOST).numpy()
        share = expit(-log_ratio)[:, None] ** np.float32(1 / elements.coords.shape[2])  # of each side
        frame = _frame(elements)
        centre, half = self._box(elements, frame, share / 2, saliency, partner, generator)
        return functional.cutmix(elements.coords, partner, assigned(elements, partner, assign), centre, half)

    def _box(
        self,
        elements: ElementSet,
        frame: _Frame,
        half: np.ndarray,
        saliency: Tensor | None,
        partner: Tensor,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Tensor]:
        """The centre, uniform in the frame, and half the sides of each box, given as shares (boxes, 1) of the frame's.

        On a grid the centre lies between cells, where no rounding can move an edge across one.
        """
        uniform = draws.uniform((half.shape[0], elements.coords.shape[2]), generator, _HOST).numpy()
        return frame.low + frame.length(uniform, less=0.5), frame.length(half)


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

    def _box(
        self,
        elements: ElementSet,
        frame: _Frame,
        half: np.ndarray,
        saliency: Tensor | None,
        partner: Tensor,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Tensor]:
        uniform = draws.uniform((2, elements.num_samples), generator, elements.coords.device)
        most = maximum(elements.coords, saliency, partner, uniform)[1]
        peak = take_elements(take_samples(elements.coords, partner), most)[: half.shape[0]]
        return peak + frame.length(np.zeros_like(half), less=0.5), frame.length(half)


class _Frame(NamedTuple):
    """The box around a set: its lowest corner, how many units it is wide, and a unit: a side, or on a grid a cell."""

    low: Tensor  # (B or 1, D)
    units: np.ndarray | None  # (D,) cells; None for one unit a side
    unit: Tensor  # (B or 1, D)

    def length(self, share: np.ndarray, less: float = 0.0) -> Tensor:
        """(B or 1, D) a share (boxes, D or 1) of each side; on a grid whole cells, ``less`` a part of one.

        Shares are drawn on the CPU and made whole there, so that no device rounds them otherwise.
        """
        if self.units is not None:
            share = np.floor(share * self.units) - np.float32(less)
        return torch.from_numpy(share).to(self.unit.device, non_blocking=True) * self.unit


def _frame(elements: ElementSet) -> _Frame:
    coords = elements.coords
    if coords.dtype.itemsize < 4:
        coords = coords.float()
    if elements.grid is None:
        low, high = coords.aminmax(dim=1)
        return _Frame(low, None, high - low)
    diagonal, stride = 0, 1  # the cell next to the first along every axis
    for size in reversed(elements.grid):
        diagonal += stride * min(1, size - 1)
        stride *= size
    low = coords[:1, 0]
    return _Frame(low, np.array(elements.grid[::-1], dtype=np.float32), coords[:1, diagonal] - low)
