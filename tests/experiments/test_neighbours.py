"""Neighbours, balls, sampling, interpolation and layers, plain and fast, each beside a loop in plain Python."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from experiments.models import fast, layers, neighbours
from experiments.models.fast import edges, kernels, row_norm

Point = list[float]


@pytest.fixture(params=["plain", "fast"], autouse=True, scope="module")
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test here runs in plain torch, and by the fast ways."""
    with fast.use(request.param == "fast"):
        yield request.param


def whole(shape: tuple[int, ...], seed: int, high: int = 4) -> Tensor:
    """Points on a small grid: many fall together and many distances tie, and all arithmetic is exact."""
    return torch.randint(-high, high + 1, shape, generator=torch.Generator().manual_seed(seed)).float()


def squared(p: Point, q: Point) -> float:
    return sum((a - b) ** 2 for a, b in zip(p, q, strict=True))


def plain_farthest(points: list[Point], count: int, start: int) -> list[int]:
    taken = [start]
    while len(taken) < count:
        gaps = [min(squared(p, points[t]) for t in taken) for p in points]
        taken.append(gaps.index(max(gaps)))
    return taken


def plain_ball(points: list[Point], centre: Point, radius: float, count: int) -> list[int]:
    inside = [i for i, p in enumerate(points) if squared(p, centre) < radius**2][:count]
    return inside + [inside[0] if inside else 0] * (count - len(inside))


sizes = st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(0, 10**6))


@given(sizes, st.integers(1, 8), st.sampled_from([1, 3, 20, 50]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_nearest_are_nearest(size: tuple[int, int, int], channels: int, k: int, normal: bool) -> None:
    batch, count, seed = size
    points = whole((batch, count, channels), seed)
    if normal:
        points = torch.randn(points.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    index = neighbours.nearest(points, k)
    assert index.shape == (batch, count, min(k, count))
    for b in range(batch):
        rows = points[b].tolist()
        for i in range(count):
            mine = index[b, i].tolist()
            assert mine[0] == i
            assert len(set(mine)) == len(mine)
            found = [squared(rows[i], rows[j]) for j in mine]
            wanted = sorted(squared(rows[i], row) for row in rows)[: len(mine)]
            assert found == pytest.approx(wanted, abs=1e-9)


def test_nearest_of_other_queries() -> None:
    points, queries = torch.randn(2, 30, 5), torch.randn(2, 7, 5)
    index = neighbours.nearest(points, 4, queries)
    wanted = torch.cdist(queries, points).topk(4, largest=False).indices
    assert torch.equal(index, wanted)


@pytest.mark.parametrize("k", [20, 64, 65, 100])
def test_nearest_of_many(k: int) -> None:
    """More points than the selection has buckets, and more neighbours than that."""
    points = torch.randn(2, 300, 6, dtype=torch.float64)
    wanted = torch.cdist(points, points).topk(k, largest=False).indices
    assert torch.equal(neighbours.nearest(points, k), wanted)


def test_neighbours_that_are_not_numbers_stay_inside() -> None:
    points = torch.full((1, 70, 3), torch.nan)
    for index in (
        neighbours.nearest(points, 20),
        neighbours.nearest(points, 3, torch.randn(1, 9, 3)),
        neighbours.ball_query(points, points[:, :5], 0.2, 4),
        neighbours.farthest_points(points, 90),
    ):
        assert index.min() >= 0
        assert index.max() < 70


def test_distances_are_float32_under_autocast() -> None:
    points = 1 + torch.rand(1, 500, 3) / 100  # bfloat16 knows four different numbers there
    with torch.autocast("cpu", torch.bfloat16):
        index = neighbours.nearest(points, 5)
    assert torch.equal(index, neighbours.nearest(points, 5))


@given(sizes, st.integers(1, 60), st.booleans())
@settings(max_examples=60, deadline=None)
def test_farthest_points(size: tuple[int, int, int], wanted: int, normal: bool) -> None:
    batch, count, seed = size
    points = whole((batch, count, 3), seed)
    if normal:
        points = torch.randn(points.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    start = torch.randint(count, (batch,), generator=torch.Generator().manual_seed(seed))
    index = neighbours.farthest_points(points, wanted, start)
    default = neighbours.farthest_points(points, wanted)
    for b in range(batch):
        assert index[b].tolist() == plain_farthest(points[b].tolist(), wanted, int(start[b]))
        assert default[b].tolist() == plain_farthest(points[b].tolist(), wanted, 0)


@given(sizes, st.integers(1, 12), st.sampled_from([0.5, 1.0, 2.5, 20.0]))
@settings(max_examples=60, deadline=None)
def test_ball_query(size: tuple[int, int, int], count: int, radius: float) -> None:
    batch, points_count, seed = size
    points = whole((batch, points_count, 3), seed)
    centres = torch.cat([points[:, :3], points[:, :1] + 100, points[:, :1] + 0.25], 1)
    index = neighbours.ball_query(points, centres, radius, count)
    for b in range(batch):
        for s, centre in enumerate(centres[b].tolist()):
            assert index[b, s].tolist() == plain_ball(points[b].tolist(), centre, radius, count)


@given(sizes, st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_interpolate(size: tuple[int, int, int], sources_count: int) -> None:
    batch, count, seed = size
    generator = torch.Generator().manual_seed(seed)
    coords = torch.randn(batch, count, 3, generator=generator, dtype=torch.float64)
    sources = torch.randn(batch, sources_count, 3, generator=generator, dtype=torch.float64)
    coords[:, 0] = sources[:, 0]  # one that lies on a source
    values = torch.randn(batch, sources_count, 4, generator=generator, dtype=torch.float64)
    result = neighbours.interpolate(coords, sources, values)
    for b in range(batch):
        for i in range(count):
            gaps = [squared(coords[b, i].tolist(), source) for source in sources[b].tolist()]
            near = sorted(range(sources_count), key=gaps.__getitem__)[:3]
            weight = [1 / (gaps[j] + 1e-8) for j in near]
            for c in range(4):
                wanted = sum(w * values[b, j, c].item() for w, j in zip(weight, near, strict=True)) / sum(weight)
                assert math.isclose(result[b, i, c].item(), wanted, rel_tol=1e-6, abs_tol=1e-9)
        torch.testing.assert_close(result[b, 0], values[b, 0], rtol=1e-5, atol=1e-5)


def test_threads_change_nothing() -> None:
    points, features = torch.randn(5, 100, 3), torch.randn(5, 100, 8)

    def everything() -> list[Tensor]:
        index = neighbours.nearest(features, 9)
        values = features.clone().requires_grad_()
        top, mean, variance = edges.reduce_edges(values, features, index)
        (top.square().mean() + mean.sum() + variance.sum()).backward()
        assert values.grad is not None
        return [
            index,
            neighbours.farthest_points(points, 30),
            neighbours.ball_query(points, points[:, :9], 0.5, 7),
            top,
            mean,
            variance,
            values.grad,
        ]

    alone = everything()
    torch.set_num_threads(3)
    assert all(torch.equal(a, b) for a, b in zip(everything(), alone, strict=True))


# ---- what is computed on edges


def plain_edges(values: Tensor, centres: Tensor, index: Tensor) -> Tensor:
    return torch.stack([v[i] for v, i in zip(values, index, strict=True)]) + centres[:, :, None]


def test_reduce_edges_and_its_gradient() -> None:
    values = torch.randn(2, 9, 5, dtype=torch.float64, requires_grad=True)
    centres = torch.randn(2, 6, 5, dtype=torch.float64, requires_grad=True)
    index = torch.randint(9, (2, 6, 4))
    direct = plain_edges(values, centres, index)
    top, mean, variance = edges.reduce_edges(values, centres, index)
    torch.testing.assert_close(top, direct.amax(2))
    torch.testing.assert_close(mean, direct.mean((0, 1, 2)))
    torch.testing.assert_close(variance, direct.var((0, 1, 2), correction=0))
    index[:, :, 3] = (index[:, :, 0] + 1) % 9  # at least two that differ; the maximum of equal ones has no derivative
    assert torch.autograd.gradcheck(lambda v, c: edges.reduce_edges(v, c, _distinct(index)), (values, centres))
    assert torch.autograd.gradcheck(lambda v, c: edges.add_edges(v, c, index), (values, centres))
    torch.testing.assert_close(edges.add_edges(values, centres, index), plain_edges(values, centres, index))
    torch.testing.assert_close(layers.gather(values, index), plain_edges(values, torch.zeros_like(centres), index))


def _distinct(index: Tensor) -> Tensor:
    return torch.arange(index.shape[2]) + index[:, :, :1].clamp_max(9 - index.shape[2])


def test_the_maximum_of_a_number_that_is_none_is_none() -> None:
    values, index = torch.randn(1, 6, 4), torch.arange(6).view(1, 2, 3)
    values[0, 4, 2] = torch.nan
    top, mean, _ = edges.reduce_edges(values, torch.zeros(1, 2, 4), index)
    assert top.isnan().nonzero().tolist() == [[0, 1, 2]]
    assert mean.isnan().tolist() == [False, False, True, False]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("negative", [False, True])
def test_edge_norm_is_batch_norm_then_the_maximum(training: bool, slope: float, negative: bool) -> None:
    index = torch.randint(9, (3, 7, 4))
    first = nn.BatchNorm1d(6)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([0.5, -1, 2, -0.1, 1, 1.5] if negative else [0.5, 1, 2, 0.1, 1, 1.5]))
        for tensor in (first.bias, first.running_mean):
            tensor.normal_()
        first.running_var.uniform_(0.5, 2)
    weights = torch.randn(3, 7, 6, dtype=torch.float64)
    inputs = torch.randn(3, 16, 6, dtype=torch.float64)

    def run(norm: nn.BatchNorm1d, form: str) -> list[Tensor]:
        norm.load_state_dict(first.state_dict())
        norm.double().train(training)
        leaf = inputs.clone().requires_grad_()
        values, centres = leaf.split([9, 7], 1)
        if form == "plain":
            every = norm(plain_edges(values, centres, index).flatten(0, 2)).unflatten(0, index.shape)
            out = nn.functional.leaky_relu(every, slope).amax(2)
        elif form == "dense":
            out = norm(plain_edges(values, centres, index))
        else:
            out = edges.edge_norm(norm, slope, values, centres, index)
        (out * weights).sum().backward()
        return [out, leaf.grad, norm.weight.grad, norm.bias.grad, *norm.buffers()]

    wanted = run(nn.BatchNorm1d(6), "plain")
    for form in ("split", "dense"):
        for mine, other in zip(run(layers.EdgeNorm(6, slope), form), wanted, strict=True):
            torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("count", [2, 63, 200])
def test_row_norm_is_batch_norm_and_a_leaky_relu(
    training: bool, slope: float, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_norm, "PIECE", 500)  # several pieces, the last one smaller
    direct, mine = nn.BatchNorm1d(6).double().train(training), layers.RowNorm(6, slope).double().train(training)
    with torch.no_grad():
        for tensor in (direct.weight, direct.bias, direct.running_mean):
            tensor.normal_()
    mine.load_state_dict(direct.state_dict())
    rows = 3 + 2 * torch.randn(count, 6, dtype=torch.float64)
    weights, results = torch.randn(count, 6, dtype=torch.float64), []
    for norm in (mine, direct):
        leaf = rows.clone().requires_grad_()
        out = norm(leaf) if norm is mine else nn.functional.leaky_relu(norm(leaf), slope)
        (out * weights).sum().backward()
        results.append([out, leaf.grad, norm.weight.grad, norm.bias.grad, *norm.buffers()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_row_norm_gradient() -> None:
    norm = layers.RowNorm(3, 0.2).double()
    rows = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    for training in (True, False):
        norm.train(training)
        assert torch.autograd.gradcheck(norm, (rows,))
    norm.requires_grad_(False)
    assert torch.autograd.gradcheck(norm, (rows,))


def test_row_norm_in_half_precision_is_torch_s() -> None:
    norm, rows = layers.RowNorm(6), torch.randn(50, 6)
    out = norm(rows.bfloat16())
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), norm(rows), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("training", [True, False])
def test_pool_norm_is_batch_norm_a_leaky_relu_and_both_pools(training: bool) -> None:
    direct, mine = nn.BatchNorm1d(6).double().train(training), layers.PoolNorm(6, 0.2).double().train(training)
    with torch.no_grad():
        for tensor in (direct.bias, direct.running_mean):
            tensor.normal_()
        direct.weight.copy_(torch.tensor([0.5, -1, 2, -0.1, 1, -2]))
    mine.load_state_dict(direct.state_dict())
    features = 1 + 2 * torch.randn(3, 9, 6, dtype=torch.float64)
    weights, results = torch.randn(3, 12, dtype=torch.float64), []
    for norm in (mine, direct):
        leaf = features.clone().requires_grad_()
        if norm is mine:
            out = norm(leaf)
        else:
            active = nn.functional.leaky_relu(norm(leaf.flatten(0, 1)).unflatten(0, (3, 9)), 0.2)
            out = torch.cat([active.amax(1), active.mean(1)], 1)
        (out * weights).sum().backward()
        results.append([out, leaf.grad, norm.weight.grad, norm.bias.grad, *norm.buffers()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)
    mine.requires_grad_(False)
    assert torch.autograd.gradcheck(mine, (features.requires_grad_(),))


def test_largest_breaks_ties_by_the_lower_column() -> None:
    scores = torch.tensor([[1.0, 3, 3, 2, 3], [0, 0, 0, 0, 0]])
    out = torch.empty(2, 4, dtype=torch.long)
    kernels.largest(scores.numpy(), out.numpy())
    assert out.tolist() == [[1, 2, 4, 3], [0, 1, 2, 3]]
