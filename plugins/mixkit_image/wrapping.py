"""The types of torchvision (`tv_tensors.Image`, `Mask`, `BoundingBoxes`), which what is mixed keeps."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torchvision import tv_tensors


def wrap_like(tensor: Any, like: Any) -> Any:
    """The tensor in the type of ``like``, where that is a type of torchvision; else the tensor as it is."""
    if not isinstance(like, tv_tensors.TVTensor):
        return tensor
    return tv_tensors.wrap(tensor.as_subclass(Tensor), like=like)
