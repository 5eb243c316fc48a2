"""The gradient of a loss by a batch, also where float16 is too coarse for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mixkit.outputs import map_tensors

NO_GRADIENT = "the loss does not depend on the batch or the layer, so it has no gradient: is it detached?"


def differentiate(
    output: Any, loss: Callable[[Any], Tensor], leaves: list[Tensor], *, retain_graph: bool = False
) -> list[Tensor]:
    """The gradient of a loss with respect to each leaf, float32 where the model ran in float16.

    Args:
        output: what a model has returned: tensors, in any structure.
        loss: a function of such an output, summed here.
        leaves: leaves of the graph, such as the batch; their first dimension counts the samples.
        retain_graph: keep the graph for another pass. Default False.

    Raises:
        ValueError: the loss depends on none of the leaves.
    """
    if leaves and in_float16([output, leaves], leaves[0].device):
        gradients = _at_norm_1(output, loss, leaves, retain_graph)
    else:
        gradients = _gradients([loss(output).sum()], leaves, None, retain_graph)
    return or_zeros(gradients, leaves)


def or_zeros(gradients: list[Tensor | None], leaves: list[Tensor]) -> list[Tensor]:
    """Gradients by leaves, zeros where the loss does not depend on one; ValueError where it depends on none."""
    if all(grad is None for grad in gradients):
        raise ValueError(NO_GRADIENT)
    return [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(leaves, gradients, strict=True)]


def in_float16(tensors: Any, device: torch.device) -> bool:
    """Whether a model has run in float16, as far as its input and output and autocast tell."""
    halves: list[bool] = []
    map_tensors(lambda tensor: halves.append(tensor.dtype == torch.float16), tensors)
    if any(halves):
        return True
    return torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == torch.float16


def _at_norm_1(
    output: Any, loss: Callable[[Any], Tensor], leaves: list[Tensor], retain_graph: bool
) -> list[Tensor | None]:
    """A well fitted sample's gradient underflows in float16 on its way down: send each down at norm 1 instead.

    Samples are scaled apart where every tensor has one row for each; else, as where points of all samples are laid end
    to end, all by one number.
    """
    sources: list[Tensor] = []
    ends: list[Tensor] = []

    def cut(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or not tensor.requires_grad:
            return tensor
        sources.append(tensor)
        ends.append(tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32)).requires_grad_())
        return ends[-1]

    total = loss(map_tensors(cut, output)).sum()
    starts = _gradients([total], ends, None, retain_graph)
    used = [(source, start) for source, start in zip(sources, starts, strict=True) if start is not None]
    if not used:  # the loss reaches the batch by another way than these tensors
        return _gradients([loss(output).sum()], leaves, None, retain_graph)
    count = len(leaves[0])
    apart = all(tensor.dim() and len(tensor) == count for tensor in [*leaves, *(source for source, _ in used)])
    rows = torch.cat([start.reshape(count if apart else 1, -1) for _, start in used], 1)
    peak = rows.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    size = peak[:, 0] * torch.linalg.vector_norm(rows / peak, dim=1).clamp_min(1e-6)
    scaled = [(start / _rows(size, start)).to(source.dtype) for source, start in used]
    gradients = _gradients([source for source, _ in used], leaves, scaled, retain_graph)
    return [None if grad is None else grad.float() * _rows(size, grad) for grad in gradients]


def _gradients(
    targets: list[Tensor], leaves: list[Tensor], starts: list[Tensor] | None, retain_graph: bool
) -> list[Tensor | None]:
    """The gradients by the leaves, detached, None where nothing depends on one."""
    if not leaves or not all(target.requires_grad for target in targets):
        return [None] * len(leaves)
    grads = torch.autograd.grad(targets, leaves, starts, allow_unused=True, retain_graph=retain_graph)
    return [None if grad is None else grad.detach() for grad in grads]


def _rows(size: Tensor, like: Tensor) -> Tensor:
    return size.reshape(-1, *[1] * (like.dim() - 1))
