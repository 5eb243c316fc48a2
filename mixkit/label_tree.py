"""Labels of several kinds at once: tuples and dicts of what `mixkit.labels` reads one by one."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, SupportsIndex

from mixkit.arrays import is_numbers
from mixkit.labels import WRAPPERS, Label, Size, read_label

#: How many classes: one number, or as the labels are, a tuple or dict; None for labels without classes.
NumClasses = SupportsIndex | list[Any] | tuple[Any, ...] | Mapping[Any, Any] | None


#: ``read(labels, num_classes, ignore_index)`` reads the labels of one kind.
ReadLabel = Callable[[Any, "int | None", "int | None"], Label]


def read_labels(labels: Any, num_classes: Any, size: Size, ignore_index: Any = None, device: Any = None) -> Any:
    """Read the labels of a batch: one `Label`, or a tuple or dict of them where the labels are one.

    Args:
        labels: a tensor, NumPy array or list of numbers, or one in `PerSample` or `PerElement`; or a tuple, list or
            dict of these.
        num_classes: one number for all, or in the structure of the labels.
        size: the number of samples, elements and sides of the batch.
        ignore_index: one number for all that are classes, or in the structure of the labels. Default None.
        device: the device of the batch. Default None: the labels' own.

    Raises:
        TypeError: see `read_label`.
        ValueError: see `read_label`; or structures that do not fit together.
    """

    def read_one(labels: Any, num_classes: int | None, ignore_index: int | None) -> Label:
        return read_label(labels, num_classes, size, ignore_index, device)

    return read_tree(labels, num_classes, ignore_index, read_one)


def read_tree(
    labels: Any,
    num_classes: Any,
    ignore_index: Any,
    read_one: ReadLabel,
    *,
    lists: bool = True,
    shared: bool = False,
) -> Any:
    """As `read_labels`, given what reads the labels of one kind.

    Args:
        labels: see `read_labels`.
        num_classes: see `read_labels`.
        ignore_index: see `read_labels`.
        read_one: reads what is no structure.
        lists: a list or tuple of tensors is a structure even where ``num_classes`` is none. Default True.
        shared: the ignore_index is one for several labels. Default False.

    Raises:
        ValueError: structures that do not fit together; and what ``read_one`` raises.
    """

    def read(labels: Any, num_classes: Any, ignore_index: Any, shared: bool) -> Any:
        return read_tree(labels, num_classes, ignore_index, read_one, lists=lists, shared=shared)

    if isinstance(labels, Mapping):
        sizes = num_classes if isinstance(num_classes, Mapping) else dict.fromkeys(labels, num_classes)
        if missing := [key for key in labels if key not in sizes]:
            raise ValueError(
                f"num_classes has no entry for the labels {missing}; give None for a label without classes"
            )
        many = isinstance(ignore_index, Mapping)
        one_for_all = not many and len(labels) > 1
        return {
            key: read(label, sizes[key], ignore_index.get(key) if many else ignore_index, one_for_all)
            for key, label in labels.items()
        }
    many = isinstance(num_classes, (tuple, list))
    in_a_row = isinstance(labels, (tuple, list)) and not isinstance(labels, WRAPPERS)
    if in_a_row and (many or (lists and not is_numbers(labels))):
        if many and len(num_classes) != len(labels):
            raise ValueError(f"num_classes must have one entry for each of {len(labels)} labels, got {num_classes!r}")
        each_size = num_classes if many else [num_classes] * len(labels)
        many = isinstance(ignore_index, (tuple, list))
        if many and len(ignore_index) != len(labels):
            raise ValueError(f"ignore_index must have one entry for each of {len(labels)} labels, got {ignore_index!r}")
        ignored = ignore_index if many else [ignore_index] * len(labels)
        one_for_all = not many and len(labels) > 1
        return tuple(read(*each, one_for_all) for each in zip(labels, each_size, ignored, strict=True))
    for name, value in (("num_classes", num_classes), ("ignore_index", ignore_index)):
        if isinstance(value, (Mapping, tuple, list)):
            raise ValueError(f"{name} must be one number for one label tensor, got {value!r}")
    label_read = read_one(labels, check_num_classes(num_classes), ignore_index)
    if not shared or ignore_index is None:
        return label_read
    if label_read.kind == "values":  # a depth of 255, say, beside a mask whose 255 does not count
        return replace(label_read, ignore_index=None)
    if label_read.kind == "classes" and label_read.places is None and 0 <= ignore_index < (label_read.num_classes or 0):
        raise ValueError(
            f"ignore_index={ignore_index} is one of the {num_classes} classes of the labels "
            f"{tuple(label_read.tensor.shape)} too: give ignore_index in the structure of the labels, and None here"
        )
    return label_read


def map_leaves(function: Callable[[Any], Any], labels: Any) -> Any:
    """Call a function on everything in a structure of dicts, tuples and lists that is none of these."""
    if isinstance(labels, dict):
        return {key: map_leaves(function, value) for key, value in labels.items()}
    if type(labels) in (tuple, list):
        return type(labels)(map_leaves(function, value) for value in labels)
    return function(labels)


def map_labels(function: Callable[[Label], Any], labels: Any) -> Any:
    """Call a function on each `Label` of what `read_labels` returns; what is none stays as it is."""
    return map_leaves(lambda leaf: function(leaf) if isinstance(leaf, Label) else leaf, labels)


def listed(labels: Any) -> list[Label]:
    """Every `Label` of what `read_labels` returns, in their order."""
    found: list[Label] = []
    map_labels(found.append, labels)
    return found


def plain(labels: Any) -> Any:
    """The tensors of what `read_labels` returns, as a loss takes them."""
    return map_labels(lambda label: label.tensor, labels)


def check_num_classes(num_classes: Any) -> Any:
    """Return a number of classes, None, or a tuple, list or dict of them, once it is found to be one.

    Raises:
        TypeError: no whole number.
        ValueError: below 1.
    """
    return _check_whole("num_classes", num_classes, least=1)


def check_ignore_index(ignore_index: Any) -> Any:
    """The label that does not count as Python's own number, or a structure of them; it may be None.

    Raises:
        TypeError: anything but a whole number.
    """
    return _check_whole("ignore_index", ignore_index)


def _check_whole(name: str, value: Any, least: int | None = None) -> Any:
    if isinstance(value, Mapping):
        return {key: _check_whole(name, each, least) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)([_check_whole(name, each, least) for each in value])
    if value is None:
        return None
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be a whole number, or a tuple or dict of them, got {value!r}")
    number = operator.index(value)
    if least is not None and number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number
