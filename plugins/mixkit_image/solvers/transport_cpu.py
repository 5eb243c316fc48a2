"""Puzzle Mix's transport on the CPU, compiled by numba: the same claims as in `transport`, in the same precision."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from mixkit.warm import announce

announce("Puzzle Mix's transport")


@numba.njit(cache=True, nogil=True)
def solve(
    worth: NDArray[np.float32],
    covered: NDArray[np.bool_],
    order: NDArray[np.int32],
    distance: NDArray[np.float32],
    rounds: int,
    source: NDArray[np.int64],
) -> None:
    """Fill ``source`` (B, T) with the source of each target.

    ``order`` (T, T) are the targets of each source, nearest first, and ``distance`` (T, T) the prices of their
    distance in that order, so that a source stops looking where distance alone costs more than what it has found.
    """
    batch, cells = worth.shape
    dearer = np.empty((cells, cells), np.int16)  # [source, target] how often it was lost
    claim = np.empty(cells, np.int64)
    price = np.empty(cells, np.float32)
    losing = np.empty(cells, np.bool_)
    moved = np.empty(cells, np.bool_)
    one = np.float32(1)
    for b in range(batch):
        winner = source[b]
        dearer[:] = 0
        losing[:] = True
        for _ in range(rounds):
            for i in range(cells):
                if not losing[i]:  # only a loser's costs have changed
                    continue
                best, cheapest = cells, np.float32(np.inf)
                for k in range(cells):
                    if distance[i, k] - worth[b, i] > cheapest:
                        break
                    j = order[i, k]
                    cost = distance[i, k] - worth[b, i] if covered[b, j] else distance[i, k]
                    for _ in range(dearer[i, j]):
                        cost += one
                    if cost < cheapest or (cost == cheapest and j < best):
                        best, cheapest = j, cost
                claim[i], price[i] = best, cheapest
            winner[:] = -1
            for i in range(cells):
                j = claim[i]
                if winner[j] < 0 or price[i] < price[winner[j]]:
                    winner[j] = i
            for i in range(cells):
                losing[i] = winner[claim[i]] != i
                if losing[i]:
                    dearer[i, claim[i]] += 1
        moved[:] = False
        for j in range(cells):
            if winner[j] >= 0:
                moved[winner[j]] = True
        for j in range(cells):
            if winner[j] < 0 and not moved[j]:
                winner[j] = j
                moved[j] = True
        i = 0
        for j in range(cells):
            if winner[j] < 0:
                while moved[i]:
                    i += 1
                winner[j] = i
                moved[i] = True
