"""What models return: the logits in it, and its tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import is_dataclass
from typing import Any

from torch import Tensor

_NAMES = ("logits", "out")  # Hugging Face's and torchvision's auxiliary outputs; torchvision's segmentation


def find_logits(output: Any) -> Tensor:
    """The tensor of a model's output that a loss is for.

    It is the output itself; the entry or attribute "logits" or "out", as Hugging Face's models, torchvision's Inception
    and GoogLeNet and its segmentation models have; or the first part of a tuple or list, as with timm's distilled pairs
    or point networks that return features too. Of these in turn the same.

    Raises:
        TypeError: there is no floating-point tensor in these places, or it is a scalar.
    """
    inner = output
    while not isinstance(inner, Tensor):
        named = [name for name in _NAMES if _has(inner, name)]
        if named:
            inner = inner[named[0]] if isinstance(inner, Mapping) else getattr(inner, named[0])
        elif isinstance(inner, (tuple, list)) and inner:
            inner = inner[0]
        else:
            break
    if isinstance(inner, Tensor) and inner.is_floating_point() and inner.dim():
        return inner
    got = f"{tuple(inner.shape)} {inner.dtype}" if isinstance(inner, Tensor) else type(inner).__name__
    where = "" if inner is output else f" in a {type(output).__name__}"
    raise TypeError(
        f"the model must return logits (B, num_classes), or a tuple that starts with them, or a dict or object with "
        f"'logits' or 'out', got {got}{where}; else give loss=function of output and labels, or forward="
    )


def map_tensors(function: Callable[[Tensor], Any], output: Any) -> Any:
    """A copy of an output with each of its tensors replaced: of tuples, lists, dicts, dataclasses and plain objects."""
    if isinstance(output, Tensor):
        return function(output)
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*(map_tensors(function, part) for part in output))
    if isinstance(output, (tuple, list)):
        return type(output)([map_tensors(function, part) for part in output])
    if isinstance(output, Mapping):
        parts = {name: map_tensors(function, part) for name, part in output.items()}
        if type(output) is dict or not isinstance(output, MutableMapping):
            return parts
        twin: Any = copy.copy(output)
        for name, part in parts.items():
            twin[name] = part
        return twin
    if is_dataclass(output) or type(output).__module__ == "types":
        twin = copy.copy(output)
        for name, part in vars(output).items():
            object.__setattr__(twin, name, map_tensors(function, part))
        return twin
    return output


def _has(inner: Any, name: str) -> bool:
    if isinstance(inner, Mapping):
        return isinstance(inner.get(name), Tensor)
    return isinstance(getattr(inner, name, None), Tensor)
