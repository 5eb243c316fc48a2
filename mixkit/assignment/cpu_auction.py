"""The compiled auction for one pair in k-d order: pruned scans, bids, levels, certificate. No threads, no torch.

The *bidders* are the points of a, the *targets* those of b; a bidder's *profit* is the least distance + price it can
get. There are as many targets as bidders, or more: then prices are 0 or more, and those left over must end at 0. A file
of compiled code calls only itself, because numba's cache does not notice an edit in another file.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numba
import numpy as np

BLOCK = 64  # points that share one bounding box: long enough for SIMD, small enough to prune
FAR, BIG = np.float32(1e20), np.float32(1e30)  # "infinite", but finite because fastmath assumes so; FAR < BIG
ZERO = np.float32(0)
WAITS, OUT = -1, -2  # a bidder without a target: it will bid, or it is better off outside
BIDS = 100  # bids per bidder and level before the auction gives up
COARSEN = 4  # bidders per bidder of the next coarser level
REACH = 3  # a search for candidates looks this many eps beyond the second best
FIRST_EPS = 0.15  # on the coarsest level, where the clouds' box is 2 wide
EPS_FACTOR = 5  # from one phase to the next
CHAIN, CHAIN_PER_BIDDER = 4096, 2  # a chain of CHAIN + CHAIN_PER_BIDDER * N evictions doubles eps
FIRST_GROWTH, COARSE_GROWTH = 16, 4  # how far eps may grow in the first phase of the finest level, and of the others
GROWTH = 2.5  # and in a later phase of the finest: it is halved at least from one to the next
LEVEL_EPS = 0.25  # a coarse level's prices mean nothing below LEVEL_EPS / sqrt(N of the level)
EPS_PER_GAP = 2.5  # eps relative to the mean distance per unit of certified gap: measured, see docs/notes/assignment.md
ROUNDING = 6e-8  # of a float32 operation; a coordinate in [-1, 1] rounds by half of it
LOWERED = 4  # eps that prices are lowered by between levels where targets are left over: to raise them takes less time
MIN_EPS = 2e-6  # float32 prices do not resolve less

Array: TypeAlias = np.ndarray
Packed: TypeAlias = tuple[Array, Array, Array]  # what `pack` returns
Lists: TypeAlias = tuple[Array, Array, Array, Array]  # per bidder: targets, their distances; how many; threshold

compiled = numba.njit(cache=True, nogil=True, fastmath=True)
inlined = numba.njit(inline="always", nogil=True, fastmath=True)  # as written in place: called, it does not vectorise


@compiled
def pack(x: Array) -> Packed:
    """Columns (D, M) of x (N, D), M the next multiple of BLOCK, and the blocks' boxes: low and high (D, M / BLOCK)."""
    size, dim = x.shape
    blocks = (size + BLOCK - 1) // BLOCK
    columns = np.empty((dim, blocks * BLOCK), x.dtype)
    low, high = np.full((dim, blocks), BIG), np.full((dim, blocks), -BIG)
    for d in range(dim):
        for k in range(blocks * BLOCK):
            value = x[min(k, size - 1), d]
            columns[d, k] = value
            low[d, k // BLOCK] = min(low[d, k // BLOCK], value)
            high[d, k // BLOCK] = max(high[d, k // BLOCK], value)
    return columns, low, high


@compiled
def weigh(weight: Array, blocks: int) -> tuple[Array, Array]:
    """Weights padded by BIG to whole blocks, and the least weight of each block."""
    padded, least = np.full(blocks * BLOCK, BIG), np.full(blocks, BIG)
    for k in range(weight.shape[0]):
        padded[k] = weight[k]
        least[k // BLOCK] = min(least[k // BLOCK], weight[k])
    return padded, least


@compiled
def distance(x: Array, i: int, columns: Array, j: int) -> float:
    square = x[i, 0] * 0
    for d in range(x.shape[1]):
        square += (x[i, d] - columns[d, j]) ** 2
    return math.sqrt(square)


@compiled
def scratch(blocks: int) -> tuple[Array, Array, Array, Array, Array]:
    """What a scan works in: bounds per block; per lane (position in a block) squares, best, second best, best block."""
    lane = np.empty(BLOCK, np.float32)
    return np.empty(blocks, np.float32), lane, lane.copy(), lane.copy(), np.empty(BLOCK, np.int32)


@inlined
def bound_blocks(x: Array, i: int, targets: Packed, least: Array, bounds: Array) -> None:
    """bounds[q]: what no target of block q is worth less than to x_i: the nearest corner plus the least weight."""
    _, low, high = targets
    x0, x1, x2 = x[i, 0], x[i, 1], x[i, 2]
    for q in range(bounds.shape[0]):
        s = max(max(low[0, q] - x0, x0 - high[0, q]), ZERO)
        t = max(max(low[1, q] - x1, x1 - high[1, q]), ZERO)
        u = max(max(low[2, q] - x2, x2 - high[2, q]), ZERO)
        bounds[q] = s * s + t * t + u * u
    for d in range(3, x.shape[1]):
        xd = x[i, d]
        for q in range(bounds.shape[0]):
            s = max(max(low[d, q] - xd, xd - high[d, q]), ZERO)
            bounds[q] += s * s
    for q in range(bounds.shape[0]):
        bounds[q] = math.sqrt(bounds[q]) + least[q]


@inlined
def square_block(x: Array, i: int, columns: Array, start: int, square: Array) -> None:
    """square[k]: the squared distance of x_i from column start + k, for the BLOCK columns of a block."""
    x0, x1, x2 = x[i, 0], x[i, 1], x[i, 2]
    for k in range(BLOCK):
        s, t, u = x0 - columns[0, start + k], x1 - columns[1, start + k], x2 - columns[2, start + k]
        square[k] = s * s + t * t + u * u
    for d in range(3, x.shape[1]):
        xd = x[i, d]
        for k in range(BLOCK):
            square[k] += (xd - columns[d, start + k]) ** 2


@compiled
def least_lane(lane: Array) -> float:
    """The least of BLOCK values, which are overwritten. By halves, because LLVM does not vectorise the plain loop."""
    half = BLOCK // 2
    while half >= 8:
        for k in range(half):
            lane[k] = min(lane[k], lane[k + half])
        half //= 2
    value = lane[0]
    for k in range(1, 8):
        value = min(value, lane[k])
    return value


@compiled
def scan(
    x: Array,
    i: int,
    targets: Packed,
    weight: Array,
    least: Array,
    threshold: float,
    index: Array,
    length: Array,
    row: int,
    work: tuple[Array, Array, Array, Array, Array],
) -> tuple[int, float]:
    """List the elements j of least distance(x_i, j) + weight_j up to the threshold: index and length[row, :count].

    A box is opened only if its nearest corner and its least weight can come below the threshold. Each SIMD lane keeps
    its two best values: whatever is below the best of all second places must be first in its lane, so the list is
    complete up to there. Returns count and that value: what is not listed is worth at least as much.
    """
    columns = targets[0]
    bounds, square, first, second, best_block = work
    bound_blocks(x, i, targets, least, bounds)
    for k in range(BLOCK):
        first[k], second[k], best_block[k] = BIG, BIG, 0
    for q in range(bounds.shape[0]):
        if bounds[q] >= threshold:
            continue
        start = q * BLOCK
        square_block(x, i, columns, start, square)
        for k in range(BLOCK):
            value = math.sqrt(square[k]) + weight[start + k]
            second[k] = min(second[k], max(value, first[k]))
            best_block[k] = q if value < first[k] else best_block[k]
            first[k] = min(first[k], value)

    threshold = min(threshold, least_lane(second))
    count = 0
    for k in range(BLOCK):
        if first[k] <= threshold:  # or equal: the very best is listed even where it ties with its lane's second
            j = best_block[k] * BLOCK + k
            index[row, count], length[row, count] = j, first[k] - weight[j]
            count += 1
    return count, threshold


@compiled
def auction(
    x: Array,
    targets: Packed,
    price: Array,
    least: Array,
    index: Array,
    owner: Array,
    eps: float,
    most_eps: float,
    lists: Lists,
    budget: int,
    outside: float,
) -> tuple[int, float]:
    """Bidders x (N, D) bid in turn until each owns a target within eps of its best, or the budget of bids is spent.

    The bidders whose `index` is WAITS bid. Whose best costs `outside` or more stays OUT, without a target.
    Gauss-Seidel forward auction from the given prices. Prices only rise, so a bidder's list stays true: what it leaves
    out is worth at least its threshold, and only a best that exceeds that makes the bidder look again. A bid that takes
    the threshold for the second best is smaller than it could be, but a bid. Returns the bids made, and the last eps.

    A bid takes a free target, or evicts the owner of one, who bids next. Where free targets are far away, such a chain
    raises the prices of all that are near by steps of eps. A long one says that eps is too small for the prices that it
    began with: eps grows, up to `most_eps`, as if the auction had begun with a larger one.
    """
    columns, low, _ = targets
    candidates, lengths, count, threshold = lists
    size, work = x.shape[0], scratch(low.shape[1])
    queue, waiting = np.empty(size, np.int32), 0
    for i in range(size - 1, -1, -1):
        if index[i] == WAITS:
            queue[waiting] = i
            waiting += 1
    bids, fewest, began = 0, waiting, 0
    while waiting and bids < budget:
        waiting -= 1
        if waiting < fewest:
            fewest, began = waiting, bids
        elif bids - began > CHAIN + CHAIN_PER_BIDDER * size:
            eps, began = min(2 * eps, most_eps), bids
        bids += 1
        i = int(queue[waiting])
        best, second, target = _best_two(candidates, lengths, i, count[i], price)
        if best > threshold[i] and threshold[i] < outside:
            if count[i] == 0 and i > 0:  # nothing known yet: what the neighbour knows bounds the search
                for k in range(count[i - 1]):
                    best = min(best, distance(x, i, columns, candidates[i - 1, k]) + price[candidates[i - 1, k]])
            best = min(best, outside)
            reach = np.float32(min(best + max(REACH * eps, 1e-6 * best), FAR))
            count[i], threshold[i] = scan(x, i, targets, price, least, reach, candidates, lengths, i, work)
            if count[i] == 0 and reach < outside:  # rounding has put even the neighbour's best beyond it: in many axes
                count[i], threshold[i] = scan(x, i, targets, price, least, FAR, candidates, lengths, i, work)
            best, second, target = _best_two(candidates, lengths, i, count[i], price)
        if best >= outside:
            index[i] = OUT
            continue
        block = target // BLOCK
        was_least = price[target] <= least[block]
        price[target] += min(min(second, threshold[i]), outside) - best + eps
        if was_least:
            lowest = BIG
            for k in range(block * BLOCK, block * BLOCK + BLOCK):
                lowest = min(lowest, price[k])
            least[block] = lowest
        loser = owner[target]
        if loser >= 0:
            index[loser] = WAITS
            queue[waiting] = loser
            waiting += 1
        owner[target], index[i] = i, target
    return bids, eps


@compiled
def _best_two(candidates: Array, lengths: Array, i: int, count: int, price: Array) -> tuple[float, float, int]:
    best, second, target = BIG, BIG, candidates[i, 0]
    for k in range(count):
        value = lengths[i, k] + price[candidates[i, k]]
        second = min(second, max(value, best))
        target = candidates[i, k] if value < best else target
        best = min(best, value)
    return best, second, target


@compiled
def profits(price: Array, lists: Lists) -> Array:
    """(N,) a lower bound on each bidder's profit, from its list alone; the profit itself where the list reaches it."""
    candidates, lengths, count, threshold = lists
    profit = np.empty(count.shape[0], np.float32)
    for i in range(profit.shape[0]):
        best, _, _ = _best_two(candidates, lengths, i, count[i], price)
        profit[i] = min(best, threshold[i])
    return profit


@compiled
def lowest(x: Array, targets: Packed, weight: Array, guess: Array) -> Array:
    """min_k |x_i - y_k| + weight_k for each i: (N,) float64, never more than the true minimum.

    `guess` is any index per i, the better the faster. A float32 scan keeps minima only, of the blocks whose box and
    least weight can come below the guess; what rounding can do is taken off.
    """
    columns, blocks = targets[0], targets[1].shape[1]
    size, dim = x.shape
    padded, least = weigh(weight.astype(np.float32), blocks)
    bounds, square, lane, _, _ = scratch(blocks)
    peak = np.abs(weight).max()
    value = np.empty(size)
    for i in range(size):
        best = distance(x, i, columns, guess[i]) + padded[guess[i]]
        bound_blocks(x, i, targets, least, bounds)
        lane[:] = best
        for q in range(bounds.shape[0]):
            if bounds[q] >= best:
                continue
            start = q * BLOCK
            square_block(x, i, columns, start, square)
            for k in range(BLOCK):
                lane[k] = min(lane[k], math.sqrt(square[k]) + padded[start + k])
        value[i] = least_lane(lane)
        value[i] -= ROUNDING * (math.sqrt(dim) + (dim / 2 + 6) * (abs(value[i]) + 2 * peak))
    return value


@compiled
def inverse(matching: Array, targets: int) -> Array:
    """(targets,) who owns each target, 0 where nobody does: `matching` (N,) has -1 for bidders without a target."""
    owner = np.zeros(targets, np.int64)
    for i in range(matching.shape[0]):
        if matching[i] >= 0:
            owner[matching[i]] = i
    return owner


@compiled
def dual_bound(a: Array, b: Array, price: Array, guess: Array) -> tuple[float, Array]:
    """A lower bound on the cost of every bijection of a (N, D) to b (N, D), float64, by any prices (N,) of b's points.

    Returns it and the profits (N,) that the prices leave to a's points; the negative profits are good prices of those,
    for a better bound with a and b exchanged. `guess` is any index into b for each a, the better the faster.
    """
    profit = lowest(a.astype(np.float32), pack(b.astype(np.float32)), price, guess)
    return profit.sum() - price.sum(), profit


@compiled
def unequal_bound(x: Array, y: Array, profit: Array, index: Array, enough: float) -> float:
    """A lower bound on the cost of every injection of x (N, D) into y (M, D), N < M, float32, from profits (N,) of x.

    It takes the least prices of y, none below 0, that leave x no less than these profits. Where the bound is below
    `enough`, it takes the profits that those prices leave, too. `index` (N,) is any matching, the better the faster.
    """
    value = np.minimum(lowest(y, pack(x), -profit, inverse(index, y.shape[0])), 0.0)
    lower = value.sum() + profit.sum()
    if lower < enough:
        lower = max(lower, lowest(x, pack(y), -value, index).sum() + value.sum())
    return lower


@compiled
def coarsen(x: Array, step: int) -> Array:
    """(N // step, D): the means of `step` points of x (N, D) in a row. The last N % step points are left out."""
    if step == 1:
        return x
    coarse = np.zeros((x.shape[0] // step, x.shape[1]))
    for i in range(coarse.shape[0]):
        for k in range(i * step, i * step + step):
            for d in range(x.shape[1]):
                coarse[i, d] += x[k, d] / step
    return coarse


@compiled
def no_lists(size: int) -> Lists:
    """Lists of candidates that know nothing yet."""
    candidates, lengths = np.empty((size, BLOCK), np.int32), np.empty((size, BLOCK), np.float32)
    return candidates, lengths, np.zeros(size, np.int64), np.full(size, -BIG)


@compiled
def reverse(
    x: Array,
    y: Array,
    price: Array,
    profit: Array,
    index: Array,
    owner: Array,
    eps: float,
    most_eps: float,
    budget: int,
) -> tuple[int, float]:
    """After an auction that left targets over: these bid for the bidders, until they are taken or their prices are 0.

    The reverse auction of Bertsekas and Castanon (1992). A target's bid lowers its price, and the profit of the bidder
    that it takes, whose former target is then left over and bids in turn. A target that nobody wants at a price above 0
    stays out. Overwrites price (M,), profit (N,), index (N,) and owner (M,). Returns the bids made and the last eps.
    """
    size, bidders = x.shape[0], pack(x)
    loss, least = weigh(-profit, bidders[1].shape[1])
    holder = np.full(loss.shape[0], -1)
    holder[:size] = index
    for j in range(y.shape[0]):
        if owner[j] < 0 and price[j] <= 0:
            owner[j] = OUT
    lists = no_lists(y.shape[0])
    bids, eps = auction(y, bidders, loss, least, owner, holder, eps, most_eps, lists, budget, ZERO)
    profit[:] = -loss[:size]
    index[:] = holder[:size]
    columns = y.T.copy()
    price[:] = 0
    for i in range(size):
        price[index[i]] = max(profit[i] - distance(x, i, columns, index[i]), ZERO)
    return bids, eps


@compiled
def solve_level(
    x64: Array, y64: Array, price: Array, eps: float, least_eps: float, tolerance: float, certified: bool, index: Array
) -> tuple[float, float, Array, Array, int]:
    """Auctions at ever smaller eps until eps suffices, and if `certified`, until the certificate meets the tolerance.

    x64: (N, D) bidders. y64: (M, D) targets, M >= N. Writes index (N,) int64, -1 where BIDS * N bids did not suffice.
    Returns cost, lower bound (0 if not certified), prices (M,), profits (N,) and the bids made.
    """
    x, y = x64.astype(np.float32), y64.astype(np.float32)
    level, others = x.shape[0], y.shape[0]
    y_columns, targets = y64.T.copy(), pack(y)
    padded, least = weigh(price.astype(np.float32), targets[1].shape[1])
    owner = np.empty(padded.shape[0], np.int64)
    lists = no_lists(level)
    bids, lower, most_eps = 0, 0.0, (FIRST_GROWTH if certified else COARSE_GROWTH) * eps
    while True:
        index[:], owner[:] = WAITS, -1
        budget = BIDS * level - bids
        made, grown = auction(
            x, targets, padded, least, index, owner, np.float32(eps), np.float32(most_eps), lists, budget, BIG
        )
        profit32 = profits(padded, lists)
        if others > level and made < budget:
            price32, start = padded[:others], np.float32(grown)
            more, grown = reverse(
                x, y, price32, profit32, index, owner[:others], start, np.float32(most_eps), budget - made
            )
            made += more
            padded, least = weigh(padded[:others], targets[1].shape[1])
            lists = no_lists(level)  # prices have fallen
        bids, eps = bids + made, float(grown)
        cost, paired = 0.0, 0
        for i in range(level):
            if index[i] >= 0:
                cost += distance(x64, i, y_columns, index[i])
                paired += 1
        profit = profit32.astype(np.float64)
        goal = max(EPS_PER_GAP * tolerance * cost / paired, least_eps)
        if bids >= BIDS * level:
            break
        if eps > 1.2 * goal:
            eps = max(eps / EPS_FACTOR, goal)
            most_eps = GROWTH * eps if certified and eps > goal else eps
            continue
        if not certified:
            break
        if others == level:
            lower = lowest(y, pack(x), -profit, owner).sum() + profit.sum()
        else:
            lower = unequal_bound(x, y, profit, index, cost / (1 + tolerance))
        excess = cost - lower
        if cost == 0 or excess <= tolerance * lower or eps <= least_eps:
            break
        shrink = 0.9 * tolerance * max(lower, 0.0) / excess
        eps = max(eps * min(max(shrink, 1 / EPS_FACTOR), 0.7), least_eps)
        most_eps = eps
    return cost, lower, padded[:others].astype(np.float64), profit, bids


@compiled
def solve_coarse(a: Array, b: Array, tolerance: float) -> tuple[Array, float, Array, int]:
    """The levels above the finest: what the finest starts from, its prices (M,) and eps, and the matching above it.

    a, b: (N, D) and (M, D) float64 within [-1, 1], M >= N, D >= 3, in k-d order, so that the mean of a few points in a
    row is a point of a coarser cloud, and BLOCK points in a row make a small box. Returns price, eps, the matching
    (N // COARSEN,) of the means of COARSEN points in a row, which is empty for a small N, and the bids made.
    """
    size, step = a.shape[0], 1
    while size // step >= 2 * BLOCK:
        step *= COARSEN
    coarse_a, coarse_b = coarsen(a, step), coarsen(b, step)
    price, eps, all_bids, index = np.zeros(coarse_b.shape[0]), FIRST_EPS, 0, np.empty(0, np.int64)
    while step > 1:
        level, others = coarse_a.shape[0], coarse_b.shape[0]
        index = np.empty(level, np.int64)
        cost, _, _, profit, bids = solve_level(
            coarse_a, coarse_b, price, eps, LEVEL_EPS / math.sqrt(level), tolerance, False, index
        )
        all_bids += bids
        step //= COARSEN
        finer_a, finer_b = coarsen(a, step), coarsen(b, step)
        guess = inverse(index, others)[np.minimum(np.arange(finer_b.shape[0]) // COARSEN, others - 1)]
        price = -lowest(finer_b.astype(np.float32), pack(coarse_a.astype(np.float32)), -profit, guess)
        eps = EPS_PER_GAP * tolerance * cost / level
        if others > level:
            price = np.maximum(price - LOWERED * eps, 0.0)
        else:
            price -= price.min()
        floor = LEVEL_EPS / math.sqrt(finer_a.shape[0])
        if others > level and step == 1:
            floor /= 3  # where targets are left over, prices are nearer their end
        eps = max(eps, floor)
        coarse_a, coarse_b = finer_a, finer_b
    return price, eps, index, all_bids


@compiled
def solve_finest(
    a: Array, b: Array, tolerance: float, price: Array, eps: float, matching: Array
) -> tuple[float, float, Array, int]:
    """The pair itself, from given prices (M,) and eps, until the certificate meets the tolerance.

    Writes matching (N,) int64: where BIDS * N bids do not suffice, the bidders left over have -1. Returns the cost, the
    certificate's lower bound, the prices (M,), and the bids made.
    """
    cost, lower, price, _, bids = solve_level(a, b, price, eps, MIN_EPS, tolerance, True, matching)
    return cost, lower, price, bids
