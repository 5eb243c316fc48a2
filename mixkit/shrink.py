"""A batch with fewer elements, for passes that need no more: any domain's, through its own elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mixkit.domain import Domain
from mixkit.elements import ElementSet
from mixkit.label_tree import map_leaves
from mixkit.labels import Label, Size, guess


def shrink(
    batch: Tensor, labels: Any, domain: Domain, resolution: float
) -> tuple[Tensor, Any, Callable[[Tensor], Tensor]]:
    """A batch whose sides, on a grid, or number of elements are multiplied by ``resolution``.

    A grid is averaged down to the smaller one; of a set, elements at equal steps of its order are kept.

    Args:
        batch: a batch of ``domain``.
        labels: labels in any structure; of labels per element, those of the elements kept, or nearest, are kept.
        domain: says what the elements are, and makes a batch of the fewer.
        resolution: the share of each side, or of the points, in (0, 1].

    Returns:
        The smaller batch, its labels, and what carries a saliency (B, n) of it back to the elements (B, N): a grid's is
        interpolated linearly; the elements that a set was left without have 0.
    """
    elements = domain.elements(batch)
    grid, size = elements.grid, elements.num_elements
    kept = torch.zeros(1, dtype=torch.long, device=batch.device)
    for side in grid or (size,):
        count = max(round(side * resolution), 1)
        steps = (torch.arange(count, device=batch.device) * 2 + 1) * side // (2 * count)
        kept = (kept[:, None] * side + steps).flatten()
    if grid is None:
        small = ElementSet(elements.coords[:, kept], elements.values[:, kept])
    else:
        fewer = tuple(max(round(side * resolution), 1) for side in grid)
        values = F.interpolate(elements.values.mT.unflatten(2, grid), fewer, mode="area").flatten(2).mT
        small = ElementSet(elements.coords[:, kept], values, fewer)

    sides = kept.shape if small.grid is None else small.grid

    def keep(label: Any) -> Any:
        if isinstance(label, Label):
            return label.keep(kept, sides)
        return guess(label, Size.of(elements)).keep(kept, sides).tensor if isinstance(label, Tensor) else label

    few = map_leaves(keep, labels)

    def carry_back(saliency: Tensor) -> Tensor:
        if grid is None or small.grid is None:
            return saliency.new_zeros(len(saliency), size).index_copy(1, kept, saliency)
        mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(grid)]
        return F.interpolate(saliency.unflatten(1, small.grid)[:, None], grid, mode=mode).flatten(1)

    return domain.batch(small, like=batch), few, carry_back
