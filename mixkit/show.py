"""What objects print: what they are and their options, in at most three lines, never addresses or tensors' numbers."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from mixkit.elements import ElementSet
    from mixkit.plan import MixPlan
    from mixkit.steps import MixerSteps


def options_of(thing: object) -> str:
    """``name=value, ...`` of the constructor's options that an object keeps as attributes of their names."""
    kept = vars(thing)
    return ", ".join(
        f"{name}={short(kept[name])}" for name in inspect.signature(type(thing)).parameters if name in kept
    )


def short(value: Any) -> str:
    """A value on one line: functions and modules by their names, tensors by their shapes."""
    if isinstance(value, functools.partial):
        arguments = [short(each) for each in value.args] + [f"{n}={short(v)}" for n, v in value.keywords.items()]
        return f"{short(value.func)}({', '.join(arguments)})"
    if isinstance(value, nn.Module) and type(value).__repr__ is nn.Module.__repr__ and list(value.children()):
        return type(value).__name__
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.dtype}"
    if callable(value) and hasattr(value, "__name__"):
        return str(value.__name__)
    if callable(value) and type(value).__repr__ is object.__repr__:
        return type(value).__name__
    return repr(value)


def show_elements(elements: ElementSet) -> str:
    """What an `ElementSet` prints."""
    grid = "" if elements.grid is None else f" on a grid {' x '.join(map(str, elements.grid))}"
    scale = "" if elements.length_scale is None else f", length_scale={elements.length_scale:g}"
    return (
        f"ElementSet({elements.num_samples} samples of {elements.num_elements} elements{grid}, "
        f"{elements.coords.shape[2]} coordinates and {elements.values.shape[2]} values each, "
        f"{elements.values.dtype} on {elements.values.device}{scale})"
    )


def show_plan(plan: MixPlan) -> str:
    """What a `MixPlan` prints: what it is, and what its first outputs are made of."""
    weight = "one weight per sample" if plan.weight.shape[2] == 1 else "a weight per element"
    index = "same positions" if plan.index is None else "elements re-indexed"
    moved = "" if plan.shift is None else ", coordinates shifted"
    lines = [
        f"MixPlan: {plan.num_outputs} outputs of {plan.num_samples} samples, "
        f"{plan.num_elements or 'any number of'} elements, {weight}, {index}{moved}, on {plan.source.device}"
    ]
    weights = plan.sample_weights.detach().cpu()
    for m, row in enumerate(weights[:2]):
        largest = [k for k in row.argsort(descending=True).tolist() if row[k] > 0][:4]
        lines.append(f"  {m}: " + " + ".join(f"{row[k]:.3f} of sample {k}" for k in largest))
    return "\n".join(lines) + (f"; ... {len(weights) - 2} more" if len(weights) > 2 else "")


def show_mixer(mixer: MixerSteps) -> str:
    """What a `Mixer` prints between its brackets; what it does not use, or has by default, is left out."""
    shown: dict[str, Any] = {"num_classes": mixer.num_classes}
    if "saliency" in mixer.needs:
        shown["saliency"] = mixer.saliency
    shown["p"] = mixer.p
    if mixer.partners != mixer.method.partners:
        shown["partners"] = mixer.partners
    if mixer.labels_by is not None:
        shown["labels_by"] = mixer.labels_by
    if mixer.ignore_index is not None:
        shown["ignore_index"] = mixer.ignore_index
    if mixer.clean_weight:
        shown["clean_weight"] = mixer.clean_weight
    if mixer.schedule is not None:
        shown["schedule"] = mixer.schedule
    options = ", ".join(f"{name}={short(value)}" for name, value in shown.items())
    return f"{mixer.method!r}, {mixer.domain!r},\n  {options}"
