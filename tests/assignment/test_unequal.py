"""`mixkit.assign` of unequal sets, of padded sets, at other metrics: SciPy's optimum, or within the certified gap."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

import mixkit
from mixkit.assignment import assign, cpu_auction, cpu_paths, unequal
from mixkit.assignment.arguments import Metric
from mixkit.assignment.cpu_order import prepare
from tests.assignment.test_assign import KINDS, ROUNDING, clouds

METRICS: dict[Metric, tuple[str, dict[str, float]]] = {
    "euclidean": ("euclidean", {}),
    "sqeuclidean": ("sqeuclidean", {}),
    1: ("cityblock", {}),
    2.0: ("euclidean", {}),
    3.5: ("minkowski", {"p": 3.5}),
    math.inf: ("chebyshev", {}),
}
"""Metric -> what SciPy calls it."""


def by_hand(a: Tensor, b: Tensor, metric: Metric = "euclidean") -> tuple[np.ndarray, float]:
    """SciPy's distances (N, M) and the cost of its rectangular optimum."""
    name, options = METRICS[metric]
    distance = cdist(a.double().numpy(), b.double().numpy(), name, **options)
    return distance, float(distance[linear_sum_assignment(distance)].sum())


def check(
    match: mixkit.assignment.Assignment, sample: int, a: Tensor, b: Tensor, tolerance: float, metric: Metric
) -> None:
    """One sample: as many partners as the smaller set has elements, none twice, and a certificate that holds."""
    distance, optimum = by_hand(a, b, metric)
    index, cost, gap = match.index[sample], float(match.cost[sample]), float(match.gap[sample])
    rows = (index >= 0).nonzero()[:, 0]
    partners = index[rows]
    assert len(partners) == len(partners.unique()) == min(len(a), len(b))
    assert (index[index < 0] == -1).all()
    assert cost == pytest.approx(float(distance[rows, partners].sum()), rel=1e-7, abs=1e-300)
    assert optimum * (1 - ROUNDING) <= cost <= optimum * (1 + gap + ROUNDING)
    assert 0 <= gap <= max(tolerance, ROUNDING)


@pytest.mark.parametrize("tolerance", [0.05, 0.001, 0.0])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 4), st.integers(0, 10**6))
def test_the_smaller_set_is_matched_within_the_gap(
    kind: str, tolerance: float, size: int, other: int, dim: int, seed: int
) -> None:
    a, b = clouds(kind, max(size, other), dim, seed)
    a, b = a[:, :size], b[:, :other]
    match = assign(a, b, tolerance=tolerance)
    assert match.index.shape == (2, size)
    for k in range(2):
        check(match, k, a[k], b[k], tolerance, "euclidean")


@pytest.mark.parametrize(("size", "other"), [(1, 3000), (3, 3000), (200, 1000), (300, 900), (700, 720), (640, 300)])
@pytest.mark.parametrize("kind", ["random", "duplicated", "lattice", "clustered", "two_far"])
def test_larger_sets_by_auction(size: int, other: int, kind: str) -> None:
    a, b = clouds(kind, max(size, other), 3, seed=size, batch=1)
    a, b = a[:, :size], b[:, :other]
    for tolerance in (0.05, 0.01, 1e-4, 0.0):
        check(assign(a, b, tolerance=tolerance), 0, a[0], b[0], tolerance, "euclidean")


def test_many_targets_near_nobody_and_few_near_all() -> None:
    a, b = clouds("random", 1500, 3, seed=3, batch=1)
    a, b = 0.05 * a[:, :300], b.clone()
    b[:, 100:] += 40  # 100 near targets for 300 elements: the others must travel, whatever they pay
    for tolerance in (0.05, 0.01, 0.0):
        check(assign(a, b, tolerance=tolerance), 0, a[0], b[0], tolerance, "euclidean")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("size", "other"), [(30, 30), (25, 70), (90, 90), (120, 40)])
def test_metrics(metric: Metric, size: int, other: int) -> None:
    a, b = clouds("random", max(size, other), 3, seed=size + other)
    a, b = a[:, :size], b[:, :other]
    for solver in ("auto", "exact"):
        match = assign(a, b, metric=metric, tolerance=0, solver=solver)
        for k in range(2):
            check(match, k, a[k], b[k], 0, metric)


@pytest.mark.parametrize("metric", ["sqeuclidean", 1, 40.0, math.inf])
def test_other_metrics_know_neither_scale_nor_place(metric: Metric) -> None:
    a, b = clouds("lattice", 20, 2, seed=1)
    power = 2 if metric == "sqeuclidean" else 1
    near = assign(a, b[:, :15], metric=metric)
    far = assign(2.0**100 * (a + 64), 2.0**100 * (b[:, :15] + 64), metric=metric)
    torch.testing.assert_close(far.cost, near.cost * 2.0 ** (100 * power), rtol=1e-12, atol=0)


def test_p_of_2_is_the_euclidean_metric_to_the_last_bit() -> None:
    for size in (40, 200):
        a, b = clouds("random", size, 3, seed=size)
        plain, other = assign(a, b), assign(a, b, metric=2)
        assert torch.equal(plain.index, other.index)
        assert torch.equal(plain.cost, other.cost)
        assert torch.equal(plain.gap, other.gap)


@pytest.mark.parametrize("tolerance", [0.05, 0.01, 0.0])
def test_padding_is_never_looked_at(tolerance: float) -> None:
    lengths_a, lengths_b = [0, 1, 30, 30, 200, 200, 150, 3], [4, 200, 30, 200, 200, 150, 200, 0]
    a, b = clouds("random", 200, 3, seed=5, batch=8)
    for coords, lengths in ((a, lengths_a), (b, lengths_b)):
        for k, length in enumerate(lengths):
            coords[k, length:] = torch.nan
    match = assign(a, b, tolerance=tolerance, lengths_a=torch.tensor(lengths_a), lengths_b=lengths_b)
    for k, (n, m) in enumerate(zip(lengths_a, lengths_b, strict=True)):
        check(match, k, a[k, :n], b[k, :m], tolerance, "euclidean")
        assert (match.index[k, n:] == -1).all()
        alone = assign(a[k, :n], b[k, :m], tolerance=tolerance)
        assert torch.equal(alone.index, match.index[k, :n])
        assert torch.equal(alone.cost, match.cost[k])  # samples of one size: the last bit of the dense batch
        assert torch.equal(alone.gap, match.gap[k])


@pytest.mark.parametrize("size", [40, 200])
def test_without_a_batch(size: int) -> None:
    a, b = clouds("random", size, 3, seed=6, batch=1)
    for one, other in ((a, b), (a[:, :30], b), (a, b[:, :30])):
        batch, single = assign(one, other), assign(one[0], other[0])
        assert torch.equal(single.index, batch.index[0])
        assert torch.equal(single.cost, batch.cost[0])
        assert torch.equal(single.gap, batch.gap[0])
    short = assign(a[0], b[0], lengths_a=7, lengths_b=torch.tensor(20))
    assert torch.equal(short.index[:7], assign(a[0, :7], b[0, :20]).index)
    assert (short.index[7:] == -1).all()


@pytest.mark.parametrize(("size", "other"), [(0, 5), (5, 0), (0, 0)])
def test_empty_sets_cost_nothing(size: int, other: int) -> None:
    a, b = torch.zeros(2, size, 3, requires_grad=True), torch.ones(2, other, 3)
    match = assign(a, b)
    assert torch.equal(match.index, torch.full((2, size), -1))
    assert match.cost.tolist() == match.gap.tolist() == [0, 0]
    match.cost.sum().backward()
    assert torch.equal(a.grad, torch.zeros(2, size, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtypes_strides_and_threads(dtype: torch.dtype) -> None:
    a, b = (coords.to(dtype) for coords in clouds("random", 300, 3, seed=7, batch=3))
    b = b[:, :220]
    match = assign(a, b)
    strided = assign(a.mT.contiguous().mT, b.mT.contiguous().mT)
    assert torch.equal(match.index, strided.index)
    assert match.cost.dtype == match.gap.dtype == torch.float64
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 2)
        assert torch.equal(assign(a, b).index, match.index)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3])
def test_the_auction_itself_meets_the_tolerance_within_its_bids(tolerance: float) -> None:
    for kind in ("random", "lattice"):
        a, b = clouds(kind, 900, 3, seed=8, batch=1)
        first, second = prepare(a[0, :500].numpy(), b[0].numpy())[:2]
        price, eps, _, coarse = cpu_auction.solve_coarse(first, second, tolerance)
        matching = np.empty(500, np.int64)
        cost, lower, price, bids = cpu_auction.solve_finest(first, second, tolerance, price, eps, matching)
        assert len(set(matching.tolist())) == 500
        assert (price >= 0).all()
        assert cost <= (1 + tolerance) * lower
        assert coarse + bids <= 4 / 3 * cpu_auction.BIDS * 500 + 2 * cpu_auction.BIDS


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 10**6), st.booleans())
def test_the_exact_finish_from_any_prices_and_any_proposal(size: int, more: int, seed: int, lattice: bool) -> None:
    draw = np.random.default_rng(seed)
    a, b = draw.uniform(-1, 1, (size, 3)), draw.uniform(-1, 1, (size + more, 3))
    if lattice:
        a, b = a.round(), b.round()
    matching = draw.permutation(size + more)[:size]
    matching[draw.random(size) < 0.3] = -1
    cost, lower = cpu_paths.finish(a, b, draw.normal(size=size + more), matching)
    distance = cdist(a, b)
    optimum = distance[linear_sum_assignment(distance)].sum()
    assert len(set(matching.tolist())) == size
    assert cost == pytest.approx(optimum, abs=1e-9)
    assert lower == pytest.approx(optimum, abs=1e-9)
    assert distance[np.arange(size), matching].sum() == pytest.approx(optimum, abs=1e-9)


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", 1, 3.0, math.inf])
@pytest.mark.parametrize(("size", "other"), [(5, 8), (7, 4)])
def test_the_gradient_by_finite_differences(metric: Metric, size: int, other: int) -> None:
    a, b = clouds("random", 8, 3, seed=9)
    a, b = (coords.clone().requires_grad_() for coords in (a[:, :size], b[:, :other]))
    assert torch.autograd.gradcheck(lambda a, b: assign(a, b, tolerance=0, metric=metric).cost, (a, b))
    lengths = {"lengths_a": [size, 3], "lengths_b": [2, other]}
    assert torch.autograd.gradcheck(lambda a, b: assign(a, b, tolerance=0, metric=metric, **lengths).cost, (a, b))


def test_padding_gets_no_gradient() -> None:
    a, b = clouds("random", 90, 3, seed=10)
    a, b = a.clone(), b.clone()
    a[0, 50:], b[1, 70:] = torch.nan, torch.nan
    a, b = a.requires_grad_(), b.requires_grad_()
    match = assign(a, b, lengths_a=[50, 90], lengths_b=[90, 70])
    match.cost.sum().backward()
    matched = match.index >= 0
    torch.testing.assert_close(a.grad.norm(dim=-1), matched.double())
    assert int(b.grad.norm(dim=-1).count_nonzero()) == int(matched.sum())


def test_devices_without_a_solver_of_their_own_are_served_by_the_cpu() -> None:
    a, b = clouds("random", 30, 3, seed=11)
    index, cost, gap = unequal.solve(a, b[:, :20], [30, 30], [20, 20], 2.0, 0.01, "auto")
    match = assign(a, b[:, :20])
    assert torch.equal(index, match.index)
    assert torch.equal(cost, match.cost)
    assert torch.equal(gap, match.gap)


A, B = torch.zeros(2, 4, 3), torch.zeros(2, 5, 3)
NAN = A.clone()
NAN[1, 2] = torch.nan


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((A, B), {"metric": "cosine"}, ValueError, "\"sqeuclidean\" or a number p >= 1, got 'cosine'"),
        ((A, B), {"metric": 0.5}, ValueError, "at least 1.*got 0.5"),
        ((A, B), {"metric": math.nan}, ValueError, "metric must be a number, got nan"),
        ((A, B), {"metric": None}, TypeError, "metric must be a number, got None"),
        ((A, B), {"lengths_a": [4, 5]}, ValueError, r"lengths_a must lie in \[0, 4\].*got 5 in sample 1"),
        ((A, B), {"lengths_b": [-1, 5]}, ValueError, r"lengths_b must lie in \[0, 5\].*got -1 in sample 0"),
        ((A, B), {"lengths_b": [5]}, ValueError, r"lengths_b must be \(2,\).*got \(1,\)"),
        ((A, B), {"lengths_a": torch.ones(2)}, TypeError, r"whole numbers, got torch\.float32"),
        ((A[0], B[0]), {"lengths_a": [3]}, ValueError, r"lengths_a must be \(1,\).*got \(1, 1\)"),
        ((A, B), {"solver": "identity"}, ValueError, "'identity' pairs sets of one size"),
        ((A, A), {"solver": "auction_rounds", "metric": 1}, ValueError, "'auction_rounds' pairs sets of one size"),
        ((NAN, B), {}, ValueError, "finite and below 1e.303, got nan in sample 1"),
        ((NAN, B), {"lengths_a": [4, 3], "metric": 1}, ValueError, "got nan in sample 1"),
    ],
)
def test_errors_say_what_came_and_what_was_wanted(
    arguments: tuple, options: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        assign(*arguments, **options)
