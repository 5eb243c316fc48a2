"""Schedules: ready ones, how the share is known, what reaches the plan, checkpoints, and everything that mixes."""

from __future__ import annotations

import copy
import functools
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import mixkit
import mixkit_image
from mixkit import ManifoldMixer, Mixer, Schedule, create_mixer
from mixkit.methods import Mixup
from mixkit.schedule import linear, make_schedule, off_at_end, warmup
from tests.conftest import PointModel

POINTS, LABELS = torch.randn(6, 24, 3, generator=torch.Generator().manual_seed(3)), torch.arange(6) % 5
MANY = torch.arange(30) % 5  # so many that a permutation never leaves all of them with their own class


def mixup(**options: Any) -> Mixer:
    return create_mixer("mixup", "points", num_classes=5, **options)


def was_mixed(mixer: Callable[..., Any]) -> bool:
    """Whether a batch comes back with soft targets."""
    return bool((mixer(POINTS.repeat(5, 1, 1), MANY)[1].amax(1) < 1).any())


# ---- values


@pytest.mark.parametrize(
    ("name", "expected"),  # by hand, at these shares of the run
    [
        ("constant", {0.0: 1, 0.5: 1, 1.0: 1}),
        ("mwh", {0.0: 1, 0.59: 1, 0.6: 0.5, 0.89: 0.5, 0.9: 1, 0.95: 0.5, 0.975: 0.25, 1.0: 0}),
        ("linear", {0.0: 1, 0.25: 0.75, 0.9: 0.1, 1.0: 0}),
        ("off_at_end", {0.0: 1, 0.84: 1, 0.85: 0, 0.99: 0, 1.0: 0}),
        ("warmup", {0.0: 0, 0.03: 0.2, 0.075: 0.5, 0.15: 1, 0.7: 1, 1.0: 1}),
    ],
)
def test_the_ready_ones(name: str, expected: dict[float, float]) -> None:
    schedule = make_schedule(name)
    assert schedule is not None
    for share, p in expected.items():
        assert schedule.at(share) == {"p": pytest.approx(p, abs=1e-12)}
    assert set(mixkit.list_schedules()) == {"adaptive", "constant", "mwh", "linear", "off_at_end", "warmup"}
    assert mixkit.list_schedules() == sorted(mixkit.list_schedules())


def test_ready_ones_take_parameters() -> None:
    late = Schedule(p=functools.partial(off_at_end, last=0.5))
    assert [late.at(share)["p"] for share in (0.49, 0.5)] == [1, 0]
    assert repr(late) == "Schedule(p=off_at_end(last=0.5))"
    assert [warmup(share, first=0.5) for share in (0.0, 0.25, 0.5, 1.0)] == [0, 0.5, 1, 1]
    assert warmup(0.0, first=0.0) == 1
    pickle.loads(pickle.dumps(late))


@pytest.mark.parametrize("epochs", [3, 300])
def test_short_and_long_runs_have_the_same_shares(epochs: int) -> None:
    steps = 20
    mixer = mixup(schedule="off_at_end", total_steps=epochs * steps)
    mixed = [mixer.begin_batch() for _ in range(epochs * steps)]
    done = round(0.85 * epochs * steps)
    assert mixed == [True] * done + [False] * (epochs * steps - done)
    assert mixer.schedule.share == 1


def test_mixup_without_hesitation_over_a_run() -> None:
    total = 4000
    mixer = mixup(schedule="mwh", total_steps=total)
    mixed = torch.tensor([mixer.begin_batch() for _ in range(total)]).float()
    assert mixed[:2400].all()
    assert mixed[2400:3600].mean() == pytest.approx(0.5, abs=0.06)
    first, second = mixed[3600:].chunk(2)
    assert first.mean() == pytest.approx(0.75, abs=0.1)
    assert second.mean() == pytest.approx(0.25, abs=0.1)


def test_p_is_a_share_of_the_mixers_own() -> None:
    mixer = mixup(p=0.4, schedule="constant", total_steps=1000)
    assert sum(mixer.begin_batch() for _ in range(1000)) / 1000 == pytest.approx(0.4, abs=0.06)
    mixer = mixup(p=0.8, schedule=Schedule(1000, p=0.5))
    assert sum(mixer.begin_batch() for _ in range(1000)) / 1000 == pytest.approx(0.4, abs=0.06)
    assert mixer.p == 0.8
    assert was_mixed(create_mixer(Hidden(), "points", num_classes=5, schedule="constant", total_steps=1))


# ---- the share


def test_batches_are_counted_in_training_only() -> None:
    mixer = mixup(schedule="linear", total_steps=4)
    shares = []
    for _ in range(6):
        shares.append(mixer.schedule.share)
        mixer(POINTS, LABELS)
        mixer.eval()(POINTS, LABELS)
        mixer.plan(POINTS, LABELS)
        mixer.train()
    assert shares == [0, 0.25, 0.5, 0.75, 1, 1]  # and past the end no error
    assert not was_mixed(mixer)


def test_a_bad_batch_does_not_count() -> None:
    mixer = mixup(schedule="linear", total_steps=4)
    with pytest.raises(ValueError):
        mixer(POINTS, LABELS + 5)
    assert mixer.schedule.share == 0


def test_the_share_can_be_set() -> None:
    mixer = mixup(schedule="off_at_end")
    for share in (0.0, 0.84, 0.85, 0.2):
        mixer.schedule.share = share
        assert was_mixed(mixer) == (share < 0.85)
        assert mixer.schedule.share == share
        assert was_mixed(mixer) == (share < 0.85)  # it stays until it is set again
    counted = mixup(schedule="off_at_end", total_steps=100)
    counted.schedule.share = 0.83
    assert [was_mixed(counted) for _ in range(4)] == [True, True, False, False]
    for wrong in (-0.1, 1.1, float("nan"), None, "half"):
        with pytest.raises(ValueError, match=r"share of the run must be a number in \[0, 1\], got"):
            counted.schedule.share = wrong


def test_a_share_that_nobody_knows_is_an_error_with_both_ways() -> None:
    mixer = mixup(schedule="mwh")
    with pytest.raises(ValueError, match=r"total_steps=.*or set mixer\.schedule\.share"):
        mixer(POINTS, LABELS)
    mixer.eval()(POINTS, LABELS)


# ---- what it changes


def test_options_of_the_method_reach_the_plan() -> None:
    """At every moment the plan is the one of a mixer that has these options from the start."""
    saliency = torch.rand(6, 24)
    given: dict[str, Any] = {"num_classes": 5, "saliency": lambda points: saliency}
    method = mixkit.methods.SageMix(query="max", theta=0.5)
    schedule = Schedule(4, theta=lambda share: 0.2 + share, sigma=lambda share: 2.0 - share)
    mixer = create_mixer(method, "points", schedule=schedule, **given)
    for step in range(4):
        plan = mixer.plan(POINTS, LABELS, generator=torch.Generator().manual_seed(step))
        options = {"theta": 0.2 + step / 4, "sigma": 2.0 - step / 4, "query": "max"}
        plain = create_mixer("sagemix", "points", **options, **given)
        expected = plain.plan(POINTS, LABELS, generator=torch.Generator().manual_seed(step))
        assert torch.equal(plan.weight, expected.weight)
        assert torch.equal(plan.source, expected.source)
    assert method.theta == 0.5  # somebody else's object


def test_nothing_is_computed_where_p_is_zero() -> None:
    calls = []

    def saliency(points: Tensor) -> Tensor:
        calls.append(len(points))
        return points.norm(dim=2)

    schedule = Schedule(10, p=lambda share: float(share >= 0.5))
    mixer = create_mixer("sagemix", "points", num_classes=5, saliency=saliency, schedule=schedule)
    for step in range(10):
        mixer(POINTS, LABELS)
        assert len(calls) == max(0, step - 4)


def test_the_clean_weight_is_scheduled_and_zero_is_the_cheap_pass() -> None:
    model = PointModel().eval()
    schedule = Schedule(4, clean_weight=lambda share: max(0.0, 1 - 2 * share))
    mixer = create_mixer("sagemix", "points", num_classes=5, model=model, schedule=schedule)
    loss = F.cross_entropy(model(POINTS), LABELS)
    for weight in (1.0, 0.5, 0.0, 0.0):
        mixer(POINTS, LABELS)
        torch.testing.assert_close(mixer.clean_loss, weight * loss if weight else torch.zeros(()))
        assert mixer.clean_loss.requires_grad == (weight > 0)


def test_a_schedule_with_state_of_its_own() -> None:
    class Sure(Schedule):
        def __init__(self) -> None:
            super().__init__(8)
            self.seen = 0.0

        def at(self, share: float) -> dict[str, float]:
            return {"p": self.seen}

    mixer = mixup(schedule=Sure())
    assert not was_mixed(mixer)
    mixer.schedule.seen = 1.0
    assert was_mixed(mixer)
    mixer.schedule.seen = 1.5
    with pytest.raises(ValueError, match=r"schedule's p at share 0\.25 must lie in \[0, 1\], got 1\.5"):
        mixer(POINTS, LABELS)


# ---- state


def test_a_checkpoint_in_the_middle_goes_on_exactly() -> None:
    def make() -> Mixer:
        schedule = Schedule(20, p=linear, theta=lambda share: 0.2 + share)
        return create_mixer("sagemix", "points", num_classes=5, model=model, schedule=schedule)

    def weights(mixer: Mixer, generator: torch.Generator, steps: int) -> list[Tensor]:
        return [mixer(POINTS, LABELS, generator=generator)[0] for _ in range(steps)]

    model = PointModel()
    generator = torch.Generator().manual_seed(1)
    whole = weights(make(), generator, 20)
    before, generator = make(), torch.Generator().manual_seed(1)
    first = weights(before, generator, 9)
    file = io.BytesIO()
    torch.save(before.state_dict(), file)
    file.seek(0)
    after = make()
    after.load_state_dict(torch.load(file, weights_only=True))
    second = weights(after, generator, 11)
    assert all(torch.equal(*pair) for pair in zip(whole, first + second, strict=True))
    assert not all(torch.equal(batch, POINTS) for batch in second)
    assert mixup().state_dict() == {}
    set_from_outside = mixup(schedule="linear")
    set_from_outside.schedule.share = 0.3
    again = mixup(schedule="linear")
    again.load_state_dict(set_from_outside.state_dict())
    assert again.schedule.share == 0.3


def test_copies_have_a_count_of_their_own_and_repr_names_it() -> None:
    mixer = mixup(schedule="mwh", total_steps=7)
    for twin in (copy.deepcopy(mixer), pickle.loads(pickle.dumps(mixer))):
        twin(POINTS, LABELS)
        assert twin.schedule.share == 1 / 7
    assert mixer.schedule.share == 0
    assert "Schedule(p=mwh, total_steps=7)" in repr(mixer)
    assert "chedule" not in repr(mixup())


# ---- everything that mixes


def test_in_a_manifold_mixer() -> None:
    model = PointModel()
    manifold = ManifoldMixer(
        model, ["features"], "mixup", "points", num_classes=5, schedule="off_at_end", total_steps=20
    )
    mixed = []
    for _ in range(20):
        mixed.append(was_mixed(manifold))
        model.eval()
        assert not was_mixed(manifold)  # and does not count
        model.train()
    assert mixed == [True] * 17 + [False] * 3
    assert manifold.state_dict() == {"mixer.schedule._extra_state": {"start": None, "counted": 20}}


@pytest.mark.parametrize("kind", ["sagemix", "mixup", "any"])
def test_in_transforms(kind: str) -> None:
    given: dict[str, Any] = {"num_classes": 5, "schedule": "off_at_end", "total_steps": 20}
    transform = {
        "sagemix": lambda: mixkit_image.SageMix(**given),
        "mixup": lambda: mixkit_image.Mixup(**given),
        "any": lambda: mixkit_image.MixTransform("comixup", group=5, **given),
    }[kind]()
    images, labels = torch.randn(30, 3, 8, 8), MANY
    mixed = [not torch.equal(transform(images, labels)[0], images) for _ in range(20)]
    assert mixed == [True] * 17 + [False] * 3
    assert transform.state_dict()


def test_in_timms_training_script() -> None:
    images, labels = torch.randn(30, 3, 8, 8), MANY
    mixup_fn = mixkit_image.TimmMixup(["mixup", "sagemix"], num_classes=5, schedule="off_at_end", total_steps=20)
    mixed = [not torch.equal(mixup_fn(images, labels)[0], images) for _ in range(20)]
    assert mixed == [True] * 17 + [False] * 3  # whichever of the two it was, it counted once
    mixup_fn.schedule.share = 0.5
    assert not torch.equal(mixup_fn(images, labels)[0], images)
    mixup_fn.set_epoch(1)
    assert mixkit_image.TimmMixup(["mixup"], num_classes=5).schedule is None


def test_in_the_loader_but_not_in_its_workers() -> None:
    data = TensorDataset(torch.randn(20, 9, 3), torch.arange(20) % 5)
    mixer = mixup(schedule="off_at_end", total_steps=10)
    for _ in range(2):
        shares = [mixer.schedule.share for _ in DataLoader(data, batch_size=4, collate_fn=mixer.collate)]
    assert shares == [0.6, 0.7, 0.8, 0.9, 1]
    with pytest.raises(ValueError, match=r"cannot run in a loader's worker.*num_workers=0"):
        list(DataLoader(data, batch_size=4, collate_fn=mixer.collate, num_workers=1))


# ---- errors


class Hidden(Mixup):
    """A method that keeps its option under another name."""

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__(strength)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"schedule": "mhw"}, ValueError, "unknown schedule 'mhw'; did you mean 'mwh'.*constant, linear, mwh"),
        ({"schedule": linear}, TypeError, "must be a name or a Schedule, got <function linear"),
        ({"schedule": None, "total_steps": 5}, ValueError, "total_steps=5 goes with a schedule, by name"),
        ({"schedule": Schedule(3), "total_steps": 5}, ValueError, "a Schedule takes its own"),
        ({"total_steps": 0}, ValueError, "at least 1, got 0"),
        ({"total_steps": 2.5}, ValueError, r"whole number.*got 2\.5"),
        ({"schedule": Schedule(thetta=1.0)}, TypeError, "sets 'thetta', which SageMix has not.*theta, sigma, query"),
        ({"schedule": Schedule(p=lambda share: 1 + share)}, ValueError, r"p at share 1\.0 must lie in \[0, 1\], got 2"),
        ({"schedule": Schedule(p=float("nan"))}, ValueError, r"p at share 1\.0 must lie in \[0, 1\], got nan"),
        ({"schedule": Schedule(clean_weight=-1)}, ValueError, r"clean_weight at share 1\.0 must be >= 0.*got -1"),
        (
            {"schedule": Schedule(theta=lambda share: share)},
            ValueError,
            r"share 0\.0 gives SageMix theta=0\.0: theta must",
        ),
        ({"schedule": Schedule(sigma=float("nan"))}, ValueError, r"sigma at share 1\.0 must be a number, got nan"),
        ({"schedule": Schedule(p=lambda share: None)}, TypeError, r"p at share 1\.0 must be a number, got None"),
        ({"schedule": Schedule(query=1)}, ValueError, "SageMix query=1: query must be one of"),
        (
            {"schedule": Schedule(clean_weight=1), "model": None, "saliency": lambda x: x.norm(dim=2)},
            ValueError,
            r"clean_weight is 1 at share 1\.0, which needs the saliency of model=",
        ),
        ({"method": Hidden(), "schedule": Schedule(strength=2.0)}, TypeError, "Hidden keeps no attribute 'strength'"),
    ],
)
def test_what_is_wrong_is_named_when_the_mixer_is_made(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    good: dict[str, Any] = {"method": "sagemix", "domain": "points", "num_classes": 5, "model": PointModel()}
    with pytest.raises(error, match=message):
        create_mixer(**{**good, "schedule": "mwh", **change})


def test_what_goes_wrong_on_the_way_names_setting_share_and_value() -> None:
    mixer = mixup(schedule=Schedule(4, alpha=lambda share: -1.0 if share == 0.5 else 1.0))
    mixer(POINTS, LABELS)
    mixer(POINTS, LABELS)
    with pytest.raises(ValueError, match=r"share 0\.5 gives Mixup alpha=-1\.0: alpha must be > 0"):
        mixer(POINTS, LABELS)
    with pytest.raises(TypeError, match=r"theta must be a number or a function of the share of the run, got '0\.2'"):
        Schedule(theta="0.2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"share of the run must be a number in \[0, 1\], got 2"):
        Schedule().at(2)
