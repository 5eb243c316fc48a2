"""Gradients taken ahead of time: a loss whose backward pass hands over the parameters' gradients, which are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def hand_over(total: Tensor, inputs: Sequence[Tensor], count: Tensor) -> tuple[list[Tensor | None], Tensor]:
    """Differentiate a loss by its inputs and by its parameters in one backward pass, which frees the graph.

    The parameters are all leaves that ``backward()`` would reach from the loss, the loss's own among them. Nothing is
    written to their ``.grad``, and their hooks do not run, until the returned loss takes part in a backward pass. Then
    they receive the gradients through autograd, times what comes in, as if the graph were still there. Parameters may
    have changed by then. Between the two, one set of gradients is kept; the backward pass frees it, unless it retains
    its graph.

    DistributedDataParallel averages what one backward pass brings, the one of the model's last forward pass. So there
    the returned loss is added to the model's, or goes backward before the model runs; afterwards and by itself its
    gradients would stay those of each process, as with any second backward pass.

    Args:
        total: a scalar, summed over ``count`` labels.
        inputs: the leaf that the batch was, or what a layer has returned.
        count: () the number of labels; the loss returned is the mean over them.

    Returns:
        The gradients of ``total`` by the inputs, None where it does not depend on one, and the loss ``total / count``.
        That loss can be differentiated once, not twice (no ``create_graph``).
    """
    parameters = [leaf for leaf in _leaves(total) if all(leaf is not each for each in inputs)]
    if not total.requires_grad:
        return [None for _ in inputs], total / count
    # outside autocast, as the user's backward pass is
    with _without_hooks(parameters), torch.autocast(total.device.type, enabled=False):
        gradients = torch.autograd.grad(total, [*inputs, *parameters], allow_unused=True)
    by_inputs: list[Tensor | None] = list(gradients[: len(inputs)])
    by_parameters = gradients[len(inputs) :]
    # an edge without a gradient would run the hooks of DistributedDataParallel for a parameter that was not used
    used = [(leaf, grad) for leaf, grad in zip(parameters, by_parameters, strict=True) if grad is not None]
    loss = _Handover.apply(total.detach() / count, count, [grad for _, grad in used], *(leaf for leaf, _ in used))
    return by_inputs, loss


class _Handover(torch.autograd.Function):
    """The identity on a loss that depends on parameters through the gradients given."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, count: Tensor, gradients: Sequence[Tensor], *parameters: Tensor) -> Tensor:
        ctx.count = count
        ctx.save_for_backward(*gradients)  # saved, not kept as an attribute: the backward pass frees what is saved
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor | None, ...]:
        # the gradients are those of the sum; a half's mantissa is too short for the factor between
        factor = incoming.to(torch.promote_types(incoming.dtype, torch.float32)) / ctx.count
        return None, None, None, *(gradient * factor.to(gradient.device) for gradient in ctx.saved_tensors)


def _leaves(total: Tensor) -> list[Tensor]:
    """The leaves that a backward pass from a tensor would reach, each once."""
    leaves: list[Tensor] = []
    ahead: list[Any] = [] if total.grad_fn is None else [total.grad_fn]
    seen = set(ahead)
    while ahead:
        node = ahead.pop()
        if type(node).__name__ == "AccumulateGrad":
            leaves.append(node.variable)
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                ahead.append(following)
    return leaves


@contextmanager
def _without_hooks(tensors: list[Tensor]) -> Iterator[None]:
    """Without the hooks on the tensors' gradients, which are for the gradient of the user's whole loss."""
    hooked = [tensor._backward_hooks for tensor in tensors if tensor._backward_hooks]
    kept = [dict(hooks) for hooks in hooked]
    try:
        for hooks in hooked:
            hooks.clear()
        yield
    finally:
        for hooks, registered in zip(hooked, kept, strict=True):
            hooks.update(registered)
