"""`mixkit.assign_cost`: SciPy's optimum for any matrix of costs, forbidden pairs, the gradient, what it refuses."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mixkit.assignment import assign, assign_cost
from tests.assignment.test_assign import ROUNDING, clouds

INF = torch.inf


def costs(kind: str, shape: tuple[int, ...], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    cost = torch.rand(shape, dtype=torch.float64, generator=generator)
    if kind == "ties":
        return (4 * cost).round()
    if kind == "either sign":
        return 1e3 * (cost - 0.7)
    if kind == "rows":  # which column hardly matters
        return cost[..., :1] + 1e-9 * cost
    return cost


@pytest.mark.parametrize("kind", ["random", "ties", "either sign", "rows"])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(1, 100), st.integers(1, 100), st.integers(0, 10**6))
def test_the_optimum_of_scipy(kind: str, rows: int, columns: int, seed: int) -> None:
    cost = costs(kind, (2, rows, columns), seed)
    match = assign_cost(cost, tolerance=0)
    assert match.index.shape == (2, rows)
    for k in range(2):
        kept = (match.index[k] >= 0).nonzero()[:, 0]
        partners = match.index[k, kept]
        assert len(partners) == len(partners.unique()) == min(rows, columns)
        optimum = float(cost[k][linear_sum_assignment(cost[k])].sum())
        assert float(cost[k, kept, partners].sum()) == pytest.approx(optimum, rel=1e-9)
        assert float(match.cost[k]) == pytest.approx(optimum, rel=1e-9)
    assert (match.gap <= ROUNDING).all()


@pytest.mark.parametrize(("rows", "columns"), [(1, 2000), (2000, 2), (300, 300), (250, 400)])
def test_larger_matrices_in_other_dtypes(rows: int, columns: int) -> None:
    cost = costs("random", (rows, columns), 3).float().mT.contiguous().mT
    match = assign_cost(cost)
    optimum = float(cost.double()[linear_sum_assignment(cost)].sum())
    assert float(match.cost) == pytest.approx(optimum, rel=1e-9)
    assert match.cost.dtype == torch.float64


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 10**6), st.sampled_from([0.1, 0.5, 0.8]))
def test_infinite_costs_forbid_a_pair(rows: int, columns: int, seed: int, share: float) -> None:
    cost = costs("either sign", (rows, columns), seed)
    cost[costs("random", (rows, columns), seed + 1) < share] = INF
    try:
        optimum = float(cost[linear_sum_assignment(cost)].sum())
    except ValueError:
        with pytest.raises(ValueError, match="infinite costs of sample 0 leave no way"):
            assign_cost(cost)
        return
    match = assign_cost(cost)
    assert float(match.cost) == pytest.approx(optimum, rel=1e-9, abs=1e-9)
    assert match.gap <= 1e-6


def test_of_distances_it_is_assign() -> None:
    a, b = clouds("random", 50, 3, seed=4)
    match = assign_cost(torch.cdist(a, b[:, :30]))
    assert torch.equal(match.index, assign(a, b[:, :30]).index)


def test_the_gradient_marks_the_matched_pairs() -> None:
    cost = costs("random", (2, 4, 6), 5).requires_grad_()
    match = assign_cost(cost)
    (match.cost * torch.tensor([1.0, -2.0])).sum().backward()
    wanted = torch.zeros(2, 4, 6, dtype=torch.float64)
    wanted.scatter_(2, match.index[..., None], 1.0)
    assert torch.equal(cost.grad, wanted * torch.tensor([1.0, -2.0])[:, None, None])
    assert torch.autograd.gradcheck(lambda cost: assign_cost(cost).cost, (costs("random", (5, 3), 6).requires_grad_(),))
    assert not assign_cost(cost.detach()).cost.requires_grad


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 0), (2, 4, 0)])
def test_empty_matrices_cost_nothing(shape: tuple[int, ...]) -> None:
    match = assign_cost(torch.ones(shape, requires_grad=True))
    assert match.index.shape == shape[:-1]
    assert (match.index == -1).all()
    assert match.cost.shape == shape[:-2]
    assert not match.cost.any()


def test_rows_of_one_choice_keep_it() -> None:
    cost = torch.tensor([[INF, 1.0, INF], [5.0, 0.0, INF]])
    assert assign_cost(cost).index.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("cost", "error", "message"),
    [
        ([[1.0]], TypeError, "cost must be a tensor, got list"),
        (torch.ones(2, 2, dtype=torch.long), TypeError, r"floating point, got torch\.int64: use cost\.double"),
        (torch.ones(3), ValueError, r"\(B, N, M\) or \(N, M\).*got \(3,\)"),
        (torch.ones(0, 2, 2), ValueError, r"got \(0, 2, 2\)"),
        (torch.tensor([[[1.0]], [[torch.nan]]]), ValueError, "inf, or within 1e.290 of 0, got nan in sample 1"),
        (torch.tensor([[-INF]]), ValueError, "got -inf"),
        (torch.tensor([[INF]]), ValueError, "sample 0 leave no way to match"),
        (torch.tensor([[[1.0, 1.0]], [[INF, INF]]]), ValueError, "sample 1 leave no way to match"),
    ],
)
def test_errors_say_what_came_and_what_was_wanted(cost: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        assign_cost(cost)


def test_a_tolerance_is_checked() -> None:
    with pytest.raises(ValueError, match="tolerance must be >= 0"):
        assign_cost(torch.ones(2, 2), tolerance=-1)
