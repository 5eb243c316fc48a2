"""Masks with levels 0, 1/2 and 1 over a grid of cells, of the least energy: picks the solver, counts the energy."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit.checks import check_float
from mixkit_image.solvers import primal_dual
from mixkit_image.solvers.threads import in_chunks


def solve_mask(unary: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """The labelling of least energy: ``sum_i unary[t_i] + sum_borders weight * (t - t')^2`` over t in {0, 1/2, 1}.

    On the CPU exactly, by one s-t cut per image; on other devices by a batched primal-dual method, without a host
    synchronisation, within 0.1 % (docs/notes/graph-cuts.md has the figures).

    Args:
        unary: (B, 3, R, C) the costs of 0, 1/2 and 1 in each cell; what is not finite counts as 0.
        down: (B, R - 1, C) weights >= 0 of the borders between cells above each other.
        right: (B, R, C - 1) likewise side by side.

    Returns:
        (B, R, C) long, 0, 1 or 2 for 0, 1/2 and 1.

    Raises:
        ValueError: shapes that do not fit together.
        TypeError: what is no floating-point tensor.
    """
    _check(unary, down, right)
    unary = torch.nan_to_num(unary.detach().float(), 0.0, 0.0, 0.0)
    down, right = (torch.nan_to_num(w.detach().float(), 0.0, 0.0, 0.0).clamp_min(0) for w in (down, right))
    if unary.device.type != "cpu":
        return primal_dual.solve_masks(unary, down, right)
    from mixkit_image.solvers import mincut  # its numba takes a while to import

    batch, _, rows, columns = unary.shape
    graph = mincut.topology(rows, columns)
    costs = unary.flatten(2).contiguous().numpy()
    weight = torch.cat([down.flatten(1), right.flatten(1)], 1).contiguous().numpy()
    label = torch.empty(batch, rows * columns, dtype=torch.long)

    def work(start: int, stop: int) -> None:
        mincut.solve_masks(costs[start:stop], weight[start:stop], *graph, label.numpy()[start:stop])

    in_chunks(work, batch)
    return label.unflatten(1, (rows, columns))


def mask_energy(label: Tensor, unary: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """(B,) the energy of labels (B, R, C), in the precision of ``unary``; arguments as for `solve_mask`."""
    chosen = unary.gather(1, label[:, None])[:, 0]
    level = label.to(unary.dtype) / 2
    return (
        chosen.sum((1, 2))
        + (down * level.diff(dim=1).square()).sum((1, 2))
        + (right * level.diff(dim=2).square()).sum((1, 2))
    )


def _check(unary: Tensor, down: Tensor, right: Tensor) -> None:
    for name, tensor in (("unary", unary), ("down", down), ("right", right)):
        check_float(name, tensor)
    batch, labels, rows, columns = unary.shape if unary.dim() == 4 else (0, 0, 0, 0)
    if labels != 3 or down.shape != (batch, rows - 1, columns) or right.shape != (batch, rows, columns - 1):
        got = ", ".join(str(tuple(t.shape)) for t in (unary, down, right))
        raise ValueError(f"unary (B, 3, R, C), down (B, R - 1, C) and right (B, R, C - 1) do not fit together: {got}")
