"""The messages about labels whose shape fits no reading of `mixkit.labels`, or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mixkit.labels import Size


def channels_last(shape: Sequence[int], size: Size) -> bool:
    """Whether the grid's sides come first, as they do in no layout here."""
    return size.grid is not None and tuple(shape[1 : len(size.grid) + 1]) == tuple(size.grid)


_SAY = {
    ("classes", True): "a class per sample",
    ("shares", True): "one-hot, multi-hot or soft labels per sample",
    ("values", True): "values per sample",
    ("classes", False): "a class per element",
    ("shares", False): "shares of classes per element",
    ("values", False): "values per element",
}


def in_doubt(tensor: Tensor, fits: list[tuple[str, bool]]) -> str:
    """Both readings, each a kind and whether it is per sample, and what to write for either."""
    both = " or as ".join(dict.fromkeys(_SAY[each] for each in fits))
    which = "say which, mixkit.PerSample(labels) or mixkit.PerElement(labels)"
    if len({per_sample for _, per_sample in fits}) == 1:
        which = "write labels[:, 0] for classes, labels.float() for shares"
        if len(set(fits)) == 1:
            both += ", which dimension 1 counts or dimension 2"
            which = "mixkit.PerElement(labels) means dimension 1, mixkit.PerElement(labels.mT) the other"
    return f"labels {tuple(tensor.shape)} {tensor.dtype} can be read as {both}: {which}"


def no_reading(tensor: Tensor, num_classes: int | None, size: Size, said: str) -> str:
    """What would have been read, and what came."""
    count, shape = size.num_samples, tuple(tensor.shape)
    grid = ", ".join(map(str, size.grid or ()))
    by_element = f"({count}, {size.num_elements or 'N'})" + (f" or ({count}, {grid})" if grid else "")
    shares = f"({count}, {num_classes}, {grid})" if grid else f"({count}, {num_classes}, {size.num_elements or 'N'})"
    got = f"got {shape} {tensor.dtype}{said}"
    if channels_last(shape, size) and tensor.dim() > 1 + len(size.grid or ()):
        got += "; classes or channels come before the grid: labels.movedim(-1, 1)"
    if num_classes is None:
        wanted = f"({count}, ..., {grid})" if grid else f"({count}, {size.num_elements}, ...)"
        return f"labels per element must be {wanted}, {got}; what belongs to whole samples: mixkit.PerSample(labels)"
    if tensor.is_floating_point() or tensor.dtype == torch.bool:
        return (
            f"soft labels must be ({count}, {num_classes}), {got}; per element {shares}; "
            "for regression leave num_classes out, for classes give integers"
        )
    return (
        f"integer labels must be classes ({count},), or one-hot or multi-hot ({count}, {num_classes}), or per element "
        f"classes {by_element}, or one-hot {shares}, {got}"
    )
