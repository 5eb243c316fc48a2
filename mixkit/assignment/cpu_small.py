"""The compiled exact solver for a matrix of costs, and for a batch of small pairs. No threads, no torch.

Here v holds the dual variables of the columns (points of b): a row i (a point of a) is content with the column of least
c_ij - v_j, and every matched row is. There are no more rows than columns; where there are fewer, no v is above 0, and
those of the columns left over are 0.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from mixkit.assignment.normalise import LARGEST

BIG = 1e300  # "infinite", but finite because fastmath assumes so
FORBIDDEN = 1e299  # costs from there on belong to pairs that may not be
BIDS = 4  # per row that the reduction of the columns leaves, before it takes a shortest path

Array: TypeAlias = np.ndarray

compiled = numba.njit(cache=True, nogil=True, fastmath=True)
careful = numba.njit(cache=True, nogil=True, fastmath=False)  # said, or it would be taken over from the caller


def _pointer_to(kind: Any) -> Any:
    """A compiled function that takes an address for a pointer to numbers of this kind."""

    def cast(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(types.intp), generate

    return intrinsic(cast)


_pointer_to_single, _pointer_to_double = _pointer_to(types.float32), _pointer_to(types.float64)


@careful  # fastmath assumes that nothing is NaN
def _load(source: Array, x: Array) -> bool:
    """Copy a cloud (N, D) to the rows of x (D, N); whether all its coordinates are numbers below LARGEST."""
    fine = True
    for i in range(source.shape[0]):
        for d in range(source.shape[1]):
            value = np.float64(source[i, d])
            fine &= abs(value) < LARGEST
            x[d, i] = value
    return fine


@careful  # fastmath would divide by a subnormal scale through its infinite inverse
def _normalise(x: Array, y: Array) -> float:
    """`mixkit.assignment.normalise` in place, for clouds in rows (D, N)."""
    dim, size = x.shape
    scale = 0.0
    for d in range(dim):
        low = high = x[d, 0]
        for i in range(size):
            low, high = min(low, min(x[d, i], y[d, i])), max(high, max(x[d, i], y[d, i]))
        centre = low / 2 + high / 2
        scale = max(scale, high / 2 - low / 2)
        for i in range(size):
            x[d, i] -= centre
            y[d, i] -= centre
    if scale == 0:
        return 1.0
    for d in range(dim):
        for i in range(size):
            x[d, i] /= scale
            y[d, i] /= scale
    return scale


@compiled
def _distances(x: Array, y: Array, c: Array) -> None:
    dim, size = x.shape
    for i in range(size):
        for j in range(size):
            c[i, j] = (x[0, i] - y[0, j]) ** 2
        for d in range(1, dim):
            for j in range(size):
                c[i, j] += (x[d, i] - y[d, j]) ** 2
        for j in range(size):
            c[i, j] = math.sqrt(c[i, j])


@compiled
def _best_two(c: Array, i: int, v: Array) -> tuple[float, float, int]:
    """Least and second least of c_ij - v_j, and the column of the least. No branches: they would be mispredicted."""
    best, second, column = BIG, BIG, 0
    for j in range(v.shape[0]):
        value = c[i, j] - v[j]
        second = min(second, max(value, best))
        column = j if value < best else column
        best = min(best, value)
    return best, second, column


@compiled
def _match(c: Array, v: Array, reach: Array, closed: Array, work: Array, matching: Array) -> bool:
    """Write the optimal matching (N,) of the costs c (N, M), M >= N, and the columns' duals v (M,).

    The columns are reduced first, where there are as many as rows. The rows left over bid a few times, and take their
    column from a row that has it. Who is left over then takes a shortest path (Jonker and Volgenant, 1987). Returns
    False where forbidden pairs leave no matching.
    """
    rows, size = c.shape
    owner, free, before, scanned = work[0], work[1], work[2], work[3]
    for i in range(rows):
        matching[i] = -1
    for j in range(size):
        v[j], before[j], owner[j] = c[0, j] if rows == size else 0.0, 0, -1
    if rows == size:
        for i in range(1, size):
            for j in range(size):
                value, least, row = c[i, j], v[j], before[j]  # all read, so that nothing branches
                before[j] = i if value < least else row
                v[j] = min(value, least)
        for j in range(size):
            if v[j] >= FORBIDDEN:
                return False
            i = before[j]
            if matching[i] < 0:
                matching[i], owner[j] = j, i
    waiting = 0
    for i in range(rows):
        if matching[i] < 0:
            free[waiting] = i
            waiting += 1

    bids, k, left = BIDS * waiting, 0, 0
    while k < waiting:
        i = free[k]
        k += 1
        if bids == 0:
            free[left] = i
            left += 1
            continue
        bids -= 1
        best, second, j = _best_two(c, i, v)
        if second >= FORBIDDEN / 2 and size > 1:  # no price is too high for its only column: a path finds one
            free[left] = i
            left += 1
            continue
        loser = owner[j]
        if size > 1:
            v[j] -= second - best
        owner[j], matching[i] = i, j
        if loser >= 0:
            matching[loser] = -1
            if second > best:
                k -= 1
                free[k] = loser
            else:
                free[left] = loser
                left += 1

    for f in range(left):
        for j in range(size):
            reach[j], closed[j] = BIG, 0.0
        count, i, base, offset = 0, free[f], -BIG, 0.0
        while True:
            for j in range(size):
                value, far, row = max(c[i, j] - v[j] + offset, base), reach[j], before[j]
                before[j] = i if value < far else row  # never for a closed column, whose reach is the base or less
                reach[j] = min(value, far)
            base, column = BIG, 0
            for j in range(size):
                value = reach[j] + closed[j]
                column = j if value < base else column
                base = min(base, value)
            if base >= FORBIDDEN / 2:
                return False
            if owner[column] < 0:
                break
            closed[column] = BIG
            scanned[count] = column
            count += 1
            i = owner[column]
            offset = base - (c[i, column] - v[column])
        for k in range(count):
            v[scanned[k]] -= base - reach[scanned[k]]
        while True:
            i = before[column]
            owner[column] = i
            matching[i], column = column, matching[i]
            if i == free[f]:
                break
    return True


@compiled
def match_costs(c: Array, matching: Array) -> tuple[float, float]:
    """Write the matching (N,) int64 of least total cost c (N, M), M >= N; returns the cost and the certificate's bound.

    Costs below FORBIDDEN lie within 1e290 of 0. Both results are BIG where every matching has a FORBIDDEN pair.
    """
    rows, size = c.shape
    columns, work = np.empty((3, size)), np.empty((4, size), np.int64)
    if not _match(c, columns[0], columns[1], columns[2], work, matching):
        return BIG, BIG
    paid, lower = 0.0, columns[0].sum()
    for i in range(rows):
        paid += c[i, matching[i]]
        lower += _best_two(c, i, columns[0])[0]
    return paid, lower


@compiled
def solve(address_a: int, address_b: int, single: bool, dim: int, index: Array, cost: Array, gap: Array) -> int:
    """Match the pairs of two contiguous batches (B, N, D) at these addresses, of float32 if `single`, else float64.

    Writes index (B, N) int64, cost (B,) and gap (B,) float64, the certified one: that of the duals, 0 but for rounding.
    Returns -1, or the first pair that has a coordinate that is not finite or too large, where it stops.
    """
    batch, size = index.shape
    clouds, c = np.empty((2, dim, size)), np.empty((size, size))
    columns, work = np.empty((3, size)), np.empty((4, size), np.int64)  # few arrays: each takes as long as a tiny pair
    x, y, v = clouds[0], clouds[1], columns[0]
    for pair in range(batch):
        skip = pair * size * dim
        if single:
            fine = _load(numba.carray(_pointer_to_single(address_a + 4 * skip), (size, dim)), x)
            fine &= _load(numba.carray(_pointer_to_single(address_b + 4 * skip), (size, dim)), y)
        else:
            fine = _load(numba.carray(_pointer_to_double(address_a + 8 * skip), (size, dim)), x)
            fine &= _load(numba.carray(_pointer_to_double(address_b + 8 * skip), (size, dim)), y)
        if not fine:
            return pair
        scale = _normalise(x, y)
        _distances(x, y, c)
        _match(c, v, columns[1], columns[2], work, index[pair])
        paid, lower = 0.0, v.sum()
        for i in range(size):
            paid += c[i, index[pair, i]]
            lower += _best_two(c, i, v)[0]
        cost[pair] = paid * scale
        gap[pair] = 0.0
        if paid > 0:
            gap[pair] = max(paid - lower, 0.0) / lower if lower > 0 else math.inf
    return -1
