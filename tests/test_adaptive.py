"""Adaptive mixing: the confidence it measures, which samples it spares, and everywhere that something is mixed."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mixkit
from mixkit import Adaptive, MixPlan
from mixkit.confidence import label_confidence
from tests.conftest import ImageModel, PointModel

IMAGES, LABELS = torch.rand(6, 3, 8, 8), torch.arange(6) % 5


class Knows(nn.Module):
    """A classifier that is as sure of each image's label as the image's first pixel says."""

    def __init__(self, sure: Tensor) -> None:
        super().__init__()
        self.sure = sure
        self.layer = nn.Identity()
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        others = ((1 - self.sure) / 4).log()
        logits = others[:, None].repeat(1, 5)
        logits[torch.arange(len(logits)), LABELS] = self.sure.log()
        return logits + 0 * self.layer(images).mean((1, 2, 3))[:, None]


SURE = torch.tensor([0.0, 1.0, 0.0, 0.7, 1.0, 0.5]).clamp(1e-9, 1 - 1e-9)
KNOWN = torch.tensor([False, True, False, True, True, True])


# ---- the measure


def test_confidence_is_the_probability_of_the_own_label() -> None:
    logits = torch.randn(4, 3, 5, dtype=torch.float64)
    labels = torch.tensor([[0, 2, 1, 1, 0], [1, 1, 1, 1, 1], [255, 2, -1, 0, 0], [-1] * 5])
    expected = torch.zeros(4)
    for b in range(4):
        found = []
        for i in range(5):
            if 0 <= (c := int(labels[b, i])) < 3:
                found.append(math.exp(logits[b, c, i]) / sum(math.exp(x) for x in logits[b, :, i].tolist()))
        expected[b] = sum(found) / len(found) if found else 0.0
    torch.testing.assert_close(label_confidence(logits, labels), expected)
    torch.testing.assert_close(
        label_confidence(logits, {"category": torch.arange(4), "parts": labels, "other": "x"}), expected
    )
    soft = torch.tensor([[0.5, 0.5, 0.0]]).repeat(4, 1)
    flat = logits[:, :, 0]
    torch.testing.assert_close(label_confidence(flat, soft), flat.softmax(1)[:, :2].mean(1).float())
    multi = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    mean = (flat.sigmoid() * multi).sum(1) / multi.sum(1).clamp_min(1)
    for many_hot in (multi, multi.bool()):
        torch.testing.assert_close(label_confidence(flat, many_hot), mean.float())
    assert label_confidence(flat, 1.0005 * soft).max() <= 1
    assert not label_confidence(flat.requires_grad_(), labels[:, 0].clamp(0, 2)).requires_grad


@pytest.mark.parametrize(
    ("output", "labels"),
    [
        (torch.rand(4, 3), torch.rand(4)),
        (torch.rand(4, 3), 2 * torch.rand(4, 3)),
        (torch.rand(4), torch.arange(4)),
        ("logits", LABELS),
        (torch.rand(4, 3), None),
    ],
)
def test_confidence_says_what_it_needs(output: object, labels: object) -> None:
    with pytest.raises(TypeError, match=r"a confidence needs logits \(B, K, \.\.\.\) and class labels for them, got "):
        label_confidence(output, labels)


def test_chances() -> None:
    confidence = torch.tensor([0.0, 0.1, 0.25, 0.5, 1.0])
    torch.testing.assert_close(Adaptive(0.5).chances(confidence), torch.tensor([0.0, 0.2, 0.5, 1.0, 1.0]))
    assert (Adaptive(1e-9).chances(confidence)[1:] == 1).all()
    assert (Adaptive(math.inf).chances(confidence) == 0).all()
    for name in ("epochs", "patience"):
        with pytest.raises(ValueError, match=f"{name} must be > 0.*, got 0"):
            Adaptive(**{name: 0})
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=r"threshold must be (> 0|a number), got"):
            Adaptive(wrong)


def test_a_threshold_that_is_0_in_float32_mixes_what_has_any_confidence() -> None:
    schedule = Adaptive(0.5, epochs=1e6)
    schedule.share = 0.0
    assert schedule.current_threshold == 0
    assert schedule.chances(torch.tensor([0.0, 1e-6, 1.0])).tolist() == [0, 1, 1]


def test_the_more_epochs_are_left_the_more_is_mixed() -> None:
    schedule = Adaptive(0.4, epochs=60, patience=20)
    confidence = torch.tensor([0.01, 0.1, 0.3])
    for share, threshold in ((0.0, 0.05), (1 / 3, 0.1), (2 / 3, 0.2), (1.0, 0.4)):
        schedule.share = share
        torch.testing.assert_close(schedule.chances(confidence), (confidence / threshold).clamp(max=1))
    counted = Adaptive(0.4, epochs=60, patience=20, total_steps=4)
    seen = []
    mixer = mixkit.create_mixer("mixup", "image", num_classes=5, model=Knows(SURE), schedule=counted)
    for _ in range(4):
        mixer(IMAGES, LABELS)
        seen.append(counted.current_threshold)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(0.4)
    assert repr(counted) == "Adaptive(threshold=0.4, epochs=60, patience=20, total_steps=4)"
    with pytest.raises(ValueError, match="does not know how much of the run is done"):
        mixkit.create_mixer("mixup", "image", num_classes=5, model=Knows(SURE), schedule=Adaptive(epochs=60))(
            IMAGES, LABELS
        )


# ---- sparing samples


@pytest.mark.parametrize("method", ["mixup", "cutmix", "sagemix", "puzzlemix", "comixup"])
def test_the_known_are_mixed_and_the_unknown_are_not(method: str) -> None:
    model = Knows(SURE)
    options = {"p": 1.0} if method == "cutmix" else {}
    mixer = mixkit.create_mixer(
        method, "image", num_classes=5, model=model, schedule="adaptive", clean_weight=0.0, **options
    )
    if method == "comixup":
        model.sure = SURE.clone().requires_grad_()  # a saliency that is 0 everywhere falls back to uniform
    changed = torch.zeros(6, dtype=torch.bool)
    for seed in range(8):
        mixed, targets = mixer(IMAGES, LABELS, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(mixed[~KNOWN], IMAGES[~KNOWN])
        assert torch.equal(targets[~KNOWN], torch.eye(5)[LABELS[~KNOWN]])
        torch.testing.assert_close(targets.sum(1), torch.ones(6))
        changed |= (mixed != IMAGES).flatten(1).any(1)
        assert mixer.schedule.mixed == pytest.approx(4 / 6)
    assert torch.equal(changed, KNOWN)


def test_a_sample_between_is_mixed_as_often_as_it_is_known() -> None:
    mixer = mixkit.create_mixer(
        "mixup", "image", num_classes=5, model=Knows(torch.full((6,), 0.2)), schedule=Adaptive(0.8), per_sample=True
    )
    shares = []
    for _ in range(400):
        mixer(IMAGES, LABELS)
        shares.append(float(mixer.schedule.mixed))
    assert sum(shares) / 400 == pytest.approx(0.25, abs=0.04)


def test_a_plan_that_keeps_some() -> None:
    coords, values = torch.randn(6, 9, 3), torch.randn(6, 9, 2)
    points = torch.cat([coords, values], 2)
    spared = torch.tensor([True, False, True, False, False, True])
    for method in mixkit.list_methods("points"):
        if method == "manifold_mixup":
            continue
        mixer = mixkit.create_mixer(
            method, "points", num_classes=5, p=1.0, saliency=lambda batch: batch[..., 0].abs(), inside=True
        )
        plan = mixer.plan(points, LABELS)
        kept = plan.keep(spared).validate()
        assert torch.equal(kept.apply(values)[spared], values[spared])
        assert torch.equal(kept.apply_coords(coords)[spared], coords[spared])
        assert torch.equal(kept.apply_coords(coords)[~spared], plan.apply_coords(coords)[~spared])
        assert torch.equal(kept.apply(values)[~spared], plan.apply(values)[~spared])
        assert torch.equal(kept.sample_weights[spared], torch.eye(6)[spared])
        torch.testing.assert_close(kept.sample_weights[~spared], plan.sample_weights[~spared])
    with pytest.raises(ValueError, match=r"a mask \(B,\), where there are as many outputs: got 1 outputs of 2"):
        MixPlan(torch.tensor([[[1]]]), None, torch.ones(1, 1, 1), num_samples=2).keep(torch.tensor([True, False]))
    with pytest.raises(ValueError, match=r"a mask \(3,\)"):
        MixPlan.identity(2).keep(torch.tensor([True, False, True]))


# ---- everywhere


def test_the_confidence_is_that_of_the_saliency_pass() -> None:
    """One pass serves both where the method has saliency; else there is one forward pass, in eval mode."""
    for method, passes in (("sagemix", 1), ("mixup", 1)):
        model = Knows(SURE)
        mixer = mixkit.create_mixer(method, "image", num_classes=5, model=model, schedule="adaptive")
        mixer(IMAGES, LABELS)
        assert model.calls == passes
    model = ImageModel()
    model.head[0].p = 0.9
    mixer = mixkit.create_mixer("mixup", "image", num_classes=5, model=model, schedule="adaptive")
    before = [buffer.clone() for buffer in model.buffers()]
    mixer(IMAGES, LABELS)
    assert model.training
    assert all(torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))
    expected = label_confidence(model.eval()(IMAGES), LABELS)
    torch.testing.assert_close(mixkit.GradientSaliency(model).confidence(IMAGES, LABELS), expected)


def test_with_a_clean_pass_a_bank_a_known_saliency_and_points() -> None:
    model = PointModel()
    points = torch.randn(6, 16, 3)
    options = {"num_classes": 5, "model": model, "schedule": Adaptive(1e-6)}
    for more in ({"clean_weight": 1.0}, {"saliency": mixkit.SaliencyBank(6)}, {}):
        mixer = mixkit.create_mixer("sagemix", "points", **options, **more)
        about = {"samples": torch.arange(6)} if "saliency" in more else {}
        mixed, _ = mixer(points, LABELS, **about)
        assert mixer.schedule.mixed == 1
        assert not torch.equal(mixed, points)
        if not more:
            mixer(points, LABELS, saliency=torch.ones(6, 16))
            assert mixer.schedule.mixed == 1


@pytest.mark.parametrize("layer", ["input", "layer"])
@pytest.mark.parametrize("saliency_at", ["input", "layer"])
def test_manifold(layer: str, saliency_at: str) -> None:
    model = Knows(SURE)
    manifold = mixkit.ManifoldMixer(
        model, [layer], "sagemix", num_classes=5, schedule="adaptive", saliency_at=saliency_at
    )
    for number in range(1, 5):
        targets = manifold(IMAGES, LABELS)[1]
        assert model.calls == 2 * number  # the saliency pass, which the confidence comes out of, and the mixed one
        assert torch.equal(targets[~KNOWN], torch.eye(5)[LABELS[~KNOWN]])
        assert manifold.mixer.schedule.mixed == pytest.approx(4 / 6)


def test_transforms_and_timm() -> None:
    import mixkit_image

    transform = mixkit_image.SageMix(num_classes=5, model=Knows(SURE), schedule="adaptive")
    mixed, _ = transform(IMAGES, LABELS)
    assert torch.equal(mixed[~KNOWN], IMAGES[~KNOWN])
    timm = mixkit_image.TimmMixup(["sagemix", "cutmix"], num_classes=5, model=Knows(SURE), schedule="adaptive")
    mixed, _ = timm(IMAGES, LABELS)
    assert torch.equal(mixed[~KNOWN], IMAGES[~KNOWN])


def test_without_a_model_it_says_so() -> None:
    with pytest.raises(ValueError, match="Adaptive follows the model's confidence: give model="):
        mixkit.create_mixer("mixup", "image", num_classes=5, schedule="adaptive")


def test_together_with_functions_of_the_share() -> None:
    schedule = Adaptive(1e-6, total_steps=4, p=lambda share: 1.0 if share < 0.5 else 0.0)
    mixer = mixkit.create_mixer("mixup", "image", num_classes=5, model=Knows(SURE.clamp(0.1)), schedule=schedule)
    changed = [not torch.equal(mixer(IMAGES, LABELS)[0], IMAGES) for _ in range(4)]
    assert changed == [True, True, False, False]
    assert repr(schedule).startswith("Adaptive(threshold=1e-06, p=<lambda>, total_steps=4")


def test_steady_looks_ahead_and_ends_plain() -> None:
    schedule = mixkit.steady(epochs=120, total_steps=20)
    assert repr(schedule) == "Adaptive(threshold=0.5, epochs=120, patience=20, p=off_at_end, total_steps=20)"
    mixer = mixkit.create_mixer("mixup", "image", num_classes=5, model=Knows(SURE.clamp(0.1)), schedule=schedule)
    shares = []
    for _ in range(20):
        mixer(IMAGES, LABELS)
        shares.append(float(schedule.mixed))
    # at first the threshold is 0.5 / 8, below what the model knows of every sample; the last 15 % are three batches
    assert [shares[0], *shares[-3:]] == [1, 0, 0, 0]
    assert mixkit.steady(5, p=1.0).at(1.0) == {"p": 1.0}
    with pytest.raises(ValueError, match="give schedule=mixkit"):
        mixkit.create_mixer("mixup", "image", num_classes=5, schedule="steady")


# ---- beside samples that are not trained on


def _mixer(schedule: Adaptive) -> mixkit.Mixer:
    return mixkit.create_mixer(
        "mixup", "image", num_classes=5, model=Knows(torch.full((6,), 0.6)), schedule=schedule, per_sample=True
    )


@pytest.mark.parametrize(
    ("trained", "held_out", "overfit"),
    [(0.6, 0.2, 0.5), (0.6, 0.6, 0.0), (0.6, 0.9, 0.0), (1.0, 0.99, 1.0), (1.0, 1.0, 0.0), (0.0, 0.0, 0.0)],
)
def test_overfit_is_the_share_of_what_is_lacking_with_others(trained: float, held_out: float, overfit: float) -> None:
    schedule = Adaptive(margin=0.8)
    schedule.tell(torch.full((50,), trained), torch.full((70,), held_out))
    assert schedule.overfit == pytest.approx(overfit, abs=1e-5)
    assert schedule.at(0.0) == pytest.approx({"p": min(overfit / 0.8, 1)}, abs=1e-5)


def test_chance_is_no_overfit() -> None:
    generator = torch.Generator().manual_seed(0)
    found = []
    for mean in (0.02, 0.5, 0.97):
        for _ in range(200):
            odds = math.log(mean / (1 - mean)) + 2 * torch.randn(512, generator=generator)
            same = odds.sigmoid()
            schedule = Adaptive()
            schedule.tell(same[:256], same[256:])
            found.append(schedule.overfit > 0)
    assert sum(found) / len(found) < 0.05
    few = torch.tensor([0.2, 0.9])
    schedule.tell(few + 0.05, few)
    assert schedule.overfit == 0


def test_batches_are_mixed_as_far_as_the_network_overfits() -> None:
    schedule = Adaptive(1e-6, margin=0.8)
    mixer = _mixer(schedule)
    mixer(IMAGES, LABELS)
    assert schedule.mixed == 1
    for held_out, share in ((0.0, 0.75), (0.2, 0.625), (0.6, 0.0)):
        schedule.tell(torch.full((9,), 0.6), torch.full((9,), held_out))
        calls, shares = mixer.model.model.calls, []
        for _ in range(400):
            mixer(IMAGES, LABELS)
            shares.append(float(schedule.mixed))
        assert sum(shares) / 400 == pytest.approx(share, abs=0.07 if share else 0)
        assert mixer.model.model.calls - calls == sum(shares)  # what is not mixed costs no pass


def test_settings_move_as_the_network_overfits() -> None:
    schedule = Adaptive(full=0.4, when_overfit={"theta": 8.0, "p": lambda share: 1 - share}, theta=0.3)
    assert (schedule.at(0.5), schedule.needs_share) == ({"theta": 0.3}, True)
    for held_out, way in ((0.8, 0.0), (0.75, 0.5), (0.5, 1.0), (0.0, 1.0)):
        schedule.tell(torch.full((9,), 0.8), torch.full((9,), held_out))
        settings = {"theta": 0.3 + way * 7.7, "p": (1 - way * 0.25) if way else 0.0}
        assert schedule.at(0.25) == pytest.approx(settings, abs=1e-5)
    assert repr(schedule).count("when_overfit={'theta': 8.0, 'p': <function") == 1


def test_the_plain_epochs_of_steady_end_where_the_network_overfits() -> None:
    schedule = mixkit.steady(10)
    for overfit, last in ((0.0, 0.0), (0.125, 0.5), (0.25, 1.0), (1.0, 1.0)):
        schedule.tell(torch.full((9,), overfit), torch.zeros(9))
        assert (schedule.at(0.5)["p"], schedule.at(0.9)["p"]) == pytest.approx((min(10 * overfit, 1), last))


def test_overfitting_counts_the_more_the_longer_the_run_goes_on() -> None:
    short, long = (Adaptive(epochs=epochs, when_overfit={"theta": 8.0}, theta=0.0) for epochs in (20, 80))
    for schedule in (short, long):
        schedule.tell(torch.full((9,), 0.05), torch.zeros(9))
    assert short.at(0.0) == short.at(1.0) == long.at(1.0) == pytest.approx({"p": 0.5, "theta": 1.6})
    assert long.at(50 / 80) == pytest.approx({"p": 0.5 * 2**0.5, "theta": 1.6 * 2**0.5})  # 30 left: half more
    long.tell(torch.zeros(9), torch.zeros(9))
    presumed = [long.at(share)["p"] for share in (0.0, 0.5, 45 / 80, 50 / 80, 0.9)]
    assert presumed == pytest.approx([1.0, 1.0, 0.5, 0.0, 0.0])  # 40, 35 and 30 epochs left
    endless = Adaptive(epochs=1e9)
    endless.tell(torch.full((9,), 1e-6), torch.zeros(9))
    assert endless.at(0.0) == {"p": 1.0}


def test_what_is_presumed_is_given_up_where_no_overfitting_is_seen() -> None:
    schedule = Adaptive(0.5, epochs=200, when_overfit={"theta": 8.0}, theta=0.0)
    sure, unsure, confidence = torch.full((9,), 0.01), torch.zeros(9), torch.tensor([0.0])
    for told, share, theta, chance in (
        (unsure, 0.0, 8.0, 1.0),
        (unsure, 39 / 200, 8.0, 1.0),
        (unsure, 40 / 200, 0.0, 0.0),  # two patiences in, and nothing was seen
        (unsure, 160 / 200, 0.0, 0.0),
        (sure, 40 / 200, 8.0, 1.0),
        (sure, 160 / 200, 8.0, 1.0),
    ):
        schedule.tell(told, unsure)
        assert schedule.at(share) == pytest.approx({"p": 1.0, "theta": theta})  # it is mixed all the same
        schedule.share = share
        assert schedule.chances(confidence).tolist() == pytest.approx([chance])


def test_no_sample_of_a_network_that_overfits_is_spared() -> None:
    schedule = Adaptive(0.5)
    confidence = torch.tensor([0.0, 0.25, 0.9])
    for overfit, chances in ((0.0, [0.0, 0.5, 1.0]), (0.125, [0.5, 0.75, 1.0]), (0.25, [1.0] * 3), (0.9, [1.0] * 3)):
        schedule.tell(torch.full((9,), overfit), torch.zeros(9))
        assert schedule.chances(confidence).tolist() == pytest.approx(chances)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"full": 0}, ValueError, "full must be > 0"),
        ({"when_overfit": {"theta": 8.0}}, ValueError, "when_overfit gives theta at its end: give theta= too"),
        ({"when_overfit": {"p": "all"}}, TypeError, "p must be a number or a function of the share"),
    ],
)
def test_what_no_network_can_be_given_is_refused(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Adaptive(**options)


@pytest.mark.parametrize("wrong", [{"alpha": -1.0}, {"p": 2.0}, {"p": math.nan}])
def test_a_mixer_tries_the_settings_of_a_network_that_overfits(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="schedule"):
        _mixer(Adaptive(when_overfit=wrong, alpha=1.0))
    with pytest.raises(TypeError, match=r"schedule's alpha at share 1\.0 must be a number, got 'much'"):
        _mixer(Adaptive(when_overfit={"alpha": lambda share: "much"}, alpha=1.0))
    mixer = _mixer(Adaptive(when_overfit={"alpha": 4.0}, alpha=1.0))
    assert mixer.method.alpha == 1  # as at the beginning
    mixer.schedule.tell(torch.ones(9), torch.zeros(9))
    mixer(IMAGES, LABELS)
    assert mixer.method.alpha == 4


def test_what_was_told_travels_in_the_state() -> None:
    first, second = Adaptive(), Adaptive()
    first.tell(torch.tensor([0.7, 0.8, 0.9]), torch.tensor([0.1, 0.2]))
    second.load_state_dict(first.state_dict())
    assert second.overfit == first.overfit
    assert 0 < second.overfit < 1
    assert repr(second).endswith(f"margin=0.1, overfit={second.overfit:.3g})")
    second.load_state_dict({"_extra_state": {"start": 0.5, "counted": 2}})  # as an earlier version wrote it
    assert second.overfit is None


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (0.5, TypeError, "trained must be a tensor .n,. of confidences, got float"),
        (torch.tensor(0.5), ValueError, r"of at least 2 samples, got \(\)"),
        (torch.rand(1), ValueError, r"of at least 2 samples, got \(1,\)"),
        (torch.rand(4, 2), ValueError, r"got \(4, 2\)"),
        (torch.tensor([0.5, 1.5]), ValueError, r"in \[0, 1\], got numbers from 0.5 to 1.5"),
        (torch.tensor([0.5, math.nan]), ValueError, r"in \[0, 1\], got numbers from nan to nan"),
    ],
)
def test_what_is_no_confidence_is_refused(wrong: Any, error: type[Exception], message: str) -> None:
    schedule = Adaptive()
    with pytest.raises(error, match=message):
        schedule.tell(wrong, torch.rand(3))
    with pytest.raises(error, match=message.replace("trained", "held_out")):
        schedule.tell(torch.rand(3), wrong)
    assert schedule.overfit is None
    with pytest.raises(ValueError, match="margin must be > 0"):
        Adaptive(margin=0)
