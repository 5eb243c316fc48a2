"""The same as `experiments.models.layers` and `neighbours`, quicker: compiled for the CPU, and edges that are not held.

What it gives is what plain torch gives, to rounding; docs/notes/models.md says what each part buys. One switch turns
all of it off: `use`, or ``MIXKIT_FAST_MODELS=0`` in the environment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "MIXKIT_FAST_MODELS"

_on = os.environ.get(VARIABLE, "1") != "0"


def is_on() -> bool:
    """Whether models take the fast ways."""
    return _on


@contextmanager
def use(on: bool) -> Iterator[None]:
    """Take the fast ways or plain torch within the block; for all threads, as it is there for tests and benchmarks."""
    global _on
    before, _on = _on, on
    try:
        yield
    finally:
        _on = before
