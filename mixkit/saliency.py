"""Saliency by gradient: what of the input a model's loss depends on. Saliencies without a model live in the plugins."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mixkit.backward import differentiate, in_float16, or_zeros
from mixkit.checks import check_number
from mixkit.confidence import label_confidence
from mixkit.default_loss import default_loss, default_loss_and_count
from mixkit.domain import Domain
from mixkit.handover import hand_over
from mixkit.label_tree import map_leaves, plain
from mixkit.labels import Label
from mixkit.outputs import map_tensors
from mixkit.running import at_output, frozen, refuse_sharded_parts, run_model, takes_labels, uncached, unwrap
from mixkit.show import options_of
from mixkit.shrink import shrink
from mixkit.source import Observer, SaliencySource

#: ``loss(output, labels)``: a scalar or one number per sample.
Loss = Callable[[Any, Any], Tensor]


class GradientSaliency(SaliencySource):
    """The norm over channels of the gradient of the loss with respect to the input (SageMix, section 3).

    The pass runs in eval mode, through the model itself rather than its DataParallel, DistributedDataParallel or
    compiled wrapper, and computes no weight gradient. Afterwards the mode of every submodule, ``requires_grad``,
    ``.grad``, BatchNorm statistics and dropout's random state are as they were, also if the forward pass raises.
    The model is held unregistered: a mixer that uses it has no parameters and does not change its mode.

    Args:
        model: ``model(batch)`` gives what ``loss`` takes; by default logits, or what holds them
            (`mixkit.outputs.find_logits`).
        loss: ``loss(output, labels)``, a scalar or one number per sample, summed here, as only the proportions of its
            gradient matter; it is given the model's output and the labels as tensors. Default None: chosen by both,
            cross entropy, BCE with logits or the squared error (`mixkit.default_loss.default_loss`).
        forward: how the model is run, where it takes more than the batch or not as it is: ``forward(model, batch)`` or
            ``forward(model, batch, labels)`` gives the output. Default None: ``model(batch)``.
        resolution: above 0, at most 1: the sides of an image, or the number of points, that the pass sees. At 1/2 it
            costs a quarter on images, and half on points (`mixkit.shrink.shrink`). The model must take such a size.
            Default 1.
        autocast: the pass's dtype, whatever surrounds it. Default None: what surrounds it.
        channels_last: give images (B, C, H, W) to the pass in that memory format. Default False: as they come.
        compile: run the model through `torch.compile` in this pass, which has a graph of its own: eval mode, no weight
            gradients. Default False.

    Raises:
        TypeError: model is no module, or forward no function of two or three.
        ValueError: a resolution out of range.

    Example:
        >>> from mixkit import create_mixer
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
        >>> saliency = GradientSaliency(model, resolution=0.5)  # sees the images at half their sides
        >>> mixer = create_mixer("sagemix", domain="image", num_classes=10, saliency=saliency)
        >>> images, targets = mixer(torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3]))
        >>> images.shape, targets.shape, model[0].weight.grad
        (torch.Size([4, 3, 16, 16]), torch.Size([4, 10]), None)
    """

    has_model = True
    ragged = True

    def __init__(
        self,
        model: nn.Module,
        loss: Loss | None = None,
        *,
        forward: Callable[..., Any] | None = None,
        resolution: float = 1.0,
        autocast: torch.dtype | None = None,
        channels_last: bool = False,
        compile: bool = False,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        if not 0 < check_number("resolution", resolution) <= 1:
            raise ValueError(f"resolution must be above 0 and at most 1, got {resolution}")
        self.model = model
        self.loss = default_loss if loss is None else loss
        self.forward = forward
        if forward is not None:
            takes_labels(forward)
        self.resolution = resolution
        self.autocast = autocast
        self.channels_last = channels_last
        self.compile = compile
        self._compiled: tuple[nn.Module, Callable[[Any], Any]] | None = None  # of which model

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles compile anew."""
        return {**self.__dict__, "_compiled": None}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({options_of(self)})"

    def find(
        self, batch: Tensor, labels: Any, domain: Domain, samples: Any = None, observe: Observer | None = None
    ) -> Tensor:
        """Saliency (B, N), detached, float32 or more, of the elements of a batch.

        Args:
            batch: a batch of ``domain``.
            labels: whatever the loss takes.
            domain: says which elements a gradient belongs to (`Domain.saliency`).
            samples: not needed here. Default None.
            observe: is shown the model's output and the labels that it belongs to. Default None.

        Raises:
            ValueError: the loss does not depend on the batch.
            TypeError: the model returns no logits.
        """
        if self.resolution == 1:
            return domain.saliency(self.gradient(batch, labels, observe=observe))
        small, labels, carry_back = shrink(batch.detach(), labels, domain, self.resolution)
        return carry_back(domain.saliency(self.gradient(small, labels, observe=observe)))

    @torch.no_grad()
    def confidence(self, batch: Tensor, labels: Any) -> Tensor:
        """(B,) how sure the model is of the labels (`mixkit.confidence.label_confidence`): a forward pass in eval mode.

        Raises:
            TypeError: an output that is no tensor of logits, or labels that are no classes for it.
        """
        with frozen(unwrap(self.model)), self._precision(batch):
            return label_confidence(run_model(self._callable(unwrap(self.model)), batch, labels, self.forward), labels)

    def find_with_loss(
        self, batch: Tensor, labels: Any, domain: Domain, observe: Observer | None = None
    ) -> tuple[Tensor, Tensor]:
        """Saliency by a pass that is a training pass too: in the model's own mode, its loss kept for the user to add.

        It is a whole pass, at full resolution and as training runs: no option of the class applies. The gradients by
        the batch and by the weights come out of one backward pass, and the graph is free on return (`hand_over`).

        In float16 they don't: small gradients of the weights would underflow without the scale that a ``GradScaler``
        puts on the loss, and those of the batch without one of their own for each sample. There the pass keeps its
        graph, and ``backward()`` goes through it a second time.

        Returns:
            The saliency (B, N), detached, and the loss, a scalar whose ``backward()`` reaches the weights. It is the
            mean over the samples, or over the elements where these have the labels, without those that are ignored.
            Of a ``loss`` of your own it is the mean of its numbers, and a scalar is taken as it is.

        Raises:
            ValueError: the loss does not depend on the batch; or a model whose parts are sharded by FSDP.
            TypeError: the model returns no logits.
        """
        gradient, loss = self.gradient_with_loss(batch, labels, observe=observe)
        return domain.saliency(gradient), loss

    def gradient_with_loss(
        self, batch: Tensor, labels: Any, layer: nn.Module | None = None, observe: Observer | None = None
    ) -> tuple[Any, Tensor]:
        """The gradient as `gradient` gives it, and the loss, both as in `find_with_loss`."""
        model = unwrap(self.model)
        refuse_sharded_parts(model)
        ends: list[Tensor] = []

        def keep(output: Tensor) -> Tensor:
            """The same values beside the graph's ends, so that what follows may edit them in place."""
            if not output.is_floating_point():
                return output
            # a copy, as what a layer returns beside it may be made of it
            ends.append(output.clone() if output.requires_grad else output.detach().requires_grad_())
            return ends[-1].clone()

        with torch.inference_mode(False), torch.enable_grad(), uncached():
            batch, labels = _ordinary(batch).detach(), map_leaves(_ordinary, labels)
            with at_output(layer, partial(map_tensors, keep), ends):
                output = run_model(model, keep(batch) if layer is None else batch, labels, self.forward)
            if observe is not None:
                observe(output, labels)
            total, count = self._loss_and_count(output, labels)
            if in_float16([output, batch], batch.device):
                gradients = differentiate(output, lambda end: self.loss_of(end, labels), ends, retain_graph=True)
                return _one_or_all(gradients), total / count
            found, loss = hand_over(total, ends, count)
        return _one_or_all(or_zeros(found, ends)), loss

    def gradient(
        self, batch: Tensor, labels: Any, layer: nn.Module | None = None, observe: Observer | None = None
    ) -> Any:
        """The gradient of the loss with respect to the batch, or to the output of one of the model's layers.

        Args:
            batch: a batch of the model.
            labels: whatever the loss takes.
            layer: a module of the model. Default None: the batch.
            observe: is shown the model's output and the labels. Default None.

        Returns:
            What the batch or the layer's output is, a tensor or a tuple of them, detached.
        """
        model = unwrap(self.model)
        if layer is None and self.channels_last and batch.dim() == 4:
            batch = batch.contiguous(memory_format=torch.channels_last)
        leaves: list[Tensor] = []

        def cut(output: Tensor) -> Tensor:
            """The same values above new leaves of the graph: nothing below them is differentiated."""
            if not output.is_floating_point():
                return output
            leaf = output.detach().clone() if output.is_inference() else output.detach()
            leaves.append(leaf.requires_grad_())
            return leaf.clone()  # a leaf itself could not go into an in-place operation

        with torch.inference_mode(False), torch.enable_grad(), frozen(model), self._precision(batch):
            labels = map_leaves(_ordinary, labels)
            with at_output(layer, partial(map_tensors, cut), leaves):
                if layer is None:
                    output = run_model(self._callable(model), cut(batch), labels, self.forward)
                else:
                    output = run_model(model, batch, labels, self.forward)
            if observe is not None:
                observe(output, labels)
            gradients = differentiate(output, lambda end: self.loss_of(end, labels), leaves)
        return _one_or_all(gradients)

    def for_rows(self, close: Callable[[Tensor], Any]) -> GradientSaliency:
        """See `SaliencySource.for_rows`; ValueError for a resolution below 1, which asks for samples of one size."""
        if self.resolution != 1:
            raise ValueError("a saliency of resolution below 1 takes samples of one size: make it with resolution=1")
        through, inner = copy.copy(self), self.forward

        def forward(model: Any, rows: Tensor, labels: Any) -> Any:
            batch = close(rows)
            if inner is None:
                return model(batch)
            return inner(model, batch, labels) if takes_labels(inner) else inner(model, batch)

        through.forward = forward
        return through

    def loss_of(self, output: Any, labels: Any) -> Tensor:
        """The loss summed over the batch."""
        return self.loss(output, labels if self.loss is default_loss else plain(labels)).sum()

    def _loss_and_count(self, output: Any, labels: Any) -> tuple[Tensor, Tensor]:
        """The loss, summed, and () of how many numbers it is the sum, at least 1."""
        if self.loss is default_loss:
            total, count = default_loss_and_count(output, labels)
            return total, count.to(total.device).clamp_min(1)
        losses = self.loss(output, plain(labels))
        return losses.sum(), torch.tensor(max(losses.numel(), 1), device=losses.device)

    def _precision(self, batch: Tensor) -> AbstractContextManager[object]:
        return nullcontext() if self.autocast is None else torch.autocast(batch.device.type, self.autocast)

    def _callable(self, model: nn.Module) -> Callable[[Any], Any]:
        if not self.compile:
            return model
        if self._compiled is None or self._compiled[0] is not model:
            self._compiled = model, torch.compile(model)
        return self._compiled[1]


def _ordinary(leaf: Any) -> Any:
    """The same values outside inference mode, which a gradient can be taken of."""
    if isinstance(leaf, Label):
        return replace(leaf, tensor=_ordinary(leaf.tensor))
    return leaf.clone() if isinstance(leaf, Tensor) and leaf.is_inference() else leaf


def _one_or_all(gradients: list[Tensor]) -> Any:
    """The gradient of an output that is one tensor, or of each of several."""
    return gradients[0] if len(gradients) == 1 else tuple(gradients)
