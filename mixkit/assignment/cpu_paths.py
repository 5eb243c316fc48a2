"""The compiled exact finish for one pair: shortest augmenting paths from an auction's prices. All float64, no threads.

Here u and v are the dual variables of the rows (points of a) and the columns (points of b): u_i + v_j <= c_ij always,
with equality on matched pairs. A column's v is minus its price.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numba
import numpy as np

TIGHT = 1e-13  # the clouds lie within [-1, 1]: below this, a reduced cost is rounding
LANES = 64
BIG = 1e300

Array: TypeAlias = np.ndarray

compiled = numba.njit(cache=True, nogil=True, fastmath=True)


@compiled
def _reduced_row(x: Array, i: int, columns: Array, v: Array, out: Array) -> None:
    """out_j = c_ij - v_j."""
    out[:] = 0
    for d in range(x.shape[1]):
        xd = x[i, d]
        for j in range(out.shape[0]):
            out[j] += (xd - columns[d, j]) ** 2
    for j in range(out.shape[0]):
        out[j] = math.sqrt(out[j]) - v[j]


@compiled
def _argmin(values: Array, best: Array, best_block: Array) -> int:
    """Position of the least value; lane by lane first, because LLVM does not vectorise the plain loop."""
    size = values.shape[0]
    whole = size // LANES * LANES
    best[:] = BIG
    best_block[:] = 0
    for start in range(0, whole, LANES):
        for k in range(LANES):
            best_block[k] = start if values[start + k] < best[k] else best_block[k]
            best[k] = min(best[k], values[start + k])
    lowest, position = BIG, 0
    for k in range(LANES):
        if best[k] < lowest:
            lowest, position = best[k], best_block[k] + k
    for j in range(whole, size):
        if values[j] < lowest:
            lowest, position = values[j], j
    return position


@compiled
def _release(b: Array, rows: Array, u: Array, v: Array, owner: Array, matching: Array) -> None:
    """Raise v to 0 for each column that is left over, all else staying optimal: who has a price above 0 must be taken.

    From such a column the shortest path leads over rows, by way of the columns that they own, to one whose v reaches 0
    first. That is left over instead; the rows between move one column on.
    """
    others, size = owner.shape[0], matching.shape[0]
    back, reach, open_reach = np.empty(size), np.empty(size), np.empty(size)
    before, scanned = np.empty(size, np.int64), np.empty(size, np.int64)
    lane, lane_block = np.empty(LANES), np.empty(LANES, np.int64)
    for start in range(others):
        if owner[start] >= 0 or v[start] >= -TIGHT:
            continue
        reach[:] = BIG
        open_reach[:] = BIG
        closed = np.zeros(size)
        count, j, base, end, length = 0, start, 0.0, start, -v[start]
        while True:
            _reduced_row(b, j, rows, u, back)
            offset = base - v[j]
            for i in range(size):
                nearer = back[i] + offset + closed[i] < reach[i]
                before[i] = j if nearer else before[i]
                reach[i] = back[i] + offset if nearer else reach[i]
                open_reach[i] = reach[i] + closed[i]
            i = _argmin(open_reach, lane, lane_block)
            base = open_reach[i]  # BIG or more once all rows are closed
            if base >= length:
                break
            closed[i] = BIG
            scanned[count] = i
            count += 1
            j = matching[i]
            if base - v[j] < length:
                end, length = j, base - v[j]
        v[start] += length
        for k in range(count):
            i = scanned[k]
            u[i] -= length - reach[i]
            v[matching[i]] += length - reach[i]
        i = owner[end]
        owner[end] = -1
        while i >= 0:  # -1 is the start's
            j = before[i]
            owner[j], matching[i], i = i, j, owner[j]


@compiled
def finish(a: Array, b: Array, price: Array, matching: Array) -> tuple[float, float]:
    """Make the matching optimal; returns its cost and the certificate's lower bound.

    a: (N, D) float64. b: (M, D), M >= N. price (M,): any, the better the faster. matching (N,) int64: a proposal, -1
    for none, overwritten by the optimal injection. Kept of the proposal is what the prices allow; each row left over
    takes the shortest path to a free column (Dijkstra on the reduced costs; Jonker and Volgenant, 1987). At most N
    paths of at most N steps of M operations, and where M > N at most M - N paths more (`_release`): it always ends.
    """
    size, others = a.shape[0], b.shape[0]
    most = 0.0 if others > size else BIG  # what v may be: with columns left over, no column is worth less than nothing
    rows, columns = a.T.copy(), b.T.copy()
    row, back = np.empty(others), np.empty(size)
    lane, lane_block = np.empty(LANES), np.empty(LANES, np.int64)
    u, v = np.empty(size), -price
    for i in range(size):
        _reduced_row(a, i, columns, v, row)
        u[i] = row[_argmin(row, lane, lane_block)]
    owner = np.full(others, -1, np.int64)
    for i in range(size):
        if matching[i] >= 0:
            owner[matching[i]] = i
    free = np.ones(size, np.bool_)
    for j in range(others):  # raise v_j as far as it goes: one row at least is then tight, at best the proposed one
        _reduced_row(b, j, rows, u, back)
        i = _argmin(back, lane, lane_block)
        v[j] = min(back[i], most)
        if owner[j] >= 0 and back[owner[j]] - v[j] <= TIGHT:
            i = owner[j]
        owner[j] = -1
        if free[i] and back[i] - v[j] <= TIGHT:
            owner[j], free[i] = i, False
    matching[:] = -1
    for j in range(others):
        if owner[j] >= 0:
            matching[owner[j]] = j

    reach, open_reach = np.empty(others), np.empty(others)
    before = np.empty(others, np.int64)
    scanned = np.empty(others, np.int64)
    for start in range(size):
        if matching[start] >= 0:
            continue
        reach[:] = BIG
        open_reach[:] = BIG
        closed = np.zeros(others)
        count, i, base = 0, start, 0.0
        while True:
            _reduced_row(a, i, columns, v, row)
            offset = base - u[i]
            for j in range(others):
                nearer = row[j] + offset + closed[j] < reach[j]
                before[j] = i if nearer else before[j]
                reach[j] = row[j] + offset if nearer else reach[j]
                open_reach[j] = reach[j] + closed[j]
            j = _argmin(open_reach, lane, lane_block)
            base = reach[j]
            if owner[j] < 0:
                break
            closed[j] = BIG
            scanned[count] = j
            count += 1
            i = owner[j]
        u[start] += base
        for k in range(count):
            column = scanned[k]
            u[owner[column]] += base - reach[column]
            v[column] -= base - reach[column]
        while True:
            i = before[j]
            owner[j] = i
            matching[i], j = j, matching[i]
            if i == start:
                break

    if others > size:
        _release(b, rows, u, v, owner, matching)
    cost, lower = 0.0, v.sum()
    for i in range(size):
        _reduced_row(a, i, columns, v, row)
        lower += row[_argmin(row, lane, lane_block)]
        cost += row[matching[i]] + v[matching[i]]
    return cost, lower
