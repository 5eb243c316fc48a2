"""How a model is run, where it takes more than a batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mixkit.label_tree import plain


def run_model(model: Callable[[Any], Any], batch: Any, labels: Any, forward: Callable[..., Any] | None) -> Any:
    """The output of a model for a batch: ``model(batch)``, or what ``forward`` makes of both, or of the labels too."""
    if forward is None:
        return model(batch)
    return forward(model, batch, plain(labels)) if takes_labels(forward) else forward(model, batch)


def takes_labels(forward: Callable[..., Any]) -> bool:
    """Whether a ``forward`` is a function of the model, the batch and the labels, or of the first two."""
    if not callable(forward):
        raise TypeError(f"forward must be a function of model and batch, got {type(forward).__name__}")
    for count in (2, 3):
        try:
            inspect.signature(forward).bind(*range(count))
        except TypeError:
            continue
        except ValueError:  # a builtin, which has no signature
            return False
        return count == 3
    raise TypeError(f"forward must be forward(model, batch) or forward(model, batch, labels), got {forward!r}")
