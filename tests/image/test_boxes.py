"""Bounding boxes through plans: which are left, where they end, and how much of them is shown."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import tv_tensors

from mixkit import MixPlan, functional
from mixkit_image import MixTransform, PixelGrid, mix_boxes

GRID = (8, 10)


def box_plan(x1: int, y1: int, x2: int, y2: int) -> MixPlan:
    """Two images; the pixels of x1 <= x < x2, y1 <= y < y2 of each are its partner's."""
    coords = PixelGrid().elements(torch.zeros(2, 1, *GRID)).coords
    low, high = torch.tensor([[x1, y1]]) - 0.5, torch.tensor([[x2, y2]]) - 0.5
    return functional.cutmix(coords, torch.tensor([1, 0]), None, (low + high) / 2, (high - low) / 2)


def target(*boxes: tuple[float, ...], **entries: Any) -> dict[str, Any]:
    return {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": torch.arange(len(boxes)), **entries}


def check(found: dict[str, Any], boxes: list[tuple[float, ...]], scores: list[float], labels: list[int]) -> None:
    torch.testing.assert_close(found["boxes"].as_subclass(Tensor), torch.tensor(boxes).reshape(-1, 4).float())
    torch.testing.assert_close(found["scores"], torch.tensor(scores))
    assert found["labels"].tolist() == labels


def test_a_cut_clips_the_boxes_of_both() -> None:
    plan = box_plan(4, 0, 10, 8)  # the right part is the partner's
    own = target((0.0, 0, 3, 4), (2.0, 2, 6, 6), (5.0, 1, 9, 3))  # outside the box, half in it, covered
    partner = target((1.0, 0, 9, 8), (0.0, 0, 2, 2), (6.0, 6, 8, 8))
    first, second = mix_boxes(plan, [own, partner], GRID)
    check(first, [(0, 0, 3, 4), (2, 2, 4, 6), (4, 0, 9, 8), (6, 6, 8, 8)], [1, 0.5, 5 / 8, 1], [0, 1, 0, 2])
    check(second, [(1, 0, 4, 8), (0, 0, 2, 2), (4, 2, 6, 6), (5, 1, 9, 3)], [3 / 8, 1, 0.5, 1], [0, 1, 1, 2])


def test_a_hole_leaves_the_box_and_lowers_its_score() -> None:
    plan = box_plan(4, 3, 6, 5)
    first, _ = mix_boxes(plan, [target((2.0, 2, 8, 6)), target((0.0, 0, 3, 3))], GRID)
    check(first, [(2, 2, 8, 6)], [20 / 24], [0])  # the partner's box is not shown at all


def test_edges_between_pixels_count_by_area() -> None:
    plan = box_plan(4, 0, 10, 8)
    first, _ = mix_boxes(plan, [target((3.25, 1.5, 4.75, 2.0)), target((3.5, 0, 4.5, 8))], GRID)
    check(first, [(3.25, 1.5, 4, 2), (4, 0, 4.5, 8)], [0.5, 0.5], [0, 0])


def test_interpolation_keeps_all_boxes_with_their_weights() -> None:
    plan = functional.mixup(torch.tensor([1, 0]), torch.tensor([0.75, 0.25]))
    first, second = mix_boxes(plan, [target((0.0, 0, 3, 4)), target((1.0, 1, 2, 2), (4.0, 4, 8, 8))], GRID)
    check(first, [(0, 0, 3, 4), (1, 1, 2, 2), (4, 4, 8, 8)], [0.75, 0.25, 0.25], [0, 0, 1])
    check(second, [(1, 1, 2, 2), (4, 4, 8, 8), (0, 0, 3, 4)], [0.25, 0.25, 0.75], [0, 1, 0])


def test_a_score_is_the_mean_weight_over_the_box() -> None:
    weight = torch.rand(1, 80)
    plan = MixPlan.pair(torch.tensor([1, 0]), weight)
    first, _ = mix_boxes(plan, [target((2.0, 1, 7, 5)), target((0.0, 0, 10, 8))], GRID)
    shown = weight.unflatten(1, GRID)[0]
    torch.testing.assert_close(first["scores"], torch.stack([shown[1:5, 2:7].mean(), (1 - shown).mean()]))


def test_samples_out_of_many_and_a_partner_that_is_oneself() -> None:
    source = torch.zeros(1, 1, 80, dtype=torch.long)
    source.unflatten(2, GRID)[..., 5:] = 2
    plan = MixPlan(source, None, torch.ones(1, 1, 80), num_samples=3)
    (only,) = mix_boxes(
        plan, [target((4.0, 0, 8, 2), kind=["a"]), target(kind=[]), target((4.0, 0, 8, 4), kind=["c"])], GRID
    )
    check(only, [(4, 0, 5, 2), (5, 0, 8, 4)], [0.25, 0.75], [0, 0])
    assert only["kind"] == ["a", "c"]
    own = MixPlan.pair(torch.tensor([0]), torch.tensor([[0.3]]))
    check(mix_boxes(own, [target((4.0, 0, 8, 2))], GRID)[0], [(4, 0, 8, 2)], [1.0], [0])


def test_low_scores_are_dropped_and_those_that_came_count() -> None:
    plan = box_plan(4, 0, 10, 8)
    own = target((0.0, 0, 3, 4), (2.0, 2, 6, 6), (3.0, 0, 8, 1), scores=torch.tensor([0.3, 1.0, 1.0]))
    other = target((0.0, 0, 1, 1), scores=torch.ones(1))
    check(mix_boxes(plan, [own, other], GRID, min_score=0.4)[0], [(2, 2, 4, 6)], [0.5], [1])
    check(
        mix_boxes(plan, [own, other], GRID)[0], [(0, 0, 3, 4), (2, 2, 4, 6), (3, 0, 4, 1)], [0.3, 0.5, 0.2], [0, 1, 2]
    )


@pytest.mark.parametrize("format", ["XYXY", "XYWH", "CXCYWH"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.long])
def test_every_format_comes_back_in_kind(format: str, dtype: torch.dtype) -> None:
    boxes = {"XYXY": (2, 2, 6, 6), "XYWH": (2, 2, 4, 4), "CXCYWH": (4, 4, 4, 4)}[format]
    cut = {"XYXY": (2, 2, 4, 6), "XYWH": (2, 2, 2, 4), "CXCYWH": (3, 4, 2, 4)}[format]
    given = tv_tensors.BoundingBoxes(torch.tensor([boxes], dtype=dtype), format=format, canvas_size=GRID)
    empty = tv_tensors.BoundingBoxes(torch.zeros(0, 4, dtype=dtype), format=format, canvas_size=GRID)
    targets = [{"boxes": given, "labels": torch.tensor([5])}, {"boxes": empty, "labels": torch.zeros(0).long()}]
    first, second = mix_boxes(box_plan(4, 0, 10, 8), targets, GRID)
    for found in (first["boxes"], second["boxes"]):
        assert isinstance(found, tv_tensors.BoundingBoxes)
        assert (found.format.name, found.canvas_size, found.dtype) == (format, GRID, dtype)
    assert first["boxes"].tolist() == [list(cut)]
    assert first["labels"].tolist() == [5]


def test_what_belongs_to_the_boxes_goes_with_them() -> None:
    masks = torch.ones(2, *GRID, dtype=torch.uint8)
    own = target(
        (2.0, 2, 6, 6), (5.0, 1, 9, 3), masks=tv_tensors.Mask(masks), area=torch.tensor([16.0, 8.0]),
        image_id=torch.tensor([7, 8]), iscrowd=torch.tensor([0, 1]), path="here",
    )  # fmt: skip
    other = target(
        masks=tv_tensors.Mask(masks[:0]), area=torch.zeros(0), image_id=9, iscrowd=torch.zeros(0).long(), path="b"
    )
    first, second = mix_boxes(box_plan(4, 0, 10, 8), [own, other], GRID)
    assert first["image_id"].tolist() == [7, 8]
    assert (first["path"], second["path"], second["image_id"]) == ("here", "b", 9)
    assert first["area"].tolist() == [8.0]
    assert first["iscrowd"].tolist() == [0]
    assert isinstance(first["masks"], tv_tensors.Mask)
    assert first["masks"].shape == (1, *GRID)
    assert first["masks"][0].sum(0).tolist() == [8] * 4 + [0] * 6
    assert second["masks"].sum((1, 2)).tolist() == [48, 48]
    assert masks.sum() == 160


def test_an_image_without_boxes_has_none() -> None:
    masks = tv_tensors.Mask(torch.ones(1, *GRID, dtype=torch.uint8))
    boxes = tv_tensors.BoundingBoxes([[2.0, 2, 6, 6]], format="XYXY", canvas_size=GRID)
    own = {"boxes": boxes, "labels": torch.tensor([3]), "masks": masks, "image_id": 4, "names": ["cat"]}
    first, second = mix_boxes(box_plan(4, 0, 10, 8), [own, {"image_id": 5}], GRID)
    for found in (first, second):
        assert {name: len(found[name]) for name in ("boxes", "labels", "masks", "names", "scores")} == dict.fromkeys(
            ("boxes", "labels", "masks", "names", "scores"), 1
        )
        assert isinstance(found["boxes"], tv_tensors.BoundingBoxes)
    assert (first["image_id"], second["image_id"]) == (4, 5)
    transform = MixTransform("cutmix", p=1.0)
    samples = [(torch.rand(3, *GRID), given) for given in (own, {"image_id": 5})]
    _, targets = transform.collate(samples)
    assert [each["image_id"] for each in targets] == [4, 5]
    assert all("boxes" in each for each in targets)


@pytest.mark.parametrize("training", [True, False])
def test_an_image_without_boxes_keeps_what_is_its_own(training: bool) -> None:
    sizes = [torch.tensor([480, 640]), torch.tensor([333, 500])]
    own = target((2.0, 2, 6, 6), (0.0, 0, 3, 4), hw=sizes[0])  # two boxes, by chance as many as sides
    images, targets = torch.rand(2, 3, *GRID), [own, {"image_id": 7, "hw": sizes[1]}]
    _, found = MixTransform("cutmix", p=1.0).train(training)(images, targets)
    assert [each["hw"].tolist() for each in found] == [each.tolist() for each in sizes]


def test_a_batch_without_any_box() -> None:
    samples = [(torch.rand(3, *GRID), {"image_id": number}) for number in (4, 5)]
    transform = MixTransform("cutmix", p=1.0, num_classes=3)
    for images, targets in (transform.collate(samples), transform.eval().collate(samples)):
        assert images.shape == (2, 3, *GRID)
        for found, number in zip(targets, (4, 5), strict=True):
            assert {name: len(found[name]) for name in ("boxes", "labels", "scores")} == dict.fromkeys(
                ("boxes", "labels", "scores"), 0
            )
            assert found["image_id"] == number


def test_boxes_of_another_format_are_told_in_the_samples_own() -> None:
    def boxed(format: str, dtype: torch.dtype) -> dict[str, Any]:
        boxes = tv_tensors.BoundingBoxes([[0, 0, 10, 8]], format=format, canvas_size=GRID, dtype=dtype)
        return {"boxes": boxes, "labels": torch.tensor([0])}

    mixed = mix_boxes(box_plan(4, 0, 10, 8), [boxed("XYWH", torch.long), boxed("XYXY", torch.float32)], GRID)
    assert [found["boxes"].tolist() for found in mixed] == [
        [[0, 0, 4, 8], [4, 0, 6, 8]],
        [[0, 0, 4, 8], [4, 0, 10, 8]],
    ]


def test_scores_may_be_a_list() -> None:
    listed = target((0.0, 0, 4, 8), scores=[0.5])
    first, _ = mix_boxes(box_plan(4, 0, 10, 8), [listed, target((4.0, 0, 10, 8))], GRID)
    check(first, [(0, 0, 4, 8), (4, 0, 10, 8)], [0.5, 1.0], [0, 0])


def test_what_one_image_has_more_or_fewer_of_than_boxes_is_no_box_s() -> None:
    pairs = [torch.tensor([float(b), float(b)]) for b in range(2)]
    for counts in ((2, 1), (1, 2), (1, 3)):
        targets = [target(*[(2.0, 2, 6, 6)] * n, scale=pair) for n, pair in zip(counts, pairs, strict=True)]
        mixed = mix_boxes(box_plan(4, 0, 10, 8), targets, GRID)
        assert [found["scale"].tolist() for found in mixed] == [[0, 0], [1, 1]]
        assert len(mixed[0]["boxes"]) == sum(counts)


@pytest.mark.parametrize("method", ["cutmix", "mixup", "sagemix", "comixup", "pointcutmix_r", "puzzlemix"])
def test_boxes_show_the_pixels_that_are_there(method: str) -> None:
    """Each image is 1 in its own box only: what the mixed image holds is what the scores say of the areas."""
    options = {"transport": False} if method == "puzzlemix" else {}
    images, targets = torch.zeros(5, 1, 16, 16), []
    for i in range(5):
        images[i, :, i : i + 6, 2 * i : 2 * i + 5] = 1
        targets.append(target((2.0 * i, i, 2 * i + 5, i + 6), image_id=i))
    transform = MixTransform(method, p=1.0, **options)
    mixed, found = transform(images, targets)
    for image, boxes in zip(mixed, found, strict=True):
        torch.testing.assert_close(image.sum(), boxes["scores"].sum() * 30)
        inside = torch.zeros(16, 16, dtype=torch.bool)
        for x1, y1, x2, y2 in boxes["boxes"].long().tolist():
            inside[y1:y2, x1:x2] = True
        assert not (image[0] > 0)[~inside].any()
    assert [boxes["image_id"] for boxes in found] == list(range(5))
    same, kept = transform.eval()(images, targets)
    assert same is images
    check(kept[1], [(2, 1, 7, 7)], [1.0], [0])
    assert "scores" not in targets[1]


def test_lists_of_images_and_the_loader() -> None:
    data = [(tv_tensors.Image(torch.rand(3, *GRID)), target((1.0, 1, 4, 4))) for _ in range(4)]
    transform = MixTransform("cutmix", p=1.0, min_score=0.1)
    images, targets = transform([image for image, _ in data], [boxes for _, boxes in data])
    assert isinstance(images, list)
    assert all(isinstance(image, tv_tensors.Image) and image.shape == (3, *GRID) for image in images)
    assert len(targets) == 4
    loader = DataLoader(data, batch_size=2, collate_fn=transform.collate, num_workers=1)
    for images, targets in loader:
        assert images.shape == (2, 3, *GRID)
        assert all(len(boxes["boxes"]) == len(boxes["labels"]) == len(boxes["scores"]) for boxes in targets)
    named = MixTransform("cutmix", labels_getter=lambda sample: sample["targets"])
    mixed = named({"image": torch.rand(4, 3, *GRID), "targets": [boxes for _, boxes in data], "id": [1, 2, 3, 4]})
    assert len(mixed["targets"]) == 4
    assert mixed["id"] == [1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"one size to be mixed, got \(3, 4, 4\) and \(3, 8, 10\)"):
        transform([torch.rand(3, 4, 4), data[0][0]], [data[0][1]] * 2)


def test_errors() -> None:
    plan, two = box_plan(4, 0, 10, 8), [target((0.0, 0, 1, 1))] * 2
    boxes = tv_tensors.BoundingBoxes([[0, 0, 1, 1]], format="XYXY", canvas_size=GRID)
    with pytest.raises(ValueError, match=r"pairs \(image, target\) to be collated, got a dict"):
        MixTransform("cutmix").collate([{"image": torch.rand(3, *GRID), "target": {"boxes": boxes}}] * 2)
    with pytest.raises(ValueError, match="2 dicts, one for each image, got 1"):
        mix_boxes(plan, two[:1], GRID)
    with pytest.raises(ValueError, match=r"boxes must be \(n, 4\), got \(1, 5\)"):
        mix_boxes(plan, [{"boxes": torch.ones(1, 5)}, two[0]], GRID)
    with pytest.raises(ValueError, match=r"tensor .n, 4., got list"):
        mix_boxes(plan, [{"boxes": [1, 2, 3, 4]}, two[0]], GRID)
    with pytest.raises(ValueError, match="the same entries for their boxes, and image 1 has no 'area'"):
        mix_boxes(plan, [{**two[0], "area": torch.ones(1)}, two[1]], GRID)
    moving = MixPlan.pair(torch.tensor([1, 0]), torch.ones(2, 80), torch.arange(80).flip(0).expand(2, -1))
    with pytest.raises(ValueError, match="moves pixels"):
        mix_boxes(moving, two, GRID)
    for bad in ([5.0, 5, 1, 1], [0.0, 0, float("inf"), 1], [float("nan")] * 4):
        with pytest.raises(ValueError, match=r"finite, with x1 <= x2 .* box 1 of image 1 is \["):
            mix_boxes(plan, [two[0], {"boxes": torch.tensor([[0.0, 0, 1, 1], bad])}], GRID)
    with pytest.raises(ValueError, match="image 0 has 2 boxes and 1 labels"):
        mix_boxes(plan, [{"boxes": torch.ones(2, 4), "labels": torch.ones(1)}, two[0]], GRID)
    with pytest.raises(ValueError, match=r"for 80 pixels, and images of \(8, 9\) have 72"):
        mix_boxes(plan, two, (8, 9))
    rotated = (
        tv_tensors.BoundingBoxes(torch.ones(1, 5), format="CXCYWHR", canvas_size=GRID)
        if hasattr(tv_tensors.BoundingBoxFormat, "CXCYWHR")
        else None
    )
    if rotated is not None:
        with pytest.raises(ValueError, match=r"boxes must be \(n, 4\), got \(1, 5\)"):
            mix_boxes(plan, [{**two[0], "boxes": rotated}, two[0]], GRID)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("number", [2, 3])  # as many boxes as images, which would pass for labels of the images
def test_one_dict_of_boxes_for_a_whole_batch_is_refused(number: int, nested: bool) -> None:
    images = torch.rand(2, 3, 8, 8)
    flat = {"boxes": torch.rand(number, 4), "labels": torch.arange(number)}
    sample = (images, flat) if nested else ({"image": images, **flat},)
    with pytest.raises(ValueError, match=r"a dict with boxes holds the targets of one image.* a list of B such dicts"):
        MixTransform("cutmix", num_classes=4, p=1.0)(*sample)
