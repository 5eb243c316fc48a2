"""CutMix and SaliencyMix: a box of the partner pasted into the sample."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mixkit import draws, functional
from mixkit.checks import check_concentration, check_flag
from mixkit.elements import ElementSet, take_elements, take_samples
from mixkit.methods.base import Method, PlanContext
from mixkit.plan import MixPlan
from mixkit.query import maximum
from mixkit.ragged import RaggedPlan, RaggedSet
from mixkit.ragged import functional as ragged
from mixkit.ragged.queries import draw_queries
from mixkit.registry import register_method

_HOST = torch.device("cpu")
_WHOLE = np.float32(4)  # the share of a side that covers it wherever the centre is, and no edge by rounding


@register_method("cutmix")
class CutMix(Method):
    """CutMix (Yun et al. 2019): a box of volume 1 - lambda of the set's extent, lambda ~ Beta(alpha, alpha).

    Its centre is uniform, the box is clipped, and the label counts the elements that were replaced. On a grid the
    centre is a cell and half a side a whole number of cells, as in torchvision's ``v2.CutMix``; along an axis of one
    cell the box is whole.

    Args:
        alpha: concentration of the Beta, > 0. Default 1.
        per_sample: one box per sample instead of one per batch. Default False, as the authors do.
        bands: each box is a band: bounded along one axis, drawn at random, and whole along the others. On a spectrogram
            those are SpecAugment's (Park et al. 2019), of all frequencies or of all times. Default False.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("cutmix", domain="image", num_classes=4, p=1.0, partners="previous")
        >>> plan = mixer.plan(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> plan.weight.unique()  # each pixel is the one's or the other's
        tensor([0., 1.])
    """

    p = 0.5  # on CIFAR; the paper mixes every batch of ImageNet
    needs = frozenset({"partners", "assign"})
    moves = True

    def __init__(self, alpha: float = 1.0, per_sample: bool = False, bands: bool = False) -> None:
        self.alpha = check_concentration("alpha", alpha)
        self.per_sample = check_flag("per_sample", per_sample)
        self.bands = check_flag("bands", bands)

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`."""
        boxes = elements.num_samples if self.per_sample else 1
        partner = context.partners(elements)
        long = [side > 1 for side in (elements.grid or ())[::-1]]
        share = self._share(boxes, np.array(long if any(long) else [True] * elements.coords.shape[2]), context)
        start, way = self._centre(elements, boxes, partner, context)
        box = _set_box if elements.grid is None else _grid_box
        centre, half = box(elements, start, way, share / 2)
        return functional.cutmix(elements.coords, partner, context.assignment(elements, partner), centre, half)

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`."""
        boxes = elements.num_samples if self.per_sample else 1
        partner = context.partners(elements)
        share = self._share(boxes, np.ones(elements.coords.shape[1], dtype=bool), context)
        low, sides = ragged.frame(elements)
        start, way = self._centre_ragged(elements, boxes, partner, context)
        centre = (low if start is None else start) + _of(way, sides)
        return ragged.cutmix(context.pairing(elements, partner), centre, _of(share / 2, sides))

    def _share(self, boxes: int, bounded: np.ndarray, context: PlanContext) -> np.ndarray:
        """(boxes, D) the share of each side that a box has, given the axes (D,) that it may be bounded along."""
        from scipy.special import expit  # SciPy is imported when first used

        log_ratio = draws.beta_log_ratio(self.alpha, boxes, context.generator, _HOST).numpy()
        axes = np.flatnonzero(bounded)
        share = expit(-log_ratio)[:, None] ** np.float32(1 if self.bands else 1 / len(axes))
        if self.bands:
            axis = axes[torch.randint(len(axes), (boxes, 1), generator=context.generator).numpy()]
            bounded = np.arange(len(bounded)) == axis
        return np.where(bounded, share, _WHOLE)

    def _centre_ragged(
        self, elements: RaggedSet, boxes: int, partner: Tensor, context: PlanContext
    ) -> tuple[Tensor | None, np.ndarray]:
        """As `_centre`, for samples of different sizes."""
        return None, draws.uniform((boxes, elements.coords.shape[1]), context.generator, _HOST).numpy()

    def _centre(
        self, elements: ElementSet, boxes: int, partner: Tensor, context: PlanContext
    ) -> tuple[Tensor | None, np.ndarray]:
        """Where centres lie: a place to start from, None for the lowest corner, and shares of the sides from there."""
        return None, draws.uniform((boxes, elements.coords.shape[2]), context.generator, _HOST).numpy()


@register_method("saliencymix")
class SaliencyMix(CutMix):
    """SaliencyMix (Uddin et al. 2021): CutMix with the box centred on the partner's most salient element.

    Args:
        alpha: concentration of the Beta, > 0. Default 1.
        per_sample: one box per sample. Default True; False takes one box for the batch, around the most salient element
            of the first sample's partner, as the authors do.
        bands: see `CutMix`. Default False.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("saliencymix", domain="image", num_classes=4, p=1.0, saliency="spectral_residual")
        >>> plan = mixer.plan(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> plan.weight.shape
        torch.Size([4, 2, 64])
    """

    needs = frozenset({"partners", "assign", "saliency"})

    def __init__(self, alpha: float = 1.0, per_sample: bool = True, bands: bool = False) -> None:
        super().__init__(alpha, per_sample, bands)

    def _centre(
        self, elements: ElementSet, boxes: int, partner: Tensor, context: PlanContext
    ) -> tuple[Tensor | None, np.ndarray]:
        uniform = draws.uniform((2, elements.num_samples), context.generator, elements.coords.device)
        most_salient = maximum(elements.coords, context.saliency, partner, uniform)[1]
        peak = take_elements(take_samples(elements.coords, partner), most_salient)[:boxes]
        return peak, np.zeros((boxes, 1), dtype=np.float32)

    def _centre_ragged(
        self, elements: RaggedSet, boxes: int, partner: Tensor, context: PlanContext
    ) -> tuple[Tensor | None, np.ndarray]:
        uniform = draws.uniform((2, elements.num_samples), context.generator, elements.coords.device)
        _, most_salient = draw_queries("max", elements, context.saliency, partner, uniform)
        return elements.positions[most_salient][:boxes], np.zeros((boxes, 1), dtype=np.float32)


def _grid_box(elements: ElementSet, start: Tensor | None, way: np.ndarray, half: np.ndarray) -> tuple[Tensor, Tensor]:
    """The centre and half the sides of each box, in whole cells; ``way`` and ``half`` are shares of the grid's sides.

    The centre lies between cells, where no rounding can move an edge across one.
    """
    assert elements.grid is not None
    coords, sides = _at_least_float32(elements.coords[:1]), np.array(elements.grid[::-1], dtype=np.float32)
    next_cell, stride = 0, 1  # the one that lies beside the first along every axis
    for size in reversed(elements.grid):
        next_cell += stride * min(1, size - 1)
        stride *= size
    low = coords[:, 0]
    # an axis of one cell has no next: any unit does
    cell = (
        coords[:, next_cell]
        - low
        + torch.from_numpy((sides == 1).astype(np.float32)).to(coords.device, non_blocking=True)
    )
    start = low if start is None else start
    return start + _of(np.floor(way * sides) - np.float32(0.5), cell), _of(np.floor(half * sides), cell)


def _set_box(elements: ElementSet, start: Tensor | None, way: np.ndarray, half: np.ndarray) -> tuple[Tensor, Tensor]:
    """The centre and half the sides of each box; ``way`` and ``half`` are shares of the set's extent."""
    low, high = _at_least_float32(elements.coords).aminmax(dim=1)
    start = low if start is None else start
    return start + _of(way, high - low), _of(half, high - low)


def _of(numbers: np.ndarray, unit: Tensor) -> Tensor:
    """Numbers of units; they are drawn on the CPU and made whole there, so that no device rounds them otherwise."""
    return torch.from_numpy(numbers).to(unit.device, non_blocking=True) * unit


def _at_least_float32(coords: Tensor) -> Tensor:
    return coords.float() if coords.dtype.itemsize < 4 else coords
