"""The controls of a method: one for each of its options, made from its signature, and what its docstring says of it."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.base import grammar
from mixkit.query import SAMPLERS
from mixkit.registry import accepted, get_domain, get_method

CHOICES = {"query": tuple(SAMPLERS), "solver": ("auto", "exact", "identity")}  # of options that are words
OF_DOMAINS = {"image": (), "points": ("solver", "tolerance")}  # options of domains that change what is shown


@dataclass(frozen=True)
class Control:
    """How an option is set.

    Attributes:
        name: the option's.
        kind: "slider" for a number in a range, "whole" for a whole one, "number" for one that may be left out, "flag"
            for true or false, "choice" for one of some words, "text" for what `read` reads.
        default: its value unless it is set.
        info: what the docstring says of it.
        low: the least of a range.
        high: the largest of a range.
        step: between the numbers of a range.
        choices: the words.
        hint: the type.
    """

    name: str
    kind: str
    default: Any
    info: str
    low: float = 0.0
    high: float = 1.0
    step: float = 0.01
    choices: Sequence[str] = ()
    hint: Any = Any

    def read(self, value: Any) -> Any:
        """The value of the option that a widget's value stands for; ValueError where there is none."""
        if self.kind == "text":
            return grammar.read(self.name, value, self.hint) if str(value or "").strip() else None
        if self.kind == "whole" or (self.kind == "number" and value is not None and not _takes(self.hint, 0.5)):
            return int(value)
        return value


def make_controls(method: str, domain: str, length_scale: float) -> list[Control]:
    """The controls of a method in a domain, in the order of its signature; then those of the domain.

    Args:
        method: one of `mixkit.list_methods(domain)`.
        domain: one of `OF_DOMAINS`.
        length_scale: the samples' length scale, which is the default of SageMix's sigma.
    """
    cls, of_domain = get_method(method, domain), get_domain(domain)
    defaults = dict(of_domain.method_defaults.get(method, {}))
    if method == "sagemix":
        defaults["sigma"] = round(length_scale, 3)
    made = [_control(cls, name, defaults) for name in accepted(cls)]
    if "assign" in cls.needs or method == "sagemix":
        made += [_control(of_domain, name, {}) for name in OF_DOMAINS[domain]]
    return made


def _control(cls: type, name: str, defaults: dict[str, Any]) -> Control:
    hint = grammar.hints_of(cls)[name]
    default = defaults.get(name, accepted(cls)[name].default)
    info = described(cls, name)
    if name in CHOICES:
        return Control(name, "choice", default, info, choices=CHOICES[name], hint=hint)
    if isinstance(default, bool):
        return Control(name, "flag", default, info, hint=hint)
    if isinstance(default, (int, float)):
        return Control(name, _whole(hint), default, info, *_range(cls, name, default, defaults, hint), hint=hint)
    kind = "number" if _takes(hint, 1) and not _takes(hint, [1.0]) else "text"
    return Control(name, kind, default, info, hint=hint)


def _whole(hint: Any) -> str:
    return "slider" if _takes(hint, 0.5) else "whole"


def _range(cls: type, name: str, default: float, defaults: dict[str, Any], hint: Any) -> tuple[float, float, float]:
    """The least and the largest value of a slider, both of which the constructor takes, and its step."""

    def good(value: float) -> bool:
        try:
            cls(**{**defaults, name: value})
        except (TypeError, ValueError):
            return False
        return True

    if not _takes(hint, 0.5):
        return (0 if good(0) else 1), next(one for one in range(max(4 * int(default), 8), 0, -1) if good(one)), 1
    high = max(4.0 * default, 1.0)
    step = 10.0 ** (math.floor(math.log10(high)) - 2)
    tries = (*(high * share for share in (1, 0.5)), 1.0, 1 - step, default)
    high = next(round(one, 6) for one in tries if one >= default and good(round(one, 6)))
    least = next(one for count in range(10_000) if good(one := round(count * step, 6)))
    return least, high, step


def described(cls: type, name: str) -> str:
    """What a docstring's ``Args`` say of an argument."""
    text = inspect.cleandoc(cls.__doc__ or "")
    found = re.search(rf"^    {name}: (.*(?:\n {{5,}}.*)*)", text, re.MULTILINE)
    return " ".join(found.group(1).replace("``", "").split()) if found else ""


def _takes(hint: Any, value: Any) -> bool:
    try:
        grammar.check("", value, hint)
    except ValueError:
        return False
    return True
