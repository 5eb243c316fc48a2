"""The plain torch solver, on the CPU: same clouds and same demands as for the kernel."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mixkit.assignment import torch_auction
from tests.assignment.gpu_cases import CASES, check


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_cloud(name: str) -> None:
    make, tolerance = CASES[name]
    check(torch_auction.solve, *make(42), tolerance)


@settings(max_examples=25, deadline=None)
@example(2, 14, 4, 0.1, 604)  # the certificate of an earlier phase was within the tolerance, that of the answer was not
@given(
    st.integers(1, 3), st.integers(1, 40), st.integers(1, 4), st.sampled_from([0.1, 0.01, 0.001]), st.integers(0, 10**6)
)
def test_random_shapes(batch: int, n: int, dims: int, tolerance: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.rand(batch, n, dims, generator=generator) * 2 - 1 for _ in range(2))
    check(torch_auction.solve, a, b, tolerance)


def test_pairs_do_not_influence_each_other_beyond_the_tolerance() -> None:
    generator = torch.Generator().manual_seed(3)
    a, b = (torch.rand(4, 60, 3, generator=generator) for _ in range(2))
    a[1] = 0  # a pair that needs far more rounds than its neighbours
    check(torch_auction.solve, a, b, 0.01)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more distances are held at once than CELLS allows, and the answer is as good."""
    generator = torch.Generator().manual_seed(4)
    a, b = (torch.rand(2, 64, 3, generator=generator) for _ in range(2))
    largest = 0
    distances = torch_auction._distances

    def watched(rows: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        out = distances(rows, targets)
        largest = max(largest, out.numel())
        return out

    monkeypatch.setattr(torch_auction, "CELLS", 1024)
    monkeypatch.setattr(torch_auction, "_distances", watched)
    check(torch_auction.solve, a, b, 0.01)
    assert largest <= 1024


def test_nothing_is_changed_in_place() -> None:
    a, b = CASES["not a power of two"][0](37)
    before = a.clone(), b.clone()
    torch_auction.solve(a, b, 0.01)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


def test_what_is_not_finite_ends_in_a_bijection_too() -> None:
    a, b = torch.rand(1, 20, 3), torch.rand(1, 20, 3)
    a[0, 3], a[0, 4, 1], b[0, 5] = torch.nan, torch.inf, -torch.inf
    index, _ = torch_auction.solve(a, b, 0.01)
    assert sorted(index[0].tolist()) == list(range(20))
