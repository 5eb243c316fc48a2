"""The training loop: it learns, it repeats itself, it calls the mixer, it stops at a loss that is not finite."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from experiments.data import DataSet
from experiments.errors import ExperimentError, RunStoppedError
from experiments.models import PointNet
from experiments.recipes import RECIPES, Recipe, make_optimizer, make_schedule
from experiments.train import History, Watcher, train, training_batches

RECIPE = Recipe(width=4, epochs=12, batch_size=10, optimizer="adam", lr=1e-2, weight_decay=1e-4, schedule="one-cycle")


def run(fabric: Fabric, data: DataSet, seed: int = 0, recipe: Recipe = RECIPE, **options: object) -> History:
    torch.manual_seed(seed)
    return train(fabric, PointNet(2, width=recipe.width), data, recipe, seed=seed, **options)


def test_it_learns_and_says_so(fabric: Fabric, two_blobs: DataSet) -> None:
    losses: list[float] = []
    records: list = []
    history = run(fabric, two_blobs, watcher=Watcher(losses.append, records.append))
    assert history.records[-1].test_accuracy == 100
    assert history.records[-1].train_loss < history.records[0].train_loss
    assert records == history.records
    assert [record.epoch for record in records] == list(range(1, 13))
    assert len(losses) == len(history.step_seconds) == 12 * (48 // 10)  # the last 8 samples of an epoch are dropped
    assert records[0].train_loss == pytest.approx(sum(losses[:4]) / 4)


def test_same_seed_same_curve(fabric: Fabric, two_blobs: DataSet) -> None:
    def curve(seed: int) -> list[tuple[float, float]]:
        return [(record.train_loss, record.ece) for record in run(fabric, two_blobs, seed).records]

    assert curve(3) == curve(3)
    assert curve(3) != curve(4)


def test_every_method_meets_the_same_weights_and_batches(fabric: Fabric, two_blobs: DataSet) -> None:
    def watched(draws: int) -> tuple[list[Tensor], History]:
        seen: list[Tensor] = []
        own = torch.Generator().manual_seed(1)

        def mixer(batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            torch.rand(draws, generator=own)
            seen.append(batch)
            return batch, nn.functional.one_hot(labels, 2).float()

        return seen, run(fabric, two_blobs, mixer=mixer)

    (first, one), (second, two) = watched(1), watched(17)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    vanilla = run(fabric, two_blobs)  # integer labels and their one-hot targets are the same loss
    for history in (one, two):
        assert [r.train_loss for r in history.records] == pytest.approx([r.train_loss for r in vanilla.records])


def test_it_trains_on_what_the_mixer_returns(fabric: Fabric, two_blobs: DataSet) -> None:
    def swap(batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        assert batch.shape == (10, 8, 3)
        assert labels.dtype == torch.long
        return batch, nn.functional.one_hot(1 - labels, 2).float()

    assert run(fabric, two_blobs, mixer=swap).records[-1].test_accuracy == 0


def test_batches_visit_each_sample_once(two_blobs: DataSet) -> None:
    generator = torch.Generator().manual_seed(0)
    batches = list(training_batches(two_blobs, 16, generator))
    together = torch.cat([batch for batch, _ in batches])
    assert len(together) == 48
    assert together.flatten(1).unique(dim=0).shape[0] == 48
    assert not torch.equal(batches[0][0], next(training_batches(two_blobs, 16, generator))[0])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_it(fabric: Fabric, two_blobs: DataSet, value: float) -> None:
    calls = []

    def spoil(batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(len(batch))
        targets = nn.functional.one_hot(labels, 2).float()
        return batch, targets * (value if len(calls) == 7 else 1.0)

    history, model = History(), PointNet(2, width=4)
    with pytest.raises(RunStoppedError, match=r"loss became (nan|inf) in epoch 2, step 3 of 4"):
        train(fabric, model, two_blobs, RECIPE, seed=0, mixer=spoil, history=history)
    assert len(history.records) == 1
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_too_large_a_batch_is_refused(fabric: Fabric, two_blobs: DataSet) -> None:
    with pytest.raises(ExperimentError, match="batch of 49 is larger than the 48 training samples"):
        run(fabric, two_blobs, recipe=replace(RECIPE, batch_size=49))


@pytest.mark.parametrize("schedule", ["one-cycle", "constant"])
def test_recipes_are_what_they_say(schedule: str) -> None:
    recipe = replace(RECIPES["image", "cifar100"], schedule=schedule)
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = make_optimizer(recipe, [parameter])
    group = optimizer.param_groups[0]
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, True, 1e-4)
    rates = []
    plan = make_schedule(recipe, optimizer, 100)
    for _ in range(100):
        rates.append(group["lr"])
        optimizer.step()
        plan.step() if len(rates) < 100 else None
    assert max(rates) == pytest.approx(0.2)
    assert (rates[-1] < 1e-4) == (schedule == "one-cycle")
    assert "0.2" in recipe.describe()
