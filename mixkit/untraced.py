"""What `torch.compile` leaves alone: mixing draws random numbers and reads values, so it runs as it is."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def untraced(function: Function) -> Function:
    """Decorator: a function that `torch.compile` does not trace, nor what it calls.

    It does what ``torch.compiler.disable`` does, and loads the compiler no earlier than somebody else has.
    """
    disabled: list[Any] = []

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        dynamo = sys.modules.get("torch._dynamo")
        if dynamo is None or not hasattr(dynamo, "disable"):  # nothing is compiled, or it is being imported
            return function(*args, **options)
        if not disabled:
            disabled.append(dynamo.disable(function))
        return disabled[0](*args, **options)

    call._torchdynamo_disable = True  # type: ignore[attr-defined]  # so that no graph takes the call in
    return call  # type: ignore[return-value]
