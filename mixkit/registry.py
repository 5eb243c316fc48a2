"""Which domains and methods there are, by name. Plugins add theirs through the entry-point group ``mixkit.plugins``."""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from mixkit.domain import Domain
    from mixkit.methods.base import Method

DomainClass = TypeVar("DomainClass", bound="type[Domain]")
MethodClass = TypeVar("MethodClass", bound="type[Method]")


class MethodEntry(NamedTuple):
    """A registered method and the domains it serves; None means every domain."""

    cls: type[Method]
    domains: frozenset[str] | None


GROUP = "mixkit.plugins"
OURS = "mixkit"  # our distribution, and our package

_domains: dict[str, type[Domain]] = {}
_methods: dict[str, MethodEntry] = {}


def register_domain(name: str, *, override: bool = False) -> Callable[[DomainClass], DomainClass]:
    """Class decorator: make a `Domain` available as ``create_mixer(..., domain=name)``.

    Args:
        name: the domain's name.
        override: take the name even where it is another domain's. Default False: that is an error, whichever of the two
            is imported first where one is mixkit's own.

    Raises:
        ValueError: another domain has the name.

    Example:
        >>> from mixkit import Grid, create_mixer
        >>> @register_domain("radar")
        ... class Radar(Grid):
        ...     layouts = ("bcrav",)
        >>> create_mixer("mixup", domain="radar", num_classes=2).domain
        Radar()
    """

    def register(cls: DomainClass) -> DomainClass:
        _make_way(name, "domain", lambda: _domains.get(name), cls, override)
        _domains[name] = cls
        return cls

    return register


def register_method(
    name: str, *, domains: Sequence[str] | None = None, override: bool = False
) -> Callable[[MethodClass], MethodClass]:
    """Class decorator: make a `Method` available as ``create_mixer(name, ...)``.

    Args:
        name: the method's name.
        domains: names of the domains that it serves. Default None: every domain, for it needs only coordinates.
        override: take the name even where it is another method's; see `register_domain`.

    Raises:
        ValueError: another method has the name.

    Example:
        >>> from mixkit.methods import Mixup
        >>> @register_method("strong_mixup", domains=["image"])
        ... class StrongMixup(Mixup):
        ...     def __init__(self, alpha: float = 4.0) -> None:
        ...         super().__init__(alpha)
        >>> "strong_mixup" in list_methods("image"), "strong_mixup" in list_methods("points")
        (True, False)
    """

    def register(cls: MethodClass) -> MethodClass:
        _make_way(name, "method", lambda: _methods[name].cls if name in _methods else None, cls, override)
        _methods[name] = MethodEntry(cls, None if domains is None else frozenset(domains))
        return cls

    return register


def list_domains() -> list[str]:
    """The names of all domains, plugins' included, sorted.

    Example:
        >>> "image" in list_domains() and "points" in list_domains()
        True
    """
    _load_plugins()
    return sorted(_domains)


def list_methods(domain: str | None = None) -> list[str]:
    """The names of all methods, sorted; with ``domain``, of those that serve it.

    Example:
        >>> "rsmix" in list_methods("points"), "rsmix" in list_methods("image")  # it moves points
        (True, False)
    """
    if domain is not None:
        get_domain(domain)
    _load_plugins()
    return sorted(name for name, entry in _methods.items() if domain is None or _serves(entry, domain))


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
    if domain is not None and not _serves(entry, domain):
        served = "domains whose elements pair" if entry.domains is None else ", ".join(sorted(entry.domains))
        raise ValueError(
            f"method {name!r} serves {served}, not domain {domain!r}, which has: {', '.join(list_methods(domain))}"
        )
    return entry.cls


def _serves(entry: MethodEntry, domain: str) -> bool:
    return get_domain(domain).pairs if entry.domains is None else domain in entry.domains


def accepted(cls: type) -> dict[str, inspect.Parameter]:
    """The options that a class's constructor takes by name."""
    parameters = inspect.signature(cls).parameters
    return {n: q for n, q in parameters.items() if q.kind in (q.POSITIONAL_OR_KEYWORD, q.KEYWORD_ONLY)}


def options_for(function: Callable[..., Any], thing: object) -> dict[str, Any]:
    """What a function takes by name only, from the attributes of those names."""
    parameters = inspect.signature(function).parameters
    return {n: getattr(thing, n) for n, q in parameters.items() if q.kind == q.KEYWORD_ONLY}


def unknown(kind: str, name: str, names: list[str]) -> str:
    """What to say of a name that is not among the names there are."""
    close = difflib.get_close_matches(str(name), names, 1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown {kind} {name!r}; {meant}there are: {', '.join(sorted(names))}"


@functools.cache
def _load_plugins() -> None:
    """Import the modules of the entry-point group, once, mixkit's own first; one that cannot be is a warning."""
    _load_ours()
    for entry in importlib.metadata.entry_points(group=GROUP):
        if not _is_ours(entry):
            _load(entry)


@functools.cache
def _load_ours() -> None:
    for entry in importlib.metadata.entry_points(group=GROUP):
        if _is_ours(entry):
            _load(entry)


@functools.cache
def _our_packages() -> frozenset[str]:
    """The names of the packages that come with mixkit: what they register is there before what strangers do."""
    entries = importlib.metadata.entry_points(group=GROUP)
    return frozenset({OURS, *(entry.value.partition(".")[0] for entry in entries if _is_ours(entry))})


def _is_ours(entry: importlib.metadata.EntryPoint) -> bool:
    distribution = getattr(entry, "dist", None)
    return distribution is not None and distribution.name == OURS


def _load(entry: importlib.metadata.EntryPoint) -> None:
    try:
        entry.load()
    except (Exception, SystemExit) as error:  # a stranger's broken plugin must not take ours down
        warnings.warn(f"mixkit plugin {entry.name!r} ({entry.value}) could not be imported: {error!r}", stacklevel=4)


def _make_way(name: str, kind: str, find: Callable[[], type | None], cls: type, override: bool) -> None:
    """ValueError where a name is another class's, and must stay so; mixkit's plugins take theirs first."""
    package = cls.__module__.partition(".")[0]
    if package != OURS and package not in _our_packages():
        _load_ours()
    registered = find()
    if (
        registered is None
        or override
        or (registered.__module__, registered.__qualname__) == (cls.__module__, cls.__qualname__)
    ):
        return
    raise ValueError(
        f"a {kind} named {name!r} is registered already: {registered.__module__}.{registered.__qualname__}; "
        "choose another name, or give override=True"
    )
