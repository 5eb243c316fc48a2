"""The settings that a schedule gives at a share of the run: what they may be, and what they make of a mixer's own."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real

from mixkit.checks import LARGEST_OPTION
from mixkit.methods.base import Method
from mixkit.registry import accepted


def check_settings(values: Mapping[str, float], share: float | None) -> dict[str, float]:
    """The settings, found to be in range; else a TypeError or ValueError that names setting, share and value."""
    for name, value in values.items():
        if not is_number(value):
            raise TypeError(f"the schedule's {name} at share {share} must be a number, got {value!r}")
        if name == "p":
            good, wanted = 0 <= value <= 1, "lie in [0, 1]"
        elif name == "clean_weight":
            good, wanted = 0 <= value < LARGEST_OPTION, f"be >= 0 and below {LARGEST_OPTION:g}"
        else:
            good, wanted = value == value, "be a number"
        if not good:
            raise ValueError(f"the schedule's {name} at share {share} must {wanted}, got {value}")
    return dict(values)


def with_options(method: Method, options: Mapping[str, float], share: float | None) -> Method:
    """The method with some of its options changed, which its constructor checks; itself where they are so already.

    Raises:
        TypeError: an option that the method has not, or does not keep as an attribute of that name.
        ValueError: a value that the method refuses; the message names it and the share.
    """
    if not options:
        return method
    name, method_options = type(method).__name__, accepted(type(method))
    if missing := [option for option in options if option not in method_options]:
        raise TypeError(
            f"the schedule sets {', '.join(map(repr, missing))}, which {name} has not; "
            f"it takes: {', '.join(method_options) or 'none'}; and there are p and clean_weight"
        )
    if lost := [option for option in method_options if not hasattr(method, option)]:
        raise TypeError(f"{name} keeps no attribute {lost[0]!r} of its option, so a schedule cannot change its options")
    if all(getattr(method, option) == value for option, value in options.items()):
        return method
    try:
        return type(method)(**{**{option: getattr(method, option) for option in method_options}, **options})
    except (TypeError, ValueError) as error:
        changes = ", ".join(f"{option}={value}" for option, value in options.items())
        raise ValueError(f"the schedule at share {share} gives {name} {changes}: {error}") from error


def is_number(value: object) -> bool:
    """Whether a value is a real number, and not True or False."""
    return isinstance(value, Real) and not isinstance(value, bool)


def settle(
    settings: Mapping[str, float], method: Method, clean_weight: float, has_model: bool, share: float | None
) -> tuple[Method, float, float]:
    """What settings make of a mixer: its method, its clean weight, and the share of its p that is left.

    Raises:
        TypeError: as `with_options`.
        ValueError: as `with_options`, or a clean weight without a model.
    """
    options = dict(settings)
    p = options.pop("p", 1.0)
    clean_weight = options.pop("clean_weight", clean_weight)
    if clean_weight and not has_model:
        needs = "which needs the saliency of model=, and a method with saliency"
        raise ValueError(f"the schedule's clean_weight is {clean_weight} at share {share}, {needs}")
    return with_options(method, options, share), clean_weight, p
