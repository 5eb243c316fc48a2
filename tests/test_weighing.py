"""Labels by what a mix shows of its samples' saliency, and coordinates moved before a mix."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mixkit
from mixkit import MixPlan, create_mixer
from mixkit.ragged import RaggedPlan
from mixkit.smooth import saliency_maps, smooth
from mixkit_image import MixTransform
from tests.test_plan import PLANS, random_plan

LABELS = torch.tensor([0, 1, 2, 1, 0])


def loop_shown(plan: MixPlan, importance: Tensor) -> Tensor:
    """(M, B) the share of each sample's importance that each output shows, element by element."""
    shown = torch.zeros(plan.num_outputs, plan.num_samples, dtype=torch.float64)
    for m in range(plan.num_outputs):
        for k in range(plan.num_terms):
            for i in range(importance.shape[1]):
                sample = int(plan.source[m, k, i if plan.source.shape[2] > 1 else 0])
                element = i if plan.index is None else int(plan.index[m, k, i])
                weight = float(plan.weight[m, k, i if plan.weight.shape[2] > 1 else 0])
                shown[m, sample] += weight * float(importance[sample, element] / importance[sample].double().sum())
    return shown


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("normalise", [True, False])
def test_labels_weigh_what_is_seen_of_what_matters(name: str, normalise: bool) -> None:
    plan = PLANS[name]()
    importance = torch.rand(plan.num_samples, 6) ** 3
    weighed = plan.weigh_labels(importance, normalise=normalise).validate()
    expected = loop_shown(plan, importance)
    expected = expected / expected.sum(1, keepdim=True) if normalise else expected
    torch.testing.assert_close(weighed.sample_weights.double(), expected, atol=1e-6, rtol=0)
    classes = torch.randint(4, (plan.num_samples,))
    for labels in (classes, torch.eye(4)[classes]):
        targets = weighed.targets(labels, num_classes=4)
        torch.testing.assert_close(targets.double(), expected @ torch.eye(4).double()[classes], atol=1e-6, rtol=0)
    values = torch.randn(plan.num_samples, 6, 3)
    assert torch.equal(weighed.apply(values), plan.apply(values)), "elements mix as they did"
    vectors = torch.randn(plan.num_samples, 3)
    torch.testing.assert_close(
        weighed.pooled().apply(vectors[:, None])[:, 0], plan.pooled().apply(vectors[:, None])[:, 0]
    )
    torch.testing.assert_close(weighed.pooled().sample_weights, weighed.sample_weights)
    assert torch.equal(weighed.to("cpu").sample_weights, weighed.sample_weights)


def test_even_importance_is_the_mean_weight() -> None:
    for make in PLANS.values():
        plan = make()
        even = plan.weigh_labels(torch.full((plan.num_samples, 6), 0.3))
        torch.testing.assert_close(even.sample_weights, plan.sample_weights)


def test_attention_of_the_output() -> None:
    """TransMix's: the label of the partner is the attention that falls on what came of it."""
    plan = MixPlan.pair(torch.tensor([1, 0]), torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.5, 0.5, 1.0, 1.0]]))
    attention = torch.tensor([[1.0, 2.0, 3.0, 4.0], [2.0, 0.0, 1.0, 1.0]])
    weighed = plan.weigh_labels(attention, of="output").sample_weights
    torch.testing.assert_close(weighed, torch.tensor([[0.4, 0.6], [0.25, 0.75]]))


def test_importance_that_says_nothing() -> None:
    plan = MixPlan.pair(torch.tensor([1, 0]), torch.tensor([[1.0, 0.0, 1.0, 0.0]]))
    for nothing in (0.0, torch.nan, torch.inf):
        importance = torch.full((2, 4), nothing)
        torch.testing.assert_close(plan.weigh_labels(importance).sample_weights, plan.sample_weights)
    unseen = torch.tensor([[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0]])  # output 0 shows nothing of either
    torch.testing.assert_close(plan.weigh_labels(unseen).sample_weights[0], torch.tensor([0.5, 0.5]))
    assert plan.weigh_labels(unseen, normalise=False).sample_weights[0].tolist() == [0, 0]
    assert plan.weigh_labels(torch.full((2, 4), 3e38)).sample_weights.isfinite().all()


def test_numbers_to_be_predicted_stay_means() -> None:
    plan = MixPlan.pair(torch.tensor([1, 0]), torch.tensor([[1.0, 1.0, 1.0, 0.0]]))
    importance = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 4.0]])
    weighed = plan.weigh_labels(importance, normalise=False)
    torch.testing.assert_close(weighed.sample_weights[0], torch.tensor([0.75, 0.8]))  # more than 1 in all
    ages = weighed.targets(torch.tensor([10.0, 20.0]))
    torch.testing.assert_close(ages[0], torch.tensor((0.75 * 10 + 0.8 * 20) / 1.55))


def test_spared_samples_keep_their_labels() -> None:
    for plan in (random_plan(5), PLANS["pair"]()):
        if plan.num_outputs != plan.num_samples:
            continue
        kept = plan.weigh_labels(torch.rand(plan.num_samples, 6), normalise=False).keep(
            torch.arange(plan.num_samples) < 2
        )
        torch.testing.assert_close(kept.sample_weights[:2], torch.eye(plan.num_samples)[:2])


@pytest.mark.parametrize(
    ("importance", "options", "error", "message"),
    [
        (torch.rand(2, 3), {}, ValueError, r"importance must be \(2, 4\), .*got \(2, 3\)"),
        (torch.rand(2, 4).long(), {}, TypeError, "importance must be floating point, got torch.int64"),
        (torch.rand(2, 4), {"of": "partner"}, ValueError, "of must be 'sample' or 'output', got 'partner'"),
    ],
)
def test_wrong_importance_is_named(importance: Tensor, options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        MixPlan.pair(torch.tensor([1, 0]), torch.rand(1, 4)).weigh_labels(importance, **options)
    with pytest.raises(ValueError, match=r"label_weight must be \(2, 1, 1\) as source, got \(2, 1\)"):
        MixPlan(torch.zeros(2, 1, 1).long(), None, torch.ones(2, 1, 1), label_weight=torch.ones(2, 1))


# ---- a mixer's option


@pytest.mark.parametrize("labels_by", ["weight", "saliency", "own_saliency"])
@pytest.mark.parametrize(("name", "domain"), [("cutmix", "image"), ("comixup", "image"), ("sagemix", "points")])
def test_any_method_of_any_domain(name: str, domain: str, labels_by: str) -> None:
    batch = torch.rand(5, 3, 8, 8) if domain == "image" else torch.randn(5, 20, 3)
    saliency = torch.rand(5, 64 if domain == "image" else 20)
    options: dict[str, Any] = {"num_classes": 3, "saliency": lambda batch: saliency, "p": 1.0}
    mixer = create_mixer(name, domain, **options, labels_by=labels_by)
    plain = create_mixer(name, domain, **options)
    generator = torch.Generator().manual_seed(4)
    mixed, targets = mixer(batch, LABELS, generator=generator)
    expected, usual = plain(batch, LABELS, generator=generator.manual_seed(4))
    assert torch.equal(mixed, expected), "the mix is the same"
    plan = plain.plan(batch, LABELS, generator=generator.manual_seed(4))
    if labels_by == "weight":
        assert torch.equal(targets, usual)
        return
    shown = loop_shown(plan, saliency)
    shown = shown / shown.sum(1, keepdim=True) if labels_by == "saliency" else shown
    torch.testing.assert_close(targets, (shown @ torch.eye(3).double()[LABELS]).float(), atol=1e-5, rtol=0)
    assert f"labels_by='{labels_by}'" in repr(mixer)


def test_clouds_of_different_sizes() -> None:
    clouds = [torch.randn(count, 3) for count in (12, 12, 12, 12, 12)]
    saliency = torch.rand(5, 12)
    for labels_by in ("saliency", "own_saliency"):
        options: dict[str, Any] = {"saliency": torch.sum, "p": 1.0, "tolerance": 0.0}
        mixer = create_mixer("pointcutmix_k", "points", num_classes=3, labels_by=labels_by, **options)
        generator = torch.Generator().manual_seed(4)
        _, dense = mixer(torch.stack(clouds), LABELS, saliency=saliency, generator=generator)
        _, ragged = mixer(clouds, LABELS, saliency=saliency.flatten(), generator=generator.manual_seed(4))
        torch.testing.assert_close(ragged, dense)
    sizes = [torch.randn(count, 3) for count in (5, 12, 9, 30, 7)]
    plan: Any = mixer.plan(sizes, LABELS, saliency=torch.rand(63))
    pooled = plan.validate().sample_weights
    whole = RaggedPlan.append(plan.index[1], plan.offsets, plan.source_offsets).weigh_labels(
        torch.ones(63), normalise=False
    )
    torch.testing.assert_close(whole.sample_weights.sum(1), torch.ones(5))  # a sample shown whole, whatever the sizes
    torch.testing.assert_close(plan.pooled().sample_weights, pooled)
    kept = plan.keep(torch.arange(5) < 2)
    torch.testing.assert_close(kept.sample_weights[:2], torch.eye(5)[:2])
    torch.testing.assert_close(kept.sample_weights[2:], plan.sample_weights[2:])


def test_saliency_is_found_for_a_method_that_has_none() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    mixer = create_mixer("cutmix", "image", num_classes=3, model=model, p=1.0, labels_by="saliency")
    images = torch.rand(5, 3, 8, 8)
    _, targets = mixer(images, LABELS)
    torch.testing.assert_close(targets.sum(1), torch.ones(5))
    with pytest.raises(ValueError, match="CutMix needs saliency: give model="):
        create_mixer("cutmix", "image", num_classes=3, labels_by="saliency")
    with pytest.raises(ValueError, match="labels_by must be one of weight, saliency, own_saliency, or None, got 'cam'"):
        create_mixer("cutmix", "image", num_classes=3, model=model, labels_by="cam")
    with pytest.raises(TypeError, match="gradient by floating-point values"):
        mixer((images * 255).byte(), LABELS)
    transform = MixTransform("cutmix", num_classes=3, p=1.0, labels_by="saliency")
    torch.testing.assert_close(transform(images, LABELS)[1].sum(1), torch.ones(5))
    conv = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(256, 3))
    manifold = mixkit.ManifoldMixer(conv, ["0"], "cutmix", "image", num_classes=3, p=1.0, labels_by="saliency")
    torch.testing.assert_close(manifold(images, LABELS)[1].sum(1), torch.ones(5))


# ---- coordinates moved before the mix


@pytest.mark.parametrize("name", PLANS)
def test_displaced_coordinates_are_mixed_as_others_are(name: str) -> None:
    plan, coords = PLANS[name](), torch.randn(5, 6, 3)[: PLANS[name]().num_samples]
    turn = torch.linalg.qr(torch.randn(3, 3)).Q
    for changed in (coords @ turn, coords * 0.4, coords + 0.1 * torch.sin(3 * coords)):  # turned, resized, warped
        found = plan.displace(changed - coords).apply_coords(coords)
        torch.testing.assert_close(found, plan.apply_coords(changed), atol=1e-5, rtol=1e-5)
    spared = torch.arange(plan.num_samples) == 1
    if plan.num_outputs == plan.num_samples:
        kept = plan.displace(torch.ones_like(coords)).keep(spared)
        assert torch.equal(kept.apply_coords(coords)[spared], coords[spared])
    with pytest.raises(ValueError, match="shift must be"):
        plan.displace(torch.randn(plan.num_samples + 1, 6, 3))


# ---- saliency smoothed


def test_blur_on_a_grid_is_torchvisions() -> None:
    from torchvision.transforms.v2.functional import gaussian_blur

    saliency = torch.rand(3, 20 * 16)
    elements = mixkit.registry.get_domain("image")().elements(torch.rand(3, 1, 20, 16))
    expected = gaussian_blur(saliency.view(3, 1, 20, 16), [7, 7], [3.0, 3.0]).flatten(1)
    torch.testing.assert_close(smooth(saliency, elements), expected / expected.sum(1, keepdim=True))
    share = saliency / saliency.sum(1, keepdim=True)
    torch.testing.assert_close(smooth(saliency, elements, 0.0), share)
    small = mixkit.registry.get_domain("image")().elements(torch.rand(3, 1, 2, 1))
    assert smooth(torch.rand(3, 2), small).isfinite().all()


def test_blur_on_a_set_is_the_mean_around() -> None:
    points, saliency = torch.randn(2, 9, 3), torch.rand(2, 9)
    elements = mixkit.ElementSet(points, points[:, :, :0], length_scale=0.8)
    found = smooth(saliency, elements)
    expected = torch.zeros(2, 9, dtype=torch.float64)
    for b in range(2):
        for i in range(9):
            near = [float(torch.exp(-(points[b, i] - points[b, j]).square().sum() / (2 * 0.3**2))) for j in range(9)]
            expected[b, i] = sum(w * float(s) for w, s in zip(near, saliency[b], strict=True)) / sum(near)
    torch.testing.assert_close(found.double(), expected / expected.sum(1, keepdim=True), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(saliency_maps(found, elements), saliency_maps(found.flip(1), _flipped(elements)))


@pytest.mark.parametrize(("size", "dim"), [(1, 3), (2, 1), (37, 2), (130, 3), (70, 8)])
def test_compiled_blur_is_the_one_in_torch(size: int, dim: int) -> None:
    points, saliency = torch.randn(3, size, dim) + 40, torch.rand(3, size)
    points[0, 0] += 1000  # far from all others: what it has is its own
    for sigma in (0.02, 0.7, 100.0):
        compiled, exact = (
            smooth(saliency.to(kind), mixkit.ElementSet(points.to(kind), points[:, :, :0].to(kind)), sigma)
            for kind in (torch.float32, torch.float64)
        )
        torch.testing.assert_close(compiled, exact.float(), atol=1e-7, rtol=2e-5)
    points[1, 0] = torch.nan
    blurred = smooth(saliency, mixkit.ElementSet(points, points[:, :, :0]), 0.7)
    assert torch.equal(blurred[1], torch.full((size,), 1 / size)), "what says nothing is even"
    assert blurred.isfinite().all()


def test_sets_are_smoothed_in_parts_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    points, saliency = torch.randn(7, 20, 3).double(), torch.rand(7, 20).double()
    elements = mixkit.ElementSet(points, points[:, :, :0], length_scale=1.0)
    found = []
    for numbers in (1, 3 * 400, 2**20):
        monkeypatch.setattr("mixkit.smooth._CACHED", numbers)
        found.append((smooth(saliency, elements), saliency_maps(saliency, elements)))
    for smoothed, maps in found[1:]:
        torch.testing.assert_close(smoothed, found[0][0])
        torch.testing.assert_close(maps, found[0][1])


def _flipped(elements: mixkit.ElementSet) -> mixkit.ElementSet:
    return mixkit.ElementSet(elements.coords.flip(1), elements.values, length_scale=elements.length_scale)
