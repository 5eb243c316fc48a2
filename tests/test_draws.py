"""The draws: their distributions, and that they need nothing but the generator they are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import beta, kstest

import mixkit
from mixkit import draws

CPU = torch.device("cpu")


@pytest.mark.parametrize("alpha", [0.2, 1.0, 2.0, 20.0])
def test_beta_log_ratios_are_beta(alpha: float) -> None:
    log_ratio = draws.beta_log_ratio(alpha, 5000, torch.Generator().manual_seed(1), CPU).double()
    assert kstest(torch.sigmoid(log_ratio), beta(alpha, alpha).cdf).pvalue > 1e-3


def test_extreme_beta_draws_keep_their_log_ratio_on_both_sides() -> None:
    log_ratio = draws.beta_log_ratio(0.2, 20_000, torch.Generator().manual_seed(1), CPU)
    assert torch.isfinite(log_ratio).all()
    assert (torch.sigmoid(log_ratio) == 1).float().mean() > 0.01  # what a ratio in float32 would have lost
    tails = (log_ratio > 20).float().mean(), (log_ratio < -20).float().mean()
    expected = beta(0.2, 0.2).cdf(1 / (1 + np.exp(20)))
    assert tails == pytest.approx((expected, expected), rel=0.15)


def test_a_tiny_alpha_is_a_coin() -> None:
    ratio = torch.sigmoid(draws.beta_log_ratio(1e-4, 100, None, CPU))
    assert set(ratio.tolist()) == {0.0, 1.0}


def test_global_generators_of_numpy_and_python_are_unused() -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    draws.beta_log_ratio(1.0, 10, None, CPU)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_a_generator_of_another_device_is_refused() -> None:
    draws.check_generator(None)
    draws.check_generator(torch.Generator())
    with pytest.raises(ValueError, match="CPU generator"):
        draws.check_generator(type("Elsewhere", (), {"device": torch.device("cuda")})())  # type: ignore[arg-type]


def test_ranks_draw_differently_from_one_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def first(*given: int) -> list[float]:
        return torch.rand(4, generator=draws.rank_generator(*given)).tolist()

    found = [first(seed, rank) for seed in range(4) for rank in range(4)]
    assert len({tuple(numbers) for numbers in found}) == 16
    assert first(2, 3) == found[11]
    monkeypatch.delenv("RANK", raising=False)
    assert first(2) == found[8]
    monkeypatch.setenv("RANK", "3")
    assert first(2) == found[11]


def _mix(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    mixer = mixkit.create_mixer("mixup", "points", num_classes=32, solver="identity", per_sample=True)
    found = {}
    for name in ("plain", "ranked"):
        torch.manual_seed(7)
        plan = mixer.plan(
            torch.zeros(32, 4, 3), torch.arange(32), generator=draws.rank_generator(7) if name == "ranked" else None
        )
        found[name] = plan.sample_weights
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_processes_with_one_seed_draw_alike_unless_the_rank_is_folded_in(tmp_path: Any) -> None:
    torch.multiprocessing.start_processes(_mix, (str(tmp_path),), nprocs=2, start_method="fork")
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert torch.equal(one["plain"], two["plain"])
    assert not torch.equal(one["ranked"].sort().values, two["ranked"].sort().values)  # the ratios
    assert not torch.equal(one["ranked"] > 0, two["ranked"] > 0)  # the partners
