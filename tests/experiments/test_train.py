"""The training loop: it learns, it repeats itself, it mixes, it stops at a loss that is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from torch import Tensor, nn

from experiments.base.errors import ExperimentError, RunStoppedError
from experiments.data.base import DataSet
from experiments.models.pointnet import PointNet
from experiments.run.config import Config
from experiments.run.loop import Watcher, seed_of, train, training_batches
from experiments.run.methods import parse_method
from experiments.run.optim import make_optimizer, make_schedule, smooth, softmax_bce
from experiments.run.records import EpochRecord
from experiments.run.runner import set_up

CONFIG = Config(
    dataset="blobs", model="pointnet", width=4, epochs=12, batch_size=10, optimizer="adam", lr=1e-2, weight_decay=1e-4,
    schedule="one-cycle",
)  # fmt: skip


def run(fabric: Fabric, data: DataSet, change: Callable[[Any], None] = lambda learner: None, **values: Any) -> list:
    config = replace(CONFIG, **values)
    torch.manual_seed(config.seed)
    learner = set_up(fabric, config, data, PointNet(2, width=config.width))
    change(learner)
    records: list[EpochRecord] = []
    train(fabric, learner, data, config, watcher=Watcher(epoch=records.append))
    return records


class Spy:
    """Stands in for `methods.Mixing`: a function of the batch and its one-hot targets."""

    inside, bank, separable, clean_loss, seconds, mixed, follower = False, None, True, torch.zeros(()), 0.0, None, None

    def __init__(self, function: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], draws: int = 0) -> None:
        self.function, self.draws, self.seen = function, draws, []
        self.generator = torch.Generator()

    def mix(self, batch: Tensor, labels: Tensor, keys: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor]:
        torch.rand(self.draws, generator=self.generator)
        self.seen.append(batch)
        return self.function(batch, F.one_hot(labels, 2).float())


def with_mixing(spy: Spy) -> Callable[[Any], None]:
    return lambda learner: setattr(learner, "mixing", spy)


def test_it_learns_and_says_so(fabric: Fabric, two_blobs: DataSet) -> None:
    records = run(fabric, two_blobs)
    assert records[-1].scores["accuracy"] == 100
    assert records[-1].train_loss < records[0].train_loss
    assert [record.epoch for record in records] == list(range(1, 13))
    assert all(record.cost == 1 and record.step_ms > 0 for record in records)


def test_steps_are_told_and_the_last_batch_is_dropped(fabric: Fabric, two_blobs: DataSet) -> None:
    losses: list[float] = []
    records: list[EpochRecord] = []
    learner = set_up(fabric, CONFIG, two_blobs, PointNet(2, width=4))
    train(fabric, learner, two_blobs, replace(CONFIG, test_every=5), watcher=Watcher(losses.append, records.append))
    assert len(losses) == 12 * (48 // 10)
    assert records[0].train_loss == pytest.approx(sum(losses[:4]) / 4)
    assert [record.epoch for record in records if record.scores] == [5, 10, 12]


def test_same_seed_same_curve(fabric: Fabric, two_blobs: DataSet) -> None:
    def curve(seed: int) -> list[tuple[float, float]]:
        return [(record.train_loss, record.scores["ece"]) for record in run(fabric, two_blobs, seed=seed)]

    assert curve(3) == curve(3)
    assert curve(3) != curve(4)
    assert (
        len({seed_of(1, purpose, epoch, rank) for purpose in range(3) for epoch in range(9) for rank in range(4)})
        == 108
    )


def test_every_method_meets_the_same_weights_and_batches(fabric: Fabric, two_blobs: DataSet) -> None:
    first, second = Spy(lambda *both: both, draws=1), Spy(lambda *both: both, draws=17)
    records = [run(fabric, two_blobs, with_mixing(spy)) for spy in (first, second)]
    assert all(torch.equal(a, b) for a, b in zip(first.seen, second.seen, strict=True))
    vanilla = run(fabric, two_blobs)
    for mine in records:
        assert [r.train_loss for r in mine] == pytest.approx([r.train_loss for r in vanilla])


def test_it_trains_on_what_the_mixer_returns(fabric: Fabric, two_blobs: DataSet) -> None:
    swap = Spy(lambda batch, targets: (batch, 1 - targets))
    assert run(fabric, two_blobs, with_mixing(swap))[-1].scores["accuracy"] == 0
    assert swap.seen[0].shape == (10, 8, 3)


def test_batches_visit_each_sample_once(two_blobs: DataSet) -> None:
    generator = torch.Generator().manual_seed(0)
    batches = list(training_batches(two_blobs, 16, generator))
    keys = torch.cat([batch.keys for batch in batches])
    assert keys.sort().values.tolist() == list(range(48))
    for batch in batches:
        assert torch.equal(batch.inputs, two_blobs.train[batch.keys])
        assert torch.equal(batch.labels, two_blobs.train_labels[batch.keys])
    assert not torch.equal(batches[0].inputs, next(training_batches(two_blobs, 16, generator)).inputs)


def test_devices_share_each_batch(two_blobs: DataSet) -> None:
    def keys(rank: int, devices: int) -> list[Tensor]:
        return [b.keys for b in training_batches(two_blobs, 12, torch.Generator().manual_seed(0), rank, devices)]

    for whole, *parts in zip(keys(0, 1), *(keys(rank, 3) for rank in range(3)), strict=True):
        assert torch.equal(whole, torch.cat(parts))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(
    fabric: Fabric, two_blobs: DataSet, value: float
) -> None:
    spy = Spy(lambda batch, targets: (batch, targets * (value if len(spy.seen) == 7 else 1.0)))
    learner = set_up(fabric, CONFIG, two_blobs, PointNet(2, width=4))
    learner.mixing = spy  # type: ignore[assignment]
    records: list[EpochRecord] = []
    with pytest.raises(RunStoppedError, match=r"loss became (nan|inf) in epoch 2, step 3 of 4"):
        train(fabric, learner, two_blobs, CONFIG, watcher=Watcher(epoch=records.append))
    assert len(records) == 1
    assert all(parameter.isfinite().all() for parameter in learner.model.parameters())


def test_batches_that_do_not_fit_are_refused(fabric: Fabric, two_blobs: DataSet) -> None:
    with pytest.raises(ExperimentError, match="batch of 49 is larger than the 48 training samples"):
        run(fabric, two_blobs, batch_size=49)
    from experiments.run.loop import steps_per_epoch

    with pytest.raises(ExperimentError, match="batch of 10 cannot be shared by 4 devices"):
        steps_per_epoch(two_blobs, CONFIG, 4)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"schedule": "constant"}, lambda step: 0.2),
        ({"schedule": "step", "milestones": (2, 4), "gamma": 0.1}, lambda step: 0.2 * 0.1 ** (step // 20)),
        (
            {"schedule": "cosine", "min_lr": 0.02},
            lambda step: 0.02 + 0.18 * (1 + math.cos(math.pi * step / 50)) / 2,
        ),
    ],
)
def test_schedules_are_what_they_say(values: dict[str, Any], wanted: Callable[[int], float]) -> None:
    config = replace(CONFIG, optimizer="sgd", nesterov=True, lr=0.2, epochs=5, **values)
    optimizer = make_optimizer(config, [nn.Parameter(torch.zeros(1))])
    group = optimizer.param_groups[0]
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, True, 1e-4)
    schedule = make_schedule(config, optimizer, 10)
    for step in range(50):
        assert group["lr"] == pytest.approx(wanted(step), rel=1e-6)
        optimizer.step()
        schedule.step()


def test_one_cycle_goes_up_and_down() -> None:
    optimizer = make_optimizer(CONFIG, [nn.Parameter(torch.zeros(1))])
    schedule = make_schedule(CONFIG, optimizer, 10)
    rates = []
    for _ in range(119):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert max(rates) == pytest.approx(1e-2)
    assert rates[-1] < 1e-4


def test_bce_of_the_softmax_is_the_textbook_one() -> None:
    logits = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    targets = torch.rand(6, 5, dtype=torch.float64).softmax(1)
    plain = F.binary_cross_entropy(logits.softmax(1), targets)
    assert softmax_bce(logits, targets).item() == pytest.approx(plain.item(), rel=1e-5)
    sure = torch.tensor([[60.0, 0.0, 0.0]], requires_grad=True)
    loss = softmax_bce(sure, torch.tensor([[0.0, 1.0, 0.0]]))
    assert loss.item() == pytest.approx((60 - math.log(2) + 60) / 3, rel=1e-3)  # no clamp at 100, no infinity
    loss.backward()
    assert sure.grad is not None
    assert sure.grad.isfinite().all()
    assert sure.grad[0, 0] > 0 > sure.grad[0, 1]


def test_smoothing_gives_the_other_classes_their_share() -> None:
    smoothed = smooth(F.one_hot(torch.tensor([2]), 5).float(), 0.2)
    assert smoothed[0].tolist() == pytest.approx([0.05, 0.05, 0.8, 0.05, 0.05])
    mixed = torch.tensor([[0.25, 0.75, 0.0]])
    assert smooth(mixed, 0.1).sum().item() == pytest.approx(1)


@pytest.mark.parametrize("spoil", ["gradient", "weights"])
def test_an_epoch_that_ends_without_finite_weights_is_not_told(fabric: Fabric, two_blobs: DataSet, spoil: str) -> None:
    """The loss of its last step was finite, so only a look at the weights and scores can tell."""
    config = replace(CONFIG, epochs=3)
    learner = set_up(fabric, config, two_blobs, PointNet(2, width=4))
    records: list[EpochRecord] = []
    steps = 0

    def step(loss: float) -> None:
        nonlocal steps
        steps += 1
        if steps == 8:  # the last of the second epoch
            with torch.no_grad():
                next(learner.model.parameters()).fill_(math.nan if spoil == "gradient" else 1e38)

    with pytest.raises(RunStoppedError, match="infinite or not a number in epoch 2"):
        train(fabric, learner, two_blobs, config, watcher=Watcher(step, records.append))
    assert [record.epoch for record in records] == [1]


def test_the_clean_pass_counts_as_in_comixups_code() -> None:
    from experiments.run.optim import clean_loss_scale

    assert clean_loss_scale(replace(CONFIG, loss="bce"), 100) == 0.02
    assert clean_loss_scale(CONFIG, 100) == 1


@pytest.mark.parametrize("method", ["sagemix:schedule=mwh", "mixup:schedule=mwh,space=feature"])
def test_a_schedule_is_told_how_much_of_the_run_is_done(fabric: Fabric, two_blobs: DataSet, method: str) -> None:
    config = replace(CONFIG, method=method, epochs=3)
    shares: list[float] = []
    for first in (1, 3):  # a run that goes on in its third epoch is where it would have been
        learner = set_up(fabric, config, two_blobs, PointNet(2, width=4))
        assert learner.mixing is not None
        told = learner.mixing
        watcher = Watcher(step=lambda loss, told=told: shares.append(told.share))  # type: ignore[misc]
        train(fabric, learner, two_blobs, config, first_epoch=first, watcher=watcher)
    assert shares == [step / 12 for step in [*range(12), *range(8, 12)]]
    assert told.mixer.schedule.at(0.7) == {"p": 0.5}


def test_a_schedule_decides_what_the_model_sees(fabric: Fabric, two_blobs: DataSet) -> None:
    seen: list[bool] = []

    def change(learner: Any) -> None:
        mix = learner.mixing.mix

        def spied(batch: Tensor, *rest: Any) -> Any:
            mixed, targets = mix(batch, *rest)
            seen.append(not torch.equal(mixed, batch))
            return mixed, targets

        learner.mixing.mix = spied

    run(fabric, two_blobs, change, method="mixup:schedule=off_at_end", epochs=5)
    assert seen == [True] * 17 + [False] * 3


def test_a_schedule_is_named_or_refused() -> None:
    assert parse_method("sagemix:schedule=mwh", "points").label == "sagemix (schedule mwh)"
    with pytest.raises(ExperimentError, match="unknown schedule 'mhw'; did you mean 'mwh'"):
        parse_method("sagemix:schedule=mhw", "points")
