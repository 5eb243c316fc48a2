"""The transforms' conventions: what of a sample is mixed, what passes, and what is refused with which words."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

import mixkit
import mixkit_image
from mixkit_image import MixTransform
from tests.conftest import ImageModel

B, K = 6, 7


def pictures(dtype: torch.dtype = torch.float32) -> Tensor:
    """Images (B, 3, 8, 10) all of whose pixels tell their sample."""
    return torch.arange(B)[:, None, None, None].expand(B, 3, 8, 10).to(dtype)


def make(method: str = "mixup", **options: Any) -> MixTransform:
    return MixTransform(method, **{"num_classes": K, "p": 1.0, **options})


def holds(images: Tensor, targets: Tensor) -> None:
    """The images' means are what their targets say."""
    mean = images.as_subclass(Tensor).float().flatten(1).mean(1)
    torch.testing.assert_close(mean, targets.float() @ torch.arange(float(targets.shape[1])))
    assert not torch.equal(mean, torch.arange(float(B)))


labels = torch.arange(B)

STRUCTURES: dict[str, Any] = {
    "pair": lambda x: ((x, labels), lambda s: (s[0], s[1])),
    "list": lambda x: ([x, labels], lambda s: (s[0], s[1])),
    "label dict": lambda x: ((x, {"id": labels + 9, "Label": labels}), lambda s: (s[0], s[1]["Label"])),
    "exact before part": lambda x: (
        {"label_id": labels + 9, "LABELS": labels, "x": x},
        lambda s: (s["x"], s["LABELS"]),
    ),
    "part of a key": lambda x: ({"x": x, "my_label": labels}, lambda s: (s["x"], s["my_label"])),
    "ordered": lambda x: (OrderedDict(x=x, labels=labels), lambda s: (s["x"], s["labels"])),
    "nested": lambda x: (({"view": [x, "path"]}, {"labels": labels}), lambda s: (s[0]["view"][0], s[1]["labels"])),
}


@pytest.mark.parametrize("wrap", [lambda x: x, tv_tensors.Image], ids=["plain", "Image"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_images_and_labels_are_found_in_any_structure(structure: str, wrap: Any) -> None:
    images = wrap(pictures())
    sample, take = STRUCTURES[structure](images)
    mixed = make()(sample)
    found, targets = take(mixed)
    assert type(mixed) is type(sample)
    assert type(found) is type(images)
    holds(found, targets)


def test_what_is_neither_passes_through() -> None:
    extra = torch.rand(B, 3, 8, 10)
    sample = {
        "x": pictures(),
        "labels": labels,
        "extra": extra,
        "weight": torch.rand(B),
        "path": ["a"] * B,
        "none": None,
    }
    mixed = make()(sample)
    for name in ("extra", "weight", "path", "none"):
        assert mixed[name] is sample[name] or mixed[name] == sample[name]
    holds(mixed["x"], mixed["labels"])
    beside = make()({"extra": extra, "x": tv_tensors.Image(pictures()), "labels": labels})
    assert beside["extra"] is extra  # a plain tensor passes where there is an Image
    holds(beside["x"], beside["labels"])
    first = make()({"labels": labels, "weight": torch.rand(B), "x": pictures()})
    holds(first["x"], first["labels"])


def test_every_image_of_a_sample_is_mixed_by_the_same_plan() -> None:
    left, right = torch.rand(B, 3, 8, 10), torch.rand(B, 1, 8, 10)
    sample = {"left": tv_tensors.Image(left), "right": tv_tensors.Image(right), "labels": labels, "both": None}
    for method in ("cutmix", "sagemix", "puzzlemix"):
        transform = make(method)
        torch.manual_seed(1)
        mixed = transform(sample)
        torch.manual_seed(1)
        params = transform.make_params([sample["left"]], labels)
        flat = right.flatten(2).mT
        torch.testing.assert_close(
            mixed["right"].as_subclass(Tensor), params["plan"].apply(flat).mT.unflatten(2, (8, 10))
        )
        assert not torch.equal(mixed["right"], right)
    small = {**sample, "right": tv_tensors.Image(torch.rand(B, 1, 10, 8))}
    with pytest.raises(ValueError, match=r"of one size, got \(10, 8\) beside \(8, 10\)"):
        make("cutmix")(small)


def test_parameters_are_drawn_apart_from_their_use() -> None:
    transform = make("cutmix")
    images, other = torch.rand(B, 3, 8, 10), torch.rand(B, 2, 8, 10)
    params = transform.make_params([images], labels)
    assert params["batch_size"] == B
    assert params["grid"] == (8, 10)
    for _ in range(2):
        torch.testing.assert_close(
            transform.transform(other, params), params["plan"].apply(other.flatten(2).mT).mT.unflatten(2, (8, 10))
        )
    torch.testing.assert_close(transform.transform(labels, params), params["plan"].targets(labels, K))
    assert transform.transform("path", params) == "path"
    with pytest.raises(ValueError, match="saliency needs labels"):
        make("sagemix", model=ImageModel(K)).make_params([images])


@pytest.mark.parametrize("method", ["cutmix", "mixup", "sagemix", "puzzlemix"])
def test_all_frames_of_a_video_are_mixed_alike(method: str) -> None:
    frames = torch.rand(B, 4, 3, 8, 10)
    video = tv_tensors.Video(frames)
    transform = make(method)
    for make_model in (None, lambda: FrameModel()):
        transform = make(method, **({} if make_model is None else {"model": make_model()}))
        torch.manual_seed(3)
        mixed, targets = transform(video, labels)
        torch.manual_seed(3)
        plan = transform.make_params([video], labels)["plan"]
        assert type(mixed) is tv_tensors.Video
        for t in range(4):
            expected = plan.apply(frames[:, t].flatten(2).mT).mT.unflatten(2, (8, 10))
            torch.testing.assert_close(mixed.as_subclass(Tensor)[:, t], expected)
        torch.testing.assert_close(targets, plan.targets(labels, K))
        assert not torch.equal(mixed, video)
    if method == "cutmix":
        assert transform(tv_tensors.Video((frames * 255).byte()), labels)[0].dtype == torch.uint8


class FrameModel(torch.nn.Module):
    """Classifies a video (B, T, C, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(4 * 3 * 8 * 10, K)

    def forward(self, video: Tensor) -> Tensor:
        assert video.dim() == 5
        return self.head(video.flatten(1)).tanh()


def test_floating_point_masks_are_mixed_as_they_are() -> None:
    images = torch.rand(B, 3, 8, 10)
    for mask in (images[:, 0], images[:, :1], images):
        for method in ("mixup", "cutmix", "sagemix"):
            mixed = make(method)({"x": tv_tensors.Image(images), "labels": labels, "mask": tv_tensors.Mask(mask)})
            assert type(mixed["mask"]) is tv_tensors.Mask
            expected = mixed["x"].as_subclass(Tensor)[:, : mask.shape[1] if mask.dim() == 4 else 1]
            torch.testing.assert_close(mixed["mask"].as_subclass(Tensor), expected.reshape(mask.shape))
    alone = make("cutmix")(images, tv_tensors.Mask(images[:, 0]))
    torch.testing.assert_close(alone[1].as_subclass(Tensor), alone[0][:, 0])


@pytest.mark.parametrize("dtype", [torch.long, torch.bool, torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("num_classes", [None, K])
def test_one_hot_and_multi_hot_labels_of_any_dtype(dtype: torch.dtype, num_classes: int | None) -> None:
    hot = torch.eye(K)[:B]
    images, targets = make(num_classes=num_classes)(pictures(), hot.to(dtype))
    assert targets.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    holds(images, targets)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float16, torch.bfloat16, torch.float64])
def test_images_keep_their_dtype(dtype: torch.dtype) -> None:
    images, targets = make("cutmix")(pictures(dtype), labels)
    assert images.dtype == dtype
    assert targets.dtype == torch.float32
    if not dtype.is_floating_point:
        with pytest.raises(TypeError, match=f"Mixup interpolates.*{dtype}; convert images first"):
            make("mixup")(pictures(dtype), labels)


@pytest.mark.parametrize("method", ["mixup", "sagemix", "cutmix", "puzzlemix"])
def test_copies_and_pickles_do_the_same(method: str) -> None:
    transform = make(method)
    images = torch.rand(B, 3, 8, 10)
    torch.manual_seed(4)
    expected = transform(images, labels)
    for twin in (copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        torch.manual_seed(4)
        for one, other in zip(twin(images, labels), expected, strict=True):
            assert torch.equal(one, other)
        assert repr(twin) == repr(transform)


def test_nothing_that_came_is_changed_and_what_is_not_mixed_is_no_copy() -> None:
    images = torch.rand(B, 3, 8, 10)
    before = images.clone()
    make("cutmix")(images, labels)
    assert torch.equal(images, before)
    for transform in (make(p=0.0), make().eval()):
        same, targets = transform(images, labels)
        assert same is images
        assert torch.equal(targets, torch.eye(K)[:B])


def test_with_v2s_own_in_a_chain() -> None:
    chain = v2.Compose([v2.CutMix(num_classes=K), make("mixup"), v2.MixUp()])
    images, targets = chain(pictures(), labels)
    torch.testing.assert_close(targets.sum(1), torch.ones(B))
    holds(images, targets)


class Stranger:
    pass


PIL = pytest.importorskip("PIL.Image")
x = torch.rand(B, 3, 8, 10)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ((x,), r"found no labels.*got a Tensor of \(6, 3, 8, 10\)"),
        (((x,),), "no labels, which would be the second item"),
        ((x, "labels"), r"default labels_getter.*got a tuple of \(6, 3, 8, 10\), str"),
        ((x, Stranger()), "default labels_getter.*Stranger"),
        (({"x": x, "category": labels},), "Could not infer where the labels are among 'x', 'category'"),
        (({"x": x, 3: labels},), "Could not infer where the labels are among 'x', 3"),
        ((x, {"labels": [1, 2, 3]}), "labels must be a tensor, .* got <class 'list'>"),
        ((x[0], labels), r"batched input with 4 dims, one batch of images \(B, C, H, W\), got \(3, 8, 10\)"),
        ((x[:, None], labels), r"4 dims.*got \(6, 1, 3, 8, 10\); a plain tensor of frames goes into tv_tensors\.Video"),
        ((tv_tensors.Video(x), labels), r"batched input with 5 dims, .*\(B, T, C, H, W\), got \(6, 3, 8, 10\)"),
        ((x, labels[:4]), "does not match the batch size of the labels: 6 != 4"),
        ((x, torch.zeros(B, K + 1)), "2D labels.*num_classes.*: 8 != 7"),
        (
            (x, torch.zeros(B, 3, 4, dtype=torch.long)),
            r"index based.*got a tensor of shape \(6, 3, 4\) for images \(6, 3",
        ),
        ((tv_tensors.KeyPoints(torch.zeros(B, 2), canvas_size=(8, 10)), labels), "key points.*got KeyPoints")
        if hasattr(tv_tensors, "KeyPoints")
        else ((x[0], labels), "batched"),
        ((PIL.new("RGB", (8, 8)), labels), "does not support PIL images.*got Image"),
        ((PIL.new("RGB", (8, 8)),), "does not support PIL images.*got Image"),
        ((tv_tensors.Mask(torch.zeros(8, 8)),), r"does not support .* nor masks by themselves, got a Mask \(8, 8\)"),
        (
            (tv_tensors.BoundingBoxes(torch.zeros(2, 4), format="XYXY", canvas_size=(8, 8)),),
            "does not support .*bounding boxes.* by themselves, got BoundingBoxes",
        ),
        ((x, torch.zeros(2, 3, 4, dtype=torch.long)), r"index based.*got a tensor of shape \(2, 3, 4\)"),
        ((labels + 0, labels), r"4 dims, .*got \(6,\)"),
    ],
)
def test_errors_say_what_came(sample: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()(*sample)


def test_more_errors() -> None:
    with pytest.raises(ValueError, match="num_classes must be passed"):
        make(num_classes=None)(x, labels)
    with pytest.raises(ValueError, match="an entry of the sample itself"):
        make(labels_getter=lambda sample: sample[1] + 0)(x, labels)
    with pytest.raises(ValueError, match="no mask in a tuple"):
        make(labels_getter=None)(x, labels)
    with pytest.raises(ValueError, match="'default', a function of the sample, or None, got 3"):
        make(labels_getter=3)
    with pytest.raises(ValueError, match=r"min_score must lie in \[0, 1\], got 2"):
        make(min_score=2)
    masks = {"x": x, "one": tv_tensors.Mask(labels[:, None, None].expand(B, 8, 10)), "labels": labels}
    with pytest.raises(ValueError, match="at most one mask"):
        make(mask_classes=9)({**masks, "two": masks["one"]})
    assert set(mixkit_image.__all__) >= {"MixTransform", "mix_boxes"}


def keys_of(sample: Any) -> Any:
    return sample[2]


@pytest.mark.parametrize("p", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["plain", "image", "video"])
def test_a_bank_learns_what_a_mixer_teaches_it(kind: str, p: float) -> None:
    images, labels, keys = torch.rand(4, 3, 6, 5), torch.arange(4), torch.tensor([6, 0, 3, 2])
    index = torch.arange(30).flip(0).expand(4, 30)
    samples = mixkit.Samples(keys, index)
    banks = [mixkit.SaliencyBank(7, 30), mixkit.SaliencyBank(7, 30)]
    mixer = mixkit.create_mixer("sagemix", "image", num_classes=4, saliency=banks[0], p=p)
    transform = MixTransform("sagemix", num_classes=4, saliency=banks[1], p=p, samples_getter=lambda _: samples)
    wrap = {"plain": lambda x: x, "image": tv_tensors.Image, "video": lambda x: tv_tensors.Video(x[:, None])}[kind]
    for _ in range(2):  # the second time by what the first has taught
        torch.manual_seed(3)
        mixed, targets = mixer(images, labels, samples=samples)
        mixed.pow(3).sum().backward()
        torch.manual_seed(3)
        out, out_targets = transform(wrap(images), labels)
        assert type(out) is type(wrap(images))
        assert torch.equal(out.as_subclass(Tensor).reshape(mixed.shape), mixed)
        assert torch.equal(out_targets, targets)
        out.pow(3).sum().backward()
        assert torch.equal(banks[0].look_up(keys), banks[1].look_up(keys))
    assert "4 of 7 samples seen" in repr(banks[1])
    assert not transform.eval()(wrap(images), labels)[0].requires_grad


def test_a_bank_serves_collation_beside_it_and_detection() -> None:
    bank = mixkit.SaliencyBank(5, 30)
    transform = MixTransform("sagemix", num_classes=3, saliency=bank, samples_getter=keys_of)
    loader = torch.utils.data.DataLoader(
        [(torch.rand(3, 6, 5), i % 3, 4 - i) for i in range(4)], 4, collate_fn=transform.collate
    )
    images, targets, keys = next(iter(loader))
    assert (targets.shape, keys.tolist()) == ((4, 3), [4, 3, 2, 1])
    images.square().sum().backward()
    assert "4 of 5 samples seen" in repr(bank)
    boxes = [{"boxes": torch.tensor([[0.0, 0, 2, 2]]), "labels": torch.tensor([1])}] * 2
    pictures, _, _ = transform(list(torch.rand(2, 3, 6, 5)), boxes, torch.tensor([0, 1]))
    sum(picture.square().sum() for picture in pictures).backward()
    assert "5 of 5 samples seen" in repr(bank)
    with pytest.raises(ValueError, match="needs to know the samples"):
        MixTransform("sagemix", num_classes=3, saliency=bank)(torch.rand(2, 3, 6, 5), torch.arange(2))


def test_partners_are_told_the_keys_that_the_getter_finds() -> None:
    told: list[Any] = []

    def partners(keys: Any) -> Tensor:
        told.append(torch.as_tensor(keys).tolist())
        return torch.tensor([1, 0])

    transform = MixTransform("cutmix", num_classes=3, p=1.0, partners=partners, samples_getter=keys_of)
    transform(torch.rand(2, 3, 6, 5), torch.arange(2), torch.tensor([8, 5]))
    assert told == [[8, 5]]


def test_the_loader_keeps_images_and_masks_beside_names() -> None:
    """What is no tensor is as many leaves as samples once it is collated."""
    image, mask = tv_tensors.Image(torch.rand(3, 8, 8)), tv_tensors.Mask(torch.randint(3, (8, 8)))
    sample = {"path": "a.png", "first": image, "second": image, "mask": mask, "labels": 1}
    transform = MixTransform("cutmix", num_classes=2, mask_classes=3, p=1.0)
    for names in (("first", "mask", "labels"), ("path", "first", "second", "mask", "labels")):
        batch = transform.collate([{name: sample[name] for name in names} for _ in range(4)])
        assert batch["mask"].shape == (4, 3, 8, 8)
        assert batch["labels"].shape == (4, 2)
    assert batch["path"] == ["a.png"] * 4
    assert isinstance(batch["second"], tv_tensors.Image)
    assert torch.equal(batch["first"], batch["second"])
    alone = MixTransform("cutmix", mask_classes=3, labels_getter=None)
    assert alone.collate([{"path": "a.png", "image": image, "mask": mask}] * 4)["mask"].shape == (4, 3, 8, 8)
