"""Small pairs on the CPU get SciPy's optimum at every tolerance; what is no coordinate is named by its sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

from mixkit.assignment import assign, small
from mixkit.assignment.api import SMALL
from tests.assignment.test_assign import KINDS, assert_bijection, clouds


def optimum(a: Tensor, b: Tensor) -> Tensor:
    """SciPy's optimal costs (B,)."""
    distances = [cdist(x, y) for x, y in zip(a.double().numpy(), b.double().numpy(), strict=True)]
    return torch.tensor([distance[linear_sum_assignment(distance)].sum() for distance in distances])


@pytest.mark.parametrize("tolerance", [0.05, 0.0])
@pytest.mark.parametrize("dim", [1, 2, 3, 7])
def test_every_size_up_to_the_limit_and_one_beyond_has_scipys_optimum(dim: int, tolerance: float) -> None:
    for size in range(1, SMALL + 2):
        a, b = clouds("random", size, dim, seed=100 * dim + size, batch=3)
        match = assign(a, b, tolerance=tolerance)
        assert_bijection(match.index)
        allowed = 1e-12 if size <= SMALL or tolerance == 0 else tolerance
        torch.testing.assert_close(match.cost, optimum(a, b), rtol=allowed, atol=0)
        torch.testing.assert_close(
            match.cost, (a - b.gather(1, match.index[..., None].expand_as(b))).norm(dim=-1).sum(1), rtol=1e-12, atol=0
        )
        assert (match.gap >= 0).all()
        assert (match.gap <= max(allowed, 1e-9)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_ties_and_far_apart_groups_have_scipys_optimum(kind: str) -> None:
    for size in (3, 20, 47, 64):
        a, b = clouds(kind, size, 3, seed=size, batch=20)
        match = assign(a, b)
        assert_bijection(match.index)
        scale = 1e-7 if kind == "shifted" else 1e-9
        torch.testing.assert_close(match.cost, optimum(a, b), rtol=scale, atol=0)
        assert (match.gap <= 1e-9).all()


def test_a_batch_on_threads_is_the_pairs_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = clouds("random", 30, 3, seed=5, batch=21)
    one_by_one = [assign(a[k, None], b[k, None]) for k in range(21)]
    for threaded in (0, 10**9):
        monkeypatch.setattr(small, "THREADED", threaded)
        match = assign(a, b)
        for field in ("index", "cost", "gap"):
            assert torch.equal(getattr(match, field), torch.cat([getattr(pair, field) for pair in one_by_one]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_dtype_and_memory_layout(dtype: torch.dtype) -> None:
    a, b = (cloud.to(dtype) for cloud in clouds("random", 25, 3, seed=6, batch=4))
    match = assign(a, b)
    torch.testing.assert_close(match.cost, optimum(a, b), rtol=1e-12, atol=0)
    spread = torch.full((4, 25, 8), torch.nan, dtype=dtype)
    spread[..., 1:7:2] = a
    column = b.mT.contiguous().mT
    for first, second in ((spread[..., 1:7:2], column), (a, b[:1].expand(4, -1, -1))):
        again = assign(first, second)
        torch.testing.assert_close(again.cost, optimum(first, second), rtol=1e-12, atol=0)
    assert torch.equal(assign(spread[..., 1:7:2], column).index, match.index)


def test_a_tensor_with_the_negative_bit_is_read_with_its_sign() -> None:
    a, b = clouds("random", 12, 3, seed=7)
    negative = torch.view_as_complex(torch.stack([b, -a], -1)).conj().imag
    assert negative.is_neg()
    assert torch.equal(assign(negative, b).index, assign(a, b).index)


@pytest.mark.parametrize("solver", ["auto", "auction", "exact", "identity", "auction_rounds"])
@pytest.mark.parametrize("size", [20, 70])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e303])
def test_what_is_no_coordinate_is_named_by_its_sample(value: float, size: int, solver: str) -> None:
    a, b = clouds("random", size, 3, seed=8, batch=5)
    b[3, size - 1, 1] = b[4, 0, 0] = value
    with pytest.raises(
        ValueError, match=r"coordinates must be finite and below 1e\+303, got .* in sample 3 of coords_b"
    ):
        assign(a, b, solver=solver)
    a[2, 0, 2] = value
    with pytest.raises(ValueError, match=r"got .* in sample 2 of coords_a"):
        assign(a, b, solver=solver)


def test_the_largest_coordinates_have_a_finite_cost() -> None:
    for size in (20, 70):
        a = torch.full((1, size, 3), 9e302, dtype=torch.float64)
        match = assign(a, -a)
        assert match.cost.isfinite().all()
        assert (match.gap <= 0.01).all()
