"""The one grammar of values: how an option's text is read, and which values it takes, by its type in a signature.

Words are ``true``, ``yes``, ``on``, ``false``, ``no``, ``off`` and ``none`` in any case; numbers are Python's, finite;
lists stand in brackets, ``[1, 2]``; anything else is text, with or without quotes. A name with options is a call,
``name:option=value,option=value``.
"""

from __future__ import annotations

import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?|[+-]?(inf|nan)", re.ASCII)
DIGITS = 18  # of a whole number
LONGEST = 200  # characters of a value in a message
NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list", None: "none"}


def hints_of(callee: Callable[..., Any]) -> dict[str, Any]:
    """The types of a signature's parameters; `Any` where there is none, or none that can be found out."""
    return {
        name: _hint(callee, parameter.annotation) for name, parameter in inspect.signature(callee).parameters.items()
    }


def _hint(callee: Callable[..., Any], annotation: Any) -> Any:
    """An annotation that may be a text, each for itself: one may name what is imported for type checkers only."""
    function = callee.__init__ if inspect.isclass(callee) else callee
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(function, "__globals__", {}))  # the code of a class that is at work here
    except Exception:
        return Any


def read(name: str, text: str, hint: Any) -> Any:
    """The value that a text stands for.

    Args:
        name: the name of the option, for the message.
        text: the text as written.
        hint: its type: `bool`, `int`, `float`, `str`, lists and tuples of these, `None`, unions, or `Any`.

    Raises:
        ValueError: a text of another type, with what was wanted.
    """
    kinds, element = _kinds(hint)
    text = text.strip()
    word = text.lower()
    if bool in kinds and word in WORDS:
        return WORDS[word]
    if None in kinds and word == "none":
        return None
    if list in kinds and text[:1] + text[-1:] in ("[]", "()"):
        return tuple(read(name, part, element) for part in split(text[1:-1]))
    if (int in kinds or float in kinds) and NUMBER.fullmatch(word):
        whole = word.lstrip("+-").isdigit() and len(word) <= DIGITS
        value = int(word) if whole else float(word)
        if (whole or float in kinds) and math.isfinite(value):
            return value
    elif str in kinds:
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
        return text[1:-1] if quoted else text
    raise ValueError(f"{name} must be {_wanted(kinds)}, got {text!r}")


def check(name: str, value: Any, hint: Any) -> None:
    """Whether a value, of a TOML file say, is of a type; a whole number is a number too, true and false are none.

    Raises:
        ValueError: it is not, with what was wanted.
    """
    kinds, element = _kinds(hint)
    if isinstance(value, bool) or value is None:
        fits = (None if value is None else bool) in kinds
    elif isinstance(value, int):
        fits = (int in kinds or float in kinds) and abs(value) < 10**DIGITS
    elif isinstance(value, float):
        fits = float in kinds and math.isfinite(value)
    elif isinstance(value, (list, tuple)):
        fits = list in kinds
        for one in value if fits else ():
            check(f"each of {name}", one, element)
    else:
        fits = isinstance(value, str) and str in kinds
    if not fits:
        raise ValueError(f"{name} must be {_wanted(kinds)}, got {_shown(value)}")


def _shown(value: Any) -> str:
    """A value in a message: whole numbers may be too long even to be printed."""
    if isinstance(value, int) and abs(value) >= 10**DIGITS:
        return f"one of more than {DIGITS} digits"
    return repr(value) if len(repr(value)) <= LONGEST else f"{repr(value)[:LONGEST]} ..."


def split(text: str) -> list[str]:
    """The parts of a text between commas, those in brackets aside; empty parts are left out."""
    return [part for part in re.findall(r"(?:\[[^\]]*\]|\([^)]*\)|[^,])+", text) if part.strip()]


def write(value: Any) -> str:
    """The text of a value, which `read` reads."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"[{','.join(map(write, value))}]" if isinstance(value, (list, tuple)) else str(value)


def read_call(text: str) -> tuple[str, dict[str, str]]:
    """The name and the options, as texts, of ``name[:option=value,...]``; ValueError where it is not of this form."""
    name, _, rest = text.partition(":")
    options: dict[str, str] = {}
    for part in split(rest):
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"options are written name:option=value, got {part!r}")
        if key in options:
            raise ValueError(f"{key} is given twice")
        options[key] = value
    return name, options


def write_call(name: str, options: Mapping[str, str]) -> str:
    """The text of a name with options, which `read_call` reads."""
    return f"{name}:{','.join(f'{key}={value}' for key, value in options.items())}" if options else name


def _kinds(hint: Any) -> tuple[set[Any], Any]:
    """What a type is made of, of the keys of `NAMES`, and the type of a list's elements."""
    if hint in (Any, inspect.Parameter.empty):
        return set(NAMES), Any
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        members = [_kinds(one) for one in arguments]
        return set().union(*(kinds for kinds, _ in members)), next(
            (one for kinds, one in members if list in kinds), Any
        )
    if hint in (None, type(None)):
        return {None}, Any
    if inspect.isclass(origin) and origin is not str and issubclass(origin, Sequence):
        return {list}, arguments[0] if arguments else Any
    if hint in (list, tuple):
        return {list}, Any
    return {hint} & set(NAMES), Any


def _wanted(kinds: set[Any]) -> str:
    if kinds == set(NAMES):
        return "finite"
    names = [text for kind, text in NAMES.items() if kind in kinds and not (kind is int and float in kinds)]
    return " or ".join(names) or "given in Python, as no text stands for it"
