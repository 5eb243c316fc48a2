"""torchvision's and timm's classifiers by name, from scratch; our own models are in the modules beside this one."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection
from typing import Any

from torch import nn

from experiments.base.errors import ExperimentError

__all__ = ["create", "create_timm", "create_torchvision", "mixing_layers"]


def create(name: str, *, channels: int, num_classes: int, **options: Any) -> nn.Module:
    """The classifier ``torchvision/NAME`` or ``timm/NAME``, with the layers that it can be mixed at."""
    library, _, inner = name.partition("/")
    make = {"torchvision": create_torchvision, "timm": create_timm}[library]
    model = make(inner, channels=channels, num_classes=num_classes, **options)
    model.mixing_layers = mixing_layers(model)  # type: ignore[assignment]
    return model


def create_torchvision(name: str, *, channels: int, num_classes: int, **options: Any) -> nn.Module:
    """A torchvision classifier without pretrained weights.

    Args:
        name: a name in ``torchvision.models``.
        channels: the number of channels of the images; where they are not 3, the first convolution is made anew.
        num_classes: number of logits.
        options: torchvision's own.

    Raises:
        ExperimentError: a name that torchvision has not, or an option that it does not take.
    """
    from torchvision import models  # takes a second: only those who name such a model wait for it

    classifiers = models.list_models(module=models)
    if name not in classifiers:
        raise ExperimentError(f"torchvision has no classifier {name!r}; it has {', '.join(classifiers)}")
    if name in ("googlenet", "inception_v3"):  # in training they would return a tuple
        options = {"aux_logits": False, "init_weights": True, **options}
    try:
        model = models.get_model(name, weights=None, num_classes=num_classes, **options)
    except TypeError as error:
        raise ExperimentError(f"torchvision/{name}: {error}") from error
    if channels != 3:
        _replace_first_convolution(model, channels)
    return model


def create_timm(name: str, *, channels: int, num_classes: int, **options: Any) -> nn.Module:
    """A timm classifier without pretrained weights.

    Args:
        name: a name of ``timm.list_models()``.
        channels: the number of channels of the images.
        num_classes: number of logits.
        options: timm's own, ``img_size`` for instance.

    Raises:
        ExperimentError: a name that timm has not, or an option that it does not take.
    """
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=8, cutoff=0.4)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        raise ExperimentError(
            f"timm has no model {name!r}{hint}; all: python -c 'import timm; print(timm.list_models())'"
        )
    try:
        return timm.create_model(name, pretrained=False, in_chans=channels, num_classes=num_classes, **options)
    except TypeError as error:
        raise ExperimentError(f"timm/{name}: {error}") from error


def mixing_layers(model: nn.Module) -> tuple[str, ...]:
    """Layers at which a foreign image model can be mixed: the input and two early stages, as far as they are known.

    Stages are called layer1 and layer2 in residual networks, stages.0 and stages.1 in many of timm's; a list of blocks
    is cut in thirds.
    """
    names = {name for name, _ in model.named_modules()}
    pairs = [("layer1", "layer2"), ("stages.0", "stages.1")]
    if isinstance(blocks := getattr(model, "blocks", None), (nn.Sequential, nn.ModuleList)) and len(blocks) > 2:
        third = len(blocks) // 3
        pairs.append((f"blocks.{third - 1}", f"blocks.{2 * third - 1}"))
    return next((("input", *pair) for pair in pairs if names.issuperset(pair)), ("input",))


def check_options(kind: str, make: type[nn.Module], options: Collection[str]) -> None:
    """Raise ExperimentError for an option that a model of ours does not take."""
    options_of_model = [
        key for key in inspect.signature(make).parameters if key not in ("num_classes", "width", "in_channels")
    ]
    if strange := [key for key in options if key not in options_of_model]:
        raise ExperimentError(f"{kind} has no option {strange[0]!r}; it has {', '.join(options_of_model) or 'none'}")


def _replace_first_convolution(model: nn.Module, channels: int) -> None:
    """The first convolution of three channels anew, for as many as the images have; otherwise as it was."""
    for path, old in model.named_modules():
        if isinstance(old, nn.Conv2d) and old.in_channels == 3 and old.groups == 1:
            new = nn.Conv2d(
                channels,
                old.out_channels,
                old.kernel_size,  # type: ignore[arg-type]
                old.stride,  # type: ignore[arg-type]
                old.padding,  # type: ignore[arg-type]
                old.dilation,  # type: ignore[arg-type]
                bias=old.bias is not None,
                padding_mode=old.padding_mode,
            )
            parent, _, leaf = path.rpartition(".")
            setattr(model.get_submodule(parent), leaf, new)
            return
    raise ExperimentError(f"{type(model).__name__} has no convolution of 3 channels to replace by one of {channels}")
