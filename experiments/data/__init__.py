"""Data sets held in memory as tensors, by name; models, training and mixing are elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.data.base import DataSet
from experiments.data.cifar import load_cifar100
from experiments.data.digits import load_digit_images, load_digit_points
from experiments.data.modelnet import load_modelnet10

__all__ = ["DataSet", "load_data"]


def load_data(domain: str, name: str, roots: Sequence[Path], *, limit: int | None = None) -> DataSet:
    """Load a data set of a domain.

    Args:
        domain: "image" or "points".
        name: "digits" or "cifar100" for images, "digits" or "modelnet10" for points.
        roots: the folders to look for files in, in this order.
        limit: keep this many training samples, the classes as equal as they allow, the same ones every time; the test
            samples are limited to max(limit, 1000) in the same way. None keeps everything.

    Raises:
        ExperimentError: unknown name, files absent or damaged.
        ValueError: unknown domain.
    """
    if domain == "image":
        data = load_cifar100(roots) if name == "cifar100" else load_digit_images()
    elif domain == "points":
        data = load_modelnet10(roots) if name == "modelnet10" else load_digit_points()
    else:
        raise ValueError(f"no data for domain {domain!r}: the experiments know 'image' and 'points'")
    return data if limit is None else data.limited(limit)
