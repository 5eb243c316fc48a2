"""How a model is run, where it takes more than a batch; and what the mixers share that run it themselves."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from mixkit.label_tree import plain
from mixkit.typed import ManifoldCall


class MixerOfModel(ManifoldCall):
    """A mixer that holds a model, runs it and hooks into it.

    Args:
        model: the model; held unregistered.
        forward: how it is run, where it takes more than the batch. Default None.

    Raises:
        ValueError: a model compiled as a whole.
        TypeError: a ``forward`` that is no function of model and batch.
    """

    def __init__(self, model: nn.Module, forward: Callable[..., Any] | None = None) -> None:
        super().__init__()
        if isinstance(getattr(model, "_orig_mod", None), nn.Module):
            raise ValueError("a model compiled as a whole skips hooks: give the model itself, and compile its parts")
        if forward is not None:
            takes_labels(forward)
        self._model = (model,)  # in a tuple, so that nn.Module does not register it
        self._forward_of_model = forward

    @property
    def model(self) -> nn.Module:
        """The model that is run."""
        return self._model[0]


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
