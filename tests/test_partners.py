"""Whom each sample is mixed with: every rule, by every method that pairs samples, in every way of use."""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mixkit
from mixkit import MixPlan, create_mixer
from mixkit.partner_rules import NearLabel
from mixkit.partners import RULES
from mixkit.smooth import saliency_maps, smooth
from mixkit_image import MixTransform, SageMix
from tests.half_method import HalfMix

LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 1])
PAIRING = [
    (name, domain) for domain in ("image", "points") for name in mixkit.list_methods(domain) if name != "comixup"
]


def batch_of(domain: str, size: int = 7) -> Tensor:
    return torch.rand(size, 3, 8, 8) if domain == "image" else torch.randn(size, 12, 4)


def partner_of(plan: MixPlan) -> list[int]:
    assert torch.equal(plan.source[:, 0].unique(dim=1)[:, 0], torch.arange(plan.num_outputs))
    return plan.source[:, 1, 0].tolist()


def pair(partners: Any, labels: Any = LABELS, seed: int = 0, **options: Any) -> list[int]:
    torch.manual_seed(seed)
    mixer = create_mixer("mixup", "points", **{"num_classes": 3, **options}, partners=partners)
    return partner_of(mixer.plan(torch.zeros(len(labels), 5, 3), labels))


@pytest.mark.parametrize(("name", "domain"), PAIRING)
@pytest.mark.parametrize("rule", ["random", *RULES, "near_label", "far_label"])
def test_every_method_follows_every_rule(name: str, domain: str, rule: str) -> None:
    saliency = (lambda batch: torch.rand(len(batch), 64 if domain == "image" else 12)) if name != "mixup" else None
    mixer = create_mixer(name, domain, num_classes=3, saliency=saliency, p=1.0, partners=rule, inside=True)
    batch = batch_of(domain)
    plans = [mixer.plan(batch, LABELS, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    found = partner_of(plans[0])
    assert found == partner_of(plans[1])
    classes = LABELS.tolist()
    if rule == "previous":
        assert found == [6, 0, 1, 2, 3, 4, 5]
    elif rule == "reversed":
        assert found == [6, 5, 4, 3, 2, 1, 0]
    elif rule in ("random", "derangement"):
        assert sorted(found) == list(range(7))
        assert rule == "random" or all(b != a for a, b in enumerate(found))
    elif rule == "same_class":
        assert sorted(found) == list(range(7))
        assert [classes[b] for b in found] == classes
        assert [a for a, b in enumerate(found) if a == b] == [3], "alone in its class, so it is its own partner"
    elif rule in ("other_class", "far_label"):
        assert all(classes[b] != classes[a] for a, b in enumerate(found))
    elif rule == "near_label":
        assert all(b != a for a, b in enumerate(found))
    else:
        assert rule == "balanced"
    mixed, targets = mixer(batch, LABELS)
    assert mixed.isfinite().all()
    if name != "snapmix":  # whose labels need not
        torch.testing.assert_close(targets.sum(1), torch.ones(7))


def test_random_draws_are_what_they_were() -> None:
    torch.manual_seed(5)
    expected = torch.randperm(7).tolist()
    assert pair("random", seed=5) == expected
    mixer = create_mixer("mixup", "points", num_classes=3)
    torch.manual_seed(5)
    assert partner_of(mixer.plan(torch.zeros(7, 5, 3), LABELS)) == expected


@pytest.mark.parametrize("rule", ["derangement", "same_class", "other_class"])
def test_each_candidate_is_as_likely(rule: str) -> None:
    generator = torch.Generator().manual_seed(0)
    mixer = create_mixer("mixup", "points", num_classes=3, partners=rule)
    count = torch.zeros(7, 7)
    for _ in range(2000):
        plan = mixer.plan(torch.zeros(7, 2, 3), LABELS, generator=generator)
        count[torch.arange(7), plan.source[:, 1, 0]] += 1
    same = LABELS[:, None] == LABELS
    allowed = same if rule == "same_class" else ~same if rule == "other_class" else torch.ones(7, 7, dtype=torch.bool)
    allowed = allowed & (~torch.eye(7, dtype=torch.bool) | (allowed.sum(1) == 1)[:, None])
    assert (count[~allowed] == 0).all()
    expected = 2000 * allowed / allowed.sum(1, keepdim=True)
    assert ((count - expected).abs() <= 5 * (expected * (1 - expected / 2000)).sqrt() + 1e-3).all()


def test_batches_with_nobody_to_mix_with() -> None:
    for rule in ("random", *RULES):
        assert pair(rule, torch.tensor([1])) == [0]
    assert pair("other_class", torch.tensor([2, 2, 2])) == [0, 1, 2]
    assert pair("same_class", torch.tensor([2, 0, 1])) == [0, 1, 2]
    points = torch.randn(3, 5, 3)
    mixer = create_mixer("mixup", "points", num_classes=3, partners="other_class")
    mixed, targets = mixer(points, torch.tensor([2, 2, 2]))
    torch.testing.assert_close(mixed, points)
    assert torch.equal(targets, torch.eye(3)[[2, 2, 2]])
    assert pair("other_class", torch.tensor([0, 1])) == pair("derangement", torch.tensor([0, 1])) == [1, 0]


def test_classes_come_from_labels_of_any_kind() -> None:
    shares = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, 0.0], [0.1, 0.9, 0.0]])
    for labels, options in (
        (shares, {}),
        ({"depth": torch.rand(4), "kind": shares}, {"num_classes": {"depth": None, "kind": 3}}),
        ((torch.randint(3, (4, 5)), torch.tensor([0, 1, 0, 1])), {"num_classes": (3, 2)}),
        ([0, 1, 0, 1], {}),
    ):
        torch.manual_seed(1)
        mixer = create_mixer("mixup", "points", **{"num_classes": 3, **options}, partners="same_class")
        assert partner_of(mixer.plan(torch.randn(4, 5, 3), labels)) == [2, 3, 0, 1]
    unknown = torch.tensor([0, -1, 0, -1])  # of two samples without a label nobody knows whether they are of one class
    assert pair("same_class", unknown, ignore_index=-1) == [2, 1, 0, 3]
    for _ in range(10):
        assert all(b not in (a, 2 - a) for a, b in enumerate(pair("other_class", unknown, ignore_index=-1)))


@pytest.mark.parametrize(
    ("labels", "num_classes"), [(torch.rand(4), None), (torch.randint(3, (4, 5)), 3), (torch.rand(4, 3, 5), 3)]
)
def test_without_classes_of_samples_there_is_no_class(labels: Tensor, num_classes: int | None) -> None:
    with pytest.raises(TypeError, match=r"partners by class need labels \(B,\) or shares \(B, K\).*, got \w+ \(4"):
        pair("same_class", labels, num_classes=num_classes)


def draws_of(rule: Any, labels: Any, count: int = 3000, **options: Any) -> Tensor:
    """(B, B) how often each sample had each partner, as shares."""
    generator = torch.Generator().manual_seed(0)
    mixer = create_mixer("mixup", "points", **{"num_classes": 3, **options}, partners=rule)
    found = torch.zeros(len(labels), len(labels))
    for _ in range(count):
        plan = mixer.plan(torch.zeros(len(labels), 2, 3), labels, generator=generator)
        found[torch.arange(len(labels)), plan.source[:, 1, 0]] += 1
    return found / count


@pytest.mark.parametrize("far", [False, True])
def test_partners_by_the_distance_of_labels(far: bool) -> None:
    """C-Mixup's probability, in a loop."""
    ages, sigma = [20.0, 23.0, 31.0, 60.0], 6.0
    expected = torch.zeros(4, 4)
    for i in range(4):
        weights = [math.exp(-((ages[i] - ages[j]) ** 2) / (2 * sigma**2)) for j in range(4)]
        weights = [0 if j == i else 1 - w if far else w for j, w in enumerate(weights)]
        expected[i] = torch.tensor(weights) / sum(weights)
    found = draws_of(NearLabel(sigma, far), torch.tensor(ages), num_classes=None)
    torch.testing.assert_close(found, expected, atol=0.04, rtol=0)


def test_the_nearest_and_farthest_label_at_any_scale() -> None:
    ages = torch.tensor([1.0, 2.0, 3.0, 60.0, 61.0, 62.0])
    near = draws_of("near_label", ages, 300, num_classes=None)
    assert near[:3, 3:].sum(1).max() < 0.03
    assert draws_of("far_label", ages, 300, num_classes=None)[:3, 3:].sum(1).min() > 0.95
    scaled = draws_of("near_label", 1e6 * ages, 300, num_classes=None)
    torch.testing.assert_close(scaled, near, atol=0.02, rtol=0)  # by default the bandwidth follows the labels
    tiny = draws_of(NearLabel(1e-12), torch.tensor([0.0, 5.0, 11.0]), 50, num_classes=None)
    assert tiny.tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0]], "the nearest, however small the bandwidth"
    unknown = torch.tensor([0.0, math.nan, 1.0])
    assert draws_of("near_label", unknown, 300, num_classes=None)[[0, 2], [2, 0]].min() == 1, (
        "nobody is near what is not known"
    )
    assert draws_of("near_label", torch.tensor([4.0, 4.0]), 5, num_classes=None).tolist() == [[0, 1], [1, 0]]


def test_each_class_is_as_likely_when_balanced() -> None:
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 2, 2])
    found = draws_of("balanced", labels)
    by_class = torch.stack([found[:, labels == k].sum(1) for k in range(3)], 1)
    torch.testing.assert_close(by_class, torch.full((9, 3), 1 / 3), atol=0.04, rtol=0)
    torch.testing.assert_close(found[:, :6], torch.full((9, 6), 1 / 18), atol=0.02, rtol=0)


def loop_cover(distance: list[list[float]]) -> list[int]:
    """From the farthest pair on, each time to the farthest that was not visited, and home."""
    count = len(distance)
    pairs = [(-distance[i][j], i, j) for i in range(count) for j in range(count) if i != j]
    start, here = min(pairs)[1:]
    partner, visited = {start: here}, {start, here}
    while len(visited) < count:
        there = min((-distance[here][j], j) for j in range(count) if j not in visited)[1]
        partner[here] = there
        visited.add(there)
        here = there
    partner[here] = start
    return [partner[k] for k in range(count)]


@pytest.mark.parametrize("domain", ["image", "points"])
def test_partners_that_are_salient_elsewhere(domain: str) -> None:
    batch = batch_of(domain, 9)
    saliency = torch.rand(9, 64 if domain == "image" else 12) ** 4
    mixer = create_mixer("sagemix", domain, num_classes=9, saliency=lambda batch: saliency, partners="far_saliency")
    found = partner_of(mixer.plan(batch, torch.arange(9)))
    elements = mixer.domain.elements(batch)
    maps = saliency_maps(saliency, elements)
    assert domain != "image" or torch.equal(maps, smooth(saliency, elements))
    distance = [[math.dist(a, b) for b in maps.tolist()] for a in maps.tolist()]
    assert found == loop_cover(distance)
    assert sorted(found) == list(range(9)), "each is a partner once"
    with pytest.raises(ValueError, match="partners='far_saliency' asks for the saliency, and Mixup has none"):
        create_mixer("mixup", domain, num_classes=9, partners="far_saliency")
    create_mixer(
        "mixup", domain, num_classes=9, saliency=lambda b: saliency, partners="far_saliency", labels_by="saliency"
    )


def test_clouds_of_different_sizes_as_those_of_one() -> None:
    points, saliency = batch_of("points", 5), torch.rand(5, 12) ** 4
    mixer = create_mixer("sagemix", "points", num_classes=5, saliency=torch.sum, partners="far_saliency")
    dense = mixer.plan(points, torch.arange(5), saliency=saliency)
    ragged = mixer.plan(list(points), torch.arange(5), saliency=saliency.flatten())
    assert ragged.source[1][::12].tolist() == partner_of(dense)


def test_labels_of_the_elements_of_clouds_come_cloud_by_cloud() -> None:
    clouds, parts = [torch.randn(n, 3) for n in (7, 3, 5)], [torch.arange(n) % 3 for n in (7, 3, 5)]
    seen: list[Any] = []

    def by_parts(labels: Any) -> Tensor:
        seen.append(labels)
        return torch.tensor([2, 0, 1])

    padded = torch.nn.utils.rnn.pad_sequence(clouds, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(n, dtype=torch.bool) for n in (7, 3, 5)], batch_first=True)
    padded_parts = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
    mixer = create_mixer("pointmixup", "points", num_classes=3, partners=by_parts)
    for batch, labels in ((clouds, parts), ((padded, mask), padded_parts)):
        mixer(batch, labels)
        for found, expected in zip(seen.pop(), parts, strict=True):
            assert torch.equal(found, expected)
    for method, options in (("cmixup", {}), ("pointmixup", {"partners": "far_label"})):
        mixer = create_mixer(method, "points", num_classes=3, **options)
        with pytest.raises(TypeError, match=r"need a label of each sample.*got labels of the elements"):
            mixer(clouds, parts)
        for batch in (clouds, torch.randn(3, 5, 3)):
            with pytest.raises(TypeError, match=r"need a label of each sample, a tensor \(B, \.\.\.\), got none"):
                mixer(batch, {})


def test_a_function_is_given_what_it_names() -> None:
    seen: dict[str, Any] = {}

    def by_label(labels: Tensor, *, keys: Any, elements: Any, saliency: Tensor, generator: Any) -> Tensor:
        seen.update(labels=labels, keys=keys, elements=elements, saliency=saliency, generator=generator)
        return (labels[:, None] - labels).abs().argmax(1)  # the farthest

    mixer = create_mixer("sagemix", "points", saliency=lambda points: points.norm(dim=2), partners=by_label)
    points, ages = torch.randn(3, 6, 3), torch.tensor([3.0, 70.0, 20.0])
    generator = torch.Generator().manual_seed(0)
    plan = mixer.plan(points, ages, samples=[7, 8, 9], generator=generator)
    assert partner_of(plan) == [1, 0, 1]
    assert seen["labels"] is ages
    assert seen["keys"] == [7, 8, 9]
    assert seen["generator"] is generator
    torch.testing.assert_close(seen["saliency"], points.norm(dim=2))
    assert torch.equal(seen["elements"].coords, points)
    assert pair(lambda labels, times=2: labels.roll(times).argsort()) == LABELS.roll(2).argsort().tolist()


def wrong_argument(classes: Tensor) -> Tensor:
    return classes


@pytest.mark.parametrize(
    ("method", "partners", "error", "message"),
    [
        ("mixup", "nearest", ValueError, "partners must be one of random, derangement, previous, .*got 'nearest'"),
        ("mixup", 3, TypeError, "partners must be a name or a function, got 3"),
        ("mixup", wrong_argument, TypeError, r"any of elements, labels, .*got wrong_argument\(classes\)"),
        ("mixup", lambda: 3, TypeError, "partners must be a function of any of"),
        ("mixup", lambda **given: 3, TypeError, "partners must be a function of any of"),
        ("mixup", lambda saliency: 3, ValueError, "asks for the saliency, and Mixup has none"),
        ("comixup", "derangement", ValueError, "CoMixup asks for no partners.*cannot follow partners='derangement'"),
        ("comixup", lambda labels: labels, ValueError, "CoMixup asks for no partners"),
    ],
)
def test_what_cannot_be_followed_is_refused(method: str, partners: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        create_mixer(method, "image", num_classes=3, saliency="spectral_residual", partners=partners)


@pytest.mark.parametrize(
    ("found", "error", "message"),
    [
        (torch.zeros(3, dtype=torch.long), ValueError, r"partner must be \(7,\), got \(3,\)"),
        ([0, 1, 2, 3, 4, 5, 7], ValueError, r"partner must lie in \[0, 7\), got 0 to 7"),
        (torch.zeros(7), TypeError, "partner must be int64, got torch.float32"),
    ],
)
def test_what_a_function_returns_is_checked(found: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        pair(lambda labels: found)


def test_a_method_that_says_nothing_of_partners_refuses_rules() -> None:
    class Silent(HalfMix):
        needs = frozenset({"assign"})

    mixer = create_mixer(HalfMix(), "points", num_classes=3, partners="previous")
    assert partner_of(mixer.plan(batch_of("points"), LABELS)) == [6, 0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="Silent asks for no partners"):
        create_mixer(Silent(), "points", num_classes=3, partners="previous")
    create_mixer(Silent(), "points", num_classes=3)


def test_they_go_with_p_and_with_spared_samples() -> None:
    mixer = create_mixer("mixup", "points", num_classes=3, p=0.0, partners="previous")
    points = batch_of("points")
    assert torch.equal(mixer(points, LABELS)[0], points)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    mixer = create_mixer("mixup", "points", num_classes=3, model=model, schedule="adaptive", partners="previous")
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor([-50.0, 50.0, -50.0]))  # certain of class 1, which alone is mixed
    plan = mixer.plan(points, LABELS)
    mixed = LABELS == 1
    assert plan.source[mixed, 1, 0].tolist() == [0, 3, 5]
    assert (plan.sample_weights.diagonal()[~mixed] == 1).all()


def test_inside_a_model() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(256, 3))
    mixer = mixkit.ManifoldMixer(model, ["0"], "mixup", "image", num_classes=3, partners="same_class")
    labels = torch.tensor([0, 1, 0, 1])
    _, targets = mixer(torch.rand(4, 3, 8, 8), labels)
    torch.testing.assert_close(targets, torch.eye(3)[labels])


@pytest.mark.parametrize("make", [lambda **o: MixTransform("cutmix", p=1.0, **o), SageMix])
def test_transforms(make: Callable[..., MixTransform]) -> None:
    transform = make(num_classes=7, partners="previous")
    images = torch.arange(7.0)[:, None, None, None].expand(-1, 3, 8, 8).clone()
    for each in (transform, copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        mixed, targets = each(images, torch.arange(7))
        assert 2 - 1e-5 <= mixed[3].min() <= mixed[3].max() <= 3 + 1e-5
        assert targets[3].nonzero().flatten().tolist() in ([2, 3], [3], [2])
    assert "partners='previous'" in repr(transform)
    same = make(num_classes=7, partners="same_class")
    torch.testing.assert_close(same({"images": images, "labels": torch.arange(7)})["labels"], torch.eye(7))


def test_balanced_partners_have_a_class() -> None:
    labels = torch.full((64,), -1)
    labels[[3, 9, 20, 40]] = torch.tensor([0, 1, 1, 1])
    mixer = create_mixer("mixup", "points", num_classes=2, ignore_index=-1, partners="balanced")
    clouds, counts = torch.randn(64, 4, 3), torch.zeros(64)
    for _ in range(20):
        counts += torch.bincount(mixer.plan(clouds, labels).source[:, 1].flatten(), minlength=64)
    assert counts[[3, 9, 20, 40]].sum() == 20 * 64
    assert counts[3] / (20 * 64) == pytest.approx(0.5, abs=0.07)
    assert mixer(clouds, torch.full((64,), -1))[1].sum() == 0


def test_near_labels_are_those_of_the_samples_and_no_numbers_of_parts() -> None:
    clouds, labels, parts = torch.randn(4, 6, 3), torch.tensor([0, 0, 1, 1]), torch.tensor([0, 5, 0, 5])
    mixer = create_mixer("mixup", "points", num_classes={"parts": 8, "class": 2}, partners=NearLabel(sigma=0.01))
    both = {"parts": parts[:, None].expand(-1, 6), "class": labels}
    for _ in range(5):
        assert mixer.plan(clouds, both).source[:, 1].flatten().tolist() == [1, 0, 3, 2]
    mixer = create_mixer("pointcutmix_k", "points", num_classes=7, partners="near_label", p=1.0)
    with pytest.raises(TypeError, match=r"partners by label need a label of each sample.*got classes of the elements"):
        mixer(clouds, both["parts"])
    heights = create_mixer("pointcutmix_k", "points", partners="near_label", p=1.0)
    assert heights(clouds, mixkit.PerElement(clouds[:, :, 2]))[1].shape == (4, 6)


def test_the_examples_of_the_documentation() -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "guide" / "partners.md").read_text(encoding="utf-8")
    near, given, spared = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    about: dict[str, Any] = {"torch": torch, "mixkit": mixkit}
    about |= {"points": torch.randn(6, 8, 3), "ages": torch.tensor([1.0, 2.0, 3.0, 60.0, 61.0, 62.0])}
    exec(near, about)
    assert (about["ages"][:3] <= 3).all()
    assert (about["ages"][3:] >= 60).all()
    images, labels = torch.rand(4, 3, 32, 32), torch.arange(4)
    about |= {"images": images, "labels": labels}
    exec(given, about)
    partner, boxes = about["partner"], torch.zeros(32, 32, dtype=torch.bool)
    boxes[8:20, 4:16] = boxes[0:6, 24:32] = True
    assert torch.equal(about["mixed"], torch.where(boxes, images[partner], images))
    part = (12 * 12 + 6 * 8) / 32**2
    expected = torch.zeros(4, 10).index_put_((labels, partner), torch.tensor(part), accumulate=True)
    torch.testing.assert_close(about["targets"], expected.index_put_((labels, labels), torch.tensor(1 - part), True))
    exec(spared, about)
    assert ((about["mixed"] == images).flatten(1).all(1) | (about["targets"].max(1).values < 1)).all()
