"""The quick way on a CPU: matched groups, swaps between neighbours, and the bound that certifies them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from mixkit.assignment import assign, cpu, cpu_auction, cpu_paths, cpu_swaps
from mixkit.assignment.cpu_order import BLOCK, LEAF, kd_order, normalise, prepare
from tests.assignment.test_assign import KINDS, clouds


def ordered(size: int, dim: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A pair of clouds as `cpu.solve` hands them to the compiled code."""
    draw = np.random.default_rng(seed)
    return prepare(draw.standard_normal((size, dim)), draw.uniform(-1, 1, (size, dim)) ** 3)[:2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 2, 5, 64, 131, 1024])
def test_kd_order_splits_every_range_at_its_widest_axis(kind: str, size: int) -> None:
    x = normalise(*(cloud[0].double().numpy() for cloud in clouds(kind, size, 3, seed=size)))[0].astype(np.float32)
    order = kd_order(x)
    assert sorted(order) == list(range(size))
    waiting = [(0, size)]
    while waiting:
        start, stop = waiting.pop()
        if stop - start > LEAF:
            unit = BLOCK if stop - start > BLOCK else LEAF
            middle = start + max((stop - start) // unit // 2, 1) * unit
            part = x[order[start:stop]]
            key = part[:, np.ptp(part, axis=0).argmax()]
            assert key[: middle - start].max() <= key[middle - start :].min()
            waiting += [(start, middle), (middle, stop)]


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [128, 131, 700])
def test_the_bound_holds_for_any_prices_and_good_prices_make_it_tight(size: int, dim: int) -> None:
    a, b = ordered(size, dim, seed=size + dim)
    distance = cdist(a, b)
    rows, columns = linear_sum_assignment(distance)
    optimum = distance[rows, columns].sum()
    price, _, groups, _ = cpu_auction.solve_coarse(a, b, 0.05)
    matching = cpu_swaps.spread(groups, size)
    for guess in (np.random.default_rng(0).standard_normal(size), np.zeros(size), price):
        lower, profit = cpu_auction.dual_bound(a, b, guess, matching)
        assert lower <= optimum
        assert profit.sum() - guess.sum() == pytest.approx(lower)
        assert profit == pytest.approx((distance + guess).min(1), rel=1e-3, abs=1e-4)
        better, value = cpu_auction.dual_bound(b, a, -profit, cpu_auction.inverse(matching, len(b)))
        assert lower - 1e-3 * abs(lower) <= better <= optimum
        assert value == pytest.approx((distance.T - profit).min(1), rel=1e-3, abs=1e-4)
    assert lower > 0.9 * optimum


@pytest.mark.parametrize("dim", [1, 3, 6])
@pytest.mark.parametrize("size", [2, 31, 33, 500])
def test_swaps_keep_a_bijection_and_only_lower_the_cost(size: int, dim: int) -> None:
    a, b = ordered(size, dim, seed=size + dim)
    matching = np.arange(size)
    before = np.linalg.norm(a - b, axis=1).sum()
    cost = cpu_swaps.swap(a, b, matching, 0.0)
    assert sorted(matching) == list(range(size))
    assert cost == pytest.approx(np.linalg.norm(a - b[matching], axis=1).sum())
    assert cost <= before * (1 + 1e-12)
    again = matching.copy()
    assert cpu_swaps.swap(a, b, again, cost) == cost, "enough is enough"
    assert np.array_equal(again, matching)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tolerance", [0.03, 0.2])
def test_the_quick_way_is_certified_on_any_input(kind: str, tolerance: float) -> None:
    for size, dim in ((128, 1), (259, 2), (515, 3), (400, 5)):
        a, b = clouds(kind, size, dim, seed=size)
        match = assign(a, b, tolerance=tolerance)
        assert torch.equal(match.index.sort(1).values, torch.arange(size).expand(2, -1))
        assert (match.gap <= tolerance).all()
        assert (match.cost <= assign(a, b, tolerance=0).cost * (1 + match.gap) * (1 + 1e-9)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_no_layout_or_dtype_is_compiled_for_anew(dtype: torch.dtype) -> None:
    a, b = (cloud.to(dtype) for cloud in clouds("random", 40, 3, seed=0))
    match = assign(a, b)
    known = list(prepare.signatures)
    channels_first = [cloud.transpose(1, 2).contiguous().transpose(1, 2) for cloud in (a, b)]
    assert torch.equal(assign(*channels_first).index, match.index)
    assert prepare.signatures == known


@pytest.mark.parametrize("size", [1, 5, 200, 515])
def test_subnormal_coordinates(size: int) -> None:
    a, b = clouds("random", size, 3, seed=size)
    tiny, usual = assign(1e-310 * a, 1e-310 * b), assign(a, b, tolerance=0)
    assert torch.equal(tiny.index.sort(1).values, torch.arange(size).expand(2, -1))
    assert (tiny.gap <= 0.01).all()
    torch.testing.assert_close(tiny.cost * 1e300 * 1e10, usual.cost, rtol=0.011, atol=0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("dim", [3, 50])
def test_lowest_is_never_above_the_minimum_and_hardly_below(scale: float, dim: int) -> None:
    draw = np.random.default_rng(dim)
    a, b = ordered(300, dim, seed=dim)
    weight = scale * draw.standard_normal(300)
    wanted = (cdist(a, b) + weight).min(1)
    guess = draw.integers(0, 300, 300)
    found = cpu_auction.lowest(a.astype(np.float32), cpu_auction.pack(b.astype(np.float32)), weight, guess)
    assert (found <= wanted).all()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * (1 + 10 * scale))


def test_two_points_that_cross_swap() -> None:
    a = np.array([[0.0, 0, 0], [1, 0, 0]])
    matching = np.array([1, 0])
    assert cpu_swaps.swap(a, a, matching, 0.0) == 0
    assert matching.tolist() == [0, 1]


def test_groups_spread_over_their_points_and_the_rest_stay_in_order() -> None:
    assert cpu_swaps.spread(np.array([1, 0]), 10).tolist() == [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]
    assert cpu_swaps.spread(np.array([1, 0]), 11).tolist() == [5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 10]


def test_a_loose_tolerance_takes_the_quick_way_and_is_certified(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(0)
    a = torch.randn(6, 512, 3, generator=draw)
    b = torch.rand(6, 512, 3, generator=draw)
    optimum = assign(a, b, tolerance=0).cost

    def never(*args: object) -> None:
        raise AssertionError("the auction of the finest level was held")

    monkeypatch.setattr(cpu.cpu_auction, "solve_finest", never)
    monkeypatch.setattr(cpu.cpu_paths, "finish", never)
    match = assign(a, b, tolerance=0.1)
    assert torch.equal(match.index.sort(1).values, torch.arange(512).expand(6, -1))
    assert (match.gap <= 0.1).all()
    assert (match.cost <= optimum * (1 + match.gap)).all()


def test_where_swaps_do_not_suffice_the_auction_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = ordered(400, 3, seed=1)
    monkeypatch.setattr(cpu.cpu_swaps, "swap", lambda a, b, matching, enough: 2 * enough)
    match = assign(torch.from_numpy(a)[None], torch.from_numpy(b)[None], tolerance=0.03)
    exact = cpu_paths.finish(a, b, np.zeros(400), np.arange(400))[0]
    assert float(match.gap) <= 0.03
    assert float(match.cost) <= 1.03 * exact
