"""The sample's region of least saliency under the partner's of most: SMMix's mixing of regions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mixkit.checks import check_count, check_numbers, check_partner
from mixkit.elements import take_samples
from mixkit.functional.resizemix import paste
from mixkit.plan import MixPlan
from mixkit.weighing import share_of_total


def smmix(
    grid: Sequence[int], partner: Tensor, saliency: Tensor, size: Sequence[int], step: Sequence[int] | None = None
) -> MixPlan:
    """Paste the partner's box of most saliency over the sample's box of least (Chen et al., ICCV 2023, Eq. 3 to 5).

    Args:
        grid: the grid's sides, such as (H, W).
        partner: (B,) long, the partner of each sample.
        saliency: (B, N), such as attention; a row that says nothing, or is not finite, counts as even.
        size: the cells of a box along each side, 0 to the side; a 0 leaves the samples as they are.
        step: boxes begin at multiples of this many cells along each side, such as those of a patch. Default None: 1.

    Returns:
        A plan with K = 2, term 0 the sample itself, weights 0 and 1; the partner's label weighs the share of the box.

    Raises:
        TypeError: arguments of another type.
        ValueError: arguments of another shape, or out of range (read on the CPU only).

    Example:
        >>> saliency = torch.tensor([[0.0, 0.1, 0.9, 0.8], [0.7, 0.5, 0.2, 0.1]])
        >>> plan = smmix((4,), torch.tensor([1, 0]), saliency, (2,))
        >>> plan.weight[:, 0].tolist(), plan.index[:, 1].tolist()
        ([[0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]], [[0, 1, 2, 3], [0, 1, 2, 3]])
    """
    sides, sizes = _counts("grid", grid, 1), _counts("size", size, 0)
    steps = _counts("step", step, 1) if step is not None else (1,) * len(sides)
    if not len(sides) == len(sizes) == len(steps) or any(few > side for few, side in zip(sizes, sides, strict=True)):
        raise ValueError(f"size and step need a number for each side of the grid {sides}, got {sizes} and {steps}")
    batch = check_partner(partner)
    given = isinstance(saliency, Tensor) and saliency.is_floating_point()
    check_numbers("saliency", saliency.nan_to_num() if given else saliency, ((batch, math.prod(sides)),))
    if 0 in sizes:
        return MixPlan.pair(partner, torch.ones(1, math.prod(sides), device=partner.device))
    total = share_of_total(saliency).unflatten(1, sides)
    for axis, (few, apart) in enumerate(zip(sizes, steps, strict=True), start=1):
        total = total.unfold(axis, few, apart).sum(-1)  # of each box, as far as the axes so far go
    boxes = tuple(total.shape[1:])
    least, most = total.flatten(1).argmin(1), take_samples(total.flatten(1).argmax(1), partner)
    start, partner_start = (_corner(box, boxes, steps) for box in (least, most))
    extent = torch.tensor(sizes, device=partner.device).expand(batch, -1)
    inside, index = paste(sides, start, extent, partner_start, extent)
    return MixPlan.pair(partner, (~inside).to(torch.float32), index)


def _corner(box: Tensor, boxes: tuple[int, ...], steps: tuple[int, ...]) -> Tensor:
    """(B, D) the first cell along each side of boxes (B,), numbered in rows."""
    places = torch.unravel_index(box, boxes)
    return torch.stack([place * apart for place, apart in zip(places, steps, strict=True)], 1)


def _counts(name: str, counts: Sequence[int], low: int) -> tuple[int, ...]:
    if isinstance(counts, str) or not isinstance(counts, Sequence) or not counts:
        raise TypeError(f"{name} must be a number for each side of the grid, such as (H, W), got {counts!r}")
    return tuple(check_count(f"a number of {name}", count, low) for count in counts)
