"""The data sets by name. Nothing heavy is imported here: a data set's module is, once the data set is loaded."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.base.errors import ExperimentError

if TYPE_CHECKING:
    from experiments.data.base import DataSet

__all__ = ["DATASETS", "WORDS", "DataRecord", "load_data", "title_of"]


@dataclass(frozen=True)
class DataRecord:
    """A data set that can be loaded by its name.

    Attributes:
        title: how tables call it; that of all its folds, where it has some.
        loader: ``module:function`` within this package; the function takes the folders to look for files in, and
            ``num_points`` (int or None) where the domain is "points", and returns a `DataSet`.
        options: the loader's own keyword arguments.
        small_budget: epochs, width and limit that give a model whose saliency looks at the object; {} where `figures`
            does not draw this data set.
    """

    title: str
    loader: str
    options: Mapping[str, Any] = field(default_factory=dict)
    small_budget: Mapping[str, Any] = field(default_factory=dict)


# under a minute of training each, on one free core
_DIGITS = {"epochs": 6, "width": 8}
DATASETS: dict[str, dict[str, DataRecord]] = {
    "image": {
        "digits": DataRecord("digits", "digits:load_digit_images", small_budget=_DIGITS),
        "cifar100": DataRecord(
            "CIFAR-100", "cifar:load_cifar100", small_budget={"epochs": 4, "width": 16, "limit": 4000}
        ),
    },
    "points": {
        "digits": DataRecord("digits", "digits:load_digit_points", small_budget=_DIGITS),
        "modelnet10": DataRecord(
            "ModelNet10", "modelnet:load_modelnet10", small_budget={"epochs": 5, "width": 16, "limit": 1500}
        ),
        "modelnet40": DataRecord("ModelNet40", "modelnet40:load_modelnet40"),
        **{
            f"scanobjectnn-{variant}": DataRecord(
                f"ScanObjectNN ({variant.upper().replace('-', '_')})",
                "scanobjectnn:load_scanobjectnn",
                {"variant": variant},
            )
            for variant in ("obj-only", "obj-bg", "pb-t50-rs")
        },
        "shapenetpart": DataRecord("ShapeNetPart", "shapenetpart:load_shapenetpart"),
        **{
            f"sydney-fold{fold}": DataRecord("Sydney Urban Objects", "sydney:load_sydney", {"fold": fold})
            for fold in range(4)
        },
    },
    **{
        domain: {
            name: DataRecord(title, "fsdd:load_fsdd", {**how, **which})
            for name, title, which in (
                ("fsdd-sample", "spoken digits (sample)", {"sample": True}),
                ("fsdd", "spoken digits", {}),
            )
        }
        for domain, how in (("sequence", {}), ("spectrogram", {"spectrogram": True}))
    },
}
"""The data sets of each domain."""

WORDS = {
    "image": ("images", "pixels"),
    "points": ("point sets", "points"),
    "sequence": ("sequences", "steps"),
    "spectrogram": ("spectrograms", "bins"),
}
"""What the samples and the elements of each domain are called."""


def title_of(domain: str, name: str) -> str:
    """How tables call a data set; its name where it is none of ours."""
    record = DATASETS.get(domain, {}).get(name)
    return record.title if record else name


def load_data(
    domain: str, name: str, roots: Sequence[Path], *, limit: int | None = None, num_points: int | None = None
) -> DataSet:
    """Load a data set of a domain.

    Args:
        domain: one of `DATASETS`.
        name: one of `DATASETS[domain]`.
        roots: the folders to look for files in, in this order.
        limit: keep this many training samples, the classes as equal as they allow, the same ones every time; the test
            samples are limited to max(limit, 1000) in the same way. None keeps everything.
        num_points: points per set, the first so many of what is stored unless the set's loader says otherwise; None for
            the set's own default. Point sets only.

    Raises:
        ExperimentError: unknown name, files absent or damaged, more points than there are.
        ValueError: unknown domain.
    """
    if domain not in DATASETS:
        raise ValueError(f"no data for domain {domain!r}: the experiments know {', '.join(map(repr, DATASETS))}")
    if name not in DATASETS[domain]:
        raise ExperimentError(f"no {domain} data set {name!r}: there are {', '.join(DATASETS[domain])}.")
    if domain != "points" and num_points is not None:
        raise ExperimentError(f"a number of points ({num_points}) is for point sets: {name} holds {WORDS[domain][0]}.")
    record = DATASETS[domain][name]
    module, _, function = record.loader.partition(":")
    load = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    points = {"num_points": num_points} if domain == "points" else {}
    try:
        data: DataSet = load(roots, **points, **record.options)
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0] or "there is not enough memory"
        folders = " or ".join(map(str, roots))
        raise ExperimentError(f"{name} cannot be read from {folders}: {reason}.") from error
    return data if limit is None else data.limited(limit)
