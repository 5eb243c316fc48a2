"""Cells of a grid, each from the sample or its partner: GridMix."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit.checks import check_assignment, check_index, check_numbers, check_partner, check_rows
from mixkit.plan import MixPlan


def gridmix(partner: Tensor, assignment: Tensor | None, cell: Tensor, keys: Tensor, count: Tensor) -> MixPlan:
    """Replace the elements of some cells by the partner's (Baek, Bang and Shim, Pattern Recognition 2021).

    Args:
        partner: (B,) long, the partner of each sample.
        assignment: (B, N) long, the partner's element that each element is paired with; None: the same.
        cell: (B, N) or (1, N) long, which of the C cells each element lies in.
        keys: (B, C) or (1, C), the order in which cells are replaced, smallest first.
        count: (B,) or (1,) long, how many cells are replaced, 0 to C.

    Returns:
        A plan with K = 2, term 0 the sample itself, weights 0 and 1.

    Raises:
        TypeError: draws of another type.
        ValueError: draws of another shape, or out of range (read on the CPU only).

    Example:
        >>> cell, keys = torch.tensor([[0, 0, 1, 2]]), torch.tensor([[0.5, 0.1, 0.9]])
        >>> gridmix(torch.tensor([1, 0]), None, cell, keys, torch.tensor([2])).weight[0, 0]
        tensor([0., 0., 0., 1.])
    """
    size = check_partner(partner)
    num_cells = check_rows("keys", keys, size, shared=True)
    check_numbers("count", count, ((size,), (1,)), 0, num_cells, integer=True)
    check_cell(cell, size, None, num_cells)
    check_assignment(assignment, size, cell.shape[1])
    replaced = first_cells(keys, count)
    rows = max(len(replaced), len(cell))
    stays = ~replaced.expand(rows, -1).gather(1, cell.expand(rows, -1))
    return MixPlan.pair(partner, stays.to(torch.float32), assignment)


def first_cells(keys: Tensor, count: Tensor) -> Tensor:
    """(B or 1, C) bool, as many cells as ``count`` says, those of the smallest keys; arguments as for `gridmix`."""
    return keys.argsort(dim=1, stable=True).argsort(1) < count[:, None]


def check_cell(cell: Tensor, size: int, num_elements: int | None, num_cells: int) -> None:
    """Raise for what is no (B, N) or (1, N) of cells in [0, C)."""
    fits = isinstance(cell, Tensor) and cell.dim() == 2 and cell.shape[1] > 0
    rows = 1 if fits and len(cell) == 1 else size
    check_index("cell", cell, (rows, num_elements or (cell.shape[1] if fits else -1)), num_cells)
