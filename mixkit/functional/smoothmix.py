"""A soft disc of the partner inside the sample: SmoothMix."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mixkit.checks import check_assignment, check_coords, check_numbers, check_partner
from mixkit.elements import same_in_all
from mixkit.plan import MixPlan


def smoothmix(coords: Tensor, partner: Tensor, assignment: Tensor | None, centre: Tensor, sigma: Tensor) -> MixPlan:
    """The partner weighs ``exp(-|p - centre|^2 / (2 sigma^2))`` (Lee, Zaheer, Astrid and Lee, CVPRW 2020, Eq. 2).

    Args:
        coords: (B, N, D), where the elements are.
        partner: (B,) long, the partner of each sample.
        assignment: (B, N) long, the partner's element that each element is paired with; None: the same.
        centre: (B, D) or (1, D), where the partner shows whole.
        sigma: (B,) or (1,) > 0, in the units of the coordinates.

    Returns:
        A plan with K = 2, term 0 the sample itself, a weight per element.

    Raises:
        TypeError: draws of another type.
        ValueError: draws of another shape, or out of range; coordinates that are not finite (all read on the CPU only).

    Example:
        >>> line = torch.tensor([[[0.0], [1.0], [2.0]]]).expand(2, -1, -1)
        >>> disc = torch.tensor([[1.0]]), torch.tensor([1.0])
        >>> smoothmix(line, torch.tensor([1, 0]), None, *disc).weight[0, 0]
        tensor([0.3935, 0.0000, 0.3935])
    """
    check_coords(coords)
    size, num_elements, dim = coords.shape
    check_partner(partner, size)
    check_assignment(assignment, size, num_elements)
    check_numbers("centre", centre, ((size, dim), (1, dim)), -1e18, 1e18)
    check_numbers("sigma", sigma, ((size,), (1,)), 0, math.inf)
    if same_in_all(coords):  # as many weights as there are discs
        coords = coords[:1]
    away = (coords.to(torch.promote_types(coords.dtype, torch.float32)) - centre[:, None]).square().sum(2)
    # bounds far beyond any use keep the factor finite in float32
    scale = 0.5 / sigma.to(away.dtype).clamp(1e-15, 1e15).square()
    return MixPlan.pair(partner, -torch.expm1(-away * scale[:, None]).float(), assignment)
