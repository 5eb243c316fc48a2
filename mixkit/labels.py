"""What labels may come with a batch, and how they are read: one rule, stated here. How they mix is `targets`' part.

A batch has B samples of N elements, on a grid of H x W or without one. ``num_classes`` is K, or None.

=========================  ====================================================  =====================================
dtype                      shape                                                 read as
=========================  ====================================================  =====================================
integers, K                (B,) or (B, 1)                                        a class per sample
integers of 0 and 1, K     (B, K)                                                one-hot or multi-hot, as floats
integers, K                (B, N), (B, N, 1), (B, H, W), (B, 1, H, W)            a class per element
integers of 0 and 1, K     (B, K, H, W), (B, K, N), (B, N, K)                    one-hot per element, as floats
floats or bool, K          (B, K) or (B, ..., K)                                 soft or multi-hot labels per sample
floats or bool, K          (B, K, H, W), (B, K, N), (B, N, K)                    shares of classes per element
floats or bool, None       (B, H, W), (B, ..., H, W), (B, N, ...), (B, C, N)     values per element
floats or bool, None       any other                                             values per sample: regression targets
=========================  ====================================================  =====================================

What is read per sample is mixed by the sample's mean weight, what is read per element by the plan. `PerSample` and
`PerElement` say which, and are needed where both readings fit: integers (B, K) with K = N, floats (B, N) without K.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mixkit.arrays import as_tensor
from mixkit.elements import ElementSet
from mixkit.label_errors import channels_last, in_doubt, no_reading
from mixkit.show import short


class PerSample(NamedTuple):
    """Labels of which each sample has one, whatever their shape: ``mixer(batch, PerSample(labels))``.

    It is a tuple, so loaders, collate functions and moves to a device carry it along. The targets are plain tensors.

    Example:
        >>> import mixkit
        >>> mixer = mixkit.create_mixer("mixup", domain="points")
        >>> corners = torch.randn(4, 8)  # eight numbers to be predicted for each cloud, which has 8 points
        >>> mixer(torch.randn(4, 8, 3), mixkit.PerSample(corners))[1].shape
        torch.Size([4, 8])
    """

    labels: Any

    def __repr__(self) -> str:
        return f"PerSample({short(self.labels)})"


class PerElement(NamedTuple):
    """Labels of which each element has one: ``mixer(batch, PerElement(labels))``. See `PerSample`.

    Example:
        >>> import mixkit
        >>> mixer = mixkit.create_mixer("pointcutmix_k", domain="points")
        >>> points = torch.randn(4, 16, 3)
        >>> mixed, heights = mixer(points, mixkit.PerElement(points[:, :, 2]))
        >>> torch.equal(heights, mixed[:, :, 2])
        True
    """

    labels: Any

    def __repr__(self) -> str:
        return f"PerElement({short(self.labels)})"


WRAPPERS = (PerSample, PerElement)


class Size(NamedTuple):
    """Of a batch: its samples, the elements of each (None: any number), and its grid's sides."""

    num_samples: int
    num_elements: int | None
    grid: tuple[int, ...] | None = None

    @classmethod
    def of(cls, elements: ElementSet) -> Size:
        """The size of a set of elements."""
        return cls(elements.num_samples, elements.num_elements, elements.grid)


@dataclass(frozen=True, eq=False)
class Label:
    """One tensor of labels as it is read.

    Args:
        tensor: (B, ...) as it came.
        kind: "classes", or "shares" of them, or "values".
        places: first and last dimension, exclusive, that count the elements; None: a label per sample.
        num_classes: K, or None.
        ignore_index: what does not count, or None: a class, or a number that stands for a value not known.
    """

    tensor: Tensor
    kind: str
    places: tuple[int, int] | None = None
    num_classes: int | None = None
    ignore_index: int | None = None

    @property
    def unknown(self) -> int | None:
        """The number that stands for a share or value not known; 0 and 1 are shares that are known."""
        return None if self.kind == "shares" and self.ignore_index in (0, 1) else self.ignore_index

    @property
    def known(self) -> Tensor:
        """Which of the shares or values are known, a bool for each."""
        return torch.ones_like(self.tensor, dtype=torch.bool) if self.unknown is None else self.tensor != self.unknown

    @property
    def classes(self) -> Tensor:
        """Long (B,), (B, N) or (B, H, W), of the kind "classes": without a side of 1 that was not asked for."""
        if self.places is None:
            return self.tensor.reshape(len(self.tensor)).long()
        return self.tensor.reshape(len(self.tensor), *self.tensor.shape[slice(*self.places)]).long()

    @property
    def numbers(self) -> Tensor:
        """The shares or values, never less than float32."""
        if self.tensor.is_floating_point():
            return self.tensor.to(torch.promote_types(self.tensor.dtype, torch.float32))
        return self.tensor.float()

    def take(self, rows: Tensor) -> Label:
        """The labels of some of the samples."""
        return replace(self, tensor=self.tensor[rows.to(self.tensor.device)])

    def keep(self, elements: Tensor, sides: tuple[int, ...]) -> Label:
        """The labels of some of the elements, which lie on a grid of so many sides; a label per sample stays."""
        if self.places is None:
            return self
        start, stop = self.places
        kept = self.tensor.flatten(start, stop - 1).index_select(start, elements.to(self.tensor.device))
        return replace(self, tensor=kept.unflatten(start, sides if stop - start > 1 else (len(elements),)))

    def check(self) -> Label:
        """Check the numbers where they can be read without a wait, on a CPU, and return the label.

        Raises:
            ValueError: a class out of range, or a share that is none.
        """
        tensor, ignored = self.tensor, self.ignore_index if self.kind == "classes" else self.unknown
        if tensor.device.type != "cpu" or not tensor.numel() or self.kind == "values" or tensor.dtype == torch.bool:
            return self
        numbers = self.classes if self.kind == "classes" else tensor
        if ignored is not None:
            numbers = numbers[numbers != ignored]
            if not numbers.numel():
                return self
        besides = "" if ignored is None else f" besides ignore_index {ignored}"
        least, most = (number.item() for number in numbers.aminmax())
        if self.kind == "classes":
            if least < 0 or most >= (self.num_classes or 0):
                raise ValueError(f"labels must lie in [0, {self.num_classes}), got {least} to {most}{besides}")
        elif least < 0 or (most > 1 and not tensor.is_floating_point()):
            wanted = "not be negative" if tensor.is_floating_point() else "be 0 or 1"
            raise ValueError(
                f"labels {tuple(tensor.shape)} {tensor.dtype} are shares of {self.num_classes} classes, which must "
                f"{wanted}, got {least} to {most}{besides}; what is not known is marked by ignore_index=, such as -1"
            )
        return self


def read_label(
    labels: Any, num_classes: int | None, size: Size, ignore_index: int | None = None, device: Any = None
) -> Label:
    """Read one tensor, array or list of labels by the rule of this module.

    Raises:
        TypeError: labels that are no numbers.
        ValueError: a shape that fits no reading, or several.
    """
    said = type(labels) if isinstance(labels, WRAPPERS) else None
    tensor = as_tensor("labels", labels.labels if isinstance(labels, WRAPPERS) else labels, device)
    shape, floats = tuple(tensor.shape), tensor.is_floating_point()
    if not shape or shape[0] != size.num_samples:
        wanted = f"be ({size.num_samples},)" if len(shape) < 2 else f"have {size.num_samples} rows"
        raise ValueError(f"labels must {wanted}, got {shape}: one for each sample of the batch")
    if tensor.dtype == torch.bool and len(shape) == 1 and num_classes is not None:
        raise TypeError("labels (B,) must be integer classes, got torch.bool: write labels.long()")
    if num_classes is None and not floats and tensor.dtype != torch.bool:
        raise ValueError(
            f"integer labels need num_classes, got {shape} {tensor.dtype}: give num_classes=K; "
            "what is to be mixed as numbers must be floating point: labels.float()"
        )
    fits = [
        Label(tensor, kind, places, num_classes, ignore_index) for kind, places in _readings(tensor, num_classes, size)
    ]
    if said is not None:
        fits = [each for each in fits if (each.places is None) == (said is PerSample)]
    elif floats or tensor.dtype == torch.bool:
        fits = _plain_reading(fits, size)
    if said is PerElement and fits and all(each.kind == fits[0].kind for each in fits):
        return fits[0]  # where both sides fit, the elements come first
    if len(fits) == 1:
        return fits[0]
    raise ValueError(
        in_doubt(fits[0].tensor, [(each.kind, each.places is None) for each in fits])
        if fits
        else no_reading(tensor, num_classes, size, "" if said is None else f" in {said.__name__}")
    )


def read_element_label(
    labels: Any, num_classes: int | None, size: Size, ignore_index: int | None = None, device: Any = None
) -> Label:
    """Read labels of the elements where only their number is known, not their grid: any sides whose product it is.

    Raises:
        TypeError: labels that are no numbers.
        ValueError: a shape that does not fit, or in two ways.
    """
    tensor = as_tensor("labels", labels.labels if isinstance(labels, PerElement) else labels, device)
    shape, count, number = tuple(tensor.shape), size.num_samples, size.num_elements
    integer = not tensor.is_floating_point() and tensor.dtype != torch.bool
    fits = [(1, 2)] if len(shape) > 1 and number in (None, shape[1]) else []
    if integer:
        fits = [(1, len(shape))] if len(shape) > 1 and number in (None, math.prod(shape[1:])) else []
    elif number is not None:
        ends = [start for start in range(len(shape) - 1, 0, -1) if math.prod(shape[start:]) == number]
        fits += [(start, len(shape)) for start in ends[:1] if (start, len(shape)) not in fits]
    if shape[:1] != (count,) or not fits:
        wanted = f"({count}, {number or 'N'})" + ("" if integer else " or with more sides")
        raise ValueError(f"element labels must be {wanted}, or the same as a grid, got {shape}")
    if len(fits) > 1:
        raise ValueError(f"element labels {shape} count {number} elements first and last: flatten the grid")
    if integer and num_classes is None:
        raise ValueError("integer labels need num_classes: give num_classes=K")
    kind = "classes" if integer else "values" if num_classes is None else "shares"
    return Label(tensor, kind, fits[0], num_classes, ignore_index)


def guess(tensor: Tensor, size: Size) -> Label:
    """Labels of which only the shape is known: integers, and floats with three sides or more, may be elements'."""
    places = _places(tensor.shape, size)
    of_samples = not places or (tensor.is_floating_point() and tensor.dim() < 3)
    return Label(tensor, "unknown", None if of_samples else places[0])


def _places(shape: Sequence[int], size: Size) -> list[tuple[int, int]]:
    """The dimensions that may count the elements; of a set, in either order beside one more."""
    if size.grid:
        start = len(shape) - len(size.grid)
        if start >= 1 and tuple(shape[start:]) == tuple(size.grid):
            return [(start, len(shape))]
        return [(len(shape) - 1, len(shape))] if len(shape) > 1 and shape[-1] == size.num_elements else []
    candidates = [(1, 2)] if len(shape) > 1 and shape[1] == size.num_elements else []
    return [*candidates, (2, 3)] if len(shape) == 3 and shape[2] == size.num_elements else candidates


def _readings(tensor: Tensor, num_classes: int | None, size: Size) -> list[tuple[str, tuple[int, int] | None]]:
    """Every kind and place of elements that a shape allows."""
    shape = tuple(tensor.shape)
    integer = not tensor.is_floating_point() and tensor.dtype != torch.bool
    candidates: list[tuple[str, tuple[int, int] | None]] = []
    if integer and shape[1:] in ((), (1,)):
        candidates.append(("classes", None))
    if num_classes is None:
        candidates.append(("values", None))
    elif len(shape) > 1 and shape[-1] == num_classes and (len(shape) == 2 or not integer):
        candidates.append(("shares", None))
    for places in _places(shape, size):
        beside = [*shape[1 : places[0]], *shape[places[1] :]]
        if num_classes is None:
            candidates.append(("values", places))
        elif beside == [num_classes]:
            candidates.append(("shares", places))
        if integer and beside in ([], [1]):
            candidates.append(("classes", places))
    return candidates


def _plain_reading(fits: list[Label], size: Size) -> list[Label]:
    """Of floats, what the shape says plainly: values (B, N) may be either, and more sides are the elements'."""
    of_samples = [each for each in fits if each.places is None]
    of_elements = [each for each in fits if each.places is not None]
    if size.num_elements == 1:  # of one element both are the same
        return of_samples or of_elements[:1]
    if not of_elements:
        shape = fits[0].tensor.shape if fits else ()
        return of_samples if len(shape) < 3 or not (_places(shape, size) or channels_last(shape, size)) else []
    return fits if of_samples and of_samples[0].tensor.dim() == 2 else of_elements
