"""The compiled quick matching for one pair in k-d order: from matched groups to points, by swaps. No auction."""

from __future__ import annotations

import math
from typing import TypeAlias

import numba
import numpy as np

WINDOW = 32  # neighbours in k-d order that a point may swap with
SWEEPS = 6  # over all points
LEAST_GAIN = np.float32(1e-6)  # of the clouds' box, which is 2 wide: less may be rounding, and could go on for ever

Array: TypeAlias = np.ndarray

compiled = numba.njit(cache=True, nogil=True, fastmath=True)


@compiled
def spread(groups: Array, size: int) -> Array:
    """(size,) int64: the points of matched groups (size // K,) of K points in a row, matched in their order."""
    matching = np.arange(size)
    members = size // groups.shape[0]
    for i in range(groups.shape[0]):
        for k in range(members):
            matching[i * members + k] = groups[i] * members + k
    return matching


@compiled
def swap(a: Array, b: Array, matching: Array, enough: float) -> float:
    """Let neighbours swap partners while that makes the matching cheaper, until it costs no more than `enough`.

    a, b: (N, D) float64, D >= 3, in k-d order. matching: (N,) int64, a bijection, which stays one. The points of a and
    those of b take turns, SWEEPS times, or until neither finds a swap. Returns the cost.
    """
    inverse = np.empty_like(matching)
    cost, idle = total(a, b, matching), 0
    for turn in range(SWEEPS):
        if cost <= enough or idle == 2:
            break
        if turn % 2 == 0:
            swaps = _sweep(a, b, matching)
        else:
            _invert(matching, inverse)
            swaps = _sweep(b, a, inverse)
            _invert(inverse, matching)
        idle = 0 if swaps else idle + 1
        cost = total(a, b, matching)
    return cost


@compiled
def _sweep(a: Array, b: Array, matching: Array) -> int:
    """Each point of a in turn takes the best of its swaps with the WINDOW points around it. Returns their number."""
    size, dim = a.shape
    window = min(WINDOW, size)
    x, z = a.T.astype(np.float32), b[matching].T.astype(np.float32)
    x0, x1, x2, z0, z1, z2 = x[0].copy(), x[1].copy(), x[2].copy(), z[0].copy(), z[1].copy(), z[2].copy()
    there, back = np.empty(window, np.float32), np.empty(window, np.float32)
    length = np.empty(size, np.float32)
    for i in range(size):
        length[i] = _length(a, i, b, matching[i])
    swaps = 0
    for i in range(size):
        first = min(max(i - window // 2, 0), size - window)
        a0, a1, a2, b0, b1, b2 = x0[i], x1[i], x2[i], z0[i], z1[i], z2[i]
        for k in range(window):
            s, t, u = a0 - z0[first + k], a1 - z1[first + k], a2 - z2[first + k]
            there[k] = s * s + t * t + u * u
            s, t, u = b0 - x0[first + k], b1 - x1[first + k], b2 - x2[first + k]
            back[k] = s * s + t * t + u * u
        for d in range(3, dim):
            for k in range(window):
                there[k] += (x[d, i] - z[d, first + k]) ** 2
                back[k] += (z[d, i] - x[d, first + k]) ** 2
        for k in range(window):
            there[k] = math.sqrt(there[k]) + math.sqrt(back[k]) - length[first + k]
        best, j = length[i] - LEAST_GAIN, -1
        for k in range(window):
            j = first + k if there[k] < best else j
            best = min(best, there[k])
        if j >= 0:
            for column in (z0, z1, z2):
                column[i], column[j] = column[j], column[i]
            for d in range(3, dim):
                z[d, i], z[d, j] = z[d, j], z[d, i]
            matching[i], matching[j] = matching[j], matching[i]
            length[i], length[j] = _length(a, i, b, matching[i]), _length(a, j, b, matching[j])
            swaps += 1
    return swaps


@compiled
def _invert(matching: Array, inverse: Array) -> None:
    for i in range(matching.shape[0]):
        inverse[matching[i]] = i


@compiled
def _length(a: Array, i: int, b: Array, j: int) -> float:
    square = 0.0
    for d in range(a.shape[1]):
        square += (a[i, d] - b[j, d]) ** 2
    return math.sqrt(square)


@compiled
def total(a: Array, b: Array, matching: Array) -> float:
    """The cost of a matching (N,): the sum of the distances between partners."""
    cost = 0.0
    for i in range(matching.shape[0]):
        cost += _length(a, i, b, matching[i])
    return cost
