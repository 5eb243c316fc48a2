"""Where free targets are far away, long chains of evictions make eps grow; what comes out is still certified."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mixkit.assignment import assign, cpu, cpu_auction
from mixkit.assignment.cpu_order import prepare
from tests.assignment.test_assign import KINDS, assert_bijection, clouds


def surplus(size: int, far: float) -> tuple[np.ndarray, np.ndarray]:
    """A dense clump of bidders with too few targets near it: the others lie far away."""
    draw = np.random.default_rng(0)
    a = 0.05 * draw.standard_normal((size, 3))
    b = 0.05 * draw.standard_normal((size, 3))
    b[: size // 20] += [far, 0, 0]
    return a, b


def test_a_long_chain_makes_eps_grow_and_no_more_than_it_may() -> None:
    a, b = prepare(*surplus(600, 40.0))[:2]
    x, targets = a.astype(np.float32), cpu_auction.pack(b.astype(np.float32))

    def bids(most: float) -> tuple[int, float, np.ndarray]:
        price, least = cpu_auction.weigh(np.zeros(600, np.float32), targets[1].shape[1])
        index, owner = np.full(600, -1), np.full(len(price), -1)
        lists = (
            np.empty((600, cpu_auction.BLOCK), np.int32), np.empty((600, cpu_auction.BLOCK), np.float32),
            np.zeros(600, np.int64), np.full(600, -cpu_auction.BIG),
        )  # fmt: skip
        made, eps = cpu_auction.auction(
            x, targets, price, least, index, owner, np.float32(1e-4), np.float32(most), lists, 10**7, cpu_auction.BIG
        )
        assert sorted(index) == list(range(600))
        return made, float(eps), index

    steady, eps, _ = bids(1e-4)
    assert eps == pytest.approx(1e-4)
    grown, eps, _ = bids(64e-4)
    assert 1e-4 < eps <= 64e-4 * 1.001
    assert grown < steady


@pytest.mark.parametrize("tolerance", [0.05, 0.005])
@pytest.mark.parametrize("kind", KINDS)
def test_far_surpluses_need_no_dense_finish(kind: str, tolerance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = clouds(kind, 1500, 3, seed=4)
    optimum = assign(a, b, tolerance=0).cost

    def never(*args: object) -> None:
        raise AssertionError("the dense finish was taken")

    if kind not in ("identical", "shifted"):  # a gap relative to nothing, or to rounding
        monkeypatch.setattr(cpu.cpu_paths, "finish", never)
    match = assign(a, b, tolerance=tolerance)
    assert_bijection(match.index)
    assert (match.gap <= tolerance).all()
    assert (match.cost <= optimum * (1 + match.gap) * (1 + 1e-9)).all()
    assert (match.cost >= optimum * (1 - 1e-9)).all()


def test_a_surplus_far_away_is_matched_within_the_tolerance() -> None:
    pair = [torch.from_numpy(cloud)[None] for cloud in surplus(1200, 40.0)]
    optimum = assign(*pair, tolerance=0).cost
    for tolerance in (0.05, 0.01, 0.001):
        match = assign(*pair, tolerance=tolerance)
        assert_bijection(match.index)
        assert float(match.gap.max()) <= tolerance
        assert float(match.cost[0]) <= float(optimum[0]) * (1 + tolerance)
