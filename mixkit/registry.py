"""Which domains and methods there are, by name. Plugins add theirs through the entry-point group ``mixkit.plugins``."""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from mixkit.domain import Domain
    from mixkit.methods.base import Method

DomainClass = TypeVar("DomainClass", bound="type[Domain]")
MethodClass = TypeVar("MethodClass", bound="type[Method]")


class MethodEntry(NamedTuple):
    """A registered method and the domains it serves; None means every domain."""

    cls: type[Method]
    domains: frozenset[str] | None


_domains: dict[str, type[Domain]] = {}
_methods: dict[str, MethodEntry] = {}


def register_domain(name: str) -> Callable[[DomainClass], DomainClass]:
    """Class decorator: make a `Domain` available as ``create_mixer(..., domain=name)``."""

    def register(cls: DomainClass) -> DomainClass:
        _refuse_other(name, "domain", _domains.get(name), cls)
        _domains[name] = cls
        return cls

    return register


def register_method(name: str, *, domains: Sequence[str] | None = None) -> Callable[[MethodClass], MethodClass]:
    """Class decorator: make a `Method` available as ``create_mixer(name, ...)``.

    Args:
        name: the method's name.
        domains: names of the domains that it serves. Default None: every domain, for it needs only coordinates.
    """

    def register(cls: MethodClass) -> MethodClass:
        _refuse_other(name, "method", _methods[name].cls if name in _methods else None, cls)
        _methods[name] = MethodEntry(cls, None if domains is None else frozenset(domains))
        return cls

    return register


def list_domains() -> list[str]:
    """The names of all domains, plugins' included, sorted."""
    _load_plugins()
    return sorted(_domains)


def list_methods(domain: str | None = None) -> list[str]:
    """The names of all methods, sorted; with ``domain``, of those that serve it."""
    if domain is not None:
        get_domain(domain)
    _load_plugins()
    return sorted(n for n, e in _methods.items() if domain is None or e.domains is None or domain in e.domains)


def get_domain(name: str) -> type[Domain]:
    """The class of a domain; ValueError names the domains that exist."""
    _load_plugins()
    if name not in _domains:
        raise ValueError(unknown("domain", name, list(_domains)))
    return _domains[name]


def name_of(domain: type[Domain]) -> str | None:
    """The name under which a domain, or the class that it extends, is registered; None if it is not."""
    _load_plugins()
    return next((name for name, cls in _domains.items() if issubclass(domain, cls)), None)


def get_method(name: str, domain: str | None = None) -> type[Method]:
    """The class of a method; ValueError where there is none, or it does not serve ``domain``."""
    _load_plugins()
    if name not in _methods:
        raise ValueError(unknown("method", name, list(_methods)))
    entry = _methods[name]
    if domain is not None and entry.domains is not None and domain not in entry.domains:
        raise ValueError(f"method {name!r} serves {', '.join(sorted(entry.domains))}, not domain {domain!r}")
    return entry.cls


def accepted(cls: type) -> dict[str, inspect.Parameter]:
    """The options that a class's constructor takes by name."""
    parameters = inspect.signature(cls).parameters
    return {n: q for n, q in parameters.items() if q.kind in (q.POSITIONAL_OR_KEYWORD, q.KEYWORD_ONLY)}


def unknown(kind: str, name: str, names: list[str]) -> str:
    """What to say of a name that is not among the names there are."""
    close = difflib.get_close_matches(str(name), names, 1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown {kind} {name!r}; {meant}there are: {', '.join(sorted(names))}"


@functools.cache
def _load_plugins() -> None:
    """Import the modules of the entry-point group, once; a plugin that cannot be imported is a warning."""
    for entry in importlib.metadata.entry_points(group="mixkit.plugins"):
        try:
            entry.load()
        except Exception as error:  # a stranger's broken plugin must not take ours down
            warnings.warn(
                f"mixkit plugin {entry.name!r} ({entry.value}) could not be imported: {error!r}", stacklevel=3
            )


def _refuse_other(name: str, kind: str, there: type | None, cls: type) -> None:
    if there is not None and (there.__module__, there.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"a {kind} named {name!r} is registered already: {there.__module__}.{there.__qualname__}")
