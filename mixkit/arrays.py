"""What comes as a NumPy array, a list or a tensor of an odd kind, as a tensor; or an error that names it."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def as_tensor(name: str, values: Any, device: torch.device | str | None = None) -> Tensor:
    """Numbers as a dense tensor.

    Args:
        name: what the numbers are called in a message.
        values: a tensor, a NumPy array or what NumPy takes for one, or a list or tuple of numbers or of lists.
        device: the device of what comes back. Default None: where it is, or the CPU.

    Raises:
        TypeError: what came holds no numbers, or is sparse, nested, quantised, complex or without data.
    """
    if isinstance(values, Tensor):
        check_dense(name, values)
        if values.is_complex() or values.is_quantized:
            raise TypeError(f"{name} must be real numbers, got {values.dtype}")
        if values.dtype in (torch.uint16, torch.uint32, torch.uint64):  # most operations do not know these
            values = values.long()
        return values if device is None else values.to(device)
    if isinstance(values, (tuple, list)) and any(isinstance(value, Tensor) for value in values):
        return as_tensor(name, torch.stack([as_tensor(name, value) for value in values]), device)
    wanted = f"{name} must be a tensor, a NumPy array or a list of numbers"
    if values is None or isinstance(values, (str, bytes, dict, set)):
        raise TypeError(f"{wanted}, got {type(values).__name__}")
    try:
        array = np.array(values)  # a copy: torch wants it writable, and no two readers want the same memory
    except (TypeError, ValueError) as error:
        raise TypeError(f"{wanted}, got a {type(values).__name__} of unequal lengths") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{wanted}, got {type(values).__name__} of {array.dtype}")
    if not isinstance(values, np.ndarray) and array.dtype == np.float64 and isinstance(values, (tuple, list)):
        array = array.astype(np.float32)  # as torch reads lists
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    tensor = torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    return tensor if device is None else tensor.to(device)


def concatenate(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """`torch.cat`, also within autocast, which refuses it for the half type that it does not cast to."""
    with torch.autocast(tensors[0].device.type, enabled=False):
        return torch.cat(list(tensors), dim)


def is_array(values: Any) -> bool:
    """Whether these are a tensor or a NumPy array."""
    return isinstance(values, (Tensor, np.ndarray))


def is_numbers(values: Any) -> bool:
    """Whether a list or tuple holds numbers, or a list holds lists of numbers: an array rather than a structure."""
    if all(isinstance(value, numbers.Number) or (isinstance(value, Tensor) and not value.dim()) for value in values):
        return True
    return isinstance(values, list) and all(type(value) is list and is_numbers(value) for value in values)


def check_dense(name: str, tensor: Tensor) -> None:
    """Refuse a tensor whose numbers cannot be reached one by one.

    Raises:
        TypeError: a nested, sparse or meta tensor; the message names it.
    """
    kind = None
    if tensor.is_nested:
        kind = "a nested tensor"
    elif tensor.layout != torch.strided:
        kind = f"a tensor of layout {str(tensor.layout).removeprefix('torch.')}"
    elif tensor.is_meta:
        kind = "a tensor on the device meta, which has no data"
    if kind is not None:
        raise TypeError(f"{name} must be a dense tensor, got {kind}")
