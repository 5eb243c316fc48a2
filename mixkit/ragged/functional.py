"""The methods' pure functions on samples of different sizes: a pairing and draws in, a plan out.

They are the twins of those in `mixkit.functional`: on samples of one size both give the same mix.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mixkit.ragged.elements import RaggedSet, rank
from mixkit.ragged.packed import sample_of
from mixkit.ragged.pairing import Pairing
from mixkit.ragged.plan import RaggedPlan
from mixkit.ragged.union import partner_rows


def mixup(pairing: Pairing, ratio: Tensor) -> RaggedPlan:
    """Every element of a sample at the same ratio, (B,) or (1,): Mixup, and with a matching PointMixup."""
    return pairing.plan(ratio.float().expand(len(pairing.offsets) - 1)[pairing.sample])


def sagemix(pairing: Pairing, query: Tensor, partner_query: Tensor, log_ratio: Tensor, sigma: float) -> RaggedPlan:
    """Each element by its distance from the queries: `mixkit.functional.sagemix`.

    Args:
        pairing: which elements are mixed.
        query: (B,) long, the row of each sample's query.
        partner_query: (B,) long, the row of its partner's.
        log_ratio: (B,) log(pi / (1 - pi)) of the prior.
        sigma: bandwidth > 0 in the units of the coordinates.
    """
    coords, sample = pairing.elements.positions, pairing.sample
    from_own = (coords[pairing.own] - coords[query][sample]).square().sum(1)
    from_other = (coords[pairing.other] - coords[partner_query][sample]).square().sum(1)
    scale = 0.5 / min(max(float(sigma), 1e-15), 1e15) ** 2
    return pairing.plan(torch.sigmoid(log_ratio.to(coords.dtype)[sample] + (from_other - from_own) * scale))


def cutmix(pairing: Pairing, centre: Tensor, half: Tensor) -> RaggedPlan:
    """The elements in a box, by its centre and half its sides (B or 1, D), replaced: CutMix and SaliencyMix."""
    count, sample = len(pairing.offsets) - 1, pairing.sample
    low, high = (bound.expand(count, -1)[sample] for bound in (centre - half, centre + half))
    places = pairing.elements.positions[pairing.own]
    return pairing.plan(((places < low) | (places >= high)).any(1))


def pointcutmix(pairing: Pairing, keys: Tensor, count: Tensor) -> RaggedPlan:
    """The ``count`` (B,) elements of each mix with the smallest keys (L',) replaced: PointCutMix."""
    return pairing.plan(rank(keys, pairing.offsets) >= count[pairing.sample])


def rsmix(
    pairing: Pairing,
    partner: Tensor,
    query: Tensor,
    partner_query: Tensor,
    radius: Tensor,
    keys: Tensor,
    *,
    knn: bool = False,
) -> RaggedPlan:
    """A ball of each sample replaced by one of its partner, moved to its centre: `mixkit.functional.rsmix`.

    Args:
        pairing: whose own elements are those of the mix before the ball is erased; its partners' are not used.
        partner: (B,) long.
        query: (B,) long, the row at the centre of each sample's ball.
        partner_query: (B,) long, the row at the centre of its partner's.
        radius: (B,) or (1,), >= 0, in the units of the coordinates; with ``knn``, the share of half the elements.
        keys: the order in which each partner's elements are added, smallest first; one for each of them, (L,) where
            the partners are a permutation.
        knn: a ball is a number of nearest elements instead of those within the radius. Default False.
    """
    elements, sample = pairing.elements, pairing.sample
    coords, lengths = elements.positions, elements.lengths
    radius = radius.expand(len(partner))
    erased = _ball(coords[pairing.own], coords[query][sample], pairing.offsets, radius, knn)
    partner_row, of, starts = partner_rows(elements, partner)
    added = _ball(coords[partner_row], coords[partner_query][of], starts, radius, knn)
    order = rank(keys.masked_fill(~added, torch.inf), starts)
    sorted_rows = torch.empty_like(partner_row)
    sorted_rows[starts[of] + order] = partner_row  # of each partner the added ones first, by their keys
    number = torch.zeros_like(lengths).scatter_add_(0, of, added.long())
    counted = erased.long().cumsum(0)
    before = torch.cat([counted.new_zeros(1), counted])[pairing.offsets[:-1]]
    place = (counted - 1 - before[sample]).clamp_min(0) % number[sample]
    other = torch.where(erased, sorted_rows[starts[sample] + place], pairing.own)
    moved = Pairing(pairing.own, other, pairing.offsets, elements)
    shift = (coords[query] - coords[partner_query])[sample]
    return moved.plan(~erased, shift)


def _ball(points: Tensor, around: Tensor, offsets: Tensor, radius: Tensor, knn: bool) -> Tensor:
    """(L',) bool which points lie in their sample's ball, half of them at most and the nearest at least."""
    count, sample = offsets.diff(), sample_of(offsets, len(points))
    cap = (count // 2).clamp_min(1)
    distance = torch.linalg.vector_norm(points - around, dim=1)
    place = rank(distance, offsets)
    within = place < torch.ceil(radius * cap)[sample] if knn else distance <= radius[sample]
    return within & (place < cap[sample]) | (place == 0)


def frame(elements: RaggedSet) -> tuple[Tensor, Tensor]:
    """The lowest corner and the sides of the box around each sample, (B, D) each."""
    rows, lengths = elements.positions, elements.lengths
    low, high = (torch.segment_reduce(rows, bound, lengths=lengths, axis=0) for bound in ("min", "max"))
    return low, high - low


def guidedmixup(pairing: Pairing, saliency: Tensor) -> RaggedPlan:
    """Each element in proportion to its saliency (L,) and that of its pair: `mixkit.functional.guidedmixup`."""
    own, other = saliency[pairing.own], saliency[pairing.other]
    total = own + other
    return pairing.plan((own / total).masked_fill(total == 0, 0.5))


def smoothmix(pairing: Pairing, centre: Tensor, sigma: Tensor) -> RaggedPlan:
    """Each element by its distance from a centre (B or 1, D), by a Gaussian of sigma (B or 1,): SmoothMix."""
    count, sample = len(pairing.offsets) - 1, pairing.sample
    away = pairing.elements.positions[pairing.own] - centre.expand(count, -1)[sample]
    scale = 0.5 / sigma.clamp(1e-15, 1e15).square()
    return pairing.plan(-torch.expm1(-away.square().sum(1) * scale.expand(count)[sample]))


def labelled(plan: RaggedPlan, share: Tensor) -> RaggedPlan:
    """A pair's plan in which the labels of each sample and its partner weigh as (B, 2) says."""
    lengths = plan.offsets.diff()
    return replace(plan, label_weight=(share / lengths[:, None]).T[:, plan.output])


def resizemix(
    pairing: Pairing, partner: Tensor, query: Tensor, scale: Tensor, count: Tensor, keys: Tensor
) -> RaggedPlan:
    """The partner's shape, made smaller, in the place of a part of each sample: `mixkit.functional.resizemix_set`.

    Args:
        pairing: whose own elements are those of the mix before some are erased; its partners' are not used.
        partner: (B,) long.
        query: (B,) long, the row around which elements are erased.
        scale: (B,) or (1,), by which the partner's coordinates are multiplied.
        count: (B,) long, how many elements are replaced; where the partner has fewer, they are repeated.
        keys: the order in which each partner's elements are taken, smallest first, as in `rsmix`.
    """
    elements, sample = pairing.elements, pairing.sample
    coords = elements.positions
    around = coords[query][sample]
    place = rank((coords[pairing.own] - around).square().sum(1), pairing.offsets)
    erased = place < count[sample]
    partner_row, of, starts = partner_rows(elements, partner)
    sorted_rows = torch.empty_like(partner_row)
    sorted_rows[starts[of] + rank(keys, starts)] = partner_row
    taken = sorted_rows[starts[sample] + place % elements.lengths[partner][sample]]
    other = torch.where(erased, taken, pairing.own)
    low, sides = frame(elements)
    middle = (low + sides / 2)[partner][sample]
    moved = around + (coords[other] - middle) * scale.expand(len(partner))[sample, None]
    return Pairing(pairing.own, other, pairing.offsets, elements).plan(~erased, moved - coords[other])
