"""Whether a module's output has its channels last, as far as the module says; reading shapes is the domain's part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mixkit.running import unwrap

_FIRST: tuple[Any, ...] = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.Upsample,
    nn.PixelShuffle,
)
_DROPPING = ("DropPath", "StochasticDepth")  # timm's and torchvision's names of what drops whole samples
_FORMATS = {"NHWC": True, "NLC": True, "NCHW": False, "NCL": False}  # timm's names of layouts


def channels_last(module: nn.Module) -> bool | None:
    """What the module itself says of its output: channels last, channels first, or None where it leaves that open.

    A convolution, a batch or group norm and pooling have their channels first; a linear layer, and a LayerNorm of one
    axis, last; a ``Permute`` and timm's ``output_fmt`` say it in words. A Sequential is as its last layer is. In a
    module with a forward of its own the norms and convolutions must agree, and linear layers, which may serve a
    gate, count for nothing.
    """
    said = _evidence(unwrap(module), ends=True)
    return said.pop() if len(said) == 1 else None


def word_for(word: bool | Mapping[str, bool] | None, name: str, module: nn.Module) -> bool | None:
    """The caller's word for a layer, which is one for all or a dict by name, else what the module says."""
    said = word.get(name) if isinstance(word, Mapping) else word
    return channels_last(module) if said is None else said


def ambiguous(activation: Tensor, first: str, last: str) -> ValueError:
    """The error for an activation that may be laid out in both ways, where nobody has said which."""
    return ValueError(
        f"an activation {tuple(activation.shape)} may be {first} or {last}, and its module does not say which: "
        "give ManifoldMixer(..., channels_last=True or False), or a dict with an entry for this layer"
    )


def _evidence(module: nn.Module, ends: bool) -> set[bool]:
    """What a module says; empty for nothing, both for contradictions. ``ends``: its output is the layer's."""
    name = type(module).__name__
    form = getattr(module, "output_fmt", None)
    if isinstance(form, str) and (form := str(getattr(form, "value", form))) in _FORMATS:
        return {_FORMATS[form]}
    if isinstance(module, _FIRST):
        return {False}
    if isinstance(module, nn.Linear):
        return {True} if ends else set()
    axes = getattr(module, "normalized_shape", None)
    if axes is not None:  # a LayerNorm or RMSNorm, torch's or another's; those for maps say so in their name
        return set() if len(axes) != 1 else {"2d" not in name}
    if name == "Permute":
        return {tuple(getattr(module, "dims", ()))[-1:] == (1,)}
    if not isinstance(module, nn.Sequential):
        return set().union(*(_evidence(child, ends=False) for child in module.children()))
    for child in reversed(module):
        said = _evidence(child, ends)
        if said or not _keeps_axes(child):
            return said
    return set()


def _keeps_axes(module: nn.Module) -> bool:
    """Whether the output has the axes of the input: activations, dropout, what drops samples."""
    kind = type(module)
    if next(module.parameters(), None) is not None:
        return isinstance(module, nn.PReLU)
    return (
        kind.__module__ in ("torch.nn.modules.activation", "torch.nn.modules.dropout")
        or kind is nn.Identity
        or kind.__name__ in _DROPPING
    )
