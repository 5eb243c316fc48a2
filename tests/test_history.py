"""RecursiveMix against a loop written from the paper, and the batch before as a partner of other methods."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import tv_tensors

import mixkit
from mixkit import PerElement, create_mixer
from mixkit_image import RecursiveMix


def batches(count: int = 4, size: int = 3) -> list[torch.Tensor]:
    return [torch.rand(size, 2, 12, 9) for _ in range(count)]


@pytest.mark.parametrize("per_sample", [False, True])
def test_recursivemix_as_a_loop_mixes(per_sample: bool) -> None:
    mixer = create_mixer("recursivemix", "image", num_classes=3, per_sample=per_sample)
    generator, labels = torch.Generator().manual_seed(0), torch.arange(3)
    before: Any = None
    shares = []
    for images in batches(12):
        state = generator.get_state()
        mixed, targets = mixer(images, labels, generator=generator)
        if before is not None:
            drawn = torch.Generator()
            drawn.set_state(state)
            count = 6 if per_sample else 1  # the batch before has boxes of its own, which nobody sees
            side = (0.5 * torch.rand(count, 1, generator=drawn)).sqrt()
            place = torch.rand(count, 2, generator=drawn)
            for a in range(3):
                k = a if per_sample else 0
                expected, box = images[a].clone(), []
                for share, length in zip(place[k].tolist(), (12, 9), strict=True):
                    centre, half = int(share * length), int(float(side[k]) * length) // 2
                    box.append((max(centre - half, 0), min(centre + half, length)))
                (top, bottom), (left, right) = box
                area = (bottom - top) * (right - left) / 108
                if area:
                    small = F.interpolate(before[0][a][None], (bottom - top, right - left), mode="nearest")[0]
                    expected[:, top:bottom, left:right] = small
                assert torch.equal(mixed[a], expected)
                target = (1 - area) * torch.eye(3)[a] + area * before[1][a]
                torch.testing.assert_close(targets[a], target)
                shares.append(area)
        before = mixed.clone(), targets.clone()
    assert max(shares) > 0.2
    assert all(area <= 0.5 for area in shares)


def test_labels_of_many_batches_are_in_one() -> None:
    mixer = create_mixer("mixup", "image", num_classes=8, partners="previous_batch", alpha=1e9)
    for k in range(4):
        mixed, targets = mixer(torch.full((2, 1, 4, 4), float(k)), torch.tensor([k, k + 4]))
    torch.testing.assert_close(targets[0, :4], torch.tensor([0.125, 0.125, 0.25, 0.5]), atol=1e-3, rtol=0)
    assert targets[0, 4:].sum() == 0, "each meets the one at its own place"
    torch.testing.assert_close(mixed[0].mean(), torch.tensor(0.125 + 0.5 + 1.5), atol=1e-2, rtol=0)


def test_without_a_batch_before_the_batch_is_mixed_within_itself() -> None:
    mixer = create_mixer("cutmix", "image", num_classes=3, p=1.0, partners="previous_batch")
    plain = create_mixer("cutmix", "image", num_classes=3, p=1.0)
    generator, labels = torch.Generator(), torch.arange(3)
    five = torch.arange(5) % 3
    first, other, larger = torch.rand(3, 2, 12, 9), torch.rand(3, 2, 8, 8), torch.rand(5, 2, 8, 8)
    for images in (first, other, larger):
        expected = plain(images, labels if len(images) == 3 else five, generator=generator.manual_seed(1))
        found = mixer(images, labels if len(images) == 3 else five, generator=generator.manual_seed(1))
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])
    found = mixer(other, labels, generator=generator.manual_seed(1))  # fewer than before do
    assert not torch.equal(found[0], plain(other, labels, generator=generator.manual_seed(1))[0])
    copies = [copy.deepcopy(mixer), pickle.loads(pickle.dumps(mixer))]
    for each in copies:
        found = each(other, labels, generator=generator.manual_seed(1))
        assert torch.equal(found[0], plain(other, labels, generator=generator.manual_seed(1))[0]), "no memory"
    assert not plain.state_dict()


def test_a_resumed_run_meets_the_batch_before() -> None:
    """Through a file; and the state that was loaded is a copy."""
    labels, path = {"kind": torch.arange(3), "age": torch.tensor([1.0, 2.0, 3.0])}, io.BytesIO()
    made = [create_mixer("recursivemix", "image", num_classes={"kind": 3, "age": None}) for _ in range(2)]
    whole, resumed = made
    assert whole.state_dict() == {"history._extra_state": None}
    generator = torch.Generator().manual_seed(0)
    for images in batches(3):
        whole(images, labels, generator=generator)
    torch.save(whole.state_dict(), path)
    path.seek(0)
    state = torch.load(path, weights_only=True)
    resumed.load_state_dict(state)
    state["history._extra_state"][0].zero_()
    images, drawn = torch.rand(3, 2, 12, 9), generator.get_state()
    expected, targets = whole(images, labels, generator=generator)
    found, same = resumed(images, labels, generator=generator.set_state(drawn))
    assert torch.equal(found, expected)
    assert torch.equal(same["kind"], targets["kind"])
    assert torch.equal(same["age"], targets["age"])
    assert resumed.load_state_dict(made[0].state_dict()).missing_keys == []


def test_what_is_given_out_may_be_edited() -> None:
    mixer = create_mixer("mixup", "points", num_classes=2, partners="previous_batch", alpha=1e9, solver="identity")
    points, labels = torch.ones(2, 5, 3), torch.arange(2)
    mixed, targets = mixer(points, labels)
    mixed.zero_()
    targets.zero_()
    mixed, targets = mixer(points, labels)
    torch.testing.assert_close(mixed, points)
    torch.testing.assert_close(targets.sum(1), torch.ones(2))


def test_samples_that_a_schedule_spares_stay_as_they_are() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(216, 3))
    options: dict[str, Any] = {"model": model, "schedule": "adaptive", "partners": "previous_batch", "alpha": 1e9}
    mixer = create_mixer("mixup", "image", num_classes=3, **options)
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor([-50.0, 50.0, -50.0]))  # certain of class 1, which alone is mixed
    labels, before = torch.tensor([0, 1, 2]), torch.zeros(3)
    for k, images in enumerate(batches(3)):
        mixed, targets = mixer(images, labels)
        assert torch.equal(mixed[[0, 2]], images[[0, 2]])
        assert torch.equal(targets[[0, 2]], torch.eye(3)[[0, 2]])
        if k:
            torch.testing.assert_close(mixed[1], (images[1] + before[1]) / 2, atol=1e-3, rtol=0)
        before = mixed.clone()


def test_what_is_not_known_stays_so_with_the_batch_before() -> None:
    signal = torch.randn(3, 1, 8)
    for num_classes, marked in ((None, torch.tensor([[5.0, -1], [5, 5], [5, 5]])), (2, torch.tensor([[1.0, -1]] * 3))):
        options = {"num_classes": num_classes, "ignore_index": -1, "partners": "previous_batch"}
        mixer = create_mixer("mixup", "sequence", **options)
        mixer(signal, torch.ones(3, 2))
        for _ in range(2):  # and of the one before that
            targets = mixer(signal, marked)[1]
            assert torch.equal(targets == -1, marked == -1)
            marked = torch.where(marked == -1, marked, 1.0)
        assert torch.equal(mixer(signal, torch.ones(3, 2))[1] == -1, marked == -1)
    mixer = create_mixer("mixup", "sequence", partners="previous_batch")
    mixer(signal, torch.ones(3))
    for label in (torch.tensor([1.0, float("nan"), 3.0]), torch.ones(3)):
        assert mixer(signal, label)[1].isnan().tolist() == [False, True, False]


def test_structures_of_labels_and_eval() -> None:
    mixer = create_mixer("recursivemix", "image", num_classes={"kind": 3, "age": None})
    labels = {"kind": torch.arange(3), "age": torch.tensor([1.0, 2.0, 3.0])}
    for images in batches(3):
        _, targets = mixer(images, labels)
        assert targets["kind"].shape == (3, 3)
        assert targets["age"].shape == (3,)
        assert 1 <= targets["age"].min() <= targets["age"].max() <= 3
    kept = mixer.eval()(images, labels)
    assert kept[0] is images
    transform = RecursiveMix(num_classes=3)
    for images in batches(2):
        torch.testing.assert_close(transform(images, torch.arange(3))[1].sum(1), torch.ones(3))


@pytest.mark.parametrize("domain", ["points", "sequence", "volume"])
def test_other_domains(domain: str) -> None:
    shape = {"points": (4, 200, 3), "sequence": (4, 2, 50), "volume": (4, 1, 6, 7, 8)}[domain]
    mixer = create_mixer("recursivemix", domain, num_classes=4)
    for _ in range(3):
        mixed, targets = mixer(torch.rand(shape), torch.arange(4))
        assert mixed.shape == shape
        torch.testing.assert_close(targets.sum(1), torch.ones(4))


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (
            "sagemix",
            {"saliency": "spectral_residual"},
            "samples whose saliency nobody remembers.*got SageMix",
        ),
        ("remix", {}, "whose classes nobody remembers"),
        ("cutmix", {"saliency": "spectral_residual", "labels_by": "saliency"}, "whose saliency nobody remembers"),
    ],
)
def test_what_the_batch_before_does_not_tell_is_refused(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer(method, "image", num_classes=3, partners="previous_batch", **options)


def test_a_manifold_mixer_has_no_memory() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 3))
    with pytest.raises(ValueError, match="remembers the batch before, a ManifoldMixer does not"):
        mixkit.ManifoldMixer(model, ["0"], "recursivemix", "image", num_classes=3)
    mixkit.ManifoldMixer(model, ["0"], "recursivemix", "image", num_classes=3, partners="random")


def test_labels_of_elements_are_refused() -> None:
    mixer = create_mixer("recursivemix", "image", num_classes=3)
    with pytest.raises(ValueError, match="mixes labels of samples, got labels of elements"):
        mixer(torch.rand(2, 1, 4, 4), PerElement(torch.zeros(2, 4, 4).long()))
    with pytest.raises(ValueError, match=r"alpha must lie in \[0, 1\], got 2"):
        mixkit.methods.RecursiveMix(alpha=2)


@pytest.mark.parametrize("form", ["pair", "dict", "image", "collate"])
def test_transforms_and_collate_meet_the_batch_before(form: str) -> None:
    labels, transform = torch.arange(3), RecursiveMix(num_classes=3, alpha=0.5)
    before, now = torch.zeros(3, 1, 9, 9), torch.ones(3, 1, 9, 9)

    def mix(images: Tensor) -> tuple[Tensor, Tensor]:
        if form == "dict":
            found = transform({"image": images, "labels": labels, "name": "kept"})
            assert found["name"] == "kept"
            return found["image"], found["labels"]
        if form == "collate":
            return transform.collate(list(zip(images, labels.tolist(), strict=True)))
        return transform(tv_tensors.Image(images) if form == "image" else images, labels)

    first, _ = mix(before)
    assert first.sum() == 0
    mixed, targets = mix(now)
    assert isinstance(mixed, tv_tensors.Image) == (form == "image")
    share = 1 - mixed.flatten(1).mean(1)
    assert (share > 0).all(), "what is 0 is the batch before's"
    torch.testing.assert_close(targets, torch.eye(3), msg="of one class, as both batches have the same labels")
    assert transform.eval()(now, labels)[0] is now


def test_a_compiled_transform_meets_the_batch_before() -> None:
    transform = RecursiveMix(num_classes=3)
    compiled = torch.compile(transform, backend="eager", fullgraph=True)
    compiled(torch.zeros(3, 1, 9, 9), torch.arange(3))
    assert (compiled(torch.ones(3, 1, 9, 9), torch.arange(3))[0] == 0).any()


def test_more_than_one_input_has_no_batch_before() -> None:
    images, labels = torch.rand(3, 1, 8, 8), torch.arange(3)
    mask = tv_tensors.Mask(torch.zeros(3, 8, 8).long())
    with pytest.raises(ValueError, match="remembers one batch of images and its labels"):
        RecursiveMix(num_classes=3, mask_classes=2)(images, labels, mask)
    both = {"left": tv_tensors.Image(images), "right": tv_tensors.Image(images), "labels": labels}
    with pytest.raises(ValueError, match="remembers one batch of images and its labels"):
        RecursiveMix(num_classes=3)(both)
    assert RecursiveMix(num_classes=3).eval()(both)["left"] is both["left"]
    mixer = create_mixer("recursivemix", "image", num_classes=3)
    with pytest.raises(ValueError, match="remembers one input of a batch, got 2"):
        mixkit.Collate(mixer, [0, 1], 2)([(image, image, 0) for image in images])


@pytest.mark.parametrize(
    ("num_classes", "labels", "wanted"),
    [
        (4, torch.arange(3), r"targets \(B, 3\), which do not mix with \(B, 4\) of this one"),
        (None, torch.rand(3), r"targets \(B, 3\), which do not mix with \(B\) of this one"),
        ({"kind": 3}, {"kind": torch.arange(3)}, r"targets \(B, 3\), which do not mix with {'kind': '\(B, 3\)'}"),
    ],
)
def test_a_state_of_other_targets_is_refused(num_classes: Any, labels: Any, wanted: str) -> None:
    of_three, images = create_mixer("recursivemix", "image", num_classes=3), torch.rand(3, 1, 8, 8)
    of_three(images, torch.arange(3))
    other = create_mixer("recursivemix", "image", num_classes=num_classes)
    other.load_state_dict(of_three.state_dict())
    with pytest.raises(ValueError, match=wanted):
        other(images, labels)


def test_what_is_no_state_is_refused() -> None:
    mixer = create_mixer("recursivemix", "image", num_classes=3)
    with pytest.raises(TypeError, match="must be a batch and its targets, or None, got int"):
        mixer.load_state_dict({"history._extra_state": 3})
