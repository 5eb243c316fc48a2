"""Which sample each one is mixed with: rules by name, or a function of the user's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mixkit import draws
from mixkit.checks import check_partner
from mixkit.elements import ElementSet
from mixkit.label_tree import listed, map_labels, plain
from mixkit.labels import Label
from mixkit.methods.base import Partners
from mixkit.metrics import hard_targets
from mixkit.partner_rules import FarSaliency, NearLabel, label_to_compare
from mixkit.ragged.elements import RaggedSet
from mixkit.samples import Samples
from mixkit.show import short

#: The rule that a mixer follows itself, as it alone knows the batch before (`mixkit.history`).
PREVIOUS_BATCH = "previous_batch"

#: What a function of the user's may ask for.
ARGUMENTS = ("elements", "labels", "saliency", "keys", "generator")


def check_partners(partners: Partners, method: str, needs: frozenset[str]) -> Partners:
    """Return a rule, found to be one that the method follows.

    Raises:
        ValueError: an unknown name, a method that pairs no samples, or a function of saliency beside a method without.
        TypeError: neither a name nor a function, or one of other arguments.
    """
    if isinstance(partners, str):
        if partners not in NAMES:
            raise ValueError(f"partners must be one of {', '.join(NAMES)}, or a function, got {partners!r}")
        asked = _asked(FUNCTIONS[partners]) if partners in FUNCTIONS else []
    elif callable(partners):
        asked = _asked(partners)
    else:
        raise TypeError(f"partners must be a name or a function, got {partners!r}")
    if partners != "random" and "partners" not in needs:
        raise ValueError(
            f"{method} asks for no partners (Method.needs), so it cannot follow partners={short(partners)}: "
            "leave partners='random'"
        )
    if "saliency" in asked and "saliency" not in needs:
        raise ValueError(f"partners={short(partners)} asks for the saliency, and {method} has none")
    return partners


def choose_partners(
    partners: Partners,
    elements: ElementSet | RaggedSet,
    labels: Any,
    saliency: Tensor | None,
    samples: Any,
    generator: torch.Generator | None,
) -> Tensor | None:
    """(B,) the partner of each sample by a rule, on the elements' device; None: the method draws as it does.

    Raises:
        TypeError: labels that are no classes of samples, for a rule that asks for them; a function that returns no
            integers.
        ValueError: a function that returns another shape than (B,), or what is no sample of the batch.
    """
    if partners in ("random", PREVIOUS_BATCH):  # the latter where there is no batch before
        return None
    size, device = elements.num_samples, elements.coords.device
    if isinstance(partners, str) and partners in RULES:
        return RULES[partners](size, labels, generator, device)
    function = FUNCTIONS[partners] if isinstance(partners, str) else partners
    keys = samples.keys if isinstance(samples, Samples) else samples
    given: Any
    if isinstance(function, NearLabel):
        given = label_to_compare(labels, ragged=isinstance(elements, RaggedSet))
    else:
        given = _of_samples(labels, elements) if isinstance(elements, RaggedSet) else plain(labels)
    arguments = dict(zip(ARGUMENTS, (elements, given, saliency, keys, generator), strict=True))
    chosen = torch.as_tensor(function(**{name: arguments[name] for name in _asked(function)}), device=device)
    if chosen.dtype in (torch.int32, torch.int16, torch.int8, torch.uint8):
        chosen = chosen.long()
    check_partner(chosen, size)
    return chosen


def _derangement(size: int, labels: Any, generator: torch.Generator | None, device: torch.device) -> Tensor:
    order = torch.randperm(size, generator=generator)  # samples in a ring, each with the next one
    return torch.empty_like(order).index_put_((order,), order.roll(-1)).to(device, non_blocking=True)


def _previous(size: int, labels: Any, generator: torch.Generator | None, device: torch.device) -> Tensor:
    return torch.arange(size, device=device).roll(1)


def _reversed(size: int, labels: Any, generator: torch.Generator | None, device: torch.device) -> Tensor:
    return torch.arange(size, device=device).flip(0)


def _same_class(size: int, labels: Any, generator: torch.Generator | None, device: torch.device) -> Tensor:
    order, _, first, last = _by_class(size, labels, generator, device)
    places = torch.arange(size, device=device)
    following = torch.where(places == last, first, places + 1)  # in a ring within the class
    return torch.empty_like(order).index_put_((order,), order[following])


def _other_class(size: int, labels: Any, generator: torch.Generator | None, device: torch.device) -> Tensor:
    order, _, first, last = _by_class(size, labels, generator, device)
    count = last - first + 1  # of the sample's own class
    number = (draws.uniform((size,), generator, device) * (size - count)).long()  # of those that are left
    place = torch.where(number < first, number, number + count)
    place = torch.where(count == size, torch.arange(size, device=device), place)
    return torch.empty_like(order).index_put_((order,), order[place])


def _balanced(size: int, labels: Any, generator: torch.Generator | None, device: torch.device) -> Tensor:
    order, classes, first, last = _by_class(size, labels, generator, device)
    starts = first.unique_consecutive()  # a place for each class
    labelled = starts[classes[starts] >= 0]  # the others have one of their own
    starts = labelled if len(labelled) else starts
    which, place = draws.uniform((2, size), generator, device)
    start = starts[(which * len(starts)).long()]
    return order[start + (place * (last[start] - start + 1)).long()]


#: ``rule(B, labels, generator, device) -> (B,) long``; "random" is the method's own draw.
RULES: dict[str, Callable[[int, Any, torch.Generator | None, torch.device], Tensor]] = {
    "derangement": _derangement,
    "previous": _previous,
    "reversed": _reversed,
    "same_class": _same_class,
    "other_class": _other_class,
    "balanced": _balanced,
}

#: Rules that are functions as a user's may be.
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "near_label": NearLabel(),
    "far_label": NearLabel(far=True),
    "far_saliency": FarSaliency(),
}

NAMES = ("random", *RULES, *FUNCTIONS, PREVIOUS_BATCH)


def _by_class(
    size: int, labels: Any, generator: torch.Generator | None, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(B,) the samples in order of class, at random within one; and each one's class, with its first and last place."""
    shuffled = torch.randperm(size, generator=generator).to(device, non_blocking=True)
    classes, order = classes_of(size, labels).to(device)[shuffled].sort(stable=True)
    first = torch.searchsorted(classes, classes)
    return shuffled[order], classes, first, torch.searchsorted(classes, classes, right=True) - 1


def classes_of(size: int, labels: Any) -> Tensor:
    """(B,) the class of each sample; one without a label is of a class of its own."""
    leaves = listed(labels)
    for label in leaves:
        if label.places is not None or (label.kind == "shares" and label.tensor.dim() != 2):
            continue
        if label.kind == "classes":
            classes, nobody = label.classes, label.ignore_index
        elif label.kind == "shares":
            classes, nobody = hard_targets(label.numbers), -100
        else:
            continue
        alone = -1 - torch.arange(size, device=classes.device)
        return classes if nobody is None else torch.where(classes == nobody, alone, classes)
    got = ", ".join(f"{label.kind} {tuple(label.tensor.shape)}" for label in leaves) or "none"
    raise TypeError(f"partners by class need labels (B,) or shares (B, K) of the samples' classes, got {got}")


def _of_samples(labels: Any, elements: RaggedSet) -> Any:
    """The tensors of labels; of those that elements have a list, with the rows of each sample."""

    def one(label: Label) -> Any:
        return label.tensor if label.places is None else list(label.tensor[0].split(elements.lengths.tolist()))

    return map_labels(one, labels)


def _asked(function: Callable[..., Any]) -> list[str]:
    """The arguments that a function asks for."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # a builtin, which has no signature
        parameters = []
    named = [each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    unknown = [each.name for each in parameters if each.name not in ARGUMENTS and each.default is each.empty]
    asked = [each.name for each in named if each.name in ARGUMENTS]
    if unknown or not asked:
        raise TypeError(
            f"partners must be a function of any of {', '.join(ARGUMENTS)}, by these names, got "
            f"{short(function)}({', '.join(each.name for each in parameters)})"
        )
    return asked
