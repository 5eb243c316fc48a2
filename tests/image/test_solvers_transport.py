"""Puzzle Mix's transport: both ways against a plain loop; always a permutation."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from mixkit_image.solvers.transport import price_of_distance, transport, transport_batched


def loop_transport(saliency: Tensor, covered: Tensor, t_eps: float) -> list[int]:
    """One image's source of each target, from docs/notes/spec.md step 6 as it is written there (float32 as in ours)."""
    rows, columns = saliency.shape
    cells, side = rows * columns, max(rows, columns)
    cost = np.empty((cells, cells), np.float32)
    for i in range(cells):
        for j in range(cells):
            squared = (i // columns - j // columns) ** 2 + (i % columns - j % columns) ** 2
            cost[i, j] = np.float32(t_eps * squared / max(side - 1, 1) ** 2)
            if covered.flatten()[j]:
                cost[i, j] -= np.float32(saliency.flatten()[i])
    for _ in range(side):
        claim = [int(np.argmin(cost[i])) for i in range(cells)]
        winner: dict[int, int] = {}
        for i, j in enumerate(claim):
            if j not in winner or cost[i, j] < cost[winner[j], j]:
                winner[j] = i
        for i, j in enumerate(claim):
            if winner[j] != i:
                cost[i, j] += np.float32(1)
    sources = [i for i in range(cells) if i not in winner.values()]
    for j in range(cells):
        if j not in winner and j in sources:
            winner[j] = j
            sources.remove(j)
    for j in range(cells):
        if j not in winner:
            winner[j] = sources.pop(0)
    return [winner[j] for j in range(cells)]


def both_ways(saliency: Tensor, covered: Tensor, t_eps: float) -> list[Tensor]:
    rows, columns = saliency.shape[1:]
    distance = price_of_distance(rows, columns, t_eps)
    batched = transport_batched(saliency.flatten(1), covered.flatten(1), distance, max(rows, columns))
    return [transport(saliency, covered, t_eps), batched]


def maps(batch: int, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    saliency = torch.rand(batch, rows, columns) ** 4
    blobs = torch.nn.functional.avg_pool2d(torch.rand(batch, 1, rows + 2, columns + 2), 3, 1)[:, 0]
    return saliency / saliency.sum((1, 2), keepdim=True), blobs > 0.5


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 2), (3, 5), (4, 4), (8, 8), (12, 6)])
@pytest.mark.parametrize("t_eps", [0.0, 0.01, 0.8, 5.0])
def test_equals_the_loop(shape: tuple[int, int], t_eps: float) -> None:
    saliency, covered = maps(6, *shape)
    expected = torch.tensor([loop_transport(s, m, t_eps) for s, m in zip(saliency, covered, strict=True)])
    for found in both_ways(saliency, covered, t_eps):
        assert torch.equal(found, expected)


def test_equals_the_loop_where_all_are_equal() -> None:
    """Ties everywhere: equal saliency, a mask that covers everything, one cell or nothing."""
    saliency = torch.full((3, 4, 4), 1 / 16)
    covered = torch.zeros(3, 4, 4, dtype=torch.bool)
    covered[0], covered[1, 2, 3] = True, True
    expected = torch.tensor([loop_transport(s, m, 0.8) for s, m in zip(saliency, covered, strict=True)])
    for found in both_ways(saliency, covered, 0.8):
        assert torch.equal(found, expected)
        assert torch.equal(found[0], torch.arange(16))  # nothing to gain: nobody moves


def test_sixteen_by_sixteen_agree() -> None:
    saliency, covered = maps(4, 16, 16)
    ours, batched = both_ways(saliency, covered, 0.8)
    assert torch.equal(ours, batched)
    assert ours[0].tolist() == loop_transport(saliency[0], covered[0], 0.8)
    assert (ours != torch.arange(256)).any(1).all()  # something moves in every image


def test_the_salient_cell_moves_under_the_mask() -> None:
    saliency = torch.full((1, 4, 4), 0.01)
    saliency[0, 1, 1] = 0.85
    covered = torch.zeros(1, 4, 4, dtype=torch.bool)
    covered[0, 1, 2] = True
    for found in both_ways(saliency, covered, 0.8):
        assert found[0, 6] == 5
        assert found[0, 5] == 6  # what it displaced fills its place
        assert (found[0] == torch.arange(16)).sum() == 14
    for found in both_ways(saliency, covered, 100.0):  # too dear to go
        assert torch.equal(found[0], torch.arange(16))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.floats(0, 3), st.integers(0, 2**20))
def test_always_a_permutation(rows: int, columns: int, t_eps: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    saliency = (torch.rand(3, rows, columns, generator=generator) * 4).round() / 4  # ties are common
    covered = torch.rand(3, rows, columns, generator=generator) > 0.5
    ours, batched = both_ways(saliency, covered, t_eps)
    assert torch.equal(ours, batched)
    assert torch.equal(ours.sort(1).values, torch.arange(rows * columns).expand(3, -1))


def test_shapes_that_differ() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 3\) and \(2, 9\)"):
        transport(torch.rand(2, 3, 3), torch.ones(2, 9, dtype=torch.bool))
