"""Exact three-label masks on the CPU: one s-t cut of a layered graph per image, by Boykov and Kolmogorov's two trees.

Compiled by numba; no torch and no threads here. See docs/notes/graph-cuts.md for the graph and its derivation.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mixkit.warm import announce

announce("Puzzle Mix's masks")

_TERMINAL, _ORPHAN, _NONE = -1, -2, -3  # a node's parent, where it is no arc
_FREE, _SOURCE, _SINK = 0, 1, 2  # the tree that a node is in
_UNIT = 2.0**36  # the largest number of an image becomes this integer: rounding is 1e-11 of it
_INFINITE = np.int64(1) << 56  # more than all terminal capacities of 2^17 nodes together

compiled = numba.njit(cache=True, nogil=True)


class Topology(NamedTuple):
    """The arcs of the layered graph of a grid, sorted by the node that they leave."""

    first: NDArray[np.int32]
    """(V + 1,) where each node's arcs start. Node v < cells is "label >= 1/2" of cell v, v + cells is "label = 1"."""
    head: NDArray[np.int32]
    """(A,) the node that each arc enters."""
    sister: NDArray[np.int32]
    """(A,) the arc the other way."""
    edge: NDArray[np.int32]
    """(A,) the border between two cells that its capacity comes from, down before right; -1: within a cell."""
    quarters: NDArray[np.int32]
    """(A,) its capacity in quarters of the border's weight; -1: infinite."""


@functools.lru_cache(maxsize=16)
def topology(rows: int, columns: int) -> Topology:
    """The layered graph of a grid of cells: see docs/notes/graph-cuts.md."""
    cells = rows * columns
    number = np.arange(cells).reshape(rows, columns)
    borders = np.concatenate(
        [
            np.stack([number[:-1].ravel(), number[1:].ravel()], 1),
            np.stack([number[:, :-1].ravel(), number[:, 1:].ravel()], 1),
        ]
    )
    edge = np.arange(len(borders))
    x, y = borders[:, 0], borders[:, 1]
    inside, every = np.arange(cells), np.full(cells, -1)
    # (tail, head, edge, quarters there, quarters back) of each pair of sister arcs
    pairs = [
        (x, y, edge, 1, 1),
        (x + cells, y + cells, edge, 1, 1),
        (y + cells, x, edge, 2, 0),
        (x + cells, y, edge, 2, 0),
        (inside + cells, inside, every, -1, 0),
    ]
    tail = np.concatenate([p[0] for p in pairs] + [p[1] for p in pairs])
    head = np.concatenate([p[1] for p in pairs] + [p[0] for p in pairs])
    of_edge = np.concatenate([p[2] for p in pairs] * 2)
    quarters = np.concatenate([np.full(len(p[0]), p[3]) for p in pairs] + [np.full(len(p[0]), p[4]) for p in pairs])
    sister = (np.arange(len(tail)) + len(tail) // 2) % len(tail)
    order = np.argsort(tail, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    first = np.concatenate([[0], np.cumsum(np.bincount(tail, minlength=2 * cells))])
    columns_of = (first, head[order], place[sister[order]], of_edge[order], quarters[order])
    return Topology(*(np.ascontiguousarray(column, np.int32) for column in columns_of))


@compiled
def solve_masks(
    unary: NDArray[np.float32],
    weight: NDArray[np.float32],
    first: NDArray[np.int32],
    head: NDArray[np.int32],
    sister: NDArray[np.int32],
    edge: NDArray[np.int32],
    quarters: NDArray[np.int32],
    label: NDArray[np.int64],
) -> None:
    """Label every cell of every image at the least energy.

    Args:
        unary: (B, 3, cells) the costs of labels 0, 1/2 and 1, finite.
        weight: (B, borders) >= 0, the weight of the squared difference across each border, finite.
        first: the graph, as `topology` makes it.
        head: likewise.
        sister: likewise.
        edge: likewise.
        quarters: likewise.
        label: (B, cells) result, 0, 1 or 2 for 0, 1/2 and 1.
    """
    batch, _, cells = unary.shape
    nodes, arcs = 2 * cells, len(head)
    capacity = np.empty(arcs, np.int64)
    terminal = np.empty(nodes, np.int64)
    tree = np.empty(nodes, np.int8)
    parent = np.empty(nodes, np.int32)
    scratch = np.empty((5, nodes), np.int32)
    for b in range(batch):
        largest = 0.0
        for v in range(cells):
            for k in range(3):
                largest = max(largest, abs(np.float64(unary[b, k, v])))
        for e in range(weight.shape[1]):
            largest = max(largest, np.float64(weight[b, e]))
        scale = _UNIT / largest if largest > 0 else 0.0
        for v in range(cells):
            half = np.float64(unary[b, 1, v])
            terminal[v] = np.int64(np.rint((np.float64(unary[b, 0, v]) - half) * scale))
            terminal[v + cells] = np.int64(np.rint((half - np.float64(unary[b, 2, v])) * scale))
        for a in range(arcs):
            if quarters[a] < 0:
                capacity[a] = _INFINITE
            elif edge[a] < 0:
                capacity[a] = 0
            else:
                capacity[a] = np.int64(np.rint(np.float64(weight[b, edge[a]]) * scale / 4)) * quarters[a]
        _max_flow(first, head, sister, capacity, terminal, tree, parent, scratch)
        for v in range(cells):
            # a node that no tree reached costs the same on either side; the infinite arc keeps label 1 above 1/2
            label[b, v] = (tree[v] == _SOURCE) + (tree[v + cells] == _SOURCE)


@compiled
def _max_flow(
    first: NDArray[np.int32],
    head: NDArray[np.int32],
    sister: NDArray[np.int32],
    capacity: NDArray[np.int64],
    terminal: NDArray[np.int64],
    tree: NDArray[np.int8],
    parent: NDArray[np.int32],
    scratch: NDArray[np.int32],
) -> None:
    """Grow a tree from each terminal, push flow where they touch, let orphans find new parents, until none grows.

    ``capacity`` and ``terminal`` (source > 0, sink < 0) become the residuals, ``tree`` the sides of the cut.
    """
    nodes = len(tree)
    depth, stamp, queue, queued, orphans = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    front, waiting, time = 0, 0, 0
    for v in range(nodes):
        stamp[v], depth[v], queued[v] = 0, 1, 0
        parent[v], tree[v] = _NONE, _FREE
        if terminal[v] != 0:
            parent[v], tree[v] = _TERMINAL, (_SOURCE if terminal[v] > 0 else _SINK)
            queue[waiting] = v
            queued[v] = 1
            waiting += 1
    while waiting:
        v = queue[front]
        touch = -1
        if tree[v] != _FREE:
            from_source = tree[v] == _SOURCE
            for a in range(first[v], first[v + 1]):
                if capacity[a if from_source else sister[a]] == 0:
                    continue
                u = head[a]
                if tree[u] == _FREE:
                    tree[u], parent[u], depth[u], stamp[u] = tree[v], sister[a], depth[v] + 1, stamp[v]
                    if not queued[u]:
                        queue[(front + waiting) % nodes] = u
                        queued[u] = 1
                        waiting += 1
                elif tree[u] != tree[v]:
                    touch = a if from_source else sister[a]
                    break
                elif stamp[u] <= stamp[v] and depth[u] > depth[v]:  # a shorter way to the terminal
                    parent[u], depth[u], stamp[u] = sister[a], depth[v] + 1, stamp[v]
        if touch < 0:
            queued[v] = 0
            front = (front + 1) % nodes
            waiting -= 1
            continue
        time += 1
        count = _augment(head, sister, capacity, terminal, parent, orphans, touch)
        # adoption: orphans at the front of the list first, so that a subtree is dealt with from its root down
        done = 0
        while done < count:
            v = orphans[done % nodes]
            done += 1
            in_source = tree[v] == _SOURCE
            best, nearest = _NONE, np.int32(2147483647)
            for a in range(first[v], first[v + 1]):
                u = head[a]
                if tree[u] != tree[v] or capacity[sister[a] if in_source else a] == 0:
                    continue
                w, steps = u, 0
                while True:  # does u's way still end at the terminal?
                    if stamp[w] == time:
                        steps += depth[w]
                        break
                    up = parent[w]
                    steps += 1
                    if up == _TERMINAL:
                        stamp[w], depth[w] = time, 1
                        break
                    if up < 0:
                        steps = -1
                        break
                    w = head[up]
                if steps < 0:
                    continue
                if steps < nearest:
                    best, nearest = a, np.int32(steps)
                w = u
                while stamp[w] != time:
                    stamp[w], depth[w] = time, steps
                    steps -= 1
                    w = head[parent[w]]
            parent[v] = best
            if best != _NONE:
                stamp[v], depth[v] = time, nearest + 1
                continue
            for a in range(first[v], first[v + 1]):
                u = head[a]
                if tree[u] != tree[v]:
                    continue
                if capacity[sister[a] if in_source else a] != 0 and not queued[u]:
                    queue[(front + waiting) % nodes] = u
                    queued[u] = 1
                    waiting += 1
                if parent[u] == sister[a]:
                    parent[u] = _ORPHAN
                    orphans[count % nodes] = u
                    count += 1
            tree[v] = _FREE


@compiled
def _augment(
    head: NDArray[np.int32],
    sister: NDArray[np.int32],
    capacity: NDArray[np.int64],
    terminal: NDArray[np.int64],
    parent: NDArray[np.int32],
    orphans: NDArray[np.int32],
    touch: int,
) -> int:
    """Push all that fits along the way through arc ``touch``; returns how many nodes became orphans."""
    flow = capacity[touch]
    v = head[sister[touch]]
    while parent[v] != _TERMINAL:
        flow = min(flow, capacity[sister[parent[v]]])
        v = head[parent[v]]
    flow = min(flow, terminal[v])
    v = head[touch]
    while parent[v] != _TERMINAL:
        flow = min(flow, capacity[parent[v]])
        v = head[parent[v]]
    flow = min(flow, -terminal[v])

    count = 0
    capacity[touch] -= flow
    capacity[sister[touch]] += flow
    for side in range(2):
        v = head[sister[touch]] if side == 0 else head[touch]
        while parent[v] != _TERMINAL:
            up = parent[v]
            along = sister[up] if side == 0 else up
            capacity[along] -= flow
            capacity[sister[along]] += flow
            if capacity[along] == 0:
                parent[v] = _ORPHAN
                orphans[count] = v
                count += 1
            v = head[up]
        terminal[v] += -flow if side == 0 else flow
        if terminal[v] == 0:
            parent[v] = _ORPHAN
            orphans[count] = v
            count += 1
    return count
