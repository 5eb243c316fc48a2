"""Scenes: the methods that put parts of two together, against loops over points; and boxes that follow their points."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import mixkit
from mixkit.ragged import Packed, RaggedPlan, RaggedSet
from mixkit_points import Channels
from mixkit_points.scenes import functional, mix_boxes

COUNTS = (40, 90, 65)
PARTNER = torch.tensor([1, 2, 0])
METHODS = ("mix3d", "lasermix", "polarmix", "sagemix_scene")


def scans(channels: int = 4) -> list[Tensor]:
    """Points around a sensor 2 m above the ground."""
    found = []
    for count in COUNTS:
        angle, distance = 2 * math.pi * torch.rand(count), 3 + 20 * torch.rand(count)
        found.append(torch.stack([distance * angle.cos(), distance * angle.sin(), 4 * torch.rand(count) - 2], 1))
    return [torch.cat([scan, torch.rand(len(scan), channels - 3)], 1) for scan in found]


def elements_of(batch: list[Tensor]) -> RaggedSet:
    packed = Packed.from_list(batch)
    return RaggedSet(packed.rows[:, :3], packed.rows[:, 3:], packed.offsets, 8.0)


def outputs(plan: RaggedPlan, batch: list[Tensor]) -> list[Tensor]:
    rows = torch.cat(batch)
    mixed = torch.cat([plan.validate().apply_coords(rows[:, :3]), plan.apply(rows[:, 3:])], 1)
    return Packed(mixed, plan.offsets).split()


def mixer_of(method: str, **options: Any) -> mixkit.Mixer:
    return mixkit.create_mixer(
        method, "scene", num_classes=5, ignore_index=255, saliency=lambda batch: torch.cat(batch)[:, 3], **options
    )


def test_mix3d_is_the_union_about_one_centre() -> None:
    batch = scans()
    for scan, partner, mixed in zip(
        batch, [batch[b] for b in PARTNER], outputs(functional.mix3d(elements_of(batch), PARTNER), batch), strict=True
    ):
        moved = partner.clone()
        moved[:, :2] += scan[:, :2].mean(0) - partner[:, :2].mean(0)
        torch.testing.assert_close(mixed, torch.cat([scan, moved]))


def test_a_scene_that_is_its_own_partner_is_not_doubled() -> None:
    scan, labels = [torch.randn(10, 4)], [torch.randint(3, (10,))]
    mixer = mixkit.create_mixer("mix3d", "scene", num_classes=3)
    assert torch.equal(mixer(scan, labels)[0][0], scan[0])


@pytest.mark.parametrize("count", [1, 2])
def test_scans_of_one_size_are_collated(count: int) -> None:
    mixer = mixkit.create_mixer("mix3d", "scene", num_classes=3)
    samples = [(torch.randn(10, 4), torch.randint(3, (10,)))] * count
    for batch in (mixer.collate(samples), mixkit.Collate(mixer)(samples)):
        assert [len(scan) for scan in batch[0]] == [len(targets) for targets in batch[1]]


def test_a_box_is_not_shown_more_than_once_where_its_points_are_repeated() -> None:
    scans, labels = [torch.randn(10, 3), torch.randn(40, 3)], [torch.zeros(10).long(), torch.ones(40).long()]
    mixer = mixkit.create_mixer(
        "sagemix_scene", "scene", num_classes=2, partners="previous", query="uniform", radius=50.0
    )
    boxes = [torch.tensor([[0.0, 0, 0, 20, 20, 20, 0]])] * 2
    for _ in range(10):
        for found in mix_boxes(mixer.plan(scans, labels), scans, boxes, min_score=0.0):
            assert found.scores.max() <= 1 + 1e-6


def test_lasermix_takes_bands_in_turn() -> None:
    batch = scans()
    edges = torch.tensor([[-0.1, 0.05, math.nan], [-0.2, -0.05, 0.1], [0.0, math.nan, math.nan]])
    odd = torch.tensor([True, False, True])
    plan = functional.lasermix(elements_of(batch), PARTNER, edges, odd)

    def band(point: Tensor, scene: int) -> int:
        inclination = math.atan2(float(point[2]), math.hypot(float(point[0]), float(point[1])))
        return sum(inclination >= edge for edge in edges[scene].tolist() if edge == edge)

    for scene, mixed in enumerate(outputs(plan, batch)):
        own = [point for point in batch[scene] if (band(point, scene) % 2 == 1) == bool(odd[scene])]
        theirs = [point for point in batch[PARTNER[scene]] if (band(point, scene) % 2 == 1) != bool(odd[scene])]
        torch.testing.assert_close(mixed, torch.stack(own + theirs))


def test_polarmix_swaps_a_sector_and_turns_instances() -> None:
    batch = scans()
    instances = torch.rand(sum(COUNTS)) < 0.2
    start, width = torch.tensor([-3.0, 1.0, 2.5]), torch.tensor([math.pi, 0.0, 2.0])
    angles = torch.tensor([[0.3, 2.4], [1.0, math.nan], [math.nan, math.nan]])
    plan = functional.polarmix(elements_of(batch), PARTNER, start, width, instances, angles)

    def inside(point: Tensor, scene: int) -> bool:
        azimuth = math.atan2(float(point[1]), float(point[0]))
        return (azimuth - float(start[scene])) % (2 * math.pi) < float(width[scene])

    of_scan = instances.split(COUNTS)
    for scene, mixed in enumerate(outputs(plan, batch)):
        other = int(PARTNER[scene])
        wanted = [point for point in batch[scene] if not inside(point, scene)]
        wanted += [point for point in batch[other] if inside(point, scene)]
        for angle in angles[scene].tolist():
            if angle == angle:
                for point in batch[other][of_scan[other]]:
                    x, y = point[:2].tolist()
                    turned = point.clone()
                    turned[0] = math.cos(angle) * x - math.sin(angle) * y
                    turned[1] = math.sin(angle) * x + math.cos(angle) * y
                    wanted.append(turned)
        torch.testing.assert_close(mixed, torch.stack(wanted), atol=1e-5, rtol=1e-5)


def test_sagemix_mixes_around_the_query_and_nowhere_else() -> None:
    batch, radius = scans(), 9.0
    elements = elements_of(batch)
    query = torch.tensor([COUNTS[0] + 3, COUNTS[0] + COUNTS[1] + 7, 11])  # rows of the partners
    prior = torch.tensor([0.0, -1.0, 2.0])
    plan = functional.sagemix_scene(elements, PARTNER, query, prior, radius, tolerance=0.0).validate()
    coords = elements.coords
    for scene, place in enumerate(coords[query, :2]):
        rows = plan.index[:, plan.output == scene]
        weight = plan.weight[0, plan.output == scene]
        near = (coords[:, :2] - place).norm(dim=1) < radius
        own, theirs = ((elements.sample == each) & near for each in (scene, int(PARTNER[scene])))
        still = rows[0] == rows[1]
        beyond = ((elements.sample == scene) & ~near).nonzero()[:, 0]
        if not own.any():
            continue
        assert torch.equal(rows[0, still].sort().values, beyond)
        assert int((~still).sum()) == max(int(own.sum()), int(theirs.sum()))
        assert set(rows[0, ~still].tolist()) == set(own.nonzero()[:, 0].tolist())
        assert set(rows[1, ~still].tolist()) == set(theirs.nonzero()[:, 0].tolist())
        squared = (coords[rows[1, ~still], :2] - place).square().sum(1)
        by_hand = torch.sigmoid(prior[scene] + (squared - (radius / 2) ** 2) / (2 * (radius / 4) ** 2))
        torch.testing.assert_close(weight[~still], by_hand)


def test_sagemix_puts_points_where_there_are_none() -> None:
    batch = [torch.tensor([[0.0, 0, 0], [1, 0, 0]]), torch.tensor([[100.0, 0, 0], [101, 0, 0], [107, 0, 0]])]
    plan = functional.sagemix_scene(elements_of(batch), torch.tensor([1, 0]), torch.tensor([2, 0]), torch.zeros(2), 8.0)
    first = plan.index[:, plan.output == 0]
    assert first.tolist() == [[0, 1, 2, 3], [0, 1, 2, 3]]  # 7 m from the query is less than half the weight


@pytest.mark.parametrize("method", METHODS)
def test_labels_go_with_their_points(method: str) -> None:
    batch = scans()
    for scan in batch:
        scan[:, 3] = torch.randint(5, (len(scan),))
    labels = [scan[:, 3].long() for scan in batch]
    labels[1][:20] = 255
    mixer = mixer_of(method, **({"instance_classes": (1, 2)} if method == "polarmix" else {}))
    for _ in range(5):
        plan = mixer.plan(batch, labels)
        assert isinstance(plan, RaggedPlan)
        mixed, targets = mixer.apply_plan(plan.validate(), batch, labels)
        assert [len(each) for each in mixed] == [len(each) for each in targets] == plan.offsets.diff().tolist()
        whole = torch.cat(labels)
        for k in range(plan.num_terms):
            alone = (plan.weight[k] == 1) & (whole[plan.index[k]] != 255)
            assert torch.equal(torch.cat(targets)[alone].argmax(1), whole[plan.index[k]][alone])
        assert bool((torch.cat(targets).sum(1) <= 1 + 1e-6).all())


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_and_every_option(method: str) -> None:
    batch, labels = scans(), [torch.randint(5, (count,)) for count in COUNTS]
    options: dict[str, list[dict[str, Any]]] = {
        "mix3d": [{}, {"partners": "previous"}],
        "lasermix": [{"areas": (2,)}, {"inclination": (-5, 5)}],
        "polarmix": [{"swap": 1.0, "width": 360}, {"swap": 0.0}, {"instance_classes": (0, 3), "angles": (0, 90)}],
        "sagemix_scene": [{"radius": 3.0}, {"sharp": True}, {"query": "uniform"}, {"theta": 0.2}],
    }
    for chosen in options[method]:
        mixer = mixer_of(method, **chosen)
        first, second = (mixer(batch, labels, generator=torch.Generator().manual_seed(2)) for _ in range(2))
        torch.testing.assert_close(first, second, rtol=0, atol=0)
        if chosen.get("width") == 360:
            partner = mixer.plan(batch, labels).source[0]
            assert len(partner.unique()) == 3


def test_channels_of_scenes() -> None:
    batch = [torch.cat([scan[:, :3], 10 * scan[:, 2:3] + 4, torch.randint(9, (len(scan), 1))], 1) for scan in scans()]
    for method in METHODS:
        mixer = mixer_of(method, channels=Channels(copies={3: 2}, ids=[4]))
        mixed = torch.cat(mixer(batch, [torch.randint(5, (count,)) for count in COUNTS])[0])
        torch.testing.assert_close(mixed[:, 3], 10 * mixed[:, 2] + 4, atol=1e-3, rtol=1e-4)
        assert torch.equal(mixed[:, 4], mixed[:, 4].round())


@pytest.mark.parametrize(
    ("method", "options", "error", "words"),
    [
        ("lasermix", {"areas": ()}, ValueError, "areas must name a number"),
        ("lasermix", {"areas": (1,)}, ValueError, "at least 2"),
        ("lasermix", {"inclination": (3, -25)}, ValueError, "rise within"),
        ("polarmix", {"swap": 2}, ValueError, "swap must lie"),
        ("polarmix", {"width": -1}, ValueError, "width must lie"),
        ("polarmix", {"instance_classes": (0.5,)}, TypeError, "whole number"),
        ("sagemix_scene", {"radius": 0}, ValueError, "radius must be > 0"),
        ("sagemix_scene", {"query": "max"}, ValueError, "query must be"),
        ("sagemix_scene", {"sharp": 1}, TypeError, "sharp must be True or False"),
        ("mix3d", {"channels": 3}, TypeError, "channels must be"),
    ],
)
def test_options_outside_any_sense(method: str, options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        mixer_of(method, **options)


def test_what_is_no_scene_is_refused() -> None:
    labels = torch.zeros(3).long()
    with pytest.raises(TypeError, match="scenes must be a list"):
        mixer_of("mix3d")(torch.zeros(3, 9, 4), labels)
    with pytest.raises(ValueError, match="x, y and z first"):
        mixer_of("mix3d")([torch.zeros(4, 2), torch.zeros(5, 2)], labels[:2])
    with pytest.raises(TypeError, match="those for scenes are mix3d"):
        mixkit.create_mixer(mixkit.methods.PointMixup(), "scene", num_classes=5)(scans(), labels)
    with pytest.raises(ValueError, match=r"'pointmixup' serves .*, not domain 'scene', which has: lasermix, mix3d"):
        mixer_of("pointmixup")
    with pytest.raises(ValueError, match="instance_classes need labels"):
        mixer_of("polarmix", instance_classes=(1,))(scans(), labels)
    with pytest.raises(ValueError, match="serves scene, not domain 'points'"):
        mixkit.create_mixer("mix3d", "points")


# ---- boxes


def _boxed() -> tuple[list[Tensor], list[Tensor]]:
    """Scans in each of which 30 points fill a box, with its heading."""
    batch, boxes = [], []
    for scan, centre in zip(scans(3), ([8.0, 3, 0], [-6.0, 7, 0.5], [2.0, -9, 1]), strict=True):
        heading = torch.tensor(0.7)
        box = torch.tensor([*centre, 4.0, 2.0, 1.5, float(heading)])
        inside = (torch.rand(30, 3) - 0.5) * box[3:6]
        turned = torch.stack([
            heading.cos() * inside[:, 0] - heading.sin() * inside[:, 1],
            heading.sin() * inside[:, 0] + heading.cos() * inside[:, 1], inside[:, 2],
        ], 1)  # fmt: skip
        batch.append(torch.cat([scan, box[:3] + turned]))
        boxes.append(box[None])
    return batch, boxes


def test_boxes_move_with_a_union() -> None:
    batch, boxes = _boxed()
    plan = functional.mix3d(elements_of(batch), PARTNER)
    for scene, mixed in enumerate(mix_boxes(plan, batch, boxes)):
        other = int(PARTNER[scene])
        moved = boxes[other][0].clone()
        moved[:2] += batch[scene][:, :2].mean(0) - batch[other][:, :2].mean(0)
        order = mixed.sample.argsort()
        wanted = sorted([(scene, boxes[scene][0]), (other, moved)], key=lambda each: each[0])
        torch.testing.assert_close(mixed.boxes[order], torch.stack([each[1] for each in wanted]), atol=1e-4, rtol=1e-4)
        assert mixed.scores.tolist() == [1.0, 1.0]


def test_boxes_turn_with_pasted_instances() -> None:
    batch, boxes = _boxed()
    instances = torch.cat([torch.arange(len(scan)) >= len(scan) - 30 for scan in batch])
    angles = torch.tensor([[0.5, 2.6], [1.0, 3.1], [2.0, 4.1]])
    still = torch.zeros(3)
    plan = functional.polarmix(elements_of(batch), PARTNER, still, still, instances, angles)
    for scene, mixed in enumerate(mix_boxes(plan, batch, boxes, min_score=0.9)):
        other = int(PARTNER[scene])
        assert sorted(mixed.sample.tolist()) == sorted([scene, other, other])
        box = boxes[other][0]
        turned = []
        for angle in angles[scene].tolist():
            x, y = box[:2].tolist()
            heading = (float(box[6]) + angle + math.pi) % (2 * math.pi) - math.pi
            turned.append(
                [
                    math.cos(angle) * x - math.sin(angle) * y,
                    math.sin(angle) * x + math.cos(angle) * y,
                    *box[2:6].tolist(),
                    heading,
                ]
            )
        ours = mixed.boxes[mixed.sample == other]
        torch.testing.assert_close(ours[ours[:, 0].argsort()], torch.tensor(sorted(turned)), atol=1e-3, rtol=1e-3)


def test_boxes_that_are_cut_have_a_score_or_are_dropped() -> None:
    batch, boxes = _boxed()
    azimuth = math.atan2(3, 8)
    start, width = torch.tensor([azimuth, 0.0, 0.0]), torch.tensor([math.pi, 0.0, 0.0])
    plan = functional.polarmix(elements_of(batch), PARTNER, start, width)
    inside = sum(math.atan2(float(y), float(x)) < azimuth for x, y, _ in batch[0][-30:])
    mixed = mix_boxes(plan, batch, boxes, min_score=0.0)[0]
    own = mixed.sample == 0
    torch.testing.assert_close(mixed.scores[own], torch.tensor([inside / 30]))
    torch.testing.assert_close(mixed.boxes[own], boxes[0])
    assert not bool((mix_boxes(plan, batch, boxes, min_score=inside / 30 + 0.01)[0].sample == 0).any())


@pytest.mark.parametrize(
    ("boxes", "error", "words"),
    [
        ([torch.zeros(0, 7)] * 2, ValueError, "each of 3 scenes, got 2"),
        ([torch.zeros(1, 6)] * 3, ValueError, r"\(n, 7\), got \(1, 6\) for scene 0"),
        ([torch.full((1, 7), torch.nan)] * 3, ValueError, "not in scene 0"),
    ],
)
def test_boxes_that_do_not_fit(boxes: list[Tensor], error: type[Exception], words: str) -> None:
    batch, _ = _boxed()
    plan = functional.mix3d(elements_of(batch), PARTNER)
    with pytest.raises(error, match=words):
        mix_boxes(plan, batch, boxes)


def test_scenes_without_boxes() -> None:
    batch, boxes = _boxed()
    plan = functional.mix3d(elements_of(batch), PARTNER)
    mixed = mix_boxes(plan, batch, [torch.zeros(0, 7), *boxes[1:]])
    assert [len(each.boxes) for each in mixed] == [1, 2, 1]
    with pytest.raises(ValueError, match="other sizes"):
        mix_boxes(plan, batch[::-1], boxes)
