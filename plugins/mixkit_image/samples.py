"""Where the images, masks and labels are in a sample of any structure, by torchvision v2's conventions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torchvision import tv_tensors

from mixkit.saliency import Loss
from mixkit_image.boxes import is_detection
from mixkit_image.wrapping import wrap_like

#: Takes something out of a sample.
Getter = Callable[[Any], Any]

#: What no mixing of pixels keeps true, or what is no batch.
_REFUSED = tuple(getattr(tv_tensors, name) for name in ("BoundingBoxes", "KeyPoints") if hasattr(tv_tensors, name))


def default_labels(sample: Any) -> Any:
    """The labels of a sample: torchvision v2's search.

    Of a tuple or list the second item is looked at, else the sample itself. A plain tensor is the labels; so is a list
    of detection targets. Of a dict it is the entry "labels" in any case, else the first whose key contains "label".

    Raises:
        ValueError: there is no such place, or nothing that may be labels.
    """
    inner = sample
    if isinstance(inner, (tuple, list)):
        if len(inner) < 2:
            raise ValueError(f"found no labels, which would be the second item: got {describe(sample)}")
        inner = inner[1]
    if is_detection(inner) or (isinstance(inner, Tensor) and not isinstance(inner, tv_tensors.TVTensor)):
        return inner
    if not isinstance(inner, Mapping):
        raise ValueError(
            "When using the default labels_getter, a sample is a dict, or a tuple whose second item is a tensor, "
            f"a dict with labels, or a list of detection targets; got {describe(sample)}"
        )
    names = [key for key in inner if isinstance(key, str)]
    if "boxes" in names:
        raise ValueError(
            "a dict with boxes holds the targets of one image, and a batch has a list of B such dicts beside its B "
            f"images: (images, [{{'boxes': ..., 'labels': ...}}, ...]); got {describe(sample)}"
        )
    for matches in (lambda key: key == "labels", lambda key: "label" in key):
        for key in names:
            if matches(key.lower()):
                return inner[key]
    available = ", ".join(map(repr, inner))
    raise ValueError(
        f"Could not infer where the labels are among {available}: no labels, for no key has 'label' in it; "
        "give labels_getter a function of the sample"
    )


def find_labels(sample: Any, getter: Getter | str | None) -> Any:
    """A tensor, detection targets, or None where masks are the labels, by a transform's ``labels_getter``.

    Raises:
        ValueError: no labels where the default search looks, or labels that are neither.
    """
    if getter is None:
        return None
    if callable(getter):
        labels = getter(sample)
    else:
        try:
            labels = default_labels(sample)
        except ValueError:
            if any(isinstance(leaf, tv_tensors.Mask) for leaf in tree_flatten(sample)[0]):
                return None
            raise
    if labels is not None and not is_detection(labels) and not isinstance(labels, Tensor):
        raise ValueError(
            f"The labels must be a tensor, or a list of detection targets, but got {type(labels)} instead; "
            "torch.as_tensor makes one of numbers"
        )
    return labels


def loss_of_labels(loss: Loss, output: Any, labels: Mapping[str, Tensor]) -> Tensor:
    """The loss of a model's saliency, given the labels, or where there are none the mask."""
    if not labels:
        raise ValueError("a model's saliency needs labels: give them, or a saliency without a model")
    return loss(output, labels["labels"] if "labels" in labels else labels["mask"])


def kinds_of(leaves: list[Any], labels: Any, name: str) -> list[str | None]:
    """What each leaf of a sample is: "image", "mask", "labels", or None for what passes through.

    As in v2, every `tv_tensors.Image` and `Video` is an image; where there is none, the first plain tensor is, of those
    that are no labels the first with at least four dimensions.

    Raises:
        ValueError: a PIL image, boxes or key points outside detection targets, or labels that are not in the sample.
    """
    refuse_others(leaves, name)
    kinds: list[str | None] = []
    for leaf in leaves:
        if leaf is labels:
            kinds.append("labels")
        elif isinstance(leaf, tv_tensors.Mask):
            kinds.append("mask")
        else:
            kinds.append("image" if isinstance(leaf, (tv_tensors.Image, tv_tensors.Video)) else None)
    if labels is not None and "labels" not in kinds:
        raise ValueError("labels_getter must return an entry of the sample itself, which the targets then replace")
    if "image" not in kinds:
        plain = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and kinds[i] is None]
        batches = [i for i in plain if leaves[i].dim() >= 4]
        if plain:
            kinds[(batches or plain)[0]] = "image"
    return kinds


def refuse_others(leaves: list[Any], name: str) -> None:
    """Raise ValueError for a PIL image, and for boxes or key points that are not in detection targets."""
    for leaf in leaves:
        if isinstance(leaf, _REFUSED) or (not isinstance(leaf, Tensor) and type(leaf).__module__.startswith("PIL.")):
            raise ValueError(
                f"{name} does not support PIL images, bounding boxes and key points by themselves, got "
                f"{type(leaf).__name__}: images come as a batch (B, C, H, W), boxes as a list of B dicts"
            )


def refuse_lone_masks(leaves: list[Any], name: str) -> None:
    """Raise ValueError for masks, of a sample that is known to have no images."""
    if masks := [leaf for leaf in leaves if isinstance(leaf, tv_tensors.Mask)]:
        raise ValueError(
            f"{name} does not support PIL images, nor masks by themselves, got a Mask {tuple(masks[0].shape)}: "
            "give the batch of images (B, C, H, W) that it belongs to"
        )


def check_images(images: list[Tensor], size: int | None) -> None:
    """Check that images are batches (B, C, H, W), or Video (B, T, C, H, W), of as many samples as there are labels."""
    for image in images:
        dims = 5 if isinstance(image, tv_tensors.Video) else 4
        if image.dim() != dims:
            wanted = "(B, T, C, H, W)" if dims == 5 else "(B, C, H, W)"
            raise ValueError(
                f"Expected a batched input with {dims} dims, one batch of images {wanted}, got {tuple(image.shape)}"
                + ("; a plain tensor of frames goes into tv_tensors.Video" if image.dim() == 5 and dims == 4 else "")
            )
        if size is not None and len(image) != size:
            raise ValueError(
                "The batch size of the image or video does not match the batch size of the labels: "
                f"{len(image)} != {size}"
            )


def checked_labels(labels: Tensor, num_classes: int | None, images: Tensor | None = None) -> Tensor:
    """The labels as a mixer takes them: integer one-hot and multi-hot labels (B, K) as floats.

    Raises:
        ValueError: labels (B, K) of another K than num_classes; classes (B,) without it; or, given the images, labels
            that are neither (B,), (B, K) nor of the images' size.
    """
    labels = labels.as_subclass(Tensor) if isinstance(labels, tv_tensors.TVTensor) else labels
    shape = tuple(labels.shape)
    if labels.dim() == 2 and num_classes not in (None, shape[1]) and shape[1] != 1:
        raise ValueError(
            "When passing 2D labels, their last dimension must be num_classes, or num_classes left out: "
            f"{shape[1]} != {num_classes}"
        )
    if labels.is_floating_point():
        return labels
    if labels.dim() == 1 and num_classes is None:
        raise ValueError("num_classes must be passed if the labels are index based (B,): give num_classes=K")
    if labels.dim() > 2 and images is not None and labels.shape[-2:] != images.shape[-2:]:
        raise ValueError(
            "labels should be index based (B,), soft (B, num_classes), or per pixel (B, H, W), but got a tensor "
            f"of shape {shape} for images {tuple(images.shape)}"
        )
    return labels.float() if labels.dim() == 2 and shape[1] > 1 else labels


def stacked(images: Any) -> Tensor:
    """A batch of a list of images (C, H, W) of one size."""
    if wrong := [image for image in images if not isinstance(image, Tensor) or image.dim() != 3]:
        raise ValueError(f"a list of images must hold tensors (C, H, W), got {describe(wrong[:1])}")
    shapes = sorted({tuple(image.shape) for image in images})
    if len(shapes) > 1:
        raise ValueError(f"images must be of one size to be mixed, got {shapes[0]} and {shapes[1]}: crop or pad them")
    return wrap_like(torch.stack([image.as_subclass(Tensor) for image in images]), images[0])


def describe(sample: Any) -> str:
    """What came, for an error message: the type, and the shapes or types of its parts."""
    leaves = tree_flatten(sample)[0]
    shapes = [str(tuple(leaf.shape)) if isinstance(leaf, Tensor) else type(leaf).__name__ for leaf in leaves]
    return f"a {type(sample).__name__} of {', '.join(shapes) or 'nothing'}"
