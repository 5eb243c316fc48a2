"""The batch before as partners in a transform: the mixer remembers it, so it mixes at once, and no plan is kept."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mixkit import Mixer
from mixkit_image.samples import describe
from mixkit_image.wrapping import wrap_like


def mix_with_batch_before(mixer: Mixer, inputs: list[Any], labels: Any, by_kind: dict[str, Any]) -> dict[str, Any]:
    """What `MixTransform.make_params` returns where ``partners="previous_batch"``.

    Args:
        mixer: the transform's.
        inputs: one batch of images; others were not remembered.
        labels: the images' labels.
        by_kind: the labels as the mixer takes them.

    Returns:
        "plan", which is None, "labels" and "image" as they came, and what becomes of them, "targets" and "mixed".

    Raises:
        ValueError: several inputs, or labels that are no tensor.
    """
    if len(inputs) > 1 or not isinstance(labels, Tensor):
        raise ValueError(
            "partners='previous_batch' remembers one batch of images and its labels (B,) or (B, num_classes), "
            f"got {describe((*inputs, labels))}: give partners='random'"
        )
    image: Tensor = inputs[0]
    batch = image.as_subclass(Tensor)
    mixed, targets = mixer(batch, by_kind)
    mixed = image if mixed is batch else wrap_like(mixed, image)
    return {"plan": None, "labels": labels, "image": image, "targets": targets["labels"], "mixed": mixed}
