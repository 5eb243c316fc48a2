"""The Triton kernel of the GPU assignment: one program per pair runs a whole epsilon-scaled auction, without the host.

Its launch lives in `triton_auction`; docs/notes/assignment-gpu.md explains the algorithm, its schedule and its cost.
"""

# mypy: disable-error-code="no-untyped-def"
# The arguments of Triton functions are traced pointers, scalars and blocks, for which Python has no types.

import triton
import triton.language as tl

# ROWS queued rows bid at a time, against targets that pass by in chunks: a thread holds several rows, so a target's
# coordinates are loaded once for all, and a row is spread over two warps only. Of few bidders, FEW rows take all warps.
ROWS, CHUNK = tl.constexpr(32), tl.constexpr(64)
FEW, FEW_CHUNK = tl.constexpr(8), tl.constexpr(256)

TAIL = tl.constexpr(6)  # the last phases' auction stops at this many unassigned rows: shortest paths finish
SOURCES = tl.constexpr(8)  # unassigned rows that one path search starts from
MARGIN = tl.constexpr(
    0.1
)  # in epsilons: targets this near to the nearest are settled with it, in one step of the search
FACTOR = tl.constexpr(0.2)  # epsilon of the next phase over epsilon of this one
KAPPA = tl.constexpr(
    1.9
)  # the last epsilon aimed at, over tolerance times mean cost: the gap is about a third of N epsilon
ULP = tl.constexpr(2.4e-7)  # a bid moves a price by at least two float32 steps, so that no round is without progress
WINS_PER_POINT = tl.constexpr(
    8
)  # a phase of more winning bids than this is ended: epsilon is too small for what is left
MAX_PHASES = tl.constexpr(64)
ROUNDING = tl.constexpr(3e-7)  # what float32 may hide of the gap, per point: the certificate must hold in float64 too
NONE = tl.constexpr(2147483647)  # no index: larger than any


@triton.jit
def _distance(rows, targets, i, j, stride, D: tl.constexpr):
    """L2 distances of rows i to targets j, whose shapes broadcast. The 1e-30 keeps rsqrt finite for equal points."""
    x = tl.load(rows + i) - tl.load(targets + j)
    square = x * x + 1e-30
    if D <= 8:
        for d in tl.static_range(1, D):
            x = tl.load(rows + d * stride + i) - tl.load(targets + d * stride + j)
            square += x * x
    else:
        for d in range(1, D):
            x = tl.load(rows + d * stride + i) - tl.load(targets + d * stride + j)
            square += x * x
    return square * tl.rsqrt(square)


@triton.jit
def _best_two(rows, targets, price, i, stride, R: tl.constexpr, C: tl.constexpr, D: tl.constexpr):
    """Least and second least of distance + price for the rows i (R,), and the (lowest) target of the least."""
    row = i[:, None]
    lane = tl.arange(0, C)[None, :]
    first = tl.full([R, C], float("inf"), tl.float32)
    second = tl.full([R, C], float("inf"), tl.float32)
    where = tl.zeros([R, C], tl.int32)
    for start in range(0, stride, C):
        j = start + lane
        value = _distance(rows, targets, row, j, stride, D) + tl.load(price + j)
        better = value < first
        second = tl.minimum(second, tl.maximum(value, first))
        where = tl.where(better, j, where)
        first = tl.where(better, value, first)
    least = tl.min(first, 1)
    target = tl.min(tl.where(first == least[:, None], where, NONE), 1)
    runner_up = tl.min(tl.where(where == target[:, None], second, first), 1)
    return least, target, runner_up


@triton.jit
def _bid(
    rows, targets, price, owner, match, queue, n, stride, head, count, epsilon, R: tl.constexpr,
    C: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """One round: the first R queued rows bid, a target goes to its highest bid, losers and evicted rows queue."""
    r = tl.arange(0, R)
    valid = r < count
    i = tl.load(queue + (head + r) % n, mask=valid, other=0)
    least, target, runner_up = _best_two(rows, targets, price, i, stride, R, C, D)
    old = tl.load(price + target)
    bid = tl.maximum(old + (runner_up - least) + epsilon, old + tl.abs(old) * ULP)
    claim = tl.where(valid, target, -1 - r)
    rival = claim[:, None] == claim[None, :]
    higher = (bid[None, :] > bid[:, None]) | ((bid[None, :] == bid[:, None]) & (r[None, :] < r[:, None]))
    lost = tl.max((rival & higher).to(tl.int32), 1) > 0
    won = valid & (lost == 0)
    evicted = tl.load(owner + target, mask=won, other=-1)
    back = tl.where(lost, i, evicted)
    push = valid & (back >= 0)
    place = tl.cumsum(push.to(tl.int32), 0) - 1
    pushed = tl.sum(push.to(tl.int32), 0)
    tl.debug_barrier()  # every thread has read what the next lines overwrite
    tl.store(price + target, bid, mask=won)
    tl.store(owner + target, i, mask=won)
    tl.store(match + i, target, mask=won)
    tl.store(match + evicted, tl.full([R], -1, tl.int32), mask=won & (evicted >= 0))
    tl.store(queue + (head + count + place) % n, back, mask=push)
    tl.debug_barrier()
    taken = tl.minimum(count, R)
    return (head + taken) % n, count - taken + pushed, taken, tl.sum(won.to(tl.int32), 0)


@triton.jit
def _augment(
    rows, targets, price, owner, match, queue, scratch, base, n, stride, head, count, epsilon,
    BLOCK: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """Assign one more row along a shortest path of reduced costs, from the first queued rows to a free target."""
    parent = scratch
    list_row = scratch + stride
    list_length = base
    list_base = base + stride
    j = tl.arange(0, BLOCK)
    inside = j < n
    safe = tl.where(inside, j, 0)
    start = tl.load(price + j, mask=inside, other=float("inf"))
    holder = tl.load(owner + j, mask=inside, other=-1)
    paid = _distance(rows, targets, tl.maximum(holder, 0), safe, stride, D) + start
    length = tl.full([BLOCK], float("inf"), tl.float32)
    via = tl.zeros([BLOCK], tl.int32)
    sources = tl.minimum(count, SOURCES)
    for q in range(0, sources):
        i = tl.load(queue + (head + q) % n)
        value = _distance(rows, targets, i, safe, stride, D) + start
        value = value - tl.min(value, 0)
        shorter = value < length
        length = tl.where(shorter, value, length)
        via = tl.where(shorter, i, via)

    settled = (j >= n).to(tl.int32)
    nearest = tl.min(tl.where(settled > 0, float("inf"), length), 0)
    goal = tl.min(tl.where((settled == 0) & (length == nearest) & (holder < 0), j, NONE), 0)
    steps = n * 0
    scanned = sources
    while goal == NONE:
        reached = (settled == 0) & (length <= nearest + epsilon * MARGIN) & (holder >= 0)
        place = tl.cumsum(reached.to(tl.int32), 0) - 1
        batch = tl.sum(reached.to(tl.int32), 0)
        tl.debug_barrier()
        tl.store(list_row + place, holder, mask=reached)
        tl.store(list_length + place, length, mask=reached)
        tl.store(list_base + place, paid, mask=reached)
        tl.debug_barrier()
        settled = tl.where(reached, 1, settled)
        for t in range(0, batch):
            i = tl.load(list_row + t)
            value = _distance(rows, targets, i, safe, stride, D) + start - tl.load(list_base + t)
            value = tl.load(list_length + t) + tl.maximum(value, 0.0)
            shorter = (value < length) & (settled == 0)
            length = tl.where(shorter, value, length)
            via = tl.where(shorter, i, via)
        steps += 1
        scanned += batch
        nearest = tl.min(tl.where(settled > 0, float("inf"), length), 0)
        goal = tl.min(tl.where((settled == 0) & (length == nearest) & (holder < 0), j, NONE), 0)

    tl.store(price + j, start + tl.maximum(nearest - length, 0.0), mask=inside & (settled > 0))
    tl.store(parent + j, via, mask=inside)
    tl.debug_barrier()
    i = tl.load(parent + goal)
    following = tl.load(match + i)
    tl.debug_barrier()
    tl.store(owner + goal, i)
    tl.store(match + i, goal)
    while following >= 0:
        goal = following
        i = tl.load(parent + goal)
        following = tl.load(match + i)
        tl.debug_barrier()
        tl.store(owner + goal, i)
        tl.store(match + i, goal)
    q = tl.arange(0, SOURCES)
    waiting = tl.load(queue + (head + q) % n, mask=q < sources, other=-1)
    first = tl.load(queue + head)
    tl.debug_barrier()
    tl.store(queue + (head + q) % n, first + tl.zeros([SOURCES], tl.int32), mask=waiting == i)
    tl.debug_barrier()
    return (head + 1) % n, count - 1, steps, scanned


@triton.jit
def _certify(rows, targets, price, match, slack, n, stride, R: tl.constexpr, C: tl.constexpr, D: tl.constexpr):
    """Dual bound of the prices and cost of the matched rows, in float64; stores what each row misses of its best."""
    r = tl.arange(0, R)
    bound = tl.zeros([R], tl.float64)
    cost = tl.zeros([R], tl.float64)
    for first in range(0, n, R):
        i = first + r
        inside = i < n
        row = tl.where(inside, i, 0)
        least, _, _ = _best_two(rows, targets, price, row, stride, R, C, D)
        j = tl.load(match + row)
        held = tl.maximum(j, 0)
        paid = _distance(rows, targets, row, held, stride, D)
        cost += tl.where(inside & (j >= 0), paid, 0.0).to(tl.float64)
        bound += tl.where(inside, least, 0.0).to(tl.float64)
        tl.store(slack + row, paid + tl.load(price + held) - least, mask=inside)
    for first in range(0, n, R):
        j = first + r
        bound -= tl.load(price + j, mask=j < n, other=0.0).to(tl.float64)
    tl.debug_barrier()
    return tl.sum(bound, 0), tl.sum(cost, 0)


@triton.jit
def _requeue(owner, match, queue, slack, n, epsilon, BLOCK: tl.constexpr):
    """Dissolve the pairs whose slack exceeds the new epsilon, and queue every row without a target, in order."""
    i = tl.arange(0, BLOCK)
    inside = i < n
    j = tl.load(match + i, mask=inside, other=-1)
    loose = (j >= 0) & (tl.load(slack + i, mask=inside, other=0.0) > epsilon)
    waits = inside & ((j < 0) | loose)
    place = tl.cumsum(waits.to(tl.int32), 0) - 1
    tl.debug_barrier()
    tl.store(owner + j, tl.full([BLOCK], -1, tl.int32), mask=loose)
    tl.store(match + i, tl.full([BLOCK], -1, tl.int32), mask=loose)
    tl.store(queue + place, i, mask=waits)
    tl.debug_barrier()
    return tl.sum(waits.to(tl.int32), 0)


@triton.jit
def _open(
    rows, targets, price, owner, match, queue, slack, tolerance, floor, n, stride, BLOCK: tl.constexpr, D: tl.constexpr
):
    """Queue all rows at zero prices; epsilon starts at the mean distance to the nearest target."""
    j = tl.arange(0, BLOCK)
    none = tl.full([BLOCK], -1, tl.int32)
    tl.store(price + j, tl.where(j < n, 0.0, float("inf")), mask=j < stride)
    tl.store(owner + j, none, mask=j < stride)
    tl.store(match + j, none, mask=j < stride)
    tl.store(queue + j, j, mask=j < n)
    tl.debug_barrier()
    bound, _ = _certify(rows, targets, price, match, slack, n, stride, ROWS, CHUNK, D)
    return tl.maximum((bound / n).to(tl.float32), floor), tl.maximum(bound, 0.0), n


@triton.jit
def auction(
    rows, targets, prices, matches, integers, floats, counts, tolerance, floor, span, n, stride,
    BLOCK: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """Match one pair. Rows and targets are (B, D, stride); prices come back per target, matches per row."""
    pair = tl.program_id(0).to(tl.int64)
    rows += pair * D * stride
    targets += pair * D * stride
    price = prices + pair * stride
    match = matches + pair * stride
    owner = integers + pair * 4 * stride
    queue = owner + stride
    scratch = owner + 2 * stride
    slack = floats + pair * 2 * stride

    head = n * 0  # a tensor, as it must stay one type through the loops
    epsilon, lower, count = _open(
        rows, targets, price, owner, match, queue, slack, tolerance, floor, n, stride, BLOCK, D
    )
    phase = n * 0
    bids = n * 0
    rounds = n * 0
    steps = n * 0
    scanned = n * 0
    opening = n * 0 + 1
    going = n * 0 + 1
    while going > 0:
        aim = tl.maximum((lower * KAPPA * tolerance / n).to(tl.float32), floor)
        last = epsilon <= aim * 1.001
        enough = tl.where(last, TAIL, tl.maximum(n // 50, TAIL))
        wins = n * 0
        while (count > enough) & (wins < n * WINS_PER_POINT):
            if count <= FEW:
                head, count, taken, won = _bid(
                    rows, targets, price, owner, match, queue, n, stride, head, count, epsilon, FEW, FEW_CHUNK, D
                )
            else:
                head, count, taken, won = _bid(
                    rows, targets, price, owner, match, queue, n, stride, head, count, epsilon, ROWS, CHUNK, D
                )
            wins += won
            bids += taken
            rounds += 1
        phase += 1
        if (opening > 0) & (count > enough) & (epsilon < span / 8):
            epsilon = epsilon * 8  # the first epsilon was too small for the distances that some rows must go
        else:
            opening = n * 0
            if last:
                while count > 0:
                    head, count, more_steps, more_scanned = _augment(
                        rows, targets, price, owner, match, queue, scratch, slack, n, stride, head, count, epsilon,
                        BLOCK, D,
                    )  # fmt: skip
                    steps += more_steps
                    scanned += more_scanned
            bound, cost = _certify(rows, targets, price, match, slack, n, stride, ROWS, CHUNK, D)
            lower = tl.maximum(lower, bound)
            excess = cost - lower
            aim = tl.maximum((lower * KAPPA * tolerance / n).to(tl.float32), floor)
            reached = (cost - bound + n * ROUNDING <= bound * tolerance) | (epsilon <= floor) | (phase >= MAX_PHASES)
            if last & reached:
                going = n * 0
            else:
                near = excess <= lower * tolerance * 2
                smaller = epsilon * FACTOR
                landed = tl.where(smaller < 1.5 * aim, tl.minimum(aim, epsilon), smaller)
                finer = tl.where(near, epsilon * 0.5, smaller)
                epsilon = tl.where(phase >= MAX_PHASES - 1, floor, tl.maximum(tl.where(last, finer, landed), floor))
                head = n * 0
                count = _requeue(owner, match, queue, slack, n, epsilon, BLOCK)
    tl.store(counts + pair * 5, phase)
    tl.store(counts + pair * 5 + 1, rounds)
    tl.store(counts + pair * 5 + 2, bids)
    tl.store(counts + pair * 5 + 3, steps)
    tl.store(counts + pair * 5 + 4, scanned)
