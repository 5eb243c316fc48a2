"""Three-label masks: both solvers against brute force and SciPy's maximum flow."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor

from mixkit_image.solvers import primal_dual
from mixkit_image.solvers.mask import mask_energy, solve_mask

Problem = tuple[Tensor, Tensor, Tensor]


def like_puzzle_mix(batch: int, rows: int, columns: int, ratio: float, beta: float = 1.2) -> Problem:
    """Smooth saliency that sums to 1, a binomial prior and weights around the method's own."""
    patches = torch.nn.functional.avg_pool2d(torch.rand(batch, 2, rows + 2, columns + 2) ** 4, 3, 1)
    lost_b, lost_a = (patches / patches.sum((2, 3), keepdim=True)).unbind(1)
    prior = torch.tensor([(1 - ratio) ** 2, 2 * ratio * (1 - ratio), ratio**2]) + 1e-8
    unary = torch.stack([lost_b, (lost_a + lost_b) / 2, lost_a], 1)
    unary = unary - 0.2 / (rows * columns) * prior.log()[:, None, None]
    smooth = beta / 16 / max(rows, columns)
    return (
        unary,
        smooth * (0.5 + torch.rand(batch, rows - 1, columns)),
        smooth * (0.5 + torch.rand(batch, rows, columns - 1)),
    )


def energies(label: Tensor, problem: Problem) -> Tensor:
    return mask_energy(label, *(term.double() for term in problem))


def loop_energy(label: Tensor, unary: Tensor, down: Tensor, right: Tensor) -> float:
    """One image's energy, from docs/notes/spec.md step 5 as it is written there."""
    level = [0.0, 0.5, 1.0]
    rows, columns = label.shape
    total = 0.0
    for r in range(rows):
        for c in range(columns):
            total += float(unary[label[r, c], r, c])
            if r + 1 < rows:
                total += float(down[r, c]) * (level[label[r, c]] - level[label[r + 1, c]]) ** 2
            if c + 1 < columns:
                total += float(right[r, c]) * (level[label[r, c]] - level[label[r, c + 1]]) ** 2
    return total


def brute_force(unary: Tensor, down: Tensor, right: Tensor) -> float:
    rows, columns = unary.shape[1:]
    labellings = itertools.product(range(3), repeat=rows * columns)
    return min(loop_energy(torch.tensor(t).reshape(rows, columns), unary, down, right) for t in labellings)


def max_flow_optimum(unary: Tensor, down: Tensor, right: Tensor) -> float:
    """The least energy of one image as a minimum cut, capacities scaled to int32."""
    rows, columns = unary.shape[1:]
    cells = rows * columns
    source, sink = 2 * cells, 2 * cells + 1
    arcs: dict[tuple[int, int], float] = {}

    def add(tail: int, head: int, capacity: float) -> None:
        arcs[tail, head] = arcs.get((tail, head), 0) + capacity

    constant = 0.0
    flat = unary.double().flatten(1)
    for v in range(cells):
        constant += float(flat[0, v])
        for layer in range(2):
            cost = float(flat[layer + 1, v] - flat[layer, v])
            constant += min(cost, 0)
            add(*((source, v + layer * cells) if cost < 0 else (v + layer * cells, sink)), abs(cost))
    for r, c in itertools.product(range(rows), range(columns)):
        x = r * columns + c
        for y, weights, there in ((x + columns, down, r + 1 < rows), (x + 1, right, c + 1 < columns)):
            if there:
                weight = float(weights[r, c])
                for layer in (0, cells):
                    add(x + layer, y + layer, weight / 4)
                    add(y + layer, x + layer, weight / 4)
                add(x + cells, y, weight / 2)
                add(y + cells, x, weight / 2)
    scale = 2**29 / sum(arcs.values())
    for v in range(cells):
        arcs[v + cells, v] = 2**30 / scale
    tails, heads = np.array(list(arcs)).T
    capacity = np.rint(np.array(list(arcs.values())) * scale).astype(np.int32)
    graph = csr_matrix((capacity, (tails, heads)), shape=(2 * cells + 2, 2 * cells + 2))
    return constant + maximum_flow(graph, source, sink).flow_value / scale


solvers = pytest.mark.parametrize("solve", [solve_mask, primal_dual.solve_masks], ids=["cut", "primal_dual"])


@solvers
@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (1, 6), (5, 1), (1, 1)])
def test_optimum_by_brute_force(solve, shape: tuple[int, int]) -> None:
    for ratio in (0.5, 0.1, 1e-6):
        problem = like_puzzle_mix(3, *shape, ratio)
        found = energies(solve(*problem), problem)
        for b in range(3):
            best = brute_force(*(term[b] for term in problem))
            assert abs(float(found[b]) - best) <= 1e-6 * abs(best) + 1e-7


@pytest.mark.parametrize("shape", [(2, 2), (3, 2)])
def test_cut_is_exact_for_any_unaries(shape: tuple[int, int]) -> None:
    """Unaries that are not convex in the level, strong and absent smoothness."""
    for strength in (0.0, 0.3, 3.0, 30.0):
        problem = (
            torch.randn(4, 3, *shape),
            strength * torch.rand(4, shape[0] - 1, shape[1]),
            strength * torch.rand(4, shape[0], shape[1] - 1),
        )
        found = energies(solve_mask(*problem), problem)
        for b in range(4):
            assert float(found[b]) == pytest.approx(brute_force(*(term[b] for term in problem)), abs=1e-6)


@pytest.mark.parametrize("cells", [4, 8, 16])
def test_both_solvers_reach_the_maximum_flow(cells: int) -> None:
    for ratio, beta in ((0.5, 1.2), (0.15, 1.2), (0.4, 4.0)):
        problem = like_puzzle_mix(3, cells, cells, ratio, beta)
        exact = torch.tensor([max_flow_optimum(*(t[b] for t in problem)) for b in range(3)], dtype=torch.float64)
        for solve, tolerance in ((solve_mask, 1e-6), (primal_dual.solve_masks, 1e-3)):
            label = solve(*problem)
            gap = (energies(label, problem) - exact) / exact
            assert gap.max() <= tolerance, (solve, ratio)
            assert gap.min() >= -1e-6
            assert (label == 1).any()  # the half level is used, so this is no two-label problem


def test_larger_and_oblong_grids_match_each_other() -> None:
    problem = like_puzzle_mix(3, 5, 19, 0.4)
    cut, relaxed = (energies(solve(*problem), problem) for solve in (solve_mask, primal_dual.solve_masks))
    assert ((relaxed - cut) / cut).abs().max() <= 1e-3


@solvers
def test_energies_agree_and_images_are_independent(solve) -> None:
    problem = like_puzzle_mix(5, 4, 4, 0.5)
    label = solve(*problem)
    assert label.shape == (5, 4, 4)
    assert label.dtype == torch.long
    for b in range(5):
        one = [term[b] for term in problem]
        assert float(energies(label, problem)[b]) == pytest.approx(loop_energy(label[b], *one), abs=1e-6)
        alone = solve(*(term[None] for term in one))
        assert float(energies(alone, tuple(t[None] for t in one))) == pytest.approx(
            loop_energy(label[b], *one), rel=1e-4
        )


def test_same_result_on_any_number_of_threads() -> None:
    problem = like_puzzle_mix(13, 8, 8, 0.5)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(solve_mask(*problem))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(results[0], other) for other in results)


@solvers
def test_degenerate_problems(solve) -> None:
    unary, down, right = like_puzzle_mix(2, 4, 4, 0.5)
    assert (solve(torch.tensor([1.0, 0.0, 2.0])[:, None, None].expand(2, 3, 4, 4), 0 * down, 0 * right) == 1).all()
    assert solve(0 * unary, 0 * down, 0 * right).shape == (2, 4, 4)
    assert solve(1e-30 * unary, 1e-30 * down, 1e-30 * right).shape == (2, 4, 4)


def test_what_is_not_finite_is_ignored() -> None:
    unary, down, right = like_puzzle_mix(2, 4, 4, 0.5)
    unary[0, 1, 2, 2], down[1, 0, 0], right[0, 1, 1] = torch.nan, torch.inf, -1.0
    assert solve_mask(unary, down, right).shape == (2, 4, 4)
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\).*\(2, 4, 3\)"):
        solve_mask(unary, right, down)
