"""v1"""

from __future__ import annotations
from concurrent.futures import ThreadPoolExecutor
import numba
import numpy as np
import torch
from torch import Tensor


def solve(coords_a: Tensor, coords_b: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    a, b = coords_a.numpy(), coords_b.numpy()
    batch, size, _ = a.shape
    index = np.empty((batch, size), np.int64)
    price = np.zeros((batch, size))

    def one(pair: int) -> None:
        _solve_pair(
            np.ascontiguousarray(a[pair].T),
            np.ascontiguousarray(b[pair].T),
            max(tolerance, 1e-6),
            index[pair],
            price[pair],
        )

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(one, range(batch)))
    if tolerance < 1e-6:
        from mixkit.assignment import exact

        index = exact.solve(coords_a, coords_b).numpy()
    return torch.from_numpy(index), torch.from_numpy(price)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _solve_pair(a, b, tolerance, index, price):
    dim, n = a.shape
    eps = 0.2
    value = np.empty(n)
    owner = np.empty(n, np.int64)
    queue = np.empty(n, np.int64)
    while True:
        index[:] = -1
        owner[:] = -1
        count = n
        for i in range(n):
            queue[i] = i
        while count:
            count -= 1
            i = queue[count]
            value[:] = 0
            for d in range(dim):
                for j in range(n):
                    value[j] += (a[d, i] - b[d, j]) ** 2
            for j in range(n):
                value[j] = np.sqrt(value[j]) + price[j]
            best, second, target = np.inf, np.inf, 0
            for j in range(n):
                v = value[j]
                if v < second:
                    if v < best:
                        second, best, target = best, v, j
                    else:
                        second = v
            price[target] += (second - best if n > 1 else 0.0) + eps
            if owner[target] >= 0:
                queue[count] = owner[target]
                count += 1
            owner[target] = i
            index[i] = target
        for j in range(n):
            index[owner[j]] = j
        cost = 0.0
        for i in range(n):
            s = 0.0
            for d in range(dim):
                s += (a[d, i] - b[d, index[i]]) ** 2
            cost += np.sqrt(s)
        if n * eps <= 0.9 * tolerance * cost or eps <= 1e-9:
            break
        eps = max(eps / 5, 1e-9)
