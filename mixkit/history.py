"""The batch before, mixed as it was, as the partner of this one: RecursiveMix's rule."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mixkit import draws
from mixkit.elements import ElementSet
from mixkit.label_tree import listed
from mixkit.labels import Label
from mixkit.methods.base import PlanContext
from mixkit.partners import PREVIOUS_BATCH
from mixkit.plan import MixPlan
from mixkit.plan_parts import first_outputs
from mixkit.targets import mix_label

if TYPE_CHECKING:
    from mixkit.steps import MixerSteps


def check_history(mixer: MixerSteps) -> None:
    """Raise ValueError for a mixer whose partners are the batch before, and that needs what is known of this one only.

    Raises:
        ValueError: a mixer that asks for saliency or classes.
    """
    if mixer.partners != PREVIOUS_BATCH:
        return
    if wrong := sorted(mixer.needs & {"saliency", "classes"}):
        raise ValueError(
            f"partners='{PREVIOUS_BATCH}' mixes with samples whose {' and '.join(wrong)} nobody remembers: take a "
            f"method without, got {type(mixer.method).__name__}"
        )


class History(nn.Module):
    """The last batch that a mixer gave out, with its targets.

    It is in the mixer's ``state_dict()``, so that a run that is resumed meets the batch that it would have met. Copies
    and pickles of a mixer begin without one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[Tensor, Any] | None = None

    def get_extra_state(self) -> tuple[Tensor, Any] | None:
        """What ``state_dict()`` holds: the batch and its targets, None before the first."""
        return self._last

    def set_extra_state(self, state: tuple[Tensor, Any] | None) -> None:
        """The inverse of `get_extra_state`. Raises TypeError for what is no such state."""
        if state is not None and not (isinstance(state, tuple) and len(state) == 2 and isinstance(state[0], Tensor)):
            raise TypeError(f"the batch before must be a batch and its targets, or None, got {type(state).__name__}")
        self._last = None if state is None else _map(torch.clone, state)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}

    def fits(self, batch: Tensor) -> bool:
        """Whether there is a batch before this one, of the same kind and at least as many samples."""
        if self._last is None:
            return False
        last = self._last[0]
        return last.shape[1:] == batch.shape[1:] and last.dtype == batch.dtype and len(last) >= len(batch)

    def forward(
        self, mixer: MixerSteps, elements: ElementSet, batch: Tensor, labels: Any, generator: torch.Generator | None
    ) -> tuple[Tensor, Any]:
        """The mixed batch and its targets, which the next batch is mixed with."""
        _refuse_element_labels(labels)
        draws.check_generator(generator)
        if not mixer.begin_batch(generator):
            plan = MixPlan.identity(len(batch), batch.device)
            mixed, targets = batch, mixer.targets(plan, labels)
        elif self.fits(batch):
            mixed, targets = self.mix(mixer, batch, labels, generator)
        else:
            plan = mixer.draw(elements, None, generator, labels)
            plan = plan.keep(mixer.draw_spared(batch, labels, generator))
            mixed, targets = mixer.domain.mix(plan, elements, batch), mixer.targets(plan, labels)
        self.keep(mixed, targets)
        return mixed, targets

    def keep(self, mixed: Tensor, targets: Any) -> None:
        """Remember what was given out, as a copy: the user may edit it."""
        self._last = mixed.detach().clone(), _map(lambda target: target.detach().clone(), targets)

    def mix(
        self, mixer: MixerSteps, batch: Tensor, labels: Any, generator: torch.Generator | None
    ) -> tuple[Tensor, Any]:
        """Mix each sample with the one at its place in the batch before; labels are as `Mixer.read` returns them."""
        assert self._last is not None
        size = len(batch)
        last, targets = _map(lambda each: each.to(batch.device), self._last)  # what was loaded may be elsewhere
        both = torch.cat([batch, last[:size]])
        elements = mixer.domain.elements(both)
        # sample b of this batch meets sample b of the one before, which is sample size + b of both
        partner = torch.arange(2 * size, device=batch.device).roll(size)
        assign = mixer.domain.assign if "assign" in mixer.method.needs else None
        with torch.no_grad():
            plan = mixer.method.plan(elements, PlanContext(None, assign, generator, partner))
        spared = mixer.draw_spared(batch, labels, generator)
        plan = first_outputs(plan if spared is None else plan.keep(spared.repeat(2)), size)
        now = mixer.targets(MixPlan.identity(size, batch.device), labels)
        if (wanted := _map(_kind, now)) != (kept := _map(_kind, targets)):
            raise ValueError(f"the batch before has targets {kept}, which do not mix with {wanted} of this one")
        mixed = mixer.domain.mix(plan, elements, batch)
        return mixed, _zip(partial(_mix, plan), labels, now, _map(lambda before: before[:size], targets))


def _refuse_element_labels(labels: Any) -> None:
    """Raise ValueError for labels of elements, which the batch before has no plan for."""
    if any(label.places is not None for label in listed(labels)):
        raise ValueError(f"partners='{PREVIOUS_BATCH}' mixes labels of samples, got labels of elements")


def _kind(targets: Tensor) -> str:
    """What targets of any number of samples have in common."""
    return f"({', '.join(['B', *map(str, targets.shape[1:])])})"


def _mix(plan: MixPlan, label: Label, now: Tensor, before: Tensor) -> Tensor:
    """The targets of one label, of what it is now and of the targets of the batch before."""
    if label.kind == "classes":  # whose targets are shares, all known
        label = Label(label.tensor, "shares")
    return mix_label(plan, replace(label, tensor=torch.cat([now, before]))).to(now.dtype)


def _map(function: Any, tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _map(function, each) for name, each in tree.items()}
    return tuple(_map(function, each) for each in tree) if isinstance(tree, (tuple, list)) else function(tree)


def _zip(function: Any, tree: Any, *others: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _zip(function, each, *(other[name] for other in others)) for name, each in tree.items()}
    if isinstance(tree, (tuple, list)):
        return tuple(_zip(function, *parts) for parts in zip(tree, *others, strict=True))
    return function(tree, *others)
