"""Mixing in the loader: samples of any structure are collated, and some of their entries mixed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from mixkit.labels import WRAPPERS, PerElement
from mixkit.plan import MixPlan
from mixkit.ragged import RaggedPlan, mixing, open_form
from mixkit.show import short

if TYPE_CHECKING:
    from mixkit.mixer import Mixer

#: The name of an entry of a dict, or its place in a tuple.
Entry = str | int


class Collate:
    """Collates samples and mixes what you name: ``DataLoader(..., collate_fn=Collate(mixer, "image", "label"))``.

    All other entries (an index, a path, a tensor of any shape) pass through, as ``collate`` leaves them, and the batch
    keeps the structure of its samples. It can be pickled, so that workers may run it.

    Args:
        mixer: mixes the batch; one without a model's saliency, which is out of date in a worker.
        inputs: the entry that is mixed: a key of a dict, or a place in a tuple. A list of entries, such as two views or
            a picture and its depth, is mixed by one plan, for which the saliency is the first one's.
        labels: the entry that holds the labels, whose place the targets take; or a list of entries, for which the
            mixer's ``num_classes`` is a tuple in the same order, or a dict by the same keys.
        collate: makes a batch of a list of samples. Default: `torch.utils.data.default_collate`, once labels that are
            lists of numbers have become tensors. Inputs and labels of different sizes, such as clouds, never reach it:
            they become a list, which a mixer takes where its domain does.
        stack: False keeps inputs in a list even where all samples of a batch have one size, and with them labels that
            their elements have, so that every batch is read alike. Default True, but for scenes, which are never
            stacked.
        samples: what the mixer is told of which samples of the data set a batch has (`Mixer`): the entry that holds
            their keys, or a function of the collated batch that returns keys or `mixkit.Samples`. Default None.
            A `SaliencyBank` asks for it, and learns in the process that trains only, ``num_workers=0``.

    Raises:
        ValueError: no entry of ``inputs`` or ``labels``, one named twice, or (on the first batch) the saliency of a
            model, or a bank in a worker.
        TypeError: (on the first batch) samples that are neither tuples nor dicts.
        KeyError: (on the first batch) an entry that the samples have not.

    Example:
        >>> from mixkit.factory import create_mixer
        >>> mixer = create_mixer("mixup", domain="points", num_classes=4)
        >>> samples = [{"cloud": torch.randn(9, 3), "label": i, "path": f"{i}.npz"} for i in range(4)]
        >>> batch = Collate(mixer, inputs="cloud", labels="label")(samples)
        >>> batch["cloud"].shape, batch["label"].shape, batch["path"]
        (torch.Size([4, 9, 3]), torch.Size([4, 4]), ['0.npz', '1.npz', '2.npz', '3.npz'])
    """

    def __init__(
        self,
        mixer: Mixer,
        inputs: Entry | Sequence[Entry] = 0,
        labels: Entry | Sequence[Entry] = 1,
        *,
        collate: Callable[[list[Any]], Any] = default_collate,
        stack: bool = True,
        samples: Entry | Callable[[Any], Any] | None = None,
    ) -> None:
        self.mixer = mixer
        self.inputs = _listed(inputs)
        self.labels = _listed(labels)
        self.several = not isinstance(labels, (str, int))
        self.collate = collate
        self.stack = stack and mixer.domain.stacked
        self.samples = samples
        named = [*self.inputs, *self.labels]
        if not self.inputs or not self.labels or len(set(named)) < len(named):
            raise ValueError(f"inputs and labels must name different entries, got {inputs!r} and {labels!r}")

    def __call__(self, samples: list[Any]) -> Any:
        """The mixed batch of a list of samples."""
        self.mixer.refuse_in_loader()
        _refuse_none(samples)
        if not isinstance(samples[0], (Mapping, tuple, list)):
            raise TypeError(f"samples must be tuples or dicts, got {type(samples[0]).__name__}")
        named = [] if self.samples is None or callable(self.samples) else [self.samples]
        _check_there(samples[0], [*self.inputs, *self.labels, *named])
        batch = self._batch([self._with_tensors(sample) for sample in samples])
        labels: Any = [batch[entry] for entry in self.labels]
        if not self.several:
            labels = labels[0]
        elif isinstance(self.mixer.num_classes, Mapping):
            labels = dict(zip(self.labels, labels, strict=True))
        of_data = self.samples(batch) if callable(self.samples) else batch[self.samples] if named else None
        mixed, targets = mix_alike(self.mixer, [batch[entry] for entry in self.inputs], labels, of_data)
        if not self.several:
            targets = [targets]
        elif isinstance(targets, Mapping):
            targets = [targets[entry] for entry in self.labels]
        return _replaced(batch, dict(zip([*self.inputs, *self.labels], [*mixed, *targets], strict=True)))

    def __repr__(self) -> str:
        inputs = self.inputs if len(self.inputs) > 1 else self.inputs[0]
        labels = self.labels if self.several else self.labels[0]
        samples = "" if self.samples is None else f", samples={short(self.samples)}"
        return f"Collate({self.mixer!r},\n  inputs={inputs!r}, labels={labels!r}{samples})"

    def _batch(self, samples: list[Any]) -> Any:
        """The samples as a batch; of what differs in size, a list."""
        lists: dict[Entry, Any] = {}
        lengths = None if self.stack else _lengths([sample[self.inputs[0]] for sample in samples])
        for entry in [*self.inputs, *self.labels]:
            given = [sample[entry] for sample in samples]
            said = all(isinstance(part, PerElement) for part in given)
            parts = [part.labels for part in given] if said else given
            if (sizes := _lengths(parts)) is None:
                continue
            listed = entry in self.inputs or (sizes == lengths and (said or not self._is_of_sample(entry, parts)))
            if len(set(sizes)) > 1 or (not self.stack and listed):
                tensors = [torch.as_tensor(part) for part in parts]
                lists[entry] = PerElement(tensors) if said else tensors
        if not lists:
            return self.collate(samples)
        places = dict.fromkeys(lists, 0)  # what is listed leaves its place to a number
        return _replaced(self.collate([_replaced(sample, places) for sample in samples]), lists)

    def _is_of_sample(self, entry: Entry, labels: list[Any]) -> bool:
        """Whether labels that are as long as their samples can be the samples' own: soft or multi-hot, (K,)."""
        sizes = self.mixer.num_classes
        if self.several and isinstance(sizes, Mapping):
            sizes = sizes[entry]
        elif self.several and isinstance(sizes, (tuple, list)):
            sizes = sizes[self.labels.index(entry)]
        if sizes is None or labels[0].ndim != 1:
            return False
        tensors = [torch.as_tensor(label) for label in labels]
        if tensors[0].is_floating_point():
            return True
        return all(len(each) == sizes and bool(((each == 0) | (each == 1)).all()) for each in tensors)

    def _with_tensors(self, sample: Any) -> Any:
        """The sample, its labels that are lists of numbers as tensors: collation would take each number apart."""
        tensors: dict[Entry, Any] = {}
        for entry in self.labels:
            label = sample[entry]
            if _is_list_of_numbers(label):
                tensors[entry] = torch.tensor(label)
            elif isinstance(label, WRAPPERS) and _is_list_of_numbers(label.labels):
                tensors[entry] = type(label)(torch.tensor(label.labels))
        return _replaced(sample, tensors) if tensors else sample


def collate_pairs(mixer: Mixer, samples: list[Any]) -> tuple[Any, Any]:
    """Collate samples ``(input, label)`` and mix them; with ``num_classes`` of a tuple, ``(input, label, label, ...)``.

    Raises:
        TypeError: dicts, or tuples whose further entries may be labels or not: a `Collate` is told which are.
    """
    mixer.refuse_in_loader()
    _refuse_none(samples)
    first, sizes = samples[0], mixer.num_classes
    if isinstance(first, Mapping):
        raise TypeError(
            f"samples are dicts with the entries {', '.join(map(repr, first))}: say which are mixed, "
            "collate_fn=mixkit.Collate(mixer, inputs=..., labels=...)"
        )
    if not isinstance(first, (tuple, list)) or len(first) < 2:
        got = f"a {type(first).__name__}" + (f" of {len(first)}" if isinstance(first, (tuple, list)) else "")
        raise TypeError(f"samples must be (input, label), got {got}")
    many = isinstance(sizes, (tuple, list)) and len(sizes) > 1
    if len(first) > 2 and not (many and len(sizes) == len(first) - 1):
        raise TypeError(
            f"samples have {len(first)} entries, (input, label) and more, and num_classes is {sizes!r}: say which are "
            "labels, collate_fn=mixkit.Collate(mixer, inputs=0, labels=1), where the others pass through; "
            "or give num_classes a tuple with an entry for each of several labels"
        )
    places = range(1, len(first))
    batch = Collate(mixer, 0, list(places) if many else 1)(samples)
    return batch[0], tuple(batch[place] for place in places) if many else batch[1]


def mix_alike(mixer: Mixer, batches: list[Any], labels: Any, samples: Any = None) -> tuple[list[Any], Any]:
    """Several batches of the same elements mixed by one plan, which is drawn for the first; and their targets."""
    if len(batches) == 1:
        one, targets = mixer(batches[0], labels, samples=samples)
        return [one], targets
    if mixer.training and mixer.history is not None:
        raise ValueError(
            f"partners='previous_batch' remembers one input of a batch, got {len(batches)}: give partners='random'"
        )
    mixer.forget_clean_loss()
    first = batches[0]
    if open_form(first) is not None:
        return _mix_forms_alike(mixer, batches, labels, samples)
    plan = mixer.plan(first, labels, samples=samples) if mixer.training else MixPlan.identity(len(first), first.device)
    of_first, read = mixer.read(first, labels)
    mixed = []
    for batch in batches:
        elements = mixer.domain.elements(batch)
        if plan.num_elements is not None and elements.grid != of_first.grid:
            raise ValueError(
                f"inputs mixed by one plan must be of one size, got {elements.grid} beside {of_first.grid}"
            )
        mixed.append(mixer.domain.mix(plan, elements, batch))
    if mixer.training:
        mixed[0] = mixer.watch(mixed[0], plan, of_first, samples)
    return mixed, mixer.targets(plan, read)


def _mix_forms_alike(mixer: Mixer, batches: list[Any], labels: Any, samples: Any) -> tuple[list[Any], Any]:
    """As `mix_alike`, for samples of different sizes."""
    forms = [form for batch in batches if (form := open_form(batch)) is not None]
    if len(forms) < len(batches) or any(
        not torch.equal(form.packed.offsets, forms[0].packed.offsets) for form in forms
    ):
        raise ValueError("inputs mixed by one plan must be of the same sizes")
    elements, read = mixing.read(mixer, forms[0], labels)
    if not mixer.training:
        return batches, mixing.targets(forms[0], RaggedPlan.identity(elements.offsets, len(elements.coords)), read)
    plan = mixing.draw(mixer, forms[0], elements, read, samples=samples)
    mixed = [mixing.apply(mixer, form, plan, mixer.domain.ragged_elements(form.packed)) for form in forms]
    return mixed, mixing.targets(forms[0], plan, read)


def _lengths(parts: list[Any]) -> list[int] | None:
    """The lengths of tensors or arrays with a first side, or None where any part is something else."""
    if not all(isinstance(part, (Tensor, np.ndarray)) and part.ndim for part in parts):
        return None
    return [len(part) for part in parts]


def _refuse_none(samples: list[Any]) -> None:
    if not samples:
        raise ValueError("got an empty list of samples: a batch has at least one")


def _listed(entries: Entry | Sequence[Entry]) -> list[Entry]:
    return [entries] if isinstance(entries, (str, int)) else list(entries)


def _check_there(sample: Any, entries: list[Entry]) -> None:
    places = sample.keys() if isinstance(sample, Mapping) else range(len(sample))
    if missing := [entry for entry in entries if entry not in places]:
        available = ", ".join(map(repr, places))
        raise KeyError(f"samples have no entry {missing[0]!r}; their entries: {available}")


def _is_list_of_numbers(label: Any) -> bool:
    return isinstance(label, (tuple, list)) and bool(label) and all(isinstance(each, Number) for each in label)


def _replaced(batch: Any, entries: dict[Entry, Any]) -> Any:
    """The batch or sample with other entries, of the same type; what came stays as it is."""
    if isinstance(batch, Mapping):
        if not isinstance(batch, MutableMapping):
            return {**batch, **entries}
        changed = copy.copy(batch)
        changed.update(entries)
        return changed
    items = [entries.get(place, item) for place, item in enumerate(batch)]
    return type(batch)(*items) if hasattr(batch, "_fields") else type(batch)(items)
