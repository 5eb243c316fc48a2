"""Three-label masks on any device: the relaxed layered cut by a primal-dual method, batched, without a host sync.

The cut is a linear programme whose relaxation is tight, so any threshold of its solution is a best labelling; of an
approximate solution the best of several thresholds is taken. Derivation and figures: docs/notes/graph-cuts.md.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

ITERATIONS = 150  # worst case of the images in docs/notes/graph-cuts.md: 0.02 % above the optimum
_RELAXATION = 1.8  # each step goes so much further, below 2
_BALANCE = 0.25  # dual against primal steps, found by trying
_THRESHOLDS = 15


def solve_masks(unary: Tensor, down: Tensor, right: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """Labels (B, R, C) long as `mask.solve_mask` returns them; float32 arguments, all finite."""
    rows, columns = unary.shape[2:]
    tiny = torch.finfo(torch.float32).tiny
    with torch.autocast(unary.device.type, enabled=False):
        weight = torch.cat([down.flatten(1), right.flatten(1)], 1)
        cost = unary.diff(dim=1).flatten(1)  # (B, V) of label >= 1/2, then of label 1 instead of 1/2
        weight = torch.cat([weight, torch.zeros_like(cost[:, :1])], 1)  # never empty, though a cell may be alone
        scale = weight.amax(1)
        scale = torch.where(scale > 0, scale, cost.abs().amax(1)).clamp_min(tiny)[:, None]
        incidence, edge, sides = _incidence(rows, columns, unary.device)  # (A, V), (A,), (2, A)
        quarter = torch.cat([weight[:, :-1] / scale / 4, torch.ones_like(scale)], 1).index_select(1, edge)
        low, high = -quarter * sides[0], quarter * sides[1]
        primal_step = incidence.abs().sum(0).reciprocal() / _BALANCE  # (V,) Pock and Chambolle's, as is the dual's
        to_primal, to_dual = incidence * primal_step, incidence.mT * (_BALANCE / 2)
        drift = primal_step * cost / scale
        level, dual = torch.full_like(cost, 0.5), torch.zeros_like(low)  # (B, V), (B, A)
        for _ in range(iterations):
            next_level = torch.addmm(level - drift, dual, to_primal, alpha=-1).clamp_(0, 1)
            ahead = torch.lerp(level, next_level, 2.0)
            next_dual = torch.clamp(torch.addmm(dual, ahead, to_dual), low, high)
            level = torch.lerp(level, next_level, _RELAXATION)
            dual = torch.lerp(dual, next_dual, _RELAXATION)
    return _round(next_level.unflatten(1, (2, rows, columns)), unary, down, right)


def _round(level: Tensor, unary: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Of the labellings that thresholds of the relaxed solution (B, 2, R, C) give, the one of least energy."""
    thresholds = (torch.arange(_THRESHOLDS, device=level.device) + 0.5) / _THRESHOLDS
    label = (level[:, None] > thresholds[:, None, None, None]).sum(2)  # (B, T, R, C)
    chosen = unary[:, None].expand(-1, _THRESHOLDS, -1, -1, -1).gather(2, label[:, :, None])[:, :, 0]
    value = label.to(unary.dtype) / 2
    energy = (
        chosen.sum((2, 3))
        + (down[:, None] * value.diff(dim=2).square()).sum((2, 3))
        + (right[:, None] * value.diff(dim=3).square()).sum((2, 3))
    )
    best = energy.argmin(1)[:, None, None, None].expand(-1, 1, *label.shape[2:])
    return label.gather(1, best)[:, 0]


@functools.lru_cache(maxsize=16)
def _incidence(rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The layered graph as a matrix (A, V), +1 at each arc's tail and -1 at its head; the border (A,) of each arc, the
    last number for arcs within a cell; and (2, A) capacities back and there, in quarters of the border's weight.
    """
    from mixkit_image.solvers.mincut import topology  # its module's numba takes a while to import

    graph = topology(rows, columns)
    borders = (rows - 1) * columns + rows * (columns - 1)
    tail = [v for v in range(len(graph.first) - 1) for _ in range(graph.first[v], graph.first[v + 1])]
    kept = [a for a in range(len(graph.head)) if a < graph.sister[a]]  # one of each pair of sisters
    incidence = torch.zeros(len(kept), 2 * rows * columns)
    sides = torch.empty(2, len(kept))
    edge = torch.empty(len(kept), dtype=torch.long)
    for k, a in enumerate(kept):
        incidence[k, tail[a]], incidence[k, graph.head[a]] = 1, -1
        edge[k] = graph.edge[a] if graph.edge[a] >= 0 else borders
        for side, arc in enumerate((graph.sister[a], a)):
            sides[side, k] = graph.quarters[arc] if graph.quarters[arc] >= 0 else torch.inf
    return incidence.to(device), edge.to(device), sides.to(device)
