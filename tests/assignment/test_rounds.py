"""The authors' stopped auction against a plain loop, and the ways in which it must differ from a bijection."""

from __future__ import annotations

import math

import pytest
import torch

from mixkit.assignment.rounds import auction_rounds


def reference(a: list[list[float]], b: list[list[float]], eps: float, iterations: int) -> list[int]:
    n = len(a)
    match, owner, price = [-1] * n, [-1] * n, [0.0] * n
    for iteration in range(iterations):
        bids: dict[int, tuple[int, float]] = {}
        for i in range(n):
            if match[i] < 0:
                value = [math.dist(a[i], b[j]) + price[j] for j in range(n)]
                target = value.index(min(value))
                others = value[:target] + value[target + 1 :]
                bids[i] = target, min(others) - value[target] + eps
        for target in range(n):
            raises = {i: raised for i, (j, raised) in bids.items() if j == target}
            if not raises:
                continue
            if iteration == iterations - 1:
                for i in raises:
                    match[i] = target
                continue
            winner = min(raises, key=lambda i: (-raises[i], i))
            if owner[target] >= 0:
                match[owner[target]] = -1
            owner[target], match[winner] = winner, target
            price[target] += raises[winner]
    return match


@pytest.mark.parametrize("iterations", [1, 2, 5, 20, 2000])
@pytest.mark.parametrize("eps", [0.005, 0.05])
def test_equals_a_plain_loop(iterations: int, eps: float) -> None:
    generator = torch.Generator().manual_seed(7)
    a, b = (torch.rand(3, 25, 3, generator=generator) for _ in range(2))
    index = auction_rounds(a, b, eps=eps, iterations=iterations)
    for k in range(3):
        assert index[k].tolist() == reference(a[k].tolist(), b[k].tolist(), eps, iterations)


def test_one_round_is_the_nearest_target_shared_or_not() -> None:
    generator = torch.Generator().manual_seed(8)
    a, b = (torch.rand(2, 40, 3, generator=generator) for _ in range(2))
    index = auction_rounds(a, b, iterations=1)
    assert torch.equal(index, torch.cdist(a, b).argmin(2))
    assert any(len(set(row.tolist())) < 40 for row in index)


def test_run_to_the_end_it_is_a_bijection_within_n_eps_of_the_optimum() -> None:
    generator = torch.Generator().manual_seed(9)
    a, b = (torch.rand(2, 40, 3, generator=generator) for _ in range(2))
    index = auction_rounds(a, b, eps=0.01, iterations=100_000)
    assert torch.equal(index.sort(1).values, torch.arange(40).expand(2, 40))
    from scipy.optimize import linear_sum_assignment

    for k in range(2):
        cost = torch.cdist(a[k].double(), b[k].double())
        rows, columns = linear_sum_assignment(cost)
        assert cost[torch.arange(40), index[k]].sum() <= cost[rows, columns].sum() + 40 * 0.01


def test_cost_is_the_distance_and_eps_is_absolute() -> None:
    """Clouds and eps scaled alike give the same answer; a squared cost or a relative eps would not."""
    generator = torch.Generator().manual_seed(10)
    a, b = (torch.rand(2, 30, 3, generator=generator) for _ in range(2))
    index = auction_rounds(a, b, eps=0.01, iterations=8)
    assert torch.equal(index, auction_rounds(a * 8, b * 8, eps=0.08, iterations=8))
    assert not torch.equal(index, auction_rounds(a * 8, b * 8, eps=0.01, iterations=8))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from mixkit.assignment import rounds

    generator = torch.Generator().manual_seed(11)
    a, b = (torch.rand(2, 33, 3, generator=generator) for _ in range(2))
    whole = auction_rounds(a, b, iterations=30)
    monkeypatch.setattr(rounds, "CELLS", 200)
    assert torch.equal(whole, auction_rounds(a, b, iterations=30))


def test_one_point() -> None:
    assert auction_rounds(torch.rand(2, 1, 3), torch.rand(2, 1, 3)).tolist() == [[0], [0]]


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((1, 4, 3), (1, 5, 3)), {}, r"one shape .*\(1, 4, 3\) and \(1, 5, 3\)"),
        (((4, 3), (4, 3)), {}, r"got \(4, 3\) and \(4, 3\)"),
        (((1, 0, 3), (1, 0, 3)), {}, ">= 1"),
        (((1, 4, 3), (1, 4, 3)), {"eps": 0.0}, "eps must be a finite number > 0, got 0.0"),
        (((1, 4, 3), (1, 4, 3)), {"eps": math.nan}, "got nan"),
        (((1, 4, 3), (1, 4, 3)), {"iterations": 0}, "iterations must be >= 1, got 0"),
    ],
)
def test_errors(shapes: tuple[tuple[int, ...], tuple[int, ...]], options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        auction_rounds(torch.zeros(shapes[0]), torch.zeros(shapes[1]), **options)  # type: ignore[arg-type]
