"""A ball of one cloud put in the place of a ball of another: RSMix."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit.checks import check_coords, check_flag, check_index, check_numbers, check_partner
from mixkit.elements import take_elements, take_samples
from mixkit.plan import MixPlan


def rsmix(
    coords: Tensor,
    partner: Tensor,
    centre: Tensor,
    partner_centre: Tensor,
    radius: Tensor,
    keys: Tensor,
    *,
    knn: bool = False,
) -> MixPlan:
    """Replace a ball of the sample by a ball of its partner, moved to the same centre (Lee et al., CVPR 2021).

    The points within the radius of the sample's centre, at most N // 2 of them, nearest first, are erased; those within
    the radius of the partner's centre, as many at most, are put in their places. Where the two counts differ, the added
    points are dropped or repeated in the order of ``keys``. With ``knn`` both balls hold the same number of points, so
    that none is repeated.

    Args:
        coords: (B, N, D), where the points are.
        partner: (B,) long, the partner of each sample.
        centre: (B,) long, the sample's point at the centre of its ball.
        partner_centre: (B,) long, the partner's, in the partner's own order.
        radius: (B,) or (1,), >= 0, in the units of the coordinates; with ``knn``, the share of N // 2.
        keys: (B, N), the order of the partner's points, smallest first.
        knn: a ball is the ``ceil(radius * (N // 2))`` nearest points instead of those within the radius. Default False.

    Returns:
        A plan with K = 2, term 0 the sample itself, weights 0 and 1, and a shift of the partner's points; the partner's
        label weighs the share of points added.

    Raises:
        TypeError: draws of another type.
        ValueError: draws of another shape, or out of range; coordinates that are not finite (all
            read on the CPU only).

    Example:
        >>> coords = torch.rand(2, 8, 3)
        >>> centre, radius = torch.tensor([0, 1]), torch.tensor([0.4])
        >>> plan = rsmix(coords, torch.tensor([1, 0]), centre, centre, radius, keys=torch.rand(2, 8))
        >>> plan.apply_coords(coords).shape, bool((plan.weight[:, 0].sum(1) >= 4).all())  # at least half stay
        (torch.Size([2, 8, 3]), True)
    """
    check_coords(coords)
    size, num_points, _ = coords.shape
    check_partner(partner, size)
    check_index("centre", centre, (size,), num_points)
    check_index("partner_centre", partner_centre, (size,), num_points)
    check_numbers("radius", radius, ((size,), (1,)), 0)
    check_numbers("keys", keys, ((size, num_points),))
    check_flag("knn", knn)
    cap = max(num_points // 2, 1)
    positions = coords.to(torch.promote_types(coords.dtype, torch.float32))
    partner_positions = take_samples(positions, partner)
    from_a, from_b = take_elements(positions, centre), take_elements(partner_positions, partner_centre)  # (B, D)

    def ball(points: Tensor, around: Tensor) -> Tensor:
        distance = torch.linalg.vector_norm(points - around[:, None], dim=2)
        rank = distance.argsort(dim=1, stable=True).argsort(1)
        within = rank < torch.ceil(radius[:, None] * cap) if knn else distance <= radius[:, None]
        return within & (rank < cap) | (rank == 0)  # the centre at least

    erased, added = ball(positions, from_a), ball(partner_positions, from_b)
    order = keys.masked_fill(~added, torch.inf).argsort(dim=1, stable=True)  # the added ones first, by their keys
    place = (erased.cumsum(1) - 1).clamp_min(0) % added.sum(1, keepdim=True)
    own_place = torch.arange(num_points, device=coords.device).expand_as(order)
    plan = MixPlan.pair(partner, (~erased).to(torch.float32), torch.where(erased, order.gather(1, place), own_place))
    shift = torch.stack([torch.zeros_like(from_a), from_a - from_b], 1)
    return MixPlan(plan.source, plan.index, plan.weight, shift, keeps_own=True)
