"""Co-Mixup's sweeps over groups of inputs: picks the way; the batched torch one, for any device, is here."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mixkit.checks import LARGEST_OPTION, check_count, check_float, check_index, check_number, check_numbers
from mixkit_image.solvers.threads import in_chunks

MAX_COLUMNS = 8  # cells per row that the dynamic programmes can hold
_SOFT_BONUS = 5e-4
_STOP = 1e-6
_STATES = 256  # labellings of a row of cells that the torch way goes through
_EXACT_STATES = 1024  # the same where they are all that there are

#: beta, gamma and tau, scaled by the number of cells.
Weights = tuple[float, float, float]


def solve_groups(
    unary: Tensor, compatibility: Tensor, shape: tuple[int, int], weights: Weights, label: Tensor, sweeps: int = 4
) -> Tensor:
    """Label the cells of m outputs with m inputs, group by group, by Co-Mixup's sweeps (Kim et al. 2021).

    Output by output, each with the others as they are by then: on the CPU compiled, a group per thread; on other
    devices batched over the groups, without a host synchronisation.

    Args:
        unary: (G, m, T) the cost of each input in each cell, T = rows * columns; finite.
        compatibility: (G, m, m) A.
        shape: the numbers of rows and columns of cells, at most 8 columns.
        weights: beta, gamma and tau, scaled by the number of cells.
        label: (G, m, T) long, the labelling to start from.
        sweeps: at most so many; a group stops once its objective changes by less than 1e-6 relatively. Default 4.

    Returns:
        (G, m, T, 2) long: the two inputs whose halves make up each cell, the same one twice for a whole.

    Raises:
        TypeError: tensors of another type.
        ValueError: shapes that do not fit together, labels out of range, numbers that are not finite (read
            on the CPU only).
    """
    _check(unary, compatibility, shape, weights, label, sweeps)
    pairs = torch.stack([label, label], 3)
    if unary.device.type != "cpu":
        return sweep_batched(unary, compatibility, shape, weights, pairs, sweeps)
    from mixkit_image.solvers import groups_cpu  # its numba takes a while to import

    costs, matrices = (t.detach().double().contiguous().numpy() for t in (unary, compatibility))

    def work(start: int, stop: int) -> None:
        for g in range(start, stop):
            groups_cpu.solve_group(costs[g], matrices[g], shape, weights, sweeps, pairs.numpy()[g])

    in_chunks(work, len(pairs))
    return pairs


def sweep_batched(
    unary: Tensor, compatibility: Tensor, shape: tuple[int, int], weights: Weights, label: Tensor, sweeps: int
) -> Tensor:
    """`solve_groups` on any device; label (G, m, T, 2), not changed."""
    beta, gamma, tau = weights
    groups, size, _ = unary.shape
    label = label.clone()
    halves = torch.full((groups, size, label[0, 0].numel()), 0.5, dtype=unary.dtype, device=unary.device)
    counts = torch.zeros_like(compatibility).scatter_add_(2, label.flatten(2), halves)  # (G, output, input)
    whole = torch.arange(size, device=unary.device).expand(groups, size)
    whole = torch.stack([whole, whole], 2)
    extra = torch.zeros_like(counts)
    before = objective(unary, shape, weights, label)
    done = torch.zeros(groups, dtype=torch.bool, device=unary.device)
    for sweep in range(sweeps):
        if sweep == sweeps - 1:
            extra = gamma * _part_twins(counts)
        for o in range(size):
            others = counts.sum(1) - counts[:, o]
            pull = (compatibility * others[:, None]).sum(2)
            cost = unary + (extra[:, o] + torch.where(pull > tau, 2 * gamma * pull, 0.0))[:, :, None]
            pairs = whole
            if sweep and size > 1:
                cost, pairs = _with_soft_labels(cost, whole, counts[:, o])
            table = beta * difference(pairs[:, :, None], pairs[:, None])
            solution = solve_labelling(cost, table, shape)  # (G, T)
            solution = pairs.gather(1, solution[:, :, None].expand(-1, -1, 2))
            label[:, o] = torch.where(done[:, None, None], label[:, o], solution)
            counts[:, o] = torch.zeros_like(others).scatter_add_(1, label[:, o].flatten(1), halves[:, o])
        reached = objective(unary, shape, weights, label)
        if sweep:
            done = done | ((before - reached).abs() <= _STOP * before.abs())
        before = reached
    return label


def objective(unary: Tensor, shape: tuple[int, int], weights: Weights, label: Tensor) -> Tensor:
    """(G,) the groups' objective: unaries, borders, and what inputs used beyond tau by other outputs cost."""
    beta, gamma, tau = weights
    groups, size, cells = unary.shape
    halves = torch.full((groups, size, 2 * cells), 0.5, dtype=unary.dtype, device=unary.device)
    counts = unary.new_zeros(groups, size, size).scatter_add_(2, label.flatten(2), halves)
    # each half's cell and input in unary (G, m * T)
    place = label * cells + torch.arange(cells, device=unary.device)[:, None]
    value = unary.flatten(1).gather(1, place.flatten(1)).sum(1) / 2
    maps = label.unflatten(2, shape)
    borders = difference(maps[:, :, 1:], maps[:, :, :-1]).sum((1, 2, 3))
    borders = borders + difference(maps[:, :, :, 1:], maps[:, :, :, :-1]).sum((1, 2, 3))
    others = counts.sum(1, keepdim=True) - counts
    return value + beta * borders + gamma * (torch.where(others > tau, others, 0.0) * counts).sum((1, 2))


def difference(one: Tensor, other: Tensor) -> Tensor:
    """Half the squared difference of the weights that two labels, pairs (..., 2) of halves, give to all inputs."""
    own, partners = (torch.where(pair[..., 0] == pair[..., 1], 0.5, 0.25) for pair in (one, other))
    shared = (one[..., :, None] == other[..., None, :]).sum((-1, -2)) * 0.25
    alike = (one.sort(-1).values == other.sort(-1).values).all(-1)
    return torch.where(alike, 0.0, own + partners - shared)


def solve_labelling(cost: Tensor, table: Tensor, shape: tuple[int, int]) -> Tensor:
    """Label cells at low energy: at the lowest where all labellings of a row can be gone through, as of 2 cells.

    Else it is the best of the labellings that a few candidates per cell give, thrice: first each cell's cheapest labels
    and its neighbourhood's, then its label so far and those that the labelling uses, then its label so far and those
    that would gain most.

    Args:
        cost: (G, L, T) the cost of each label in each cell; infinite where a label may not be used.
        table: (G, L, L) the cost of each pair of labels across a border.
        shape: the numbers of rows and columns of cells.

    Returns:
        (G, T) long.
    """
    groups, labels, cells = cost.shape
    if labels ** shape[1] <= _EXACT_STATES:
        every = torch.arange(labels, device=cost.device).expand(groups, cells, -1)
        return _best_choice(cost, table, shape, every)
    count = max(k for k in range(1, 9) if k ** shape[1] <= _STATES)
    maps = cost.unflatten(2, shape)
    around = F.avg_pool2d(F.pad(maps, (1, 1, 1, 1), mode="replicate"), 3, 1).flatten(2)
    near, wide = (c.topk(min(2, labels), 1, largest=False).indices.mT for c in (cost, around))
    everywhere = cost.sum(2).argmin(1)[:, None, None].expand(-1, cells, 1)
    choices = torch.cat([near[:, :, :1], wide[:, :, :1], near[:, :, 1:], everywhere, wide[:, :, 1:]], 2)
    label = _best_choice(cost, table, shape, choices[:, :, :count])
    ones = torch.ones_like(label, dtype=cost.dtype)
    for look in range(2):
        if look == 0:
            worth = cost.new_zeros(groups, labels).scatter_add_(1, label, ones)
        else:
            worth = (cost.gather(1, label[:, None]) - cost).clamp_min(0).sum(2)
        rest = worth.topk(min(count - 1, labels), 1).indices[:, None].expand(-1, cells, -1)
        label = _best_choice(cost, table, shape, torch.cat([label[:, :, None], rest], 2))
    return label


def _best_choice(cost: Tensor, table: Tensor, shape: tuple[int, int], choices: Tensor) -> Tensor:
    """The best labelling (G, T) in which cell t takes one of ``choices`` (G, T, K): exact, row by row, over all
    K^columns labellings of a row.
    """
    rows, columns = shape
    groups, _, count = choices.shape
    states, labels = count**columns, table.shape[1]
    grid = choices.unflatten(1, shape)  # (G, R, C, K)
    own_cost = cost.mT.gather(2, choices).unflatten(1, shape)

    def between(one: Tensor, other: Tensor) -> Tensor:
        place = one[..., :, None] * labels + other[..., None, :]
        return table.flatten(1).gather(1, place.flatten(1)).view(place.shape)

    def spread(term: Tensor, axes: tuple[int, ...], total: int) -> Tensor:
        """A term of some cells' choices (G, R', K, ...), to be added to (G, R', K, ..., K) with ``total`` of them."""
        sizes = [count if axis in axes else 1 for axis in range(total)]
        return term.reshape(*term.shape[:2], *sizes)

    row = sum((spread(own_cost[:, :, c], (c,), columns) for c in range(columns)), own_cost.new_zeros(()))
    for c in range(columns - 1):
        row = row + spread(between(grid[:, :, c], grid[:, :, c + 1]), (c, c + 1), columns)
    row = row.flatten(2)  # (G, R, S)
    value, came = row[:, 0], []
    if rows > 1:
        down = [spread(between(grid[:, :-1, c], grid[:, 1:, c]), (c, columns + c), 2 * columns) for c in range(columns)]
        step = sum(down, own_cost.new_zeros(())).reshape(groups, rows - 1, states, states)
        for r in range(rows - 1):
            least, place = (value[:, :, None] + step[:, r]).min(1)
            value = least + row[:, r + 1]
            came.append(place)
    state = value.argmin(1, keepdim=True)
    solution = [state]
    for place in reversed(came):
        state = place.gather(1, state)
        solution.append(state)
    state = torch.cat(solution[::-1], 1)  # (G, R)
    power = count ** torch.arange(columns - 1, -1, -1, device=cost.device)
    digit = state[:, :, None] // power % count  # (G, R, C)
    return grid.gather(3, digit[..., None])[..., 0].flatten(1)


def _with_soft_labels(cost: Tensor, whole: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Costs (G, m + 3, T) and pairs (G, m + 3, 2) with the half/half labels of the three inputs used most.

    A label whose inputs are not both used costs infinitely much.
    """
    size = counts.shape[1]
    # of equals the first: counts are multiples of 1/2, so a tiny slope decides
    slope = torch.arange(size, device=counts.device) * (0.25 / size)
    used, top = (counts - slope).topk(min(3, size), 1)
    second = torch.cat([top[:, 1:], top[:, 2:]], 1)  # by slices: a list of indices would be copied to the device
    first = torch.cat([top[:, :1], top[:, :2]], 1)[:, : second.shape[1]]
    pairs = torch.stack([first, second], 2).sort(2).values
    parents = cost.gather(1, pairs.flatten(1)[:, :, None].expand(-1, -1, cost.shape[2])).unflatten(1, (-1, 2))
    rarer = torch.cat([used[:, 1:], used[:, 2:]], 1)
    soft = torch.where(rarer[:, :, None] > 0, parents.mean(2) - _SOFT_BONUS, torch.inf)
    return torch.cat([cost, soft], 1), torch.cat([whole, pairs], 1)


def _part_twins(counts: Tensor) -> Tensor:
    """(G, output, input) how often each input is made dearer for outputs that use the same set as another."""
    used = counts > 0
    same = (used[:, :, None] == used[:, None]).all(3) & (used.sum(2) > 1)[:, :, None]
    later = same.triu(1).sum(2)  # twins after this output, for which it avoids its first input
    earlier = same.triu(1).sum(1)
    order = used.cumsum(2)
    first, second = ((used & (order == k)).to(counts.dtype) for k in (1, 2))
    return later[:, :, None] * first + earlier[:, :, None] * second


def _check(
    unary: Tensor, compatibility: Tensor, shape: tuple[int, int], weights: Weights, label: Tensor, sweeps: int
) -> None:
    """Compiled code checks nothing: what is out of range would be read out of bounds there."""
    check_float("unary", unary)
    if not isinstance(shape, tuple) or len(shape) != 2 or not isinstance(weights, tuple) or len(weights) != 3:
        raise TypeError(f"shape must be (rows, columns) and weights three numbers, got {shape!r} and {weights!r}")
    rows, columns = shape
    check_count("rows", rows)
    check_count("columns", columns, 1, MAX_COLUMNS)
    check_count("sweeps", sweeps, 0)
    if unary.dim() != 3 or unary.shape[2] != rows * columns or not unary.shape[1]:
        raise ValueError(f"unary must be (G, m, T) with T = {rows} * {columns} cells, got {tuple(unary.shape)}")
    groups, size, cells = unary.shape
    check_numbers("unary", unary, ((groups, size, cells),), -2 * LARGEST_OPTION, 2 * LARGEST_OPTION)
    check_numbers("compatibility", compatibility, ((groups, size, size),), -LARGEST_OPTION, LARGEST_OPTION)
    check_index("label", label, (groups, size, cells), size)
    for name, weight in zip(("beta", "gamma", "tau"), weights, strict=True):
        check_number(name, weight)
