"""How a model is run, where it takes more than a batch; and what the mixers share that run it themselves."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, TypeGuard
from weakref import WeakKeyDictionary

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from mixkit.label_tree import plain
from mixkit.typed import ManifoldCall

_LOCKS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()  # of the models whose saliency was asked for


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

    def __setattr__(self, name: str, value: Any) -> None:
        refuse_new_model(self, name)
        super().__setattr__(name, value)


def refuse_new_model(mixer: nn.Module, name: str) -> None:
    """Raise AttributeError for ``mixer.model = ...``, which would register a model and go on using the other one."""
    if name == "model":
        raise AttributeError(f"the model of a {type(mixer).__name__} stays the one that it was made with: make another")


def refuse_sharded_parts(model: nn.Module) -> None:
    """Raise ValueError for a model whose parts are sharded by ``fully_shard``, which loses gradients handed over."""
    for name, module in model.named_modules():
        if name and any(kind.__name__ == "FSDPModule" for kind in type(module).__mro__):
            raise ValueError(
                f"the clean pass does not go with a model whose parts are sharded by fully_shard, as {name!r} is: "
                "give clean_weight=0, or shard the model as a whole"
            )


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


@contextmanager
def at_output(layer: nn.Module | None, change: Callable[[Any], Any], seen: Sized) -> Iterator[None]:
    """Let ``change`` replace the output of a layer, as long as it has ``seen`` nothing; without a layer do nothing.

    Of a layer that runs twice, the first time counts. RuntimeError where nothing was seen in the end.
    """

    def change_once(module: nn.Module, args: Any, output: Any) -> Any:
        return output if len(seen) else change(output)

    handle = None if layer is None else layer.register_forward_hook(change_once)
    try:
        yield
        if layer is not None and not len(seen):
            raise RuntimeError(
                f"the layer whose saliency is asked for, a {type(layer).__name__}, did not run, or returned no "
                "floating-point tensor: is it unused, or compiled with its hooks?"
            )
    finally:
        if handle is not None:
            handle.remove()


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside (Distributed)DataParallel, torch.compile and Lightning Fabric wrappers."""
    while True:
        inner: Any = None
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = model.module
        for name in ("_orig_mod", "_original_module"):  # torch.compile's, and Fabric's
            inner = getattr(model, name, None) if inner is None else inner
        if not isinstance(inner, nn.Module):
            return model
        model = inner


@contextmanager
def uncached() -> Iterator[None]:
    """A pass with weights of its own: within `torch.nn.utils.parametrize.cached` it reads none, and leaves none."""
    outside = parametrize._cache_enabled, parametrize._cache
    parametrize._cache_enabled, parametrize._cache = 0, {}
    try:
        yield
    finally:
        parametrize._cache_enabled, parametrize._cache = outside


def _is_torchs_own_rnn(module: nn.Module) -> TypeGuard[nn.RNNBase]:
    """Whether a module is a recurrent one whose mode says nothing but whether there is dropout."""
    own = (nn.RNN.forward, nn.LSTM.forward, nn.GRU.forward)
    return isinstance(module, nn.RNNBase) and type(module).forward in own


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """The model in eval mode with no parameter that wants a gradient; all as before on the way out.

    One thread at a time: a second one would find the model frozen, and lose it to the first one's way out.

    Raises:
        ValueError: parameters of lazy modules that have no shape yet.
    """
    all_modules, all_parameters = list(model.modules()), list(model.parameters())
    if any(map(is_lazy, all_parameters)):
        raise ValueError("the model has lazy modules without a shape yet: run it once before its saliency is asked for")
    with _LOCKS.setdefault(model, threading.RLock()), uncached():
        modules = [module for module in all_modules if module.training]
        parameters = [parameter for parameter in all_parameters if parameter.requires_grad]
        recurrent = [(each, each.training, each.dropout) for each in all_modules if _is_torchs_own_rnn(each)]
        try:
            for module in modules:
                module.training = False  # set directly: a model's own train() may do more
            for rnn, *_ in recurrent:  # eval mode is no dropout to it, and cuDNN has no backward pass in eval mode
                rnn.training, rnn.dropout = True, 0.0
            for parameter in parameters:
                parameter.requires_grad_(False)
            yield
        finally:
            for module in modules:
                module.training = True
            for rnn, training, dropout in recurrent:
                rnn.training, rnn.dropout = training, dropout
            for parameter in parameters:
                parameter.requires_grad_(True)
