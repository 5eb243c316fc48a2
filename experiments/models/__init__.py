"""The models that the experiments train, by name; a model's module, which is heavy, is imported to make the model."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.base.errors import ExperimentError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["DEFAULTS", "MODELS", "ModelRecord", "create_model", "record_of"]


@dataclass(frozen=True)
class ModelRecord:
    """A model that can be made by its name.

    Attributes:
        title: how tables call it.
        domain: what it reads, one of `experiments.data.DATASETS`.
        model: ``module:class`` within this package.
        parts: whether it labels every point of a shape rather than the shape.
        channels_last: whether it is about 1.5 times faster in that memory format, on a CPU as on a GPU.
    """

    title: str
    domain: str
    model: str
    parts: bool = False
    channels_last: bool = False


MODELS = {
    "preact_resnet18": ModelRecord("PreActResNet18", "image", "preact_resnet:PreActResNet18", channels_last=True),
    "pointnet": ModelRecord("PointNet", "points", "pointnet:PointNet"),
    "pointnet2_ssg": ModelRecord("PointNet++ (SSG)", "points", "pointnet2:PointNet2SSG"),
    "pointnet2_msg": ModelRecord("PointNet++ (MSG)", "points", "pointnet2:PointNet2MSG"),
    "dgcnn": ModelRecord("DGCNN", "points", "dgcnn:DGCNN"),
    "pointnet2_partseg": ModelRecord("PointNet++ (parts)", "points", "pointnet2_partseg:PointNet2PartSeg", parts=True),
    "dgcnn_partseg": ModelRecord("DGCNN (parts)", "points", "dgcnn:DGCNNPartSeg", parts=True),
    "resnet1d": ModelRecord("ResNet1d", "sequence", "resnet1d:ResNet1d"),
    "spectrogram_resnet18": ModelRecord(
        "PreActResNet18", "spectrogram", "preact_resnet:PreActResNet18", channels_last=True
    ),
}
"""Our own models; those of torchvision and timm have no record here."""

DEFAULTS = {
    "image": "preact_resnet18",
    "points": "pointnet",
    "sequence": "resnet1d",
    "spectrogram": "spectrogram_resnet18",
}
"""The model of each domain where nobody asks for another."""

_LIBRARIES = ("torchvision", "timm")


def record_of(name: str) -> ModelRecord:
    """The record of a model; a name that is none of ours is an image classifier of that title."""
    return MODELS.get(name) or ModelRecord(name, "image", "")


def check_name(name: str) -> None:
    """ExperimentError where there is no model of this name; of a library's models only the library is checked."""
    if name not in MODELS and name.partition("/")[0] not in _LIBRARIES:
        raise ExperimentError(
            f"no model {name!r}; there are {', '.join(MODELS)}, and torchvision/NAME and timm/NAME for images"
        )


def create_model(name: str, *, channels: int, num_classes: int, width: int = 64, **options: Any) -> nn.Module:
    """A model with fresh weights.

    Args:
        name: one of `MODELS`, or ``torchvision/NAME`` or ``timm/NAME`` for images.
        channels: the number of channels of an image or of a point, the three coordinates included.
        num_classes: number of logits; of parts, for a part model.
        width: 64, the default, is the paper's model; the others have all their layers scaled by width / 64.
        options: the model's own, ``dropout`` or ``k`` for instance.

    Returns:
        A module with ``mixing_layers``, the names of the layers that a ManifoldMixer may draw from, "input" first.

    Raises:
        ExperimentError: a name, an option or a width that there is not.
    """
    import torch

    from experiments.models import library

    check_name(name)
    if name not in MODELS:
        if width != 64:
            raise ExperimentError(f"{name} comes in its own width: leave width at 64, got {width}")
        model = library.create(name, channels=channels, num_classes=num_classes, **options)
        return model.to(memory_format=torch.channels_last)
    if width < 1:
        raise ExperimentError(f"width must be at least 1, got {width}")
    record = MODELS[name]
    module, _, cls = record.model.partition(":")
    make = getattr(importlib.import_module(f"{__name__}.{module}"), cls)
    library.check_options(name, make, options)
    model = make(num_classes, width=width, in_channels=channels, **options)
    return model.to(memory_format=torch.channels_last) if record.channels_last else model
