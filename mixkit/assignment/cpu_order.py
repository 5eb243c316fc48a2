"""What is done to a pair first, compiled: one frame for both clouds, and in each the order in which neighbours stand
together. Nothing about assignments.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from mixkit.assignment.normalise import LARGEST

LEAF, BLOCK = 4, 64  # points that stay unsorted; splits of more than BLOCK points fall on its multiples


# No fastmath, which would divide by a subnormal scale through its infinite inverse, and assume that nothing is NaN.
@numba.njit(cache=True, nogil=True, fastmath=False)
def normalise(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """`mixkit.assignment.normalise` for a pair (N, D), (M, D) float64, with axes of zeros added up to the third.

    Here too because a dozen small operations of torch take as long as a tenth of the solver. The scale is NaN, and the
    clouds are zeros, where a coordinate is not finite or too large.
    """
    dim = a.shape[1]
    first, second = np.zeros((a.shape[0], max(dim, 3))), np.zeros((b.shape[0], max(dim, 3)))
    fine = True
    for cloud in (a, b):
        for i in range(cloud.shape[0]):
            for d in range(dim):
                fine &= abs(cloud[i, d]) < LARGEST
    if not fine:
        return first, second, math.nan
    scale = 0.0
    for d in range(dim):
        low, high = min(a[:, d].min(), b[:, d].min()), max(a[:, d].max(), b[:, d].max())
        scale = max(scale, high / 2 - low / 2)
        first[:, d] = a[:, d] - (low / 2 + high / 2)
        second[:, d] = b[:, d] - (low / 2 + high / 2)
    if scale > 0:
        first /= scale
        second /= scale
    else:
        scale = 1.0
    return first, second, scale


@numba.njit(cache=True, nogil=True, fastmath=True)
def kd_order(x: np.ndarray) -> np.ndarray:
    """Row numbers of x (N, D) in k-d tree order: split the widest axis at the median, down to leaves. (N,) int32."""
    size, dim = x.shape
    order = np.arange(size).astype(np.int32)
    key = np.empty(size, x.dtype)
    stack = [(0, size)]
    while len(stack):
        start, stop = stack.pop()
        if stop - start <= LEAF:
            continue
        axis, widest = 0, x.dtype.type(-1)
        for d in range(dim):
            low = high = x[order[start], d]
            for k in range(start + 1, stop):
                low, high = min(low, x[order[k], d]), max(high, x[order[k], d])
            if high - low > widest:
                axis, widest = d, high - low
        unit = BLOCK if stop - start > BLOCK else LEAF
        middle = start + max((stop - start) // unit // 2, 1) * unit
        for k in range(start, stop):
            key[k] = x[order[k], axis]
        left, right = start, stop
        while right - left > 1:  # quickselect: afterwards no key before `middle` is greater than one after it
            a, b, c = key[left], key[(left + right) // 2], key[right - 1]
            pivot = max(min(a, b), min(max(a, b), c))
            equal = left
            for k in range(left, right):  # every key is exchanged, below the pivot or not: a branch costs more
                value, row = key[k], order[k]
                key[k], order[k] = key[equal], order[equal]
                key[equal], order[equal] = value, row
                equal += value < pivot
            if middle < equal:
                right = equal
                continue
            above = equal
            for k in range(equal, right):
                value, row = key[k], order[k]
                key[k], order[k] = key[above], order[above]
                key[above], order[above] = value, row
                above += value <= pivot
            if middle <= above:
                break
            left = above
        stack.append((start, middle))
        stack.append((middle, stop))
    return order


@numba.njit(cache=True, nogil=True)
def prepare(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, np.ndarray, np.ndarray]:
    """A pair (N, D), (M, D) float64 normalised and in k-d order, its scale, the two orders: row k was row order[k]."""
    first, second, scale = normalise(a, b)
    order_a, order_b = kd_order(first.astype(np.float32)), kd_order(second.astype(np.float32))
    return first[order_a], second[order_b], scale, order_a, order_b
