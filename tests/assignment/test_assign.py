"""`mixkit.assign` on the CPU: always a bijection, a certificate that holds, exact at tolerance 0. Devices: test_gpu."""

from __future__ import annotations

import itertools
import multiprocessing

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mixkit.assignment import assign
from mixkit.assignment.certificate import certify, distances
from mixkit.assignment.cpu_auction import BIDS, solve_coarse, solve_finest
from mixkit.assignment.cpu_order import kd_order

ROUNDING = 1e-9
KINDS = ["random", "clustered", "collinear", "duplicated", "identical", "lattice", "huge", "tiny", "shifted", "two_far"]


def clouds(kind: str, size: int, dim: int, seed: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    """Two clouds (batch, size, dim) in float64 of one of the KINDS."""
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, batch, size, dim, dtype=torch.float64, generator=generator)
    if kind == "clustered":
        centres = 10 * torch.randn(3, dim, dtype=torch.float64, generator=generator)
        a, b = (0.01 * c + centres[torch.randint(3, (batch, size), generator=generator)] for c in (a, b))
    elif kind == "collinear":
        a, b = a[..., :1].expand(-1, -1, dim), b[..., :1].expand(-1, -1, dim)
    elif kind == "duplicated":
        a, b = a[:, torch.arange(size) // 4], b[:, torch.arange(size) // 3]
    elif kind == "identical":
        b = a[:, torch.randperm(size, generator=generator)]
    elif kind == "lattice":
        a, b = (2 * a).round(), (2 * b).round()
    elif kind == "huge":
        a, b = 1e150 * a, 1e150 * b
    elif kind == "tiny":
        a, b = 1e-150 * a, 1e-150 * b
    elif kind == "shifted":
        a, b = a + 1e7, b + 1e7
    elif kind == "two_far":  # unequal numbers of points in each: the surplus has to cross, whatever it pays
        a[:, : size // 3] += 1e4
        b[:, : size // 2] += 1e4
    return a, b


def assert_bijection(index: Tensor) -> None:
    assert index.dtype == torch.long
    assert torch.equal(index.sort(dim=1).values, torch.arange(index.shape[1]).expand_as(index))


def cost_by_hand(a: Tensor, b: Tensor, index: Tensor) -> Tensor:
    rows = torch.arange(len(a))[:, None]
    return (a.double() - b.double()[rows, index]).square().sum(-1).sqrt().sum(-1)


@pytest.mark.parametrize("tolerance", [0.05, 0.001, 0.0])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(size=st.integers(1, 150), dim=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_a_bijection_whose_certificate_holds(kind: str, tolerance: float, size: int, dim: int, seed: int) -> None:
    a, b = clouds(kind, size, dim, seed)
    match = assign(a, b, tolerance=tolerance)
    optimum = assign(a, b, solver="exact").cost
    assert_bijection(match.index)
    torch.testing.assert_close(match.cost, cost_by_hand(a, b, match.index), rtol=1e-7, atol=0)
    assert (match.cost >= optimum * (1 - ROUNDING)).all()
    assert (match.cost <= optimum * (1 + match.gap + ROUNDING)).all(), "the true gap exceeds the certified one"
    assert (match.gap <= max(tolerance, ROUNDING)).all()


@pytest.mark.parametrize("size", [2, 63, 64, 65, 300, 1000])
@pytest.mark.parametrize("tolerance", [0.01, 0.0])
def test_sizes_around_the_blocks_and_levels(size: int, tolerance: float) -> None:
    a, b = clouds("random", size, 3, seed=size)
    match = assign(a, b, tolerance=tolerance)
    assert_bijection(match.index)
    assert (match.cost <= assign(a, b, solver="exact").cost * (1 + max(tolerance, ROUNDING))).all()


@pytest.mark.parametrize("dim", [1, 2, 64, 700])
def test_any_dimension(dim: int) -> None:
    a, b = clouds("random", 130, dim, seed=dim)
    match = assign(a, b, tolerance=0.001)
    assert_bijection(match.index)
    assert (match.gap <= 0.001).all()
    assert (match.cost <= assign(a, b, solver="exact").cost * 1.001).all()


def test_every_permutation_by_brute_force() -> None:
    a, b = clouds("random", 6, 2, seed=0, batch=5)
    distance = distances(a, b)
    rows = torch.arange(6)
    best = torch.stack([distance[:, rows, list(p)].sum(1) for p in itertools.permutations(range(6))]).amin(0)
    for solver in ("auto", "exact"):
        torch.testing.assert_close(assign(a, b, tolerance=0, solver=solver).cost, best, rtol=1e-12, atol=0)


def test_exact_equals_scipy_on_200_random_problems() -> None:
    for size in (5, 20, 60, 130):
        a, b = clouds("random", size, 3, seed=size, batch=50)
        match, oracle = assign(a, b, tolerance=0), assign(a, b, solver="exact")
        torch.testing.assert_close(match.cost, oracle.cost, rtol=1e-9, atol=0)
        assert (match.gap <= ROUNDING).all()
        assert (oracle.gap <= ROUNDING).all()


def test_permuting_the_points_changes_the_cost_by_at_most_the_tolerance() -> None:
    a, b = clouds("random", 400, 3, seed=1)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(2))
    straight, permuted = assign(a, b, tolerance=0.02), assign(a[:, order], b[:, order.flip(0)], tolerance=0.02)
    torch.testing.assert_close(straight.cost, permuted.cost, rtol=0.02, atol=0)


@pytest.mark.parametrize("tolerance", [0.01, 0.0])
def test_translating_and_scaling_change_nothing_but_rounding(tolerance: float) -> None:
    a, b = ((2**20 * c).round() / 2**20 for c in clouds("random", 300, 3, seed=3))  # so that shifting by 2^20 is exact
    near, far = assign(a, b, tolerance=tolerance), assign(4 * (a + 2**20), 4 * (b + 2**20), tolerance=tolerance)
    assert torch.equal(near.index, far.index)
    torch.testing.assert_close(4 * near.cost, far.cost, rtol=1e-12, atol=0)


def test_same_input_same_output_whatever_the_threads() -> None:
    a, b = clouds("random", 200, 3, seed=4, batch=7)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = assign(a, b)
        torch.set_num_threads(4)
        four = assign(a, b)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one.index, four.index)
    assert torch.equal(one.cost, four.cost)
    assert torch.equal(one.gap, four.gap)
    alone = assign(a[3:4], b[3:4])
    assert torch.equal(alone.index[0], one.index[3]), "the rest of the batch must not matter"


@pytest.mark.parametrize("kind", ["equal", "two_far", "one_crosses", "lattice", "duplicated", "collinear"])
@pytest.mark.parametrize("tolerance", [0.01, 0.0])
def test_terminates_on_adversarial_input_within_the_bound_on_bids(kind: str, tolerance: float) -> None:
    size = 500
    if kind == "equal":
        a, b = torch.ones(1, size, 3), torch.ones(1, size, 3)
    elif kind == "one_crosses":  # a price war: to send one point across, all the prices of a cluster have to rise
        a, b = (1e-3 * c for c in clouds("random", size, 3, seed=5, batch=1))
        a[:, : size // 2, 0] += 1
        b[:, : size // 2 + 1, 0] += 1
    else:
        a, b = clouds(kind, size, 3, seed=5, batch=1)
    match = assign(a, b, tolerance=tolerance)
    assert_bijection(match.index)
    assert (match.gap <= max(tolerance, ROUNDING)).all()
    box = torch.cat([a, b], 1).abs().max()
    first, second = (c[0].double().numpy() / box.item() for c in (a, b))
    first, second = (c[kd_order(c.astype(np.float32))] for c in (first, second))
    price, eps, _, coarse_bids = solve_coarse(first, second, 1e-5)
    _, _, _, bids = solve_finest(first, second, 1e-5, price, eps, np.empty(size, np.int64))
    assert coarse_bids + bids <= 4 / 3 * BIDS * size + 2 * BIDS


def test_identical_clouds_cost_nothing_and_the_gap_is_zero() -> None:
    a, b = clouds("identical", 120, 3, seed=6)
    match = assign(a, b, tolerance=0)
    assert torch.equal(match.cost, torch.zeros(2, dtype=torch.float64))
    assert torch.equal(match.gap, torch.zeros(2, dtype=torch.float64))


def test_identity() -> None:
    a, b = clouds("random", 9, 3, seed=7)
    match = assign(a, b, solver="identity")
    assert torch.equal(match.index, torch.arange(9).repeat(2, 1))
    torch.testing.assert_close(match.cost, (a - b).norm(dim=-1).sum(1))
    assert match.gap.isinf().all()


def test_certify_against_a_plain_loop() -> None:
    a, b = clouds("random", 12, 2, seed=8)
    index = torch.stack([torch.randperm(12, generator=torch.Generator().manual_seed(k)) for k in range(2)])
    price = torch.rand(2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    cost, gap = certify(a, b, index, price)
    for k in range(2):
        c = [[torch.dist(p, q).item() for q in b[k]] for p in a[k]]
        paid = sum(c[i][index[k, i]] for i in range(12))
        dual = sum(min(c[i][j] + price[k, j].item() for j in range(12)) for i in range(12)) - price[k].sum().item()
        rows, columns = sum(min(row) for row in c), sum(min(column) for column in zip(*c, strict=True))
        lower = max(dual, rows, columns)
        assert cost[k].item() == pytest.approx(paid)
        assert gap[k].item() == pytest.approx((paid - lower) / lower)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes_strides_and_gradients(dtype: torch.dtype) -> None:
    a, b = (c.to(dtype) for c in clouds("random", 70, 3, seed=10))
    kept = a.clone()
    strided = a.mT.contiguous().mT.requires_grad_()  # (B, N, D) with the strides of (B, D, N)
    match = assign(strided, b)
    assert torch.equal(match.index, assign(a, b).index)
    assert torch.equal(strided, kept)
    assert match.cost.dtype == match.gap.dtype == torch.float64
    assert match.cost.requires_grad
    assert not match.index.requires_grad
    assert not match.gap.requires_grad
    assert not assign(a, b).cost.requires_grad


def test_a_small_difference_far_from_the_origin_survives() -> None:
    a, b = clouds("random", 80, 3, seed=11)
    match = assign(1e6 + 1e-3 * a, 1e6 + 1e-3 * b)
    assert (match.cost <= 1.01 * assign(1e6 + 1e-3 * a, 1e6 + 1e-3 * b, solver="exact").cost).all()


def _in_a_worker(queue: multiprocessing.Queue, a: Tensor, b: Tensor) -> None:
    queue.put(assign(a, b).index.tolist())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_forked_worker_can_assign_after_its_parent_did() -> None:
    a, b = clouds("random", 100, 3, seed=12, batch=4)
    expected = assign(a, b).index.tolist()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    worker = context.Process(target=_in_a_worker, args=(queue, a, b), daemon=True)
    worker.start()
    assert queue.get(timeout=60) == expected
    worker.join(timeout=60)
    assert worker.exitcode == 0


A = torch.zeros(2, 4, 3)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (([[1.0]], A), {}, TypeError, "coords_a must be a tensor, got list"),
        ((A.long(), A.long()), {}, TypeError, r"floating point, got torch\.int64"),
        ((A[0, 0], A[0, 0]), {}, ValueError, r"\(B, N, D\) or \(N, D\).*got \(3,\)"),
        ((A[..., :0], A[..., :0]), {}, ValueError, r"got \(2, 4, 0\)"),
        ((A[:0], A[:0]), {}, ValueError, r"got \(0, 4, 3\)"),
        ((A, A[0]), {}, ValueError, r"number of rows only, got \(2, 4, 3\) and \(4, 3\)"),
        ((A, A[:1]), {}, ValueError, r"number of rows only, got \(2, 4, 3\) and \(1, 4, 3\)"),
        ((A, A[..., :2]), {}, ValueError, r"number of rows only, got \(2, 4, 3\) and \(2, 4, 2\)"),
        ((A, A.double()), {}, TypeError, "make them alike"),
        ((A / 0, A), {}, ValueError, "finite"),
        ((A, A + torch.inf), {}, ValueError, "finite"),
        ((A, A), {"tolerance": -1}, ValueError, "tolerance must be >= 0 and below .*, got -1"),
        ((A, A), {"tolerance": float("nan")}, ValueError, "tolerance"),
        ((A, A), {"solver": "hungarian"}, ValueError, "unknown solver 'hungarian'.*auction_rounds"),
        ((A, A), {"eps": 0.1}, TypeError, "'auto' takes no options, got eps"),
        ((A, A), {"solver": "auction_rounds", "rounds": 3}, TypeError, "takes eps, iterations, got rounds"),
    ],
)
def test_errors_say_what_came_and_what_was_wanted(
    arguments: tuple, options: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        assign(*arguments, **options)
