"""What a data set is here, class-balanced subsets, and where files are looked for; no data set in particular."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from experiments.base.errors import ExperimentError

SMALLEST_TEST_SET = 1000


class Augmented(NamedTuple):
    """An augmented batch, and where its elements come from.

    Attributes:
        batch: a batch as stored.
        index: (B, N') long, element e of the augmented sample is element index[e] of the stored one, pixels counted row
            by row, -1 for what is no stored element (padding); None where every element is in its stored place.
    """

    batch: Tensor
    index: Tensor | None = None  # type: ignore[assignment]  # a tuple has a method of that name, unused here


def unchanged(stored: Tensor, generator: torch.Generator) -> Augmented:
    """No augmentation."""
    return Augmented(stored)


def as_float(stored: Tensor) -> Tensor:
    """The stored samples as float32."""
    return stored.float()


def as_stored(stored: Tensor) -> Tensor:
    """The stored samples as they are."""
    return stored


@dataclass(frozen=True)
class DataSet:
    """Training and test samples in memory, in a compact type, and how they become what a model reads.

    Attributes:
        name: as on the command line.
        title: as people write it.
        domain: one of `experiments.data.DATASETS`.
        classes: names of the classes, in the order of the labels.
        train, test: stored samples, (n, C, H, W), (n, N, D), (n, C, T) sequences or (n, C, F, T) spectrograms.
        train_labels, test_labels: (n,) long.
        train_parts, test_parts: (n, N) long, the part each point belongs to, where the set has parts; None otherwise.
        parts_of: the part labels of each category, in the order of the classes; () where the set has no parts.
        augment: (stored batch, CPU generator) to a stored batch and the places of its elements, training only.
        prepare: stored batch to float32, as the model reads it.
        augmentation: what `augment` does, in words, for the report.
        restore: prepared images to [0, 1] for pictures.
        as_test: stored training samples as test samples are stored, where the two differ.
        scored: what `test` holds: "test", or "validation" where samples cut from the training set took its place.
        held, held_labels: samples that are neither trained on nor scored, stored as test samples are, to fit a
            temperature on; None where there are none.
    """

    name: str
    title: str
    domain: str
    classes: tuple[str, ...]
    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    augment: Callable[[Tensor, torch.Generator], Augmented] = unchanged
    prepare: Callable[[Tensor], Tensor] = as_float
    augmentation: str = "none"
    restore: Callable[[Tensor], Tensor] = as_float
    train_parts: Tensor | None = None
    test_parts: Tensor | None = None
    parts_of: tuple[tuple[int, ...], ...] = ()
    as_test: Callable[[Tensor], Tensor] = as_stored
    scored: str = "test"
    held: Tensor | None = None
    held_labels: Tensor | None = None

    @property
    def channels(self) -> int:
        """Channels of an image or a sequence, numbers per point of a point set."""
        return self.train.shape[2 if self.domain == "points" else 1]

    @property
    def num_parts(self) -> int:
        """Part labels over all categories, 0 where the set has no parts."""
        return sum(len(parts) for parts in self.parts_of)

    def limited(self, limit: int) -> DataSet:
        """`limit` training samples and at most max(limit, 1000) test samples, class-balanced and deterministic."""
        train = balanced_subset(self.train_labels, limit)
        test = balanced_subset(self.test_labels, max(limit, SMALLEST_TEST_SET))
        return self.pick(train, test)

    def pick(self, train: Tensor, test: Tensor) -> DataSet:
        """The training samples and the test samples at these indices, of a set that holds nothing out."""
        return self._map(lambda name, tensor: tensor[train if name.startswith("train") else test])

    def to(self, device: torch.device) -> DataSet:
        """The same data set on a device; draws of the augmentation stay on the CPU."""
        return self._map(lambda name, tensor: tensor.to(device))

    def _map(self, change: Callable[[str, Tensor], Tensor]) -> DataSet:
        """The same data set with `change(field, tensor)` for each tensor it has."""
        names = ("train", "train_labels", "train_parts", "test", "test_labels", "test_parts", "held", "held_labels")
        tensors = {name: getattr(self, name) for name in names}
        changed: dict[str, Any] = {name: change(name, tensor) for name, tensor in tensors.items() if tensor is not None}
        return replace(self, **changed)


def pixel_index(rows: Tensor, columns: Tensor, height: int, width: int) -> Tensor:
    """The stored pixels at rows (B, H') and columns (B, W') of images of height x width: (B, H' * W') long.

    Where a row or a column lies outside of the image the index is -1.
    """
    outside = -height * width  # more negative than any sum with an inside row or column is positive
    row = torch.where((rows >= 0) & (rows < height), rows * width, outside)
    column = torch.where((columns >= 0) & (columns < width), columns, outside)
    return (row[:, :, None] + column[:, None, :]).clamp_(min=-1).flatten(1)


def balanced_subset(labels: Tensor, limit: int, seed: int = 0) -> Tensor:
    """Indices of `limit` samples, taken in turn from every class until a class has no more.

    Args:
        labels: (n,) classes.
        limit: how many to keep; all where it is at least n.
        seed: which samples of a class come first.

    Returns:
        (min(limit, n),) sorted indices. Class sizes differ by at most one as long as every class has samples left.
    """
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    by_class = shuffled[torch.argsort(labels[shuffled], stable=True)]
    counts = torch.bincount(labels)
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    turn = torch.arange(len(labels)) - starts  # the how-manieth of its class a sample is
    return by_class[torch.argsort(turn, stable=True)[:limit]].sort().values


def find_first(roots: Iterable[Path], relative: str) -> Path | None:
    """The first root that holds `relative`, joined with it; a link that leads nowhere is nothing."""
    return next((root / relative for root in roots if (root / relative).exists()), None)


def check_md5(path: Path, expected: str, remedy: str) -> None:
    """Raise ExperimentError where the file's md5 is not `expected`; `remedy` says what to do then."""
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise ExperimentError(f"{path} cannot be read ({error.strerror}): {remedy}.") from error
    if digest.hexdigest() != expected:
        raise ExperimentError(f"{path} is damaged (its md5 is {digest.hexdigest()}, not {expected}): {remedy}.")


def names_of(roots: Sequence[Path]) -> str:
    """The folders that were searched, for a message."""
    return " or ".join(str(root) for root in roots)
