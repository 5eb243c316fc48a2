"""Bounding boxes through a plan: those of every sample that an image shows, clipped to where it shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from mixkit import MixPlan
from mixkit_image.wrapping import wrap_like

#: Entries of a target that belong to the image, however many boxes it has.
_OF_THE_IMAGE = ("image_id", "orig_size", "size")

#: Entries that every box has one of.
_OF_THE_BOXES = ("labels", "scores", "masks", "area", "iscrowd")


def is_detection(targets: Any) -> bool:
    """Whether these are detection targets: a list of dicts, one for each image, with boxes, or images without any."""
    if not isinstance(targets, (list, tuple)) or not all(isinstance(target, Mapping) for target in targets):
        return False
    nothing_seen = [set(target) & {"image_id", "labels"} == {"image_id"} for target in targets]
    return any("boxes" in target for target in targets) or (bool(targets) and all(nothing_seen))


def mix_boxes(
    plan: MixPlan, targets: Sequence[Mapping[str, Any]], grid: tuple[int, int], min_score: float = 0.0
) -> list[dict[str, Any]]:
    """Detection targets, as torchvision's detectors take them, of images mixed by a plan.

    An output has the boxes of all samples that it is made of. A box is clipped to the pixels at which its sample has a
    weight: after a cut, to the part that is left. Its score is the mean weight of its sample over the box's area, which
    after a cut is the share of the area that is shown; a score that came is multiplied by it.

    Args:
        plan: a plan of B images that leaves pixels in their places.
        targets: for each image a dict of "boxes" (n, 4), a `tv_tensors.BoundingBoxes` of any format or (x1, y1, x2, y2)
            in pixels, and what belongs to them: "labels" (n,), "scores" (n,), "masks" (n, H, W), which are cut like
            their boxes, "area" (n,), and any other entry that in every image is as long as its boxes. Another entry,
            such as "image_id", is kept from the sample itself. An image without "boxes", as torchvision's wrapper of
            COCO gives one without annotations, has none, and no rows of what boxes have.
        grid: the images' (H, W).
        min_score: boxes of a smaller score are dropped, as are those that nothing is left of, or that have no area.
            Default 0.

    Returns:
        A list of M dicts with the entries of ``targets`` and "scores". Boxes are in the format of the sample's own.

    Raises:
        ValueError: another number of targets than images, a plan that moves pixels or is for another size, boxes that
            are not (n, 4), finite and upright, entries of boxes that are longer or shorter, or images with different
            entries.

    Example:
        >>> weight = torch.ones(2, 8, 8)
        >>> weight[:, :, 4:] = 0  # the right half is the partner's
        >>> plan = MixPlan.pair(torch.tensor([1, 0]), weight.flatten(1))
        >>> targets = [{"boxes": torch.tensor([[0.0, 0, 8, 8]]), "labels": torch.tensor([k])} for k in (0, 1)]
        >>> mixed = mix_boxes(plan, targets, grid=(8, 8))[0]
        >>> mixed["boxes"], mixed["labels"], mixed["scores"]
        (tensor([[0., 0., 4., 8.],
                [4., 0., 8., 8.]]), tensor([0, 1]), tensor([0.5000, 0.5000]))
    """
    if len(targets) != plan.num_samples:
        raise ValueError(f"targets must be {plan.num_samples} dicts, one for each image, got {len(targets)}")
    if plan.num_elements not in (None, grid[0] * grid[1]):
        raise ValueError(f"the plan is for {plan.num_elements} pixels, and images of {grid} have {grid[0] * grid[1]}")
    targets = _with_boxes(targets, plan.source.device)
    boxes = [_checked_corners(b, target) for b, target in enumerate(targets)]
    if plan.mixes_nothing:
        return [
            {**target, "scores": _scores_before(target, len(own))} for target, own in zip(targets, boxes, strict=True)
        ]
    if plan.index is not None:
        raise ValueError(
            "this plan moves pixels to other places, where no box follows them: Puzzle Mix's transport=False"
        )
    plan, names = plan.to("cpu"), _names_per_box(targets)
    weight = plan.weight.expand(-1, -1, grid[0] * grid[1]).double()
    mixed = []
    for m, source in enumerate(plan.source):
        samples = sorted(source.unique().tolist(), key=lambda sample: sample != m)  # the sample's own come first
        parts = []
        for sample in samples:
            shown = (weight[m] * (source == sample)).sum(0).reshape(grid)
            seen = _seen(targets[sample], names, boxes[sample], shown, min_score)
            form = targets[samples[0]]["boxes"]
            parts.append({"boxes": _in_form(seen.pop("boxes"), form, targets[sample]["boxes"].dtype), **seen})
        mixed.append(_joined(parts, targets[m] if m < len(targets) else {}))
    return mixed


def _checked_corners(number: int, target: Mapping[str, Any]) -> Tensor:
    """The boxes of a target, once it is found that they are boxes, and that what belongs to them is as long."""
    corners = _corners(target["boxes"])
    wrong = ~corners.isfinite().all(1) | (corners[:, 2:] < corners[:, :2]).any(1)
    if wrong.any():
        first = int(wrong.nonzero()[0, 0])
        raise ValueError(
            f"boxes must be finite, with x1 <= x2 and y1 <= y2, and box {first} of image {number} is "
            f"{corners[first].tolist()}"
        )
    for name in _OF_THE_BOXES:
        if name in target and len(target[name]) != len(corners):
            raise ValueError(f"image {number} has {len(corners)} boxes and {len(target[name])} {name}")
    return corners


def _corners(boxes: Any) -> Tensor:
    """(n, 4) float64 on the CPU: x1, y1, x2, y2."""
    if not isinstance(boxes, Tensor):
        raise ValueError(f"boxes must be a tensor (n, 4), got {type(boxes).__name__}")
    plain = boxes.as_subclass(Tensor)
    if not plain.numel():
        return plain.new_zeros(0, 4, dtype=torch.float64, device="cpu")
    if plain.dim() != 2 or plain.shape[1] != 4:
        raise ValueError(f"boxes must be (n, 4), got {tuple(plain.shape)}")
    plain = plain.detach().cpu().double()
    if isinstance(boxes, tv_tensors.BoundingBoxes):
        return F.convert_bounding_box_format(plain, boxes.format, tv_tensors.BoundingBoxFormat.XYXY)
    return plain


def _seen(
    target: Mapping[str, Any], names: list[str], boxes: Tensor, shown: Tensor, min_score: float
) -> dict[str, Any]:
    """What an output shows of one sample's boxes and their entries, given its weight (H, W) at each pixel.

    The boxes are (n, 4) float64 on the CPU: x1, y1, x2, y2.
    """
    over_rows = _overlap(boxes[:, 1], boxes[:, 3], shown.shape[0])
    over_columns = _overlap(boxes[:, 0], boxes[:, 2], shown.shape[1])
    area = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp_min(torch.finfo(torch.float64).tiny)
    share = torch.einsum("nh,hw,nw->n", over_rows, shown, over_columns) / area
    visible = (shown > 0).double()
    low_y, high_y = _extent((over_rows > 0) & (over_columns @ visible.T > 0))
    low_x, high_x = _extent((over_columns > 0) & (over_rows @ visible > 0))
    low, high = torch.stack([low_x, low_y], 1), torch.stack([high_x, high_y], 1)
    clipped = torch.cat([boxes[:, :2].maximum(low), boxes[:, 2:].minimum(high)], 1)
    scores = _scores_before(target, len(boxes))
    scores = scores * share.to(scores)
    kept = ((share.cpu() > 0) & (scores.cpu() >= min_score)).nonzero()[:, 0]
    seen: dict[str, Any] = {}
    for name, value in {**{name: target[name] for name in names}, "scores": scores}.items():
        if name == "boxes":
            seen[name] = clipped[kept]
        elif isinstance(value, Tensor):
            rows = value.as_subclass(Tensor)[kept.to(value.device)]
            if name == "masks":
                rows = rows * (shown > 0).to(rows)
            elif name == "area":
                rows = (rows * share[kept].to(rows.device)).to(rows.dtype)
            seen[name] = wrap_like(rows, value)
        else:
            seen[name] = [value[i] for i in kept.tolist()]
    return seen


def _joined(parts: list[dict[str, Any]], own: Mapping[str, Any]) -> dict[str, Any]:
    """The boxes of several samples in one target, with what else the sample itself carries."""
    target = dict(own)
    for name, first in parts[0].items():
        values = [part[name] for part in parts]
        if isinstance(first, Tensor):
            rows = [value.as_subclass(Tensor).to(first.device) for value in values]
            target[name] = wrap_like(torch.cat(rows), first)
        else:
            target[name] = [item for value in values for item in value]
    return target


def _overlap(low: Tensor, high: Tensor, size: int) -> Tensor:
    """(n, size) how much of each unit of an axis lies between two bounds."""
    edge = torch.arange(size + 1, dtype=low.dtype)
    return (high[:, None].minimum(edge[1:]) - low[:, None].maximum(edge[:-1])).clamp_min(0)


def _extent(visible: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) the edges before the first and behind the last unit that is visible, of (n, size)."""
    place = torch.arange(visible.shape[1])
    first = torch.where(visible, place, visible.shape[1]).amin(1)
    last = torch.where(visible, place, -1).amax(1)
    return first.double(), last.double() + 1


def _in_form(corners: Tensor, boxes: Tensor, dtype: torch.dtype) -> Tensor:
    """Boxes (x1, y1, x2, y2) in a dtype, and in the type, format and device of others."""
    if isinstance(boxes, tv_tensors.BoundingBoxes):
        corners = F.convert_bounding_box_format(corners, tv_tensors.BoundingBoxFormat.XYXY, boxes.format)
    return wrap_like(corners.to(boxes.device, dtype), boxes)


def _scores_before(target: Mapping[str, Any], number: int) -> Tensor:
    device = target["boxes"].device
    if "scores" not in target:
        return torch.ones(number, device=device)
    scores = torch.as_tensor(target["scores"])
    return scores if scores.is_floating_point() else scores.float()


def _with_boxes(targets: Sequence[Mapping[str, Any]], device: torch.device) -> list[Mapping[str, Any]]:
    """The targets; one without boxes gets none, and no rows of what boxes have in the first one that has them."""
    with_boxes = [target for target in targets if "boxes" in target]
    if len(with_boxes) == len(targets):
        return list(targets)
    if not with_boxes:
        none = {"boxes": torch.zeros(0, 4, device=device), "labels": torch.zeros(0, dtype=torch.long, device=device)}
    else:
        pattern = with_boxes[0]
        none = {name: wrap_like(pattern[name][:0], pattern[name]) for name in _names_per_box(targets)}
    return [target if "boxes" in target else {**none, **target} for target in targets]


def _names_per_box(targets: Sequence[Mapping[str, Any]]) -> list[str]:
    """The entries, but for scores, that boxes have one of; ValueError where an image with boxes has not one of them."""
    names = []
    for name in dict.fromkeys(name for target in targets for name in target):
        lengths = [_per_box(name, target[name], len(target.get("boxes", ()))) for target in targets if name in target]
        if name == "scores" or not all(lengths):
            continue
        lacking = [number for number, target in enumerate(targets) if "boxes" in target and name not in target]
        if lacking:
            raise ValueError(
                "the targets of all images must have the same entries for their boxes, and image "
                f"{lacking[0]} has no {name!r}"
            )
        names.append(name)
    return names


def _per_box(name: str, value: Any, number: int) -> bool:
    if name in _OF_THE_IMAGE:
        return False
    if isinstance(value, Tensor):
        return value.dim() > 0 and len(value) == number
    return isinstance(value, (list, tuple)) and len(value) == number
