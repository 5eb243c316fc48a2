"""The scene methods' pure functions: draws in, a plan out. Each puts parts of a scene and of its partner together.

Example:
    >>> scenes = RaggedSet(torch.randn(7, 3), torch.randn(7, 1), offsets=torch.tensor([0, 3, 7]))
    >>> plan = mix3d(scenes, partner=torch.tensor([1, 0]))
    >>> plan.apply(scenes.values).shape  # in each of two scenes all seven points
    torch.Size([14, 1])
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mixkit.ragged import Packed, Pairing, RaggedPlan, RaggedSet
from mixkit.ragged.matching import match
from mixkit.ragged.pairing import pair_up
from mixkit.ragged.union import partner_rows, union


def mix3d(elements: RaggedSet, partner: Tensor) -> RaggedPlan:
    """The union of two scenes, the partner moved so that both have their centres at one place (Nekrasov et al. 2021).

    The centre is the mean of the points on the ground plane, the first two coordinates; heights stay.

    Example:
        >>> scenes = RaggedSet(torch.randn(7, 3), torch.randn(7, 1), offsets=torch.tensor([0, 3, 7]))
        >>> swap = torch.tensor([1, 0])
        >>> mix3d(scenes, swap).offsets.diff()  # both scenes, in each
        tensor([7, 7])
    """
    centre = _centre(elements)
    rows, output, _ = partner_rows(elements, partner)
    others = partner[output] != output  # a scene that is its own partner stays as it is
    rows, output = rows[others], output[others]
    shift = (centre - centre[partner])[output]
    own = torch.ones(len(elements.coords), dtype=torch.bool, device=rows.device)
    return union(elements, own, rows, output, shift)


def lasermix(elements: RaggedSet, partner: Tensor, edges: Tensor, odd: Tensor) -> RaggedPlan:
    """Bands of inclination in turn from a scene and its partner (Kong et al. 2023).

    Args:
        elements: scenes with the sensor at the origin.
        partner: (B,) long.
        edges: (B, E) inclinations in radians, rising, between which the bands lie; NaN for no edge.
        odd: (B,) bool, the sample has the bands of odd number, counted from below, rather than the even ones.

    Example:
        >>> scenes = RaggedSet(torch.randn(7, 3), torch.randn(7, 1), offsets=torch.tensor([0, 3, 7]))
        >>> swap = torch.tensor([1, 0])
        >>> none = torch.full((2, 1), float("nan"))  # one band, of even number: all of the sample
        >>> lasermix(scenes, swap, none, odd=torch.tensor([False, False])).offsets.diff()
        tensor([3, 4])
    """
    inclination = _inclination(elements)

    def band(rows: Tensor, output: Tensor) -> Tensor:
        return (inclination[rows, None] >= edges[output]).sum(1) % 2 == 1

    sample = elements.sample
    own = band(torch.arange(len(sample), device=sample.device), sample) == odd[sample]
    rows, output, _ = partner_rows(elements, partner)
    pasted = band(rows, output) != odd[output]
    return union(elements, own, rows[pasted], output[pasted])


def polarmix(
    elements: RaggedSet,
    partner: Tensor,
    start: Tensor,
    width: Tensor,
    instances: Tensor | None = None,
    angles: Tensor | None = None,
) -> RaggedPlan:
    """A sector of azimuth from the partner, and its instances rotated in (Xiao et al. 2022).

    Args:
        elements: scenes with the sensor at the origin.
        partner: (B,) long.
        start: (B,) azimuth in radians at which the sector begins.
        width: (B,) the sector's width in radians, in [0, 2 pi]; 0 swaps none.
        instances: (L,) bool, the points of the classes whose instances are pasted. Default None: none.
        angles: (B, A) the rotations about the vertical axis of each sample's pasted instances, NaN for none. Default
            None.

    Example:
        >>> scenes = RaggedSet(torch.randn(7, 3), torch.randn(7, 1), offsets=torch.tensor([0, 3, 7]))
        >>> swap = torch.tensor([1, 0])
        >>> polarmix(scenes, swap, start=torch.zeros(2), width=torch.tensor([0.0, 2 * math.pi])).offsets.diff()
        tensor([3, 3])
    """
    coords = elements.positions
    azimuth = torch.atan2(coords[:, 1], coords[:, 0])

    def inside(rows: Tensor, output: Tensor) -> Tensor:
        return torch.remainder(azimuth[rows] - start[output], 2 * math.pi) < width[output]

    sample = elements.sample
    own = ~inside(torch.arange(len(sample), device=sample.device), sample)
    rows, output, _ = partner_rows(elements, partner)
    pasted = inside(rows, output)
    parts, outputs = [rows[pasted]], [output[pasted]]
    shifts = [coords.new_zeros(len(parts[0]), coords.shape[1])]
    if instances is not None and angles is not None:
        for angle in angles.unbind(1):
            turned = instances[rows] & angle[output].isfinite()
            parts.append(rows[turned])
            outputs.append(output[turned])
            shifts.append(_turned(coords[rows[turned]], angle[output[turned]]) - coords[rows[turned]])
    order = torch.cat(outputs).argsort(stable=True)
    return union(elements, own, *(torch.cat(each)[order] for each in (parts, outputs, shifts)))


def sagemix_scene(
    elements: RaggedSet,
    partner: Tensor,
    query: Tensor,
    log_ratio: Tensor,
    radius: float,
    tolerance: float = 0.05,
) -> RaggedPlan:
    """The partner's surroundings of a salient query, mixed smoothly into the same place of the scene.

    Within the radius of the query on the ground plane the points of both are paired one to one at least total distance,
    as many as the one of both that has more has, and mixed by SageMix's weights (Lee et al. 2022): with d the distance
    of the partner's point from the query, the scene's own weight is
    ``sigmoid(log_ratio + (d^2 - (radius / 2)^2) / (2 (radius / 4)^2))``. Beyond the radius the scene stays as it is;
    where it has no points, the partner's are put in, those of at least half the weight.

    Args:
        elements: the scenes.
        partner: (B,) long.
        query: (B,) long, the row of each partner's query.
        log_ratio: (B,) log(pi / (1 - pi)) of the prior.
        radius: > 0, in the units of the coordinates.
        tolerance: how far the pairing may be from the best, see `mixkit.assign`. Default 0.05.

    Example:
        >>> scenes = RaggedSet(torch.randn(7, 3), torch.randn(7, 1), offsets=torch.tensor([0, 3, 7]))
        >>> swap = torch.tensor([1, 0])
        >>> plan = sagemix_scene(scenes, swap, query=torch.tensor([3, 0]), log_ratio=torch.zeros(2), radius=0.5)
        >>> plan.num_samples
        2
    """
    coords, sample = elements.positions, elements.sample
    place = coords[query][:, :2]
    rows, output, _ = partner_rows(elements, partner)
    near = _ground(coords[:, :2] - place[sample]) < radius
    distance = _ground(coords[rows, :2] - place[output])
    partner_near = distance < radius
    own_count = torch.bincount(sample[near], minlength=len(partner))
    partner_count = torch.bincount(output[partner_near], minlength=len(partner))
    both = (own_count > 0) & (partner_count > 0)
    steep = 0.5 / (radius / 4) ** 2

    def own_weight(squared: Tensor, output: Tensor) -> Tensor:
        return torch.sigmoid(log_ratio.to(squared.dtype)[output] + (squared - (radius / 2) ** 2) * steep)

    # where the scene has points there: pairs of both
    mixed, mixed_in = near & both[sample], partner_near & both[output]
    pairing = _pair_regions(coords, mixed.nonzero()[:, 0], sample[mixed], rows[mixed_in], output[mixed_in], tolerance)
    paired_output = both.nonzero()[:, 0][pairing.sample]
    squared = (coords[pairing.other, :2] - place[paired_output]).square().sum(1)
    weight = own_weight(squared, paired_output)
    # where it has none: the partner's points alone
    alone = partner_near & ~both[output] & (own_weight(distance.square(), output) <= 0.5)
    still = (~mixed).nonzero()[:, 0]
    first = torch.cat([still, pairing.own, rows[alone]])
    second = torch.cat([still, pairing.other, rows[alone]])
    weights = torch.cat([torch.ones(len(still)).to(weight), weight, torch.ones(int(alone.sum())).to(weight)])
    outputs = torch.cat([sample[still], paired_output, output[alone]])
    order = outputs.argsort(stable=True)
    offsets = torch.searchsorted(outputs[order], torch.arange(len(partner) + 1, device=order.device))
    index = torch.stack([first[order], second[order]])
    weights = weights[order].float()
    return RaggedPlan(index, torch.stack([weights, 1 - weights]), offsets, elements.offsets)


def _pair_regions(
    coords: Tensor, own: Tensor, own_scene: Tensor, other: Tensor, other_scene: Tensor, tolerance: float
) -> Pairing:
    """Pairs of the rows of each scene's region and of its partner's, as many as the larger of both has."""
    scenes, own_region = own_scene.unique(return_inverse=True)
    other_region = torch.searchsorted(scenes, other_scene)
    count = len(scenes)
    if not count:
        none = own.new_zeros(0)
        return Pairing(none, none, own.new_zeros(1), RaggedSet(coords[:1], coords[:1, :0], own.new_tensor([0, 1])))
    rows = torch.cat([own, other])
    packed = Packed.from_batch(rows, torch.cat([own_region, count + other_region]), num_samples=2 * count)
    regions = RaggedSet(coords[rows], coords[rows, :0], packed.offsets)
    across = torch.arange(2 * count, device=rows.device).roll(count)  # each region's counterpart
    pairing = pair_up(regions, across, "larger")
    offsets = pairing.offsets[: count + 1]  # the first half begins with the scenes' own
    end = int(offsets[-1])
    first, second = rows[pairing.own[:end]], rows[pairing.other[:end]]
    matched = match(Packed(coords[first], offsets), Packed(coords[second], offsets), tolerance=tolerance)
    return Pairing(first, second[matched], offsets, regions)


def _centre(elements: RaggedSet) -> Tensor:
    """(B, D) the mean of each scene's points on the ground plane, at height 0."""
    coords = elements.positions
    total = coords.new_zeros(elements.num_samples, coords.shape[1], dtype=torch.float64)
    centre = total.index_add_(0, elements.sample, coords.double()) / elements.lengths[:, None]
    centre[:, 2:] = 0
    return centre.to(coords.dtype)


def _inclination(elements: RaggedSet) -> Tensor:
    coords = elements.positions
    return torch.atan2(coords[:, 2], _ground(coords[:, :2]))


def _ground(vectors: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vectors, dim=1)


def _turned(coords: Tensor, angle: Tensor) -> Tensor:
    """Points turned about the vertical axis, each by its angle."""
    turned = coords.clone()
    turned[:, 0] = angle.cos() * coords[:, 0] - angle.sin() * coords[:, 1]
    turned[:, 1] = angle.sin() * coords[:, 0] + angle.cos() * coords[:, 1]
    return turned
