"""WOLFMix: clouds warped by PointWOLF, then mixed by RSMix."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from mixkit import draws, functional
from mixkit.checks import check_count, check_not_negative, check_positive, check_share
from mixkit.elements import ElementSet
from mixkit.methods.base import PlanContext
from mixkit.methods.rsmix import RSMix
from mixkit.plan import MixPlan
from mixkit.ragged import RaggedPlan, RaggedSet
from mixkit.registry import register_method

_LENGTH_SCALE = 0.3  # of the unit sphere, for which the papers' numbers are


@register_method("wolfmix", domains=("points",))
class WOLFMix(RSMix):
    """WOLFMix (Ren, Pan and Liu, ICML 2022): each cloud warped by PointWOLF (Kim et al., ICCV 2021), then RSMix.

    A cloud is warped around anchors, each with a turn, a scale and a shift of its own, each of the three with
    probability 1/2, and blended smoothly between them. Half of the batches are then mixed by RSMix; the others are
    warped only, and with ``mix=0`` all are. Lengths are in the unit sphere, or scale with the domain's ``radius``.

    Args:
        beta: concentration of RSMix's radius, Beta(beta, beta), > 0. Default 1.
        knn: as for RSMix. Default False.
        mix: the share of batches that RSMix mixes, in [0, 1]; 0 is PointWOLF alone. Default 0.5.
        anchors: how many, 1 to 1000. Default 4.
        sigma: width of the kernel that blends what the anchors make of a point, > 0. Default 0.5.
        degrees: the largest turn about each axis, >= 0. Default 10.
        scale: the largest scale along each axis, >= 1. Default 3.
        shift: the largest shift along each axis, >= 0. Default 0.25.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("wolfmix", domain="points", num_classes=4, degrees=5.0)
        >>> mixed, targets = mixer(torch.rand(4, 32, 3), torch.arange(4))
        >>> mixed.shape, targets.shape
        (torch.Size([4, 32, 3]), torch.Size([4, 4]))
    """

    p = 1.0

    def __init__(
        self,
        beta: float = 1.0,
        knn: bool = False,
        mix: float = 0.5,
        anchors: int = 4,
        sigma: float = 0.5,
        degrees: float = 10.0,
        scale: float = 3.0,
        shift: float = 0.25,
    ) -> None:
        super().__init__(beta, knn)
        self.mix = check_share("mix", mix)
        self.anchors = check_count("anchors", anchors, 1, 1000)
        self.sigma = check_positive("sigma", sigma)
        self.degrees = check_not_negative("degrees", degrees)
        self.scale = check_positive("scale", scale, limit=1e6)
        if self.scale < 1:
            raise ValueError(f"scale must be at least 1, got {scale}")
        self.shift = check_not_negative("shift", shift)
        if self.degrees > 1e6 or self.shift > 1e6:
            raise ValueError(f"degrees and shift must be at most 1e6, got {degrees} and {shift}")

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`."""
        warped = self._warp(elements.coords, elements.length_scale, *self._draw(elements, context))
        moved = replace(elements, coords=warped.to(elements.coords.dtype))
        if self._mixes(context):
            plan = super().plan(moved, context)
        else:
            ones = torch.ones(elements.num_samples, 1, device=warped.device)
            plan = MixPlan.pair(context.partners(elements), ones)
        return plan.displace(warped - elements.coords)

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`."""
        drawn = self._draw(elements, context)
        parts = elements.positions.split(elements.lengths.tolist())
        warped = torch.cat(
            [
                self._warp(part[None], elements.length_scale, *(each[k : k + 1] for each in drawn))[0]
                for k, part in enumerate(parts)
            ]
        )
        moved = replace(elements, coords=warped.to(elements.coords.dtype))
        if self._mixes(context):
            plan = super().plan_ragged(moved, context)
        else:
            pairing = context.pairing(elements, context.partners(elements), matched=False)
            plan = pairing.plan(torch.ones(len(pairing.own), device=warped.device))
        return plan.displace(warped - elements.positions)

    def _mixes(self, context: PlanContext) -> bool:
        return bool(torch.rand((), generator=context.generator) < self.mix)

    def _warp(self, coords: Tensor, length_scale: float | None, *drawn: Tensor) -> Tensor:
        start, angle, scale, shift, axes = drawn
        unit = 1.0 if length_scale is None else length_scale / _LENGTH_SCALE
        return functional.pointwolf(coords, start, angle, scale, shift * unit, axes, self.sigma * unit)

    def _draw(self, elements: ElementSet | RaggedSet, context: PlanContext) -> tuple[Tensor, ...]:
        """The first anchors (B,), angles, scales and shifts (B, M, 3), and the kernel's axes (B, 3)."""
        size, device = elements.num_samples, elements.coords.device
        uniform = draws.uniform((size, self.anchors, 16), context.generator, device)
        happens = uniform[:, :, 9:12] < 0.5  # each of the three, at each anchor
        some = _some_axes(uniform[:, :, 12])
        angle = (2 * uniform[:, :, 0:3] - 1) * math.radians(self.degrees) * happens[:, :, 0:1]
        scale = torch.where(some & happens[:, :, 1:2], 1 + (self.scale - 1) * uniform[:, :, 3:6], 1.0)
        shift = (2 * uniform[:, :, 6:9] - 1) * self.shift * (some & happens[:, :, 2:3])
        return uniform[:, 0, 13], angle, scale, shift, _some_axes(uniform[:, 0, 14]).float()


def _some_axes(uniform: Tensor) -> Tensor:
    """(..., 3) bool, one of the seven choices of at least one axis, by a number in [0, 1)."""
    choice = (uniform * 7).long() + 1
    return torch.stack([choice % 2 == 1, choice // 2 % 2 == 1, choice // 4 == 1], -1)
