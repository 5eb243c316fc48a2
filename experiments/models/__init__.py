"""The models that the experiments train, by name; data and training are elsewhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from experiments.base.errors import ExperimentError
from experiments.models import library
from experiments.models.dgcnn import DGCNN, DGCNNPartSeg
from experiments.models.pointnet import PointNet
from experiments.models.pointnet2 import PointNet2MSG, PointNet2SSG
from experiments.models.pointnet2_partseg import PointNet2PartSeg
from experiments.models.preact_resnet import PreActResNet18

__all__ = [
    "DGCNN",
    "DGCNNPartSeg",
    "PointNet",
    "PointNet2MSG",
    "PointNet2PartSeg",
    "PointNet2SSG",
    "PreActResNet18",
    "create_model",
    "list_models",
]

_MODELS: dict[str, type[nn.Module]] = {
    "preact_resnet18": PreActResNet18,
    "pointnet": PointNet,
    "pointnet2_ssg": PointNet2SSG,
    "pointnet2_msg": PointNet2MSG,
    "dgcnn": DGCNN,
    "pointnet2_partseg": PointNet2PartSeg,
    "dgcnn_partseg": DGCNNPartSeg,
}
_LIBRARIES = {"torchvision": library.create_torchvision, "timm": library.create_timm}


def list_models() -> tuple[str, ...]:
    """The names that `create_model` knows, the two libraries' names left out."""
    return tuple(_MODELS)


def create_model(name: str, *, channels: int, num_classes: int, width: int = 64, **options: Any) -> nn.Module:
    """A model with fresh weights.

    Args:
        name: one of `list_models`, or ``torchvision/NAME`` or ``timm/NAME`` for images.
        channels: of an image or of a point, the three coordinates included.
        num_classes: number of logits; of parts, for a part model.
        width: 64, the default, is the paper's model; the others have all their layers scaled by width / 64.
        options: the model's own, ``dropout`` or ``k`` for instance.

    Returns:
        A module with ``mixing_layers``, the names of the layers that a ManifoldMixer may draw from, "input" first.

    Raises:
        ExperimentError: a name, an option or a width that there is not.
    """
    kind, slash, inner = name.partition("/")
    if slash and kind in _LIBRARIES:
        if width != 64:
            raise ExperimentError(f"{name} comes in its own width: leave width at 64, got {width}")
        model = _LIBRARIES[kind](inner, channels=channels, num_classes=num_classes, **options)
        model.mixing_layers = library.mixing_layers(model)  # type: ignore[assignment]
        return model.to(memory_format=torch.channels_last)
    if name not in _MODELS:
        raise ExperimentError(
            f"no model {name!r}; there are {', '.join(_MODELS)}, and torchvision/NAME and timm/NAME for images"
        )
    if width < 1:
        raise ExperimentError(f"width must be at least 1, got {width}")
    library.check_options(name, _MODELS[name], options)
    model = _MODELS[name](num_classes, width=width, in_channels=channels, **options)
    if name == "preact_resnet18":
        model = model.to(memory_format=torch.channels_last)  # about 1.5 times faster, on a CPU as on a GPU
    return model
