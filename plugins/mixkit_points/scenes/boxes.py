"""Detection boxes of scenes travel with the points in them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mixkit.checks import check_number
from mixkit.ragged import RaggedPlan, open_form

_SAME = 0.02  #: radians within which two turns are the same


class MixedBoxes(NamedTuple):
    """The boxes of one mixed scene."""

    boxes: Tensor
    """(n, 7) x, y, z of the centre, length, width, height, and the heading in radians."""
    scores: Tensor
    """(n,) the share of a box's points that the mixed scene shows, each by its weight."""
    sample: Tensor
    """(n,) long, the scene of the batch that each is from."""
    box: Tensor
    """(n,) long, which of that scene's boxes it is."""


def mix_boxes(plan: RaggedPlan, scenes: Any, boxes: list[Tensor], min_score: float = 0.5) -> list[MixedBoxes]:
    """Carry the boxes of a batch of scenes to the mixed scenes: each goes where the points in it go.

    Where a method moves or turns points, their boxes move and turn alike; a box whose points come to a scene several
    times, as instances that PolarMix pastes, comes as often. Boxes without points have nowhere to go, and are dropped.

    Args:
        plan: what the scenes were mixed by.
        scenes: the batch before it was mixed, in the form in which it came.
        boxes: each scene's boxes (n_b, 7): x, y, z of the centre, length along the heading, width and height, and the
            heading, the angle about the vertical axis in radians from the first coordinate.
        min_score: boxes of which less is shown are dropped. Default 0.5.

    Returns:
        For each mixed scene its boxes, of which the mix shows at least ``min_score``.

    Raises:
        TypeError: scenes in no known form, or a min_score that is no number.
        ValueError: boxes that do not fit the scenes, or a batch that does not fit the plan.

    Example:
        >>> import mixkit
        >>> scans = [torch.randn(50, 3), torch.randn(70, 3) + 20]
        >>> boxes = [torch.tensor([[0.0, 0, 0, 9, 9, 9, 0]]), torch.tensor([[20.0, 20, 20, 9, 9, 9, 0.3]])]
        >>> mixer = mixkit.create_mixer("mix3d", domain="scene", partners="previous")
        >>> plan = mixer.plan(scans, torch.zeros(2))
        >>> [len(each.boxes) for each in mix_boxes(plan, scans, boxes)]
        [2, 2]
    """
    form = open_form(scenes)
    if form is None:
        raise TypeError(f"scenes must be samples of different sizes in a known form, got {type(scenes).__name__}")
    if not 0 <= check_number("min_score", min_score) <= 1:
        raise ValueError(f"min_score must lie in [0, 1], got {min_score}")
    packed = form.packed
    _check_boxes(boxes, packed.num_samples)
    if not torch.equal(plan.source_offsets, packed.offsets):
        raise ValueError("the plan is of scenes of other sizes")
    coords = packed.rows[:, :3].detach().double()
    moved = None if plan.shift is None else plan.shift.double()
    copies: list[list[tuple[Tensor, float, int, int]]] = [[] for _ in range(plan.num_outputs)]
    starts = packed.offsets.tolist()
    for sample, (scene, of_scene) in enumerate(zip(coords.split(packed.lengths.tolist()), boxes, strict=True)):
        for number, box in enumerate(of_scene.double()):
            rows = starts[sample] + _inside(scene, box).nonzero()[:, 0]
            if len(rows):
                _follow(plan, coords, moved, rows, box, sample, number, copies)
    return [_collect(each, boxes, min_score) for each in copies]


def _follow(
    plan: RaggedPlan,
    coords: Tensor,
    moved: Tensor | None,
    rows: Tensor,
    box: Tensor,
    sample: int,
    number: int,
    copies: list[list[tuple[Tensor, float, int, int]]],
) -> None:
    """Add to each output the box's copies in it: its points, parted by how they are moved."""
    member = torch.zeros(len(coords), dtype=torch.bool, device=rows.device)
    member[rows] = True
    for k in range(plan.num_terms):
        shown = (member[plan.index[k]] & (plan.weight[k] > 0)).nonzero()[:, 0]
        for output in plan.output[shown].unique().tolist():
            places = shown[plan.output[shown] == output]
            before = coords[plan.index[k, places]]
            shift = torch.zeros_like(before) if moved is None else moved[k, places]
            for part, copy in _copies(before, shift, box):
                shown_rows, which = plan.index[k, places[part]].unique(return_inverse=True)
                weight = plan.weight[k, places[part]].double()
                # a point that is repeated, as where scenes of other sizes meet, is shown once
                most = weight.new_zeros(len(shown_rows)).scatter_reduce(0, which, weight, "amax")
                copies[output].append((copy, float(most.sum()) / len(rows), sample, number))


def _copies(before: Tensor, shift: Tensor, box: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Which points are moved alike, and the box moved as they are: all by one shift, or turned about the origin."""
    if bool((shift - shift[0]).abs().max() < 1e-5):
        moved = box.clone()
        moved[:3] += shift[0]
        return [(torch.arange(len(before), device=before.device), moved)]
    after = before + shift
    angle = torch.atan2(after[:, 1], after[:, 0]) - torch.atan2(before[:, 1], before[:, 0])
    angle, order = torch.remainder(angle + _SAME / 2, 2 * math.pi).sort()
    ends = (angle.diff() > _SAME).nonzero()[:, 0] + 1
    copies = []
    for part, turns in zip(order.tensor_split(ends.cpu()), angle.tensor_split(ends.cpu()), strict=True):
        turn = turns.median() - _SAME / 2
        moved = box.clone()
        moved[0] = turn.cos() * box[0] - turn.sin() * box[1]
        moved[1] = turn.sin() * box[0] + turn.cos() * box[1]
        moved[6] = torch.remainder(box[6] + turn + math.pi, 2 * math.pi) - math.pi
        copies.append((part, moved))
    return copies


def _inside(points: Tensor, box: Tensor) -> Tensor:
    """(n,) bool which points lie in a box."""
    offset = points - box[:3]
    cosine, sine = box[6].cos(), box[6].sin()
    along = cosine * offset[:, 0] + sine * offset[:, 1]
    across = cosine * offset[:, 1] - sine * offset[:, 0]
    half = box[3:6] / 2
    return (along.abs() <= half[0]) & (across.abs() <= half[1]) & (offset[:, 2].abs() <= half[2])


def _collect(copies: list[tuple[Tensor, float, int, int]], boxes: list[Tensor], min_score: float) -> MixedBoxes:
    kept = [each for each in copies if each[1] >= min_score - 1e-9]
    like = boxes[0]
    return MixedBoxes(
        torch.stack([each[0] for each in kept]).to(like) if kept else like.new_zeros(0, 7),
        like.new_tensor([each[1] for each in kept]),
        torch.tensor([each[2] for each in kept], dtype=torch.long, device=like.device),
        torch.tensor([each[3] for each in kept], dtype=torch.long, device=like.device),
    )


def _check_boxes(boxes: list[Tensor], num_scenes: int) -> None:
    if not isinstance(boxes, (list, tuple)) or len(boxes) != num_scenes:
        got = len(boxes) if isinstance(boxes, (list, tuple)) else type(boxes).__name__
        raise ValueError(f"boxes must be a list of one tensor (n, 7) for each of {num_scenes} scenes, got {got}")
    for scene, each in enumerate(boxes):
        if not isinstance(each, Tensor) or not each.is_floating_point() or each.dim() != 2 or each.shape[1] != 7:
            shape = tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__
            raise ValueError(f"boxes must be floating point (n, 7), got {shape} for scene {scene}")
        if not bool(each.isfinite().all()):
            raise ValueError(f"boxes must be finite, and are not in scene {scene}")
