"""A number of elements replaced by their partners: PointCutMix."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit.checks import check_assignment, check_coords, check_index, check_numbers, check_partner, check_rows
from mixkit.elements import take_elements
from mixkit.plan import MixPlan


def pointcutmix_r(partner: Tensor, assignment: Tensor | None, keys: Tensor, count: Tensor) -> MixPlan:
    """Replace the ``count`` elements with the smallest keys; random keys make it PointCutMix-R (Zhang et al. 2022).

    Args:
        partner: (B,) long, the partner of each sample.
        assignment: (B, N) long, the partner's element that each element is paired with; None: the same.
        keys: (B, N), the order in which elements are replaced; of equal keys the first element comes first.
        count: (B,) or (1,) long, how many, 0 to N.

    Returns:
        A plan with K = 2, term 0 the sample itself, weights 0 and 1.

    Raises:
        TypeError: draws of another type.
        ValueError: draws of another shape, or out of range (read on the CPU only).

    Example:
        >>> keys = torch.tensor([[0.3, 0.1, 0.2], [0.1, 0.2, 0.3]])
        >>> pointcutmix_r(torch.tensor([1, 0]), None, keys, count=torch.tensor([2])).weight[:, 0]
        tensor([[1., 0., 0.],
                [0., 0., 1.]])
    """
    size = check_partner(partner)
    num_elements = check_rows("keys", keys, size)
    check_assignment(assignment, size, num_elements)
    check_numbers("count", count, ((size,), (1,)), 0, num_elements, integer=True)
    rank = keys.argsort(dim=1, stable=True).argsort(1)
    return MixPlan.pair(partner, (rank >= count[:, None]).to(torch.float32), assignment)


def pointcutmix_k(coords: Tensor, partner: Tensor, assignment: Tensor | None, centre: Tensor, count: Tensor) -> MixPlan:
    """Replace the ``count`` elements nearest to a centre: PointCutMix-K (Zhang et al. 2022).

    Args:
        coords: (B, N, D), where the elements are.
        partner: (B,) long, the partner of each sample.
        assignment: (B, N) long, the partner's element that each element is paired with; None: the same.
        centre: (B,) long, the element at the centre.
        count: (B,) or (1,) long, how many, 0 to N.

    Returns:
        A plan with K = 2, term 0 the sample itself, weights 0 and 1.

    Raises:
        TypeError: as `pointcutmix_r`.
        ValueError: as `pointcutmix_r`, or coordinates that are not finite.

    Example:
        >>> line = torch.tensor([[[0.0], [1.0], [2.0], [3.0]]]).expand(2, -1, -1)
        >>> centre, count = torch.tensor([3, 0]), torch.tensor([2])
        >>> pointcutmix_k(line, torch.tensor([1, 0]), None, centre, count).weight[:, 0]
        tensor([[1., 1., 0., 0.],
                [0., 0., 1., 1.]])
    """
    check_coords(coords)
    check_partner(partner, len(coords))
    check_index("centre", centre, coords.shape[:1], coords.shape[1])
    coords = coords.to(torch.promote_types(coords.dtype, torch.float32))
    distance = (coords - take_elements(coords, centre)[:, None]).square().sum(2)
    return pointcutmix_r(partner, assignment, distance, count)
