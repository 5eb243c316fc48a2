"""The assignment of point clouds in plain torch operations, for devices that have neither Triton nor numba.

All pairs of the batch go in step, on fixed shapes; the host looks at the counts once every few rounds. Input checks,
centring, the float64 certificate and exact finishing live in the public `mixkit.assign`; the algorithm is explained in
docs/notes/assignment-gpu.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

CELLS = 1 << 22  # distances held at once: 16 MB of float32, beside a few temporaries of that shape
ROWS = 128  # rows of a pair that bid in one round, at most
CHECK = 8  # rounds between two looks at the counts
TAIL = 6  # the last phases' auction stops at this many unassigned rows: shortest paths finish
FACTOR = 0.2  # epsilon of the next phase over epsilon of this one
KAPPA = 1.9  # the last epsilon aimed at, over tolerance times mean cost
FLOOR = 1e-6  # the least epsilon: a few float32 steps of the prices of clouds of about unit size
ROUNDING = 3e-7  # what float32 may hide of the gap, per point: the certificate must hold in float64 too
ULP = 2.4e-7  # a bid moves a price by at least two float32 steps
WINS_PER_POINT = 8  # a phase that needs more winning bids than this is ended: its epsilon is too small for what is left
MAX_PHASES = 64


class _State:
    """A batch of auctions. Column N of `price`, `owner` and `match` is a bin for writes that must have no effect."""

    def __init__(self, coords_a: Tensor, coords_b: Tensor) -> None:
        self.a, self.b = coords_a, coords_b
        self.batch, self.n, _ = coords_a.shape
        device = coords_a.device
        self.price = torch.zeros(self.batch, self.n + 1, device=device)
        self.owner = torch.full((self.batch, self.n + 1), -1, dtype=torch.long, device=device)
        self.match = self.owner.clone()
        self.turn = torch.zeros_like(self.owner)  # the round since which a row waits: who waits longest bids first
        self.wins = torch.zeros(self.batch, dtype=torch.long, device=device)
        self.columns = torch.arange(self.n, device=device)
        self.sums = torch.float32 if device.type == "mps" else torch.float64

    def rows(self, index: Tensor) -> Tensor:
        """Coordinates (B, R, D) of the rows `index` (B, R) of a."""
        return self.a.gather(1, index[..., None].expand(-1, -1, self.a.shape[2]))

    def values(self, rows: Tensor) -> Tensor:
        """Distance + price (B, R, N) of every target for rows of coordinates (B, R, D)."""
        return _distances(rows, self.b) + self.price[:, None, : self.n]

    def count(self, active: Tensor) -> Tensor:
        """Rows still unassigned (B,), zero for pairs that are not active."""
        return ((self.match[:, : self.n] < 0) & active[:, None]).sum(1)

    def put(self, field: Tensor, index: Tensor, value: Tensor | int, mask: Tensor) -> None:
        """`field[b, index] = value` where `mask`; the other writes go to the bin."""
        index = torch.where(mask, index, self.n)
        field.scatter_(1, index, value if isinstance(value, Tensor) else torch.full_like(index, value))


def _distances(rows: Tensor, targets: Tensor) -> Tensor:
    """(B, R, D), (B, N, D) -> (B, R, N) without the matrix-product form, which loses half of float32's digits."""
    return torch.cdist(rows, targets, compute_mode="donot_use_mm_for_euclid_dist")


def _lowest(where: Tensor, columns: Tensor) -> Tensor:
    """Lowest index along the last dimension at which `where` holds: unlike argmin, the same on every device."""
    return torch.where(where, columns, len(columns)).amin(-1)


def _bid_round(state: _State, active: Tensor, epsilon: Tensor, width: int, round_number: int) -> None:
    """The `width` rows of each active pair that wait longest bid at once; the highest bid on a target wins it."""
    n = state.n
    waiting = (state.match[:, :n] < 0) & active[:, None]
    order = torch.where(waiting, state.turn[:, :n] * n + state.columns, torch.iinfo(torch.int64).max)
    row = order.argsort(1)[:, :width]
    valid = waiting.gather(1, row)
    value = state.values(state.rows(row))
    least = value.amin(2)
    target = _lowest(value == least[..., None], state.columns)
    runner_up = value.scatter(2, target[..., None], torch.inf).amin(2)
    old = state.price.gather(1, target)
    bid = torch.maximum(old + (runner_up - least) + epsilon[:, None], old + old.abs() * ULP)
    claim = torch.where(valid, target, n)
    highest = torch.full_like(state.price, -torch.inf).scatter_reduce_(1, claim, bid, "amax")
    slot = torch.arange(width, device=row.device).expand_as(row)
    contender = torch.where(valid & (bid == highest.gather(1, claim)), claim, n)
    first = torch.full_like(state.owner, width).scatter_reduce_(1, contender, slot, "amin")
    won = (contender < n) & (slot == first.gather(1, claim))
    evicted = state.owner.gather(1, target)
    dropped = won & (evicted >= 0)
    state.wins += won.sum(1)
    state.put(state.turn, row, round_number, valid)
    state.put(state.turn, evicted, round_number, dropped)
    state.put(state.match, evicted, -1, dropped)
    state.put(state.match, row, target, won)
    state.put(state.owner, target, row, won)
    state.put(state.price, target, bid, won)


def _augment(state: _State, active: Tensor) -> None:
    """Assign one more row of every active pair that lacks one, along a shortest path of reduced costs."""
    n = state.n
    lacking = (state.match[:, :n] < 0) & active[:, None]
    searching = lacking.any(1)
    source = _lowest(lacking, state.columns).clamp(max=n - 1)
    price, holder = state.price[:, :n], state.owner[:, :n]
    held = state.a.gather(1, holder.clamp(min=0)[..., None].expand(-1, -1, state.a.shape[2]))
    paid = torch.linalg.vector_norm(held - state.b, dim=2) + price
    value = state.values(state.rows(source[:, None]))[:, 0]
    length = value - value.amin(1, keepdim=True)
    via = source[:, None].repeat(1, n)
    settled = torch.zeros_like(lacking)
    step = 0
    while True:
        nearest = length.masked_fill(settled, torch.inf).amin(1)
        goal = _lowest(~settled & (length == nearest[:, None]), state.columns).clamp(max=n - 1)
        row = holder.gather(1, goal[:, None])
        walking = searching[:, None] & (row >= 0)
        if step % CHECK == 0 and not bool(walking.any()):
            break
        step += 1
        settled |= walking & (state.columns == goal[:, None])
        value = state.values(state.rows(row.clamp(min=0)))[:, 0] - paid.gather(1, goal[:, None])
        value = nearest[:, None] + value.clamp(min=0)
        shorter = walking & ~settled & (value < length)
        length = torch.where(shorter, value, length)
        via = torch.where(shorter, row, via)
    state.price[:, :n] += torch.where(settled, nearest[:, None] - length, 0).clamp(min=0)
    target, step = goal[:, None], 0
    moving = searching[:, None]
    while step % CHECK or bool(moving.any()):
        row = via.gather(1, target)
        left = state.match.gather(1, row)
        state.put(state.owner, target, row, moving)
        state.put(state.match, row, target, moving)
        moving = moving & (left >= 0)
        target = torch.where(moving, left, target)
        step += 1


def _certify(state: _State) -> tuple[Tensor, Tensor, Tensor]:
    """Dual bound of the prices (B,), cost of the matched rows (B,), and each row's excess over its best (B, N)."""
    n = state.n
    price, match = state.price[:, :n], state.match[:, :n]
    chunk = max(1, CELLS // (state.batch * n))
    least = torch.cat([state.values(rows).amin(2) for rows in state.a.split(chunk, 1)], 1)
    held = state.b.gather(1, match.clamp(min=0)[..., None].expand(-1, -1, state.b.shape[2]))
    paid = torch.linalg.vector_norm(state.a - held, dim=2)
    bound = (least.to(state.sums) - price).sum(1)
    cost = torch.where(match >= 0, paid, 0).sum(1, dtype=state.sums)
    return bound, cost, paid + price.gather(1, match.clamp(min=0)) - least


def _requeue(state: _State, slack: Tensor, epsilon: Tensor, active: Tensor) -> None:
    """Dissolve the pairs whose slack exceeds the new epsilon; the row indices decide again who bids first."""
    match = state.match[:, : state.n]
    loose = (match >= 0) & (slack > epsilon[:, None]) & active[:, None]
    state.put(state.owner, match, -1, loose)
    state.put(state.match, state.columns.expand_as(match), -1, loose)
    state.turn.zero_()


def _auction(state: _State, active: Tensor, epsilon: Tensor, enough: int) -> Tensor:
    """Rounds of bids until at most `enough` rows of each pair are unassigned or the bound on winning bids is met.

    Returns a mask (B,) of the pairs that met the bound first.
    """
    n, number = state.n, 1
    most_at_once = max(1, CELLS // (state.batch * n))
    state.wins.zero_()
    while True:
        count = state.count(active)
        left, wins = (int(x) for x in torch.stack([count.max(), state.wins.max()]).tolist())
        if left <= enough or wins >= WINS_PER_POINT * n:
            return count > enough
        width = min(8 if left <= 8 else 32 if left <= 64 else ROWS, n, most_at_once)
        for _ in range(CHECK):
            _bid_round(state, active, epsilon, width, number)
            number += 1


def tame(coords: Tensor) -> Tensor:
    """Float32 coordinates whose distances are finite: a search over NaN has no end, a check makes a GPU wait."""
    return coords.float().nan_to_num(nan=0.0).clamp(-1e15, 1e15)


def solve(coords_a: Tensor, coords_b: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Match the rows of two batches of point clouds at a total L2 distance within `tolerance` of the least.

    Args:
        coords_a: (B, N, D) float32, centred and scaled to about unit size, on any device.
        coords_b: (B, N, D), likewise.
        tolerance: relative gap at which to stop, by a certificate of its own; 0 goes down to the least
            epsilon that float32 supports.

    Returns:
        index (B, N) long, always a bijection: row i of a is matched with row index[b, i] of b.
        price (B, N) float32 of b's rows, from which the caller certifies the gap.
    """
    batch, n, dims = coords_a.shape
    state = _State(tame(coords_a), tame(coords_b))
    if n < 2 or batch == 0:
        return state.match[:, :n] + 1, state.price[:, :n]
    bound, _, slack = _certify(state)
    lower = bound.clamp(min=0)
    active = torch.ones(batch, dtype=torch.bool, device=coords_a.device)
    epsilon = (lower / n).float().clamp(min=FLOOR)
    opening, span = True, 2 * dims**0.5
    for phase in range(MAX_PHASES):
        last = epsilon <= (KAPPA * tolerance / n * lower).float().clamp(min=FLOOR) * 1.001
        final = bool((last | ~active).all())
        stuck = _auction(state, active, epsilon, TAIL if final else max(n // 50, TAIL)) & (epsilon < span / 8)
        if opening and bool(stuck.any()):
            epsilon = torch.where(stuck, epsilon * 8, epsilon)  # too small for the distances that some rows must go
            continue
        opening = False
        final = final or phase == MAX_PHASES - 1
        if final:
            while int(state.count(active).max()):
                _augment(state, active)
        bound, cost, slack = _certify(state)
        lower = torch.maximum(lower, bound)
        if final:
            # by the bound of the prices that are returned, not by a better one of an earlier phase
            active = active & (cost - bound + n * ROUNDING > tolerance * bound) & (epsilon > FLOOR)
            if not bool(active.any()):
                break
        aim = (KAPPA * tolerance / n * lower).float().clamp(min=FLOOR)
        finer = torch.where(cost - lower <= 2 * tolerance * lower, epsilon * 0.5, epsilon * FACTOR)
        smaller = epsilon * FACTOR
        landed = torch.where(smaller < 1.5 * aim, torch.minimum(aim, epsilon), smaller)
        epsilon = torch.where(last, finer if final else epsilon, landed).clamp(min=FLOOR)
        if phase < MAX_PHASES - 2:
            _requeue(state, slack, epsilon, active)
    return state.match[:, :n].clone(), state.price[:, :n].clone()
