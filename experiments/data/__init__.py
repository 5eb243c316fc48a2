"""Data sets held in memory as tensors, by name; models, training and mixing are elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from experiments.base.errors import ExperimentError
from experiments.data.base import Augmented, DataSet, names_of
from experiments.data.cifar import load_cifar100
from experiments.data.digits import load_digit_images, load_digit_points
from experiments.data.modelnet import load_modelnet10
from experiments.data.modelnet40 import load_modelnet40
from experiments.data.scanobjectnn import VARIANTS, load_scanobjectnn
from experiments.data.shapenetpart import load_shapenetpart
from experiments.data.sydney import FOLDS, load_sydney

__all__ = ["DATASETS", "Augmented", "DataSet", "load_data"]

Loader = Callable[[Sequence[Path], int | None], DataSet]
"""(folders to look for files in, points per set or None) to a data set."""

_LOADERS: dict[str, dict[str, Loader]] = {
    "image": {
        "digits": lambda roots, num_points: load_digit_images(),
        "cifar100": lambda roots, num_points: load_cifar100(roots),
    },
    "points": {
        "digits": lambda roots, num_points: load_digit_points(num_points=num_points),
        "modelnet10": load_modelnet10,
        "modelnet40": load_modelnet40,
        **{f"scanobjectnn-{variant}": partial(load_scanobjectnn, variant=variant) for variant in VARIANTS},
        "shapenetpart": load_shapenetpart,
        **{f"sydney-fold{fold}": partial(load_sydney, fold=fold) for fold in FOLDS},
    },
}

DATASETS: dict[str, tuple[str, ...]] = {domain: tuple(loaders) for domain, loaders in _LOADERS.items()}
"""The data sets of each domain, by name."""


def load_data(
    domain: str, name: str, roots: Sequence[Path], *, limit: int | None = None, num_points: int | None = None
) -> DataSet:
    """Load a data set of a domain.

    Args:
        domain: "image" or "points".
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
    if domain not in _LOADERS:
        raise ValueError(f"no data for domain {domain!r}: the experiments know 'image' and 'points'")
    if name not in _LOADERS[domain]:
        raise ExperimentError(f"no {domain} data set {name!r}: there are {', '.join(DATASETS[domain])}.")
    if domain == "image" and num_points is not None:
        raise ExperimentError(f"a number of points ({num_points}) is for point sets: {name} holds images.")
    try:
        data = _LOADERS[domain][name](roots, num_points)
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0] or "there is not enough memory"
        raise ExperimentError(f"{name} cannot be read from {names_of(roots)}: {reason}.") from error
    return data if limit is None else data.limited(limit)
