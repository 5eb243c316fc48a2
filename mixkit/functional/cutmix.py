"""A box of one sample replaced by its partner's elements: CutMix and SaliencyMix."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from mixkit.plan import MixPlan


def cutmix(coords: Tensor, partner: Tensor, assignment: Tensor | None, centre: Tensor, half: Tensor) -> MixPlan:
    """Replace the elements with ``centre - half <= p < centre + half`` on every axis (Yun et al. 2019).

    With the box around the partner's most salient element it is SaliencyMix (Uddin et al. 2021), hence the second name.

    Args:
        coords: (B, N, D), where the elements are.
        partner: (B,) long, the partner of each sample.
        assignment: (B, N) long, the partner's element that each element is paired with; None: the same.
        centre: (B, D) or (1, D), the centre of the box.
        half: (B, D) or (1, D), half its sides, >= 0.

    Returns:
        A plan with K = 2, term 0 the sample itself, weights 0 and 1.

    Raises:
        ValueError: boxes of another dimension than the coordinates.
    """
    if any(side.dim() != 2 or side.shape[1] != coords.shape[2] for side in (centre, half)):
        got = f"{tuple(centre.shape)} and {tuple(half.shape)}"
        raise ValueError(f"centre and half must be (B, {coords.shape[2]}) or (1, {coords.shape[2]}), got {got}")
    if coords.stride(0) == 0:  # the same places in every sample: as many weights as there are boxes
        coords = coords[:1]
    centre, half, places = (
        centre[:, :, None],
        half[:, :, None],
        coords.mT.contiguous(),
    )  # (B, D, N), a row for each axis
    outside = (places < centre - half).logical_or_(places >= centre + half)
    weight = functools.reduce(torch.logical_or, outside.unbind(1)).to(torch.float32)
    return MixPlan.pair(partner, weight, assignment)


saliencymix = cutmix
