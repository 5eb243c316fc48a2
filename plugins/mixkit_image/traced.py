"""Transforms inside a compiled graph: one operator, so that ``torch.compile(fullgraph=True)`` finds no break."""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mixkit_image.transforms import MixTransform

_NAME = "mixkit_image::mix"
_numbers = itertools.count()
_transforms: weakref.WeakValueDictionary[int, MixTransform] = weakref.WeakValueDictionary()

# tagged as random, so that no compiler takes two calls for one
torch.library.define(
    _NAME, "(Tensor[] images, Tensor labels, int number) -> Tensor[]", tags=(torch.Tag.nondeterministic_seeded,)
)


def register(transform: MixTransform) -> int:
    """The number by which the operator finds a transform, for as long as it lives."""
    number = next(_numbers)
    _transforms[number] = transform
    return number


def mix_traced(images: list[Tensor], labels: Tensor, number: int) -> list[Tensor]:
    """The mixed images and, last, the targets. No gradient flows to the images."""
    return torch.ops.mixkit_image.mix(images, labels, number)


@torch.library.impl(_NAME, "default")
def _mix(images: list[Tensor], labels: Tensor, number: int) -> list[Tensor]:
    transform = _transforms[number]
    params = transform.make_params(images, labels)
    mixed = [transform.transform(each, params) for each in (*images, labels)]
    # what an operator returns shares no memory with what it was given
    return [new.clone() if new is old else new for new, old in zip(mixed, (*images, labels), strict=True)]


@torch.library.register_fake(_NAME)
def _shapes(images: list[Tensor], labels: Tensor, number: int) -> list[Tensor]:
    num_classes, size = _transforms[number].num_classes, list(labels.shape)
    hot = labels.is_floating_point() or (labels.dim() == 2 and size[1] != 1)
    if not hot and num_classes is not None:
        size = [size[0], num_classes, *(size[-2:] if labels.dim() > 2 else [])]
    dtype = torch.promote_types(labels.dtype, torch.float32) if labels.is_floating_point() else torch.float32
    return [*(torch.empty_like(image) for image in images), labels.new_empty(size, dtype=dtype)]
