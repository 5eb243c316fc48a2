"""Co-Mixup's labellings and sweeps: against brute force, a plain loop, and an alpha-beta swap."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from torch import Tensor

from mixkit_image.solvers import groups, groups_cpu

Solver = Callable[[NDArray, NDArray, tuple[int, int]], NDArray]


def problem(members: int, shape: tuple[int, int], seed: int) -> tuple[NDArray, NDArray, NDArray]:
    """Unaries (m, T) of saliency that sums to 1 and a Dirichlet prior, a compatibility, and a random labelling."""
    rng = np.random.default_rng(seed)
    noise = rng.random((members, shape[0] + 1, shape[1] + 1)) ** 5
    saliency = (noise[:, 1:, 1:] + noise[:, :-1, 1:] + noise[:, 1:, :-1] + noise[:, :-1, :-1]).reshape(members, -1)
    cells = shape[0] * shape[1]
    prior = rng.dirichlet(np.full(members, 2.0))
    unary = -saliency / saliency.sum(1, keepdims=True) - 0.05 / cells * np.log(prior)[:, None]
    place = rng.integers(0, 25, (members, 2))
    apart = np.abs(place[:, None] - place).sum(2)
    compatibility = 0.999 * np.eye(members) + 0.001 * members * apart / max(apart.sum(), 1)
    return unary, compatibility, rng.integers(0, members, (members, cells))


def weights(cells: int) -> tuple[float, float, float]:
    return 0.32 / cells, 1 / cells, 0.83 * cells


def cpu(cost: NDArray, table: NDArray, shape: tuple[int, int]) -> NDArray:
    label = np.empty(cost.shape[1], np.int64)
    groups_cpu.solve_labelling(np.ascontiguousarray(cost), np.ascontiguousarray(table), shape, label)
    return label


def batched(cost: NDArray, table: NDArray, shape: tuple[int, int]) -> NDArray:
    return groups.solve_labelling(torch.tensor(cost)[None], torch.tensor(table)[None], shape)[0].numpy()


# ---- plain references, written from docs/notes/spec.md


def neighbours(shape: tuple[int, int]) -> list[tuple[int, int]]:
    cells = [(r, c) for r in range(shape[0]) for c in range(shape[1])]
    pairs = itertools.combinations(cells, 2)
    return [
        (a[0] * shape[1] + a[1], b[0] * shape[1] + b[1]) for a, b in pairs if abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1
    ]


def energy(label: NDArray, cost: NDArray, table: NDArray, shape: tuple[int, int]) -> float:
    unary = sum(cost[label[t], t] for t in range(cost.shape[1]))
    return unary + sum(table[label[a], label[b]] for a, b in neighbours(shape))


def brute_force(cost: NDArray, table: NDArray, shape: tuple[int, int]) -> NDArray:
    labels, cells = cost.shape
    every = np.array(list(itertools.product(range(labels), repeat=cells)))
    total = sum(cost[every[:, t], t] for t in range(cells))
    total = total + sum((table[every[:, a], every[:, b]] for a, b in neighbours(shape)), np.zeros(len(every)))
    return every[np.argmin(total)]


def alpha_beta_swap(cost: NDArray, table: NDArray, shape: tuple[int, int]) -> NDArray:
    """From the cheapest label of each cell: for every two labels the best swap, by a minimum cut, until none helps."""
    labels, cells = cost.shape
    label, borders = cost.argmin(0), neighbours(shape)
    reached, before = energy(label, cost, table, shape), np.inf
    while reached < before - 1e-9:
        before = reached
        for alpha, beta in itertools.combinations(range(labels), 2):
            active = [t for t in range(cells) if label[t] in (alpha, beta)]
            number = {t: i for i, t in enumerate(active)}
            to_alpha, to_beta = ([cost[k, t] for t in active] for k in (alpha, beta))
            arcs: dict[tuple[int, int], float] = {}
            for a, b in borders:
                if a in number and b in number:
                    arcs[number[a], number[b]] = arcs[number[b], number[a]] = table[alpha, beta]
                else:
                    for one, other in ((a, b), (b, a)):
                        if one in number and other not in number:
                            to_alpha[number[one]] += table[alpha, label[other]]
                            to_beta[number[one]] += table[beta, label[other]]
            source, sink = len(active), len(active) + 1
            for i in range(len(active)):  # on the source's side: alpha
                more = to_alpha[i] - to_beta[i]
                arcs[(i, sink) if more > 0 else (source, i)] = abs(more)
            if not active:
                continue
            tails, heads = np.array(list(arcs)).T
            capacity = np.rint(np.array(list(arcs.values())) * 2**22).astype(np.int32)
            graph = csr_matrix((capacity, (tails, heads)), shape=(sink + 1, sink + 1))
            residual = graph - maximum_flow(graph, source, sink).flow
            residual.data = np.maximum(residual.data, 0)
            residual.eliminate_zeros()
            reachable = set(breadth_first_order(residual, source, return_predecessors=False).tolist())
            swapped = label.copy()
            for t, i in number.items():
                swapped[t] = alpha if i in reachable else beta
            if energy(swapped, cost, table, shape) < reached - 1e-9:
                label, reached = swapped, energy(swapped, cost, table, shape)
    return label


def share(pair: tuple[int, int], members: int) -> NDArray:
    row = np.zeros(members)
    row[pair[0]] += 0.5
    row[pair[1]] += 0.5
    return row


def loop_objective(unary: NDArray, shape: tuple[int, int], label: list[list[tuple[int, int]]]) -> float:
    members, cells = unary.shape
    beta, gamma, tau = weights(cells)
    shares = np.array([[share(pair, members) for pair in output] for output in label])  # (m, T, m)
    counts, value = shares.sum(1), float((shares * unary.T).sum())
    for o in range(members):
        value += beta * 0.5 * sum(float(((shares[o, a] - shares[o, b]) ** 2).sum()) for a, b in neighbours(shape))
        others = counts.sum(0) - counts[o]
        value += gamma * sum(others[k] * counts[o, k] for k in range(members) if others[k] > tau)
    return value


def loop_group(
    unary: NDArray, compatibility: NDArray, initial: NDArray, shape: tuple[int, int], sweeps: int, solve: Solver
) -> list[list[tuple[int, int]]]:
    """Steps 3 to 5, output by output, with any solver of labellings."""
    members, cells = unary.shape
    beta, gamma, tau = weights(cells)
    label = [[(int(k), int(k)) for k in row] for row in initial]
    before = np.inf
    for sweep in range(sweeps):

        def counted(o: int) -> NDArray:
            return sum((share(pair, members) for pair in label[o]), np.zeros(members))

        extra = np.zeros((members, members))
        if sweep == sweeps - 1:
            for i, j in itertools.combinations(range(members), 2):
                used = [k for k in range(members) if counted(i)[k] > 0]
                if len(used) >= 2 and used == [k for k in range(members) if counted(j)[k] > 0]:
                    extra[i, used[0]] += gamma
                    extra[j, used[1]] += gamma
        for o in range(members):
            others = sum((counted(x) for x in range(members) if x != o), np.zeros(members))
            q = compatibility @ others
            cost = [unary[k] + 2 * gamma * q[k] * (q[k] > tau) + extra[o, k] for k in range(members)]
            pairs = [(k, k) for k in range(members)]
            own = counted(o)
            top = sorted((k for k in range(members) if own[k] > 0), key=lambda k: (-own[k], k))[:3]
            if sweep > 0:
                for a, b in itertools.combinations(sorted(top), 2):
                    pairs.append((a, b))
                    cost.append((cost[a] + cost[b]) / 2 - 5e-4)
            rows = [share(pair, members) for pair in pairs]
            table = np.array([[beta * 0.5 * ((a - b) ** 2).sum() for b in rows] for a in rows])
            label[o] = [pairs[k] for k in solve(np.array(cost), table, shape)]
        reached = loop_objective(unary, shape, label)
        if abs(before - reached) <= 1e-6 * abs(before) and sweep > 0:
            break
        before = reached
    return label


# ---- one labelling


@pytest.mark.parametrize("solve", [cpu, batched])
@pytest.mark.parametrize("labels", [1, 2, 5, 20])
def test_labellings_of_2x2_cells_by_brute_force(solve: Solver, labels: int) -> None:
    for seed in range(6):
        cost, _, _ = problem(labels, (2, 2), seed)
        table = weights(4)[0] * (1 - np.eye(labels))
        best = energy(brute_force(cost, table, (2, 2)), cost, table, (2, 2))
        assert energy(solve(cost, table, (2, 2)), cost, table, (2, 2)) <= best + 1e-9


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (5, 1), (3, 2), (2, 3)])
@pytest.mark.parametrize("solve", [cpu, batched])
def test_small_grids_of_any_shape_by_brute_force(solve: Solver, shape: tuple[int, int]) -> None:
    for seed in range(5):
        cost, _, _ = problem(4, shape, seed)
        table = weights(cost.shape[1])[0] * (1 - np.eye(4))
        best = energy(brute_force(cost, table, shape), cost, table, shape)
        assert energy(solve(cost, table, shape), cost, table, shape) <= best + 1e-9


def test_soft_labels_are_used_by_brute_force() -> None:
    """Two halves of an image, and a half/half label between them."""
    cost = np.full((3, 4), 0.0)
    cost[0, [1, 3]] = cost[1, [0, 2]] = 0.05
    cost[2] = (cost[0] + cost[1]) / 2 - 5e-4
    table = 0.08 * np.array([[0, 1, 0.25], [1, 0, 0.25], [0.25, 0.25, 0]])
    for solve in (cpu, batched):
        found = solve(cost, table, (2, 2))
        assert 2 in found
        best = energy(brute_force(cost, table, (2, 2)), cost, table, (2, 2))
        assert energy(found, cost, table, (2, 2)) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("solve", [cpu, batched])
def test_labellings_of_4x4_cells_are_no_worse_than_by_swaps(solve: Solver) -> None:
    ours, swapped = [], []
    for seed in range(12):
        cost, _, _ = problem(8, (4, 4), seed)
        table = weights(16)[0] * (1 - np.eye(8))
        ours.append(energy(solve(cost, table, (4, 4)), cost, table, (4, 4)))
        swapped.append(energy(alpha_beta_swap(cost, table, (4, 4)), cost, table, (4, 4)))
    assert np.mean(ours) <= np.mean(swapped) + 1e-9
    assert np.std(ours) > 0


# ---- groups


def solved(data: tuple[NDArray, NDArray, NDArray], shape: tuple[int, int], sweeps: int, way: str) -> Tensor:
    unary, compatibility, initial = (torch.tensor(part)[None] for part in data)
    if way == "cpu":
        return groups.solve_groups(unary, compatibility, shape, weights(unary.shape[2]), initial, sweeps)[0]
    pairs = torch.stack([initial, initial], 3)
    return groups.sweep_batched(unary, compatibility, shape, weights(unary.shape[2]), pairs, sweeps)[0]


@pytest.mark.parametrize("way", ["cpu", "batched"])
@pytest.mark.parametrize("members", [1, 2, 3, 4])
def test_sweeps_equal_the_loop_on_2x2_cells(way: str, members: int) -> None:
    """Where labellings are exact, every output of every sweep is the same as the loop's."""
    for seed, sweeps in itertools.product(range(4), (1, 2, 4)):
        data = problem(members, (2, 2), seed)
        expected = loop_group(*data, (2, 2), sweeps, brute_force)
        found = [[tuple(pair) for pair in output] for output in solved(data, (2, 2), sweeps, way).tolist()]
        assert found == expected, (seed, sweeps)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5)])
def test_objectives_agree(shape: tuple[int, int]) -> None:
    data = problem(5, shape, 1)
    cells = shape[0] * shape[1]
    label = np.random.default_rng(0).integers(0, 5, (5, cells, 2))
    expected = loop_objective(data[0], shape, [[tuple(pair) for pair in output] for output in label])
    assert groups_cpu.objective(data[0], shape, weights(cells), label) == pytest.approx(expected)
    found = groups.objective(torch.tensor(data[0])[None], shape, weights(cells), torch.tensor(label)[None])
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_objective_is_no_worse_than_by_swaps() -> None:
    """On average over groups, for the objective depends on the order of things like the weather."""
    reached: dict[str, list[float]] = {"cpu": [], "batched": [], "swap": []}
    for seed in range(10):
        data = problem(5, (4, 4), 100 + seed)
        by_swaps = loop_group(*data, (4, 4), 4, alpha_beta_swap)
        reached["swap"].append(loop_objective(data[0], (4, 4), by_swaps))
        for way in ("cpu", "batched"):
            label = solved(data, (4, 4), 4, way).numpy()
            reached[way].append(groups_cpu.objective(data[0], (4, 4), weights(16), label))
    means = {way: float(np.mean(values)) for way, values in reached.items()}
    assert means["cpu"] <= means["swap"] + 1e-9, means
    assert means["batched"] <= means["swap"] + 1e-9, means


def test_groups_are_independent_and_threads_do_not_matter() -> None:
    data = [problem(6, (4, 4), seed) for seed in range(5)]
    together = [torch.tensor(np.stack(parts)) for parts in zip(*data, strict=True)]
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found = groups.solve_groups(together[0], together[1], (4, 4), weights(16), together[2])
            for g in range(5):
                assert torch.equal(found[g], solved(data[g], (4, 4), 4, "cpu"))
    finally:
        torch.set_num_threads(before)
    pairs = torch.stack([together[2], together[2]], 3)
    found = groups.sweep_batched(together[0], together[1], (4, 4), weights(16), pairs, 4)
    for g in range(5):
        assert torch.equal(found[g], solved(data[g], (4, 4), 4, "batched"))
    assert torch.equal(pairs[..., 0], together[2])  # the start is left alone


@pytest.mark.parametrize("way", ["cpu", "batched"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (4, 2), (6, 6), (8, 8)])
def test_grids_of_any_shape(way: str, shape: tuple[int, int]) -> None:
    data = problem(4, shape, 3)
    label = solved(data, shape, 4, way)
    assert label.shape == (4, shape[0] * shape[1], 2)
    assert label.min() >= 0
    assert label.max() < 4
