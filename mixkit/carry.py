"""What a mixed batch shows of its samples, carried back to them through the plan."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit.plan import MixPlan

_LEAST = 1e-2  # of the mean: what is known as less than this could hardly come back


def carry_back(plan: MixPlan, magnitude: Tensor, remembered: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor]:
    """Bring the magnitudes of a mixed batch's elements to the samples, where the mix shows them: weight at least 1/2.

    Each part of a sample that a mixed sample shows is scaled to the mean that was remembered of it, so that parts seen
    at different times, and losses of any scale, agree. Where several parts show the same element, it gets their mean.

    Args:
        plan: the plan of M mixed samples of B samples.
        magnitude: (M, N) >= 0.
        remembered: (B, S) the saliency of the samples' stored elements so far, with a mean of about 1.
        index: (B, N) which stored element each element is, -1 for none. None: the same positions, S = N.

    Returns:
        The magnitudes (B, S), and (B, S) bool where there are any. A part whose sum is 0 or not finite shows nothing.
    """
    of_batch = remembered if index is None else remembered.gather(1, index.clamp_min(0))  # (B, N)
    positions = torch.arange(magnitude.shape[1], device=remembered.device) if plan.index is None else plan.index
    place = plan.source * magnitude.shape[1] + positions  # (M, K, N) in the batch's elements laid end to end
    shown = (plan.weight >= 0.5).expand_as(place)
    if index is not None:
        shown = shown & (index >= 0).flatten()[place]
    values = magnitude[:, None].expand_as(place)
    before, now, size = (_by_source(plan, part * shown) for part in (of_batch.flatten()[place], values, 1.0))
    scale = torch.maximum(before, _LEAST * size) / now
    usable = shown & torch.isfinite(scale) & (scale > 0)
    fresh = torch.where(usable, values * scale, 0)
    owner = place if index is None else plan.source * remembered.shape[1] + index.flatten()[place].clamp_min(0)
    total = remembered.new_zeros(remembered.numel()).index_add_(0, owner.flatten(), fresh.flatten()).view_as(remembered)
    count = (
        remembered.new_zeros(remembered.numel())
        .index_add_(0, owner.flatten(), usable.flatten().float())
        .view_as(remembered)
    )
    return total / count.clamp_min(1), count > 0


def _by_source(plan: MixPlan, values: Tensor) -> Tensor:
    """The sum of values (M, K, N) over the elements with the same mixed sample and source; (M, K, 1) or (M, K, N)."""
    if plan.source.shape[2] == 1:
        return values.sum(2, keepdim=True)
    rows = torch.arange(plan.num_outputs, device=values.device)[:, None, None]
    pair = rows * plan.num_samples + plan.source
    sums = values.new_zeros(plan.num_outputs * plan.num_samples)
    return sums.scatter_add_(0, pair.flatten(), values.flatten())[pair]
