"""A box of one sample replaced by its partner's elements: CutMix and SaliencyMix."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from mixkit.checks import check_assignment, check_coords, check_numbers, check_partner
from mixkit.elements import same_in_all
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
        TypeError: draws of another type.
        ValueError: draws of another shape, or out of range; coordinates that are not finite (all
            read on the CPU only).

    Example:
        >>> line = torch.tensor([[[0.0], [1.0], [2.0], [3.0]]]).expand(2, -1, -1)
        >>> box = {"centre": torch.tensor([[2.0]]), "half": torch.tensor([[1.0]])}
        >>> cutmix(line, torch.tensor([1, 0]), None, **box).weight[0, 0]
        tensor([1., 0., 0., 1.])
    """
    check_coords(coords)
    size, num_elements, dim = coords.shape
    check_partner(partner, size)
    check_assignment(assignment, size, num_elements)
    check_numbers("centre", centre, ((size, dim), (1, dim)))
    check_numbers("half", half, ((size, dim), (1, dim)), 0)
    if same_in_all(coords):  # as many weights as there are boxes
        coords = coords[:1]
    centre, half, places = (
        centre[:, :, None],
        half[:, :, None],
        coords.mT.contiguous(),
    )  # (B, D, N), a row per axis
    outside = (places < centre - half).logical_or_(places >= centre + half)
    weight = functools.reduce(torch.logical_or, outside.unbind(1)).to(torch.float32)
    return MixPlan.pair(partner, weight, assignment)


saliencymix = cutmix
