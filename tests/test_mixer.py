"""The mixer and its factory, on both domains."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import mixkit
from mixkit import Mixer, PlanContext, create_mixer
from tests.conftest import ImageModel, PointModel

METHODS = ["mixup", "pointmixup", "sagemix"]


def case(domain: str, batch: int = 6) -> tuple[Tensor, Tensor, nn.Module]:
    labels = torch.arange(batch) % 5
    if domain == "image":
        return torch.randn(batch, 3, 9, 7), labels, ImageModel()
    return torch.randn(batch, 24, 3), labels, PointModel()


def make(domain: str, method: str = "sagemix", batch: int = 6, **options: Any) -> tuple[Mixer, Tensor, Tensor]:
    inputs, labels, model = case(domain, batch)
    return create_mixer(method, domain=domain, num_classes=5, model=model, **options), inputs, labels


both_domains = pytest.mark.parametrize("domain", ["image", "points"])
every_method = pytest.mark.parametrize("method", METHODS)


@both_domains
@every_method
@pytest.mark.parametrize("batch", [1, 2, 5, 6])
def test_a_batch_is_what_its_plan_says(domain: str, method: str, batch: int) -> None:
    mixer, inputs, labels = make(domain, method, batch)
    versions = inputs._version, labels._version
    plan = mixer.plan(inputs, labels, generator=torch.Generator().manual_seed(1)).validate()
    mixed, targets = mixer(inputs, labels, generator=torch.Generator().manual_seed(1))
    assert mixed.shape == inputs.shape
    assert mixed.dtype == inputs.dtype
    assert targets.dtype == torch.float32
    torch.testing.assert_close(targets.sum(1), torch.ones(batch), rtol=0, atol=1e-6)
    torch.testing.assert_close(targets, plan.sample_weights @ F.one_hot(labels, 5).float(), rtol=0, atol=1e-6)
    again = mixer.apply_plan(plan, inputs, labels)
    assert torch.equal(mixed, again[0])
    assert torch.equal(targets, again[1])
    flat = inputs.flatten(2).mT if domain == "image" else inputs
    torch.testing.assert_close(mixed.flatten(2).mT if domain == "image" else mixed, plan.apply(flat))
    assert (inputs._version, labels._version) == versions


@both_domains
@every_method
def test_the_same_generator_gives_the_same_plan(domain: str, method: str) -> None:
    mixer, inputs, labels = make(domain, method)
    plans = [mixer.plan(inputs, labels, generator=torch.Generator().manual_seed(seed)) for seed in (7, 7, 8)]
    assert torch.equal(plans[0].weight, plans[1].weight)
    assert torch.equal(plans[0].source, plans[1].source)
    assert not torch.equal(plans[0].weight, plans[2].weight)
    before = torch.get_rng_state()
    mixer(inputs, labels, generator=torch.Generator())
    assert torch.equal(before, torch.get_rng_state())


@both_domains
def test_the_mixer_has_no_state_and_leaves_the_model_alone(domain: str) -> None:
    inputs, labels, model = case(domain)
    mixer = create_mixer("sagemix", domain=domain, num_classes=5, model=model)
    assert mixer.state_dict() == {}
    assert list(mixer.parameters()) == []
    model.eval()
    mixer.train()
    assert not model.training
    mixer.eval()
    model.train()
    mixer(inputs, labels)
    assert model.training
    holder = nn.ModuleList([model, mixer])
    assert holder.state_dict().keys() == nn.ModuleList([model]).state_dict().keys()


def test_a_saliency_that_is_a_module_is_not_registered() -> None:
    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, points: Tensor) -> Tensor:
            return points.norm(dim=2) * self.scale

    mixer = create_mixer("sagemix", domain="points", num_classes=5, saliency=Norm())
    assert mixer.state_dict() == {}
    mixed, _ = mixer(torch.randn(4, 9, 3), torch.arange(4))
    assert not mixed.requires_grad


@both_domains
def test_eval_is_the_identity_with_soft_targets(domain: str) -> None:
    mixer, inputs, labels = make(domain)
    mixed, targets = mixer.eval()(inputs, labels)
    assert mixed is inputs
    assert torch.equal(targets, F.one_hot(labels, 5).float())


def test_p_is_the_share_of_batches_that_are_mixed() -> None:
    mixer, inputs, labels = make("points", "mixup", p=0.3)
    mixed = [not torch.equal(mixer(inputs, labels)[0], inputs) for _ in range(200)]
    assert 0.2 < sum(mixed) / 200 < 0.4
    never, *_ = make("points", "mixup", p=0.0)
    same, targets = never(inputs, labels)
    assert torch.equal(same, inputs)
    assert torch.equal(targets, F.one_hot(labels, 5).float())


def test_an_unmixed_batch_costs_no_saliency() -> None:
    def forbidden(points: Tensor) -> Tensor:
        raise AssertionError("saliency of a batch that is not mixed")

    mixer = create_mixer("sagemix", domain="points", num_classes=5, saliency=forbidden, p=0.0)
    mixer(torch.randn(4, 9, 3), torch.arange(4))
    eval_mixer = create_mixer("sagemix", domain="points", num_classes=5, saliency=forbidden).eval()
    eval_mixer(torch.randn(4, 9, 3), torch.arange(4))


def test_saliency_known_already_is_used() -> None:
    mixer = create_mixer("sagemix", domain="image", num_classes=5, saliency="spectral_residual", query="saliency")
    images, labels = torch.randn(4, 3, 6, 8), torch.arange(4)
    peak = torch.zeros(4, 6, 8)
    peak[:, 2, 5] = 1
    weight = mixer.plan(images, labels, saliency=peak).weight[:, 0]
    assert weight.std(1).max() < 1e-6  # both queries at the one salient pixel: nothing depends on place
    with pytest.raises(ValueError, match=r"\(4, 48\).*got \(4, 47\)"):
        mixer(images, labels, saliency=torch.rand(4, 47))


@both_domains
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(domain: str, dtype: torch.dtype) -> None:
    inputs, labels, _ = case(domain)
    saliency = torch.rand(6, 63 if domain == "image" else 24)
    mixer = create_mixer("sagemix", domain=domain, num_classes=5, saliency=lambda batch: saliency)
    mixed, targets = mixer(inputs.to(dtype), labels)
    assert mixed.dtype == dtype
    assert torch.isfinite(mixed).all()
    assert targets.dtype == torch.float32


@both_domains
@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_useless_saliency_still_mixes(domain: str, value: float) -> None:
    inputs, labels, _ = case(domain)
    mixer = create_mixer(
        "sagemix", domain=domain, num_classes=5, saliency=lambda x: torch.full((6, 63 if x.dim() == 4 else 24), value)
    )
    mixed, targets = mixer(inputs, labels)
    assert torch.isfinite(mixed).all()
    torch.testing.assert_close(targets.sum(1), torch.ones(6), rtol=0, atol=1e-6)


def test_one_point_and_equal_points() -> None:
    mixer, _, labels = make("points")
    for points in (torch.randn(6, 1, 3), torch.ones(6, 24, 3)):
        mixed, targets = mixer(points, labels)
        assert torch.isfinite(mixed).all()
        assert torch.isfinite(targets).all()


def test_labels_of_every_kind() -> None:
    points = torch.randn(4, 9, 3)
    soft = torch.rand(4, 5).softmax(1)
    mixer = create_mixer("mixup", domain="points", num_classes=5)
    assert mixer(points, soft)[1].shape == (4, 5)
    regression = create_mixer("mixup", domain="points")
    assert regression(points, torch.randn(4))[1].shape == (4,)
    assert regression(points, torch.randn(4, 2, 2))[1].shape == (4, 2, 2)
    parts = torch.randint(5, (4, 9))
    assert mixer(points, parts)[1].shape == (4, 5, 9)
    both = create_mixer("sagemix", domain="points", num_classes=(16, 50), query="uniform")
    plan = both.plan(points, (torch.arange(4), parts))
    _, (category, part) = both.apply_plan(plan, points, (torch.arange(4), parts))
    assert category.shape == (4, 16)
    torch.testing.assert_close(part, plan.element_targets(parts, 50))
    named = create_mixer("mixup", domain="points", num_classes={"y": 5, "size": None})
    targets = named(points, {"y": torch.arange(4), "size": torch.randn(4)})[1]
    assert targets["y"].shape == (4, 5)
    assert targets["size"].shape == (4,)


def test_masks_of_images() -> None:
    mixer = create_mixer("mixup", domain="image", num_classes=3, ignore_index=255)
    images, masks = torch.randn(4, 3, 6, 8), torch.randint(3, (4, 6, 8))
    masks[:, 0] = 255
    _, targets = mixer(images, masks)
    assert targets.shape == (4, 3, 6, 8)
    assert targets[:, :, 0].abs().sum() == 0
    torch.testing.assert_close(targets[:, :, 1:].sum(1), torch.ones(4, 5, 8), rtol=0, atol=1e-6)


def test_ignored_labels_do_not_reach_the_saliency_loss() -> None:
    model = nn.Conv2d(3, 5, 1)
    mixer = create_mixer("sagemix", "image", num_classes=5, model=model, ignore_index=255)
    masks = torch.randint(5, (4, 6, 8))
    masks[:, :2] = 255
    assert mixer(torch.randn(4, 3, 6, 8), masks)[1].shape == (4, 5, 6, 8)


def test_a_method_for_points_refuses_another_domain_however_it_is_given() -> None:
    with pytest.raises(ValueError, match="serves points"):
        create_mixer("rsmix", mixkit.registry.get_domain("image")(), num_classes=5)


def test_domain_and_method_defaults_reach_the_method() -> None:
    assert make("image")[0].method.theta == 0.3
    assert make("points")[0].method.theta == 0.2
    assert make("image", theta=0.7)[0].method.theta == 0.7
    assert make("points", "pointmixup")[0].method.fold
    custom = create_mixer(
        mixkit.methods.SageMix(sigma=2.0, query="uniform"), domain="points", layout="bcn", num_classes=5
    )
    assert custom.method.sigma == 2.0
    assert custom.domain.layout == "bcn"
    other = create_mixer("mixup", domain=custom.domain, num_classes=5)
    assert other.domain is custom.domain


@both_domains
def test_sigma_defaults_to_the_length_scale(domain: str) -> None:
    mixer, inputs, labels = make(domain)
    scale = {"image": 7 / 4, "points": 0.3}[domain]
    explicit = create_mixer("sagemix", domain=domain, num_classes=5, saliency=mixer.saliency, sigma=scale)
    plans = [m.plan(inputs, labels, generator=torch.Generator().manual_seed(2)) for m in (mixer, explicit)]
    assert torch.equal(plans[0].weight, plans[1].weight)
    with pytest.raises(ValueError, match="sigma is needed"):
        mixkit.methods.SageMix(query="uniform").plan(
            replace(mixer.domain.elements(inputs), length_scale=None), PlanContext()
        )


def test_pointmixup_gives_the_partner_the_smaller_half() -> None:
    mixer, inputs, labels = make("points", "pointmixup", batch=40)
    assert mixer.plan(inputs, labels).weight[:, 0].min() >= 0.5
    unfolded = make("points", "pointmixup", batch=40, fold=False)[0].plan(inputs, labels).weight[:, 0]
    assert unfolded.min() < 0.5


def test_mixup_draws_one_ratio_a_batch_unless_told_otherwise() -> None:
    mixer, inputs, labels = make("image", "mixup")
    assert len(mixer.plan(inputs, labels).weight[:, 0].unique()) == 1
    assert len(make("image", "mixup", per_sample=True)[0].plan(inputs, labels).weight[:, 0].unique()) == 6


def test_collate_mixes_in_the_loader() -> None:
    data = TensorDataset(torch.randn(12, 9, 3), torch.arange(12) % 5)
    mixer = create_mixer("pointmixup", domain="points", num_classes=5)
    loader = DataLoader(data, batch_size=4, collate_fn=mixer.collate, num_workers=1)
    batches = list(loader)
    assert [tuple(x.shape) for batch in batches for x in batch] == [(4, 9, 3), (4, 5)] * 3
    with pytest.raises(ValueError, match="after the loader"):
        make("points")[0].collate([data[0], data[1]])


def test_copies_and_pickles() -> None:
    mixer, inputs, labels = make("points")
    for twin in (copy.deepcopy(mixer), pickle.loads(pickle.dumps(mixer))):
        mixed = [m(inputs, labels, generator=torch.Generator().manual_seed(5))[0] for m in (mixer, twin)]
        assert torch.equal(*mixed)
        assert twin.saliency.model is not mixer.saliency.model


def test_module_apply_still_initialises() -> None:
    mixer, *_ = make("points")
    seen: list[nn.Module] = []
    nn.Sequential(nn.Linear(2, 2), mixer).apply(seen.append)
    assert mixer in seen
    assert nn.Sequential(mixer).to(torch.float64)[0] is mixer
    assert mixer.apply(seen.append) is mixer


def test_accumulated_and_autocast_training_steps_work() -> None:
    inputs, labels, model = case("image", 8)
    mixer = create_mixer("sagemix", domain="image", num_classes=5, model=model)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        for half in (slice(0, 4), slice(4, 8)):
            mixed, targets = mixer(inputs[half], labels[half])
            assert mixed.dtype == torch.float32
            assert targets.dtype == torch.float32
            (F.cross_entropy(model(mixed), targets) / 2).backward()
    optimiser.step()
    assert all(torch.isfinite(q).all() for q in model.parameters())


def test_the_clean_pass_can_be_trained_on_too() -> None:
    inputs, labels, model = case("points")
    model.head[0].p = 0.0
    mixer = create_mixer("sagemix", domain="points", num_classes=5, model=model, clean_weight=0.5)
    assert mixer.clean_loss == 0
    reference = copy.deepcopy(model)
    mixer(inputs, labels)
    assert all(q.grad is None for q in model.parameters())  # nothing is written behind the user's back
    expected = 0.5 * F.cross_entropy(reference(inputs), labels)
    torch.testing.assert_close(mixer.clean_loss, expected)
    mixer.clean_loss.backward()
    expected.backward()
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    assert torch.equal(model.norm.running_mean, reference.norm.running_mean)  # a training pass, BatchNorm included
    mixer(inputs, labels)
    copy.deepcopy(mixer)
    pickle.dumps(mixer)
    mixer.p = 0.0
    mixer(inputs, labels)
    assert mixer.clean_loss == 0
    for bad, message in (
        ({"clean_weight": -1.0}, "clean_weight must be >= 0"),
        (
            {"model": None, "saliency": lambda x: x.norm(dim=2), "clean_weight": 1.0},
            "clean_weight above 0 needs the saliency of model=",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            create_mixer("sagemix", **{"domain": "points", "num_classes": 5, "model": model, **bad})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "sagemx"}, ValueError, "did you mean 'sagemix'"),
        ({"domain": "voxels"}, ValueError, r"unknown domain 'voxels'.*image, points"),
        ({"sigma": 0}, ValueError, "sigma must be > 0, got 0"),
        ({"theta": -1}, ValueError, "theta must be > 0"),
        ({"theta": float("inf")}, ValueError, "theta must be > 0 and below 1e.30, got inf"),
        ({"domain": None}, TypeError, "domain must be a name or a Domain, got None"),
        ({"method": mixkit.methods.SageMix}, TypeError, "method must be a name or a Method"),
        ({"query": "random"}, ValueError, "sequential.*got 'random'"),
        ({"thetta": 1}, TypeError, "'thetta'.*theta, sigma, query"),
        ({"model": None}, ValueError, "needs saliency"),
        ({"model": None, "saliency": "spectral"}, ValueError, "unknown saliency 'spectral'"),
        ({"p": 1.5}, ValueError, r"\[0, 1\], got 1.5"),
        ({"model": "resnet18"}, TypeError, "Module, got str"),
    ],
)
def test_the_factory_names_what_is_wrong(change: dict[str, Any], error: type[Exception], message: str) -> None:
    good: dict[str, Any] = {"method": "sagemix", "domain": "points", "num_classes": 5, "model": PointModel()}
    with pytest.raises(error, match=message):
        create_mixer(**{**good, **change})


@pytest.mark.parametrize(
    ("labels", "num_classes", "error", "message"),
    [
        (torch.tensor([0, 1, 2, 5]), 5, ValueError, r"\[0, 5\), got 0 to 5"),
        (torch.tensor([0, 1, 2, 3]), None, ValueError, "num_classes"),
        (torch.tensor([0, 1, 2]), 5, ValueError, r"\(4,\), got \(3,\)"),
        (torch.rand(4, 6), 5, ValueError, r"\(4, 5\), got \(4, 6\)"),
        (torch.rand(3, 5), 5, ValueError, r"4 rows, got \(3, 5\)"),
        (torch.zeros(4, 8, dtype=torch.long), 5, ValueError, r"\(4, 9\).*got \(4, 8\)"),
        (["a", "b", "c", "d"], 5, TypeError, "a tensor, a NumPy array or a list of numbers, got str"),
        (torch.zeros(4, dtype=torch.bool), 5, TypeError, "bool"),
        ((torch.arange(4),), (5, 6), ValueError, "one entry for each of 1 labels"),
        ({"y": torch.arange(4)}, {"z": 5}, ValueError, "no entry"),
        (torch.arange(4), (5, 6), ValueError, "one number"),
        (torch.zeros(4, 3, 3, dtype=torch.long), 5, ValueError, r"\(4, 9\).*got \(4, 3, 3\)"),
    ],
)
def test_bad_labels_are_named_before_anything_is_done(
    labels: Any, num_classes: Any, error: type[Exception], message: str
) -> None:
    def untouched(points: Tensor) -> Tensor:
        raise AssertionError("half done")

    mixer = create_mixer("sagemix", domain="points", num_classes=num_classes, saliency=untouched)
    state = torch.get_rng_state()
    for mode in (True, False):
        with pytest.raises(error, match=message):
            mixer.train(mode)(torch.randn(4, 9, 3).zero_(), labels)
    torch.set_rng_state(state)


def test_repr_says_what_it_does() -> None:
    text = repr(make("points", sigma=2.0)[0])
    assert "SageMix(theta=0.2, sigma=2.0, query='sequential', sharpness=1.0)" in text
    assert "GradientSaliency" in text


@pytest.mark.parametrize("domain", ["image", "points"])
def test_what_is_not_mixed_is_the_very_batch(domain: str) -> None:
    batch = torch.rand(4, 3, 8, 8) if domain == "image" else torch.rand(4, 8, 3)
    mixer = create_mixer("cutmix", domain, num_classes=5, p=0.0)
    assert mixer(batch, torch.arange(4))[0] is batch


def test_saliency_may_be_whole_numbers() -> None:
    images, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
    mixer = create_mixer("snapmix", "image", num_classes=5, p=1.0, saliency="spectral_residual")
    assert mixer(images, labels, saliency=torch.randint(256, (4, 64), dtype=torch.uint8))[0].shape == images.shape


def test_a_generator_is_one() -> None:
    with pytest.raises(TypeError, match=r"generator must be a torch\.Generator, got 0"):
        create_mixer("mixup", "image", num_classes=5)(torch.rand(4, 3, 8, 8), torch.arange(4), generator=0)  # type: ignore[arg-type]
