"""ResizeMix and SnapMix against loops written from the papers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import mixkit
from mixkit import PlanContext, create_mixer, functional, methods
from mixkit.methods.resizemix import random_box


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- ResizeMix


def loop_resizemix(a: Tensor, b: Tensor, box: list[int]) -> tuple[Tensor, float]:
    """The whole of b in a box of a (C, H, W), and the share of it."""
    (_, height, width), (top, left, rows, columns) = a.shape, box
    mixed = a.clone()
    for row in range(rows):
        for column in range(columns):
            mixed[:, top + row, left + column] = b[:, row * height // rows, column * width // columns]
    return mixed, rows * columns / (height * width)


@pytest.mark.parametrize("per_sample", [False, True])
def test_resizemix_as_a_loop_pastes(per_sample: bool) -> None:
    images, labels = torch.rand(5, 3, 13, 9), torch.arange(5)
    mixer = create_mixer("resizemix", "image", num_classes=5, per_sample=per_sample)
    boxes = set()
    for seed in range(20):
        mixed, targets = mixer(images, labels, generator=seeded(seed))
        drawn = seeded(seed)
        partner = torch.randperm(5, generator=drawn)
        count = 5 if per_sample else 1
        tau = 0.1 + 0.7 * torch.rand(count, 1, generator=drawn)
        place = torch.rand(count, 2, generator=drawn)
        for a in range(5):
            k = a if per_sample else 0
            box = []
            for side, share in zip((13, 9), place[k].tolist(), strict=True):
                centre, half = int(share * side), int(float(tau[k] * side)) // 2
                box.append((max(centre - half, 0), min(centre + half, side)))
            (top, bottom), (left, right) = box
            b = int(partner[a])
            expected, share = loop_resizemix(images[a], images[b], [top, left, bottom - top, right - left])
            assert torch.equal(mixed[a], expected)
            target = (1 - share) * torch.eye(5)[a] + share * torch.eye(5)[b]
            torch.testing.assert_close(targets[a], target)
            if bottom > top and right > left:
                shrunk = F.interpolate(images[b][None], (bottom - top, right - left), mode="nearest")[0]
                assert torch.equal(mixed[a, :, top:bottom, left:right], shrunk), "torch's nearest"
            boxes.add((top, bottom, left, right))
    assert len(boxes) > 15


def test_the_whole_object_of_a_cloud_comes_smaller() -> None:
    points = torch.randn(6, 400, 3) + torch.tensor([5.0, 0.0, 0.0])
    mixer = create_mixer("resizemix", "points", num_classes=6, low=0.5, high=0.5, partners="previous")
    plan = mixer.plan(points, torch.arange(6), generator=seeded())
    mixed, targets = mixer.apply_plan(plan, points, torch.arange(6))
    for a in range(6):
        b = (a - 1) % 6
        replaced = plan.weight[a, 0] == 0
        assert int(replaced.sum()) == 100, "tau^2 of the points"
        torch.testing.assert_close(targets[a, b], torch.tensor(0.25))
        assert torch.equal(mixed[a, ~replaced], points[a, ~replaced])
        # what was put there is half as large, and lies around the point whose neighbours are gone
        low, high = points[b].aminmax(dim=0)
        assert plan.index is not None
        source = points[b, plan.index[a, 1, replaced]]
        assert len(source.unique(dim=0)) == 100, "none twice"
        shape = (source - (low + high) / 2) / 2
        offset = mixed[a, replaced] - shape
        torch.testing.assert_close(offset, offset[:1].expand_as(offset), atol=1e-5, rtol=1e-5)
        centre = (points[a] - offset[0]).norm(dim=1)
        assert centre.min() < 1e-4
        assert torch.equal(centre.argsort()[:100].sort().values, replaced.nonzero()[:, 0])


def test_resizemix_refuses_what_makes_no_box() -> None:
    swap, box = torch.tensor([1, 0]), torch.tensor([[2, 1]])
    with pytest.raises(
        ValueError, match=r"a box must lie in the grid \(4, 4\), got one from \[\[2, 1\]\] of \[\[3, 3\]\]"
    ):
        functional.resizemix((4, 4), swap, box, torch.tensor([[3, 3]]))
    with pytest.raises(TypeError, match=r"start must be int64, got torch\.float32"):
        functional.resizemix((4, 4), swap, box.float(), box)
    with pytest.raises(ValueError, match=r"low must be at most high, got low=0\.9, high=0\.8"):
        methods.ResizeMix(low=0.9)
    assert torch.equal(functional.resizemix((4, 4), swap, box, box * 0).weight[:, 0], torch.ones(2, 16))


# ---- SnapMix


def loop_snapmix(a: Tensor, b: Tensor, box: list[int], other: list[int]) -> Tensor:
    """A box (top, left, rows, columns) of b resized into one of a (C, H, W), linearly with aligned corners."""
    top, left, rows, columns = box
    from_top, from_left, from_rows, from_columns = other
    mixed = a.clone()
    if 0 in (rows, columns, from_rows, from_columns):
        return mixed
    for row in range(rows):
        for column in range(columns):
            y = row * (from_rows - 1) / max(rows - 1, 1)
            x = column * (from_columns - 1) / max(columns - 1, 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, from_rows - 1), min(x0 + 1, from_columns - 1)
            value = torch.zeros(len(a))
            for yy, wy in ((y0, 1 - (y - y0)), (y1, y - y0)):
                for xx, wx in ((x0, 1 - (x - x0)), (x1, x - x0)):
                    value = value + wy * wx * b[:, from_top + yy, from_left + xx]
            mixed[:, top + row, left + column] = value
    return mixed


@pytest.mark.parametrize("per_sample", [False, True])
def test_snapmix_as_a_loop_pastes_and_weighs(per_sample: bool) -> None:
    images, labels = torch.rand(5, 3, 11, 8), torch.tensor([0, 1, 2, 1, 3])
    importance = torch.rand(5, 11, 8) ** 2
    mixer = create_mixer("snapmix", "image", num_classes=4, saliency=lambda batch: importance, per_sample=per_sample)
    made = 0
    for seed in range(12):
        plan = mixer.plan(images, labels, generator=seeded(seed)).validate()
        mixed, targets = mixer.apply_plan(plan, images, labels)
        drawn, count = seeded(seed), 5 if per_sample else 1
        partner, boxes = torch.randperm(5, generator=drawn), []
        context = PlanContext(generator=drawn)
        for _ in range(2):
            ratio = torch.sigmoid(-mixkit.draws.beta_log_ratio(5.0, count, drawn, torch.device("cpu")))
            boxes.append(random_box((11, 8), ratio.sqrt()[:, None], context))
        for a in range(5):
            k, b = a if per_sample else 0, int(partner[a])
            box, other = ([*start[k].tolist(), *size[k].tolist()] for start, size in boxes)
            torch.testing.assert_close(mixed[a], loop_snapmix(images[a], images[b], box, other), atol=1e-5, rtol=0)
            own, theirs = importance[a] / importance[a].sum(), importance[b] / importance[b].sum()
            weights = [1.0, 0.0]
            if 0 not in (*box, *other)[2:4] + (*box, *other)[6:8]:
                weights = [
                    1 - float(own[box[0] : box[0] + box[2], box[1] : box[1] + box[3]].sum()),
                    float(theirs[other[0] : other[0] + other[2], other[1] : other[1] + other[3]].sum()),
                ]
                made += 1
            target = weights[0] * torch.eye(4)[labels[a]] + weights[1] * torch.eye(4)[labels[b]]
            torch.testing.assert_close(targets[a], target, atol=1e-5, rtol=0)
    assert made > 20


def test_snapmix_resizes_as_torch_does() -> None:
    images = torch.rand(2, 3, 10, 12)
    box, other = torch.tensor([[1, 2]]), torch.tensor([[3, 0]])
    size, other_size = torch.tensor([[4, 9]]), torch.tensor([[7, 5]])
    plan = functional.snapmix((10, 12), torch.tensor([1, 0]), box, size, other, other_size, torch.ones(2, 120))
    mixed = plan.apply(images.flatten(2).mT).mT.unflatten(2, (10, 12))
    expected = F.interpolate(images.flip(0)[:, :, 3:10, 0:5], (4, 9), mode="bilinear", align_corners=True)
    torch.testing.assert_close(mixed[:, :, 1:5, 2:11], expected, atol=1e-6, rtol=0)
    # of even importance the labels weigh areas: what is left of one box, and what the other holds
    torch.testing.assert_close(plan.sample_weights[0], torch.tensor([1 - 36 / 120, 35 / 120]))


GRIDS = [("sequence", (2, 30)), ("volume", (1, 4, 5, 6)), ("video", (2, 3, 6, 5))]


@pytest.mark.parametrize(("domain", "shape"), GRIDS)
def test_snapmix_on_other_grids(domain: str, shape: tuple[int, ...]) -> None:
    batch, labels = torch.rand(4, *shape), torch.arange(4)
    options: dict[str, Any] = {"saliency": lambda batch: batch.sum(1).flatten(1)}
    plan = create_mixer("snapmix", domain, num_classes=4, **options).plan(batch, labels, generator=seeded(1)).validate()
    assert plan.num_terms == 1 + 2 ** (len(shape) - 1)
    assert 0 < float(plan.weight[:, 0].mean()) < 1


def test_snapmix_needs_a_grid() -> None:
    elements = mixkit.ElementSet(torch.randn(2, 5, 3), torch.randn(2, 5, 1))
    with pytest.raises(ValueError, match="SnapMix needs elements on a grid and their saliency, got grid None"):
        methods.SnapMix().plan(elements, PlanContext(torch.rand(2, 5)))
    with pytest.raises(ValueError, match=r"method 'snapmix' serves image, .*not domain 'points'"):
        create_mixer("snapmix", "points", num_classes=2)
    assert math.isclose(methods.SnapMix().alpha, 5)
