"""Co-Mixup's sweeps over one group on the CPU, compiled by numba: labellings by dynamic programming over a frontier.

No torch and no threads here. Each file of compiled code calls only itself: numba's cache does not see other files.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from mixkit.warm import announce

announce("Co-Mixup's sweeps")

_EXACT = 100_000  # states x choices up to which a labelling is solved over all labels at once, as on 2 x 2 cells
_TOGETHER = 4  # labels that are tried together, beside the best labelling so far
_SOFT_BONUS = 5e-4
_STOP = 1e-6

compiled = numba.njit(cache=True, nogil=True)


@compiled
def solve_group(
    unary: NDArray[np.float64],
    compatibility: NDArray[np.float64],
    shape: tuple[int, int],
    weights: tuple[float, float, float],
    sweeps: int,
    label: NDArray[np.int64],
) -> float:
    """Improve a group's labelling by sweeps, output by output, and return the objective reached.

    Args:
        unary: (m, T) the cost of each input in each cell.
        compatibility: (m, m) A.
        shape: rows and columns of cells, T = rows * columns.
        weights: beta, gamma and tau, scaled by the number of cells.
        sweeps: at most so many.
        label: (m, T, 2) the random labelling in, the result out: the two inputs whose halves make up each cell.
    """
    size, cells = unary.shape
    beta, gamma, tau = weights
    counts = np.zeros((size, size))
    for o in range(size):
        _count(label[o], counts[o])
    total = counts.sum(0)
    extra = np.zeros((size, size))
    cost = np.empty((size + 3, cells))
    pairs = np.empty((size + 3, 2), np.int64)
    pairs[:size, 0] = pairs[:size, 1] = np.arange(size)
    table = np.empty((size + 3, size + 3))
    chosen = np.empty(cells, np.int64)
    reached = np.inf
    for sweep in range(sweeps):
        if sweep == sweeps - 1:
            _part_twins(counts, gamma, extra)
        for o in range(size):
            others = total - counts[o]
            pull = compatibility @ others
            for k in range(size):
                added = extra[o, k] + (2 * gamma * pull[k] if pull[k] > tau else 0.0)
                for t in range(cells):
                    cost[k, t] = unary[k, t] + added
            labels = size + (_soft_labels(counts[o], pairs[size:]) if sweep > 0 else 0)
            for k in range(size, labels):
                a, b = pairs[k]
                for t in range(cells):
                    cost[k, t] = (cost[a, t] + cost[b, t]) / 2 - _SOFT_BONUS
            for k in range(labels):
                for j in range(labels):
                    table[k, j] = beta * difference(pairs[k, 0], pairs[k, 1], pairs[j, 0], pairs[j, 1])
            solve_labelling(cost[:labels], table[:labels, :labels], shape, chosen)
            for t in range(cells):
                label[o, t] = pairs[chosen[t]]
            counts[o] = 0
            _count(label[o], counts[o])
            total = others + counts[o]
        before, reached = reached, objective(unary, shape, weights, label)
        if sweep > 0 and abs(before - reached) <= _STOP * abs(before):
            break
    return reached


@compiled
def objective(
    unary: NDArray[np.float64], shape: tuple[int, int], weights: tuple[float, float, float], label: NDArray[np.int64]
) -> float:
    """A group's objective: unaries, borders, and what inputs used beyond tau by other outputs cost."""
    size, cells = unary.shape
    rows, columns = shape
    beta, gamma, tau = weights
    counts = np.zeros((size, size))
    value = 0.0
    for o in range(size):
        _count(label[o], counts[o])
        for t in range(cells):
            a, b = label[o, t]
            value += (unary[a, t] + unary[b, t]) / 2
            if t % columns + 1 < columns:
                value += beta * difference(a, b, label[o, t + 1, 0], label[o, t + 1, 1])
            if t // columns + 1 < rows:
                value += beta * difference(a, b, label[o, t + columns, 0], label[o, t + columns, 1])
    total = counts.sum(0)
    for o in range(size):
        for k in range(size):
            others = total[k] - counts[o, k]
            if others > tau:
                value += gamma * others * counts[o, k]
    return value


@compiled
def solve_labelling(
    cost: NDArray[np.float64], table: NDArray[np.float64], shape: tuple[int, int], label: NDArray[np.int64]
) -> None:
    """Label cells at low energy: exactly where all labels fit one dynamic programme, else by expansion moves.

    Args:
        cost: (L, T) the cost of each label in each cell.
        table: (L, L) the cost of each pair of labels across a border.
        shape: rows and columns of cells.
        label: (T,) result.
    """
    labels, cells = cost.shape
    columns = shape[1]
    if labels ** (columns + 1) <= _EXACT:
        choices = np.empty((cells, labels), np.int64)
        for k in range(labels):
            choices[:, k] = k
        _best_choice(cost, table, shape, choices, label)
        return
    best = np.empty(cells, np.int64)
    lowest = np.inf
    seen = np.zeros(labels, np.int64)
    for start in range(2):
        if start == 0:  # every cell its own cheapest label
            for t in range(cells):
                label[t] = np.argmin(cost[:, t])
        else:  # the label that is cheapest everywhere
            label[:] = np.argmin(cost.sum(1))
        energy = _expand(cost, table, shape, label)
        for t in range(cells):
            seen[label[t]] += 1
        if energy < lowest:
            lowest = energy
            best[:] = label
    # the best of all labellings that use the labels of both results, as many as are affordable
    together = _TOGETHER if columns <= 4 else 2
    count = min(int((seen > 0).sum()), together)
    if count > 1:
        order = np.argsort(-seen)[:count]
        choices = np.empty((cells, count + 1), np.int64)
        for t in range(cells):
            choices[t, 0] = best[t]
            choices[t, 1:] = order
        _best_choice(cost, table, shape, choices, label)
        if _energy(cost, table, shape, label) < lowest - 1e-12:
            best[:] = label
            _expand(cost, table, shape, best)
    label[:] = best


@compiled
def _expand(
    cost: NDArray[np.float64], table: NDArray[np.float64], shape: tuple[int, int], label: NDArray[np.int64]
) -> float:
    """Let one label after the other take what cells it likes, each time the best set of cells, until none takes any."""
    labels, cells = cost.shape
    choices = np.empty((cells, 2), np.int64)
    before = np.empty(cells, np.int64)
    around = np.empty(cells)
    energy = _energy(cost, table, shape, label)
    _borders(table, shape, label, around)
    alpha, since = 0, 0
    while since < labels:
        # no move gains more than its cells and the borders around them, each cell by itself, nor more than all cells
        # and all borders: this spares most moves
        gain, most = 0.0, energy
        for t in range(cells):
            own_cost = cost[label[t], t] - cost[alpha, t]
            most -= min(cost[label[t], t], cost[alpha, t])
            if label[t] != alpha:
                gain += max(own_cost + around[t], 0.0)
        if min(gain, most) > 1e-12:
            for t in range(cells):
                before[t] = choices[t, 0] = label[t]
                choices[t, 1] = alpha
            _best_choice(cost, table, shape, choices, label)
            after = _energy(cost, table, shape, label)
            if after < energy - 1e-12:
                energy, since = after, 0
                _borders(table, shape, label, around)
            else:
                label[:] = before
        alpha = (alpha + 1) % labels
        since += 1
    return energy


@compiled
def _best_choice(
    cost: NDArray[np.float64],
    table: NDArray[np.float64],
    shape: tuple[int, int],
    choices: NDArray[np.int64],
    label: NDArray[np.int64],
) -> None:
    """The best labelling in which cell t takes one of ``choices[t]`` (T, K): exact, cell by cell, over all states of
    the last row's worth of cells, a state being a number in base K: its digit c the choice in column c's latest cell.
    """
    columns = shape[1]
    cells, count = choices.shape
    states = count**columns
    value, following = np.zeros(states), np.empty(states)
    came = np.zeros((cells, states), np.int16)
    across = np.zeros((count, count))  # [choice to the left, choice here]
    for t in range(cells):
        row, column = t // columns, t % columns
        step = count**column
        lefts = count if column else 1
        rest = step // lefts
        for left in range(lefts):
            for k in range(count):
                own_cost = cost[choices[t, k], t]
                across[left, k] = own_cost + table[choices[t - 1, left], choices[t, k]] if column else own_cost
        for high in range(states // (step * count)):
            base = high * step * count
            for k in range(count):
                for left in range(lefts):
                    low = base + left * rest
                    fixed = across[left, k]
                    if not row:
                        for x in range(low, low + rest):
                            following[x + k * step] = value[x] + fixed
                        continue
                    for old in range(count):
                        through = fixed + table[choices[t - columns, old], choices[t, k]]
                        for x in range(low, low + rest):
                            candidate = value[x + old * step] + through
                            if old == 0 or candidate < following[x + k * step]:
                                following[x + k * step] = candidate
                                came[t, x + k * step] = old
        value, following = following, value
    state = np.argmin(value)
    for t in range(cells - 1, -1, -1):
        step = count ** (t % columns)
        digit = state // step % count
        label[t] = choices[t, digit]
        state += (came[t, state] - digit) * step


@compiled
def _energy(
    cost: NDArray[np.float64], table: NDArray[np.float64], shape: tuple[int, int], label: NDArray[np.int64]
) -> float:
    rows, columns = shape
    energy = 0.0
    for t in range(len(label)):
        energy += cost[label[t], t]
        if t % columns + 1 < columns:
            energy += table[label[t], label[t + 1]]
        if t // columns + 1 < rows:
            energy += table[label[t], label[t + columns]]
    return energy


@compiled
def _borders(
    table: NDArray[np.float64], shape: tuple[int, int], label: NDArray[np.int64], around: NDArray[np.float64]
) -> None:
    """Fill ``around`` (T,) with what the borders of each cell cost."""
    rows, columns = shape
    around[:] = 0
    for t in range(len(label)):
        for inside, u in ((t % columns + 1 < columns, t + 1), (t // columns + 1 < rows, t + columns)):
            if inside:
                between = table[label[t], label[u]]
                around[t] += between
                around[u] += between


@compiled
def difference(a: int, b: int, c: int, d: int) -> float:
    """Half the squared difference of the weights that halves of inputs a, b and of c, d give to all inputs."""
    if a == c and b == d:
        return 0.0
    own = 0.5 if a == b else 0.25
    other = 0.5 if c == d else 0.25
    shared = ((a == c) + (a == d) + (b == c) + (b == d)) * 0.25
    return own + other - shared


@compiled
def _count(label: NDArray[np.int64], counts: NDArray[np.float64]) -> None:
    for t in range(len(label)):
        counts[label[t, 0]] += 0.5
        counts[label[t, 1]] += 0.5


@compiled
def _soft_labels(counts: NDArray[np.float64], pairs: NDArray[np.int64]) -> int:
    """Fill in the half/half labels of an output that uses its inputs so often; returns how many there are."""
    top = np.empty(3, np.int64)
    used = 0
    for _ in range(3):
        most = -1
        for k in range(len(counts)):
            if counts[k] <= 0 or (used > 0 and top[0] == k) or (used > 1 and top[1] == k):
                continue
            if most < 0 or counts[k] > counts[most]:
                most = k
        if most < 0:
            break
        top[used] = most
        used += 1
    number = 0
    for i in range(used):
        for j in range(i + 1, used):
            pairs[number, 0], pairs[number, 1] = min(top[i], top[j]), max(top[i], top[j])
            number += 1
    return number


@compiled
def _part_twins(counts: NDArray[np.float64], gamma: float, extra: NDArray[np.float64]) -> None:
    """Outputs that use the same set of inputs: make one of its inputs dearer for each."""
    size = len(counts)
    for i in range(size):
        for j in range(i + 1, size):
            first, second = -1, -1
            same = True
            for k in range(size):
                if (counts[i, k] > 0) != (counts[j, k] > 0):
                    same = False
                    break
                if counts[i, k] > 0:
                    if first < 0:
                        first = k
                    elif second < 0:
                        second = k
            if same and second >= 0:
                extra[i, first] += gamma
                extra[j, second] += gamma
