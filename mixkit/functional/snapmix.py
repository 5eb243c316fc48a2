"""A box of the partner resized into another box of the sample, each label by the importance that it shows: SnapMix."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mixkit.checks import check_float, check_numbers
from mixkit.elements import take_samples
from mixkit.functional.resizemix import check_box
from mixkit.plan import MixPlan
from mixkit.weighing import share_of_total


def snapmix(
    grid: Sequence[int],
    partner: Tensor,
    start: Tensor,
    size: Tensor,
    partner_start: Tensor,
    partner_size: Tensor,
    importance: Tensor,
) -> MixPlan:
    """Paste a box of the partner, resized, into a box of the sample (Huang, Wang and Tao, AAAI 2021, Eq. 3 to 6).

    The sample's label weighs 1 less the share of its importance that the box covers; the partner's the share of its
    importance that its own box holds. They need not sum to 1. A box without cells, of either, leaves the sample as it
    is.

    Args:
        grid: the grid's sides, such as (H, W).
        partner: (B,) long, the partner of each sample.
        start: (B, D) or (1, D) long, the first cell of the sample's box along each side of the grid.
        size: (B, D) or (1, D) long, its cells along each side.
        partner_start: (B, D) or (1, D) long, the same of the partner's box.
        partner_size: (B, D) or (1, D) long, the same of the partner's box.
        importance: (B, N) >= 0, how much each element matters, such as a class activation map.

    Returns:
        A plan with K = 1 + 2^D terms: the sample itself, and what a linear interpolation reads (aligned corners).

    Raises:
        TypeError: arguments of another type.
        ValueError: arguments of another shape, or boxes that leave the grid (read on the CPU only).

    Example:
        >>> start, size = torch.tensor([[0]]), torch.tensor([[2]])  # the first half of a line of four cells, of both
        >>> importance = torch.tensor([[0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
        >>> plan = snapmix((4,), torch.tensor([1, 0]), start, size, start, size, importance)
        >>> plan.targets(torch.tensor([0, 1]), num_classes=2)
        tensor([[1.0000, 0.5000],
                [0.0000, 0.5000]])
    """
    sides = check_box(grid, partner, start, size)
    check_box(grid, partner, partner_start, partner_size, "partner_")
    count = len(partner)
    start, size, partner_start, partner_size = torch.broadcast_tensors(start, size, partner_start, partner_size)
    check_float("importance", importance)
    check_numbers("importance", importance.nan_to_num(), ((count, math.prod(sides)),))
    empty = (size == 0).any(1, keepdim=True) | (partner_size == 0).any(1, keepdim=True)
    size, partner_size = size.masked_fill(empty, 0), partner_size.masked_fill(empty, 0)
    inside, corners = [], []
    for axis, side in enumerate(sides):
        local = torch.arange(side, device=start.device) - start[:, axis, None]  # (R, side)
        inside.append((local >= 0) & (local < size[:, axis, None]))
        steps = (partner_size[:, axis, None] - 1).clamp_min(0)
        place = local * steps / (size[:, axis, None] - 1).clamp_min(1)
        place = place.clamp_min(0).minimum(steps)
        first = place.floor().long()
        after = (first + 1).minimum(steps)
        part = (place - first).float()
        corners.append(
            [
                (one + partner_start[:, axis, None].clamp_max(side - 1), share)
                for one, share in ((first, 1 - part), (after, part))
            ]
        )
    box = _outer([each.float() for each in inside], torch.mul).bool()
    own = torch.arange(box.shape[1], device=box.device)
    terms = [(own.expand(len(box), -1), (~box).float())]
    strides = [math.prod(sides[axis + 1 :]) for axis in range(len(sides))]
    for chosen in itertools.product(*corners):
        index = _outer([place * stride for (place, _), stride in zip(chosen, strides, strict=True)], torch.add)
        weight = _outer([share for _, share in chosen], torch.mul)
        terms.append((torch.where(box, index, own), torch.where(box, weight, 0)))
    source = torch.stack([torch.arange(count, device=partner.device), *[partner] * (len(terms) - 1)], 1)[:, :, None]
    index = torch.stack([index.expand(count, -1) for index, _ in terms], 1)
    weight = torch.stack([weight.expand(count, -1) for _, weight in terms], 1)
    share = share_of_total(importance)
    held = _outer([_within(partner_start, partner_size, axis, side) for axis, side in enumerate(sides)], torch.mul)
    labels = torch.zeros(count, len(terms), 1, dtype=share.dtype, device=share.device)
    labels[:, 0, 0] = (share * ~box).sum(1)
    labels[:, 1, 0] = (take_samples(share, partner) * held).sum(1)
    return MixPlan(source, index, weight, keeps_own=True, label_weight=labels)


def _within(start: Tensor, size: Tensor, axis: int, side: int) -> Tensor:
    local = torch.arange(side, device=start.device) - start[:, axis, None]
    return ((local >= 0) & (local < size[:, axis, None])).float()


def _outer(axes: list[Tensor], combine: object) -> Tensor:
    """(R, N) of numbers (R, side) along each axis of a grid, combined place by place."""
    total = axes[0]
    for each in axes[1:]:
        total = combine(total[..., None], each.view(len(each), *[1] * (total.dim() - 1), -1))  # type: ignore[operator]
    return total.flatten(1)
