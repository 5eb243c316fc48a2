"""The weighted sum of a plan's terms: what has weight 0 is absent, whatever stands there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mixkit.checks import readable

_WIDER = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.float32: torch.float64}


def combine(terms: Sequence[Tensor], weight: Tensor) -> Tensor:
    """``sum_k weight[:, k] * terms[k]``, to which a term of weight 0 adds nothing, be it NaN or infinite.

    On the CPU it is added up in a wider type, so that a mean of finite numbers is finite.

    Args:
        terms: K tensors (M, N, ...).
        weight: (M, K, N or 1), summing to 1 over K.

    Returns:
        (M, N, ...) in the dtype of the terms.
    """
    dtype = terms[0].dtype
    wide = _WIDER.get(dtype, dtype) if terms[0].device.type == "cpu" else dtype
    shares = weight.to(wide).reshape(*weight.shape, *[1] * (terms[0].dim() - 2)).unbind(1)
    total: Tensor | None = None
    for term, share in zip(terms, shares, strict=True):
        # copied, then in place, which keeps the memory layout
        present = term.to(wide, copy=True).masked_fill_(share == 0, 0)
        total = present.mul_(share) if total is None else total.addcmul_(present, share)
    assert total is not None
    return total.to(dtype)


def all_finite(mixed: Tensor) -> bool:
    """Whether all is finite, by one sum that is cheap beside the mixing; False also where only the sum overflows."""
    if mixed.dim() == 3 and mixed.mT.is_contiguous():  # as pixels lie; in their order a sum takes a third of the time
        mixed = mixed.mT
    return math.isfinite(float(mixed.detach().sum(dtype=torch.promote_types(mixed.dtype, torch.float32))))


def refuse_not_finite(terms: Sequence[Tensor], weight: Tensor, source: Tensor) -> None:
    """Raise ValueError, naming the sample, for a term that is NaN or infinite where its weight is above 0.

    It reads the tensors, so only the CPU's are looked at.

    Args:
        terms: K tensors (M, N, ...).
        weight: (M, K, N or 1).
        source: (M, K, N or 1) long, the sample that each term is of.
    """
    for k, term in enumerate(terms):
        if not readable(term):
            return
        wrong = ~term.detach().isfinite().flatten(2).all(2) & (weight[:, k] != 0)  # (M, N)
        if wrong.any():
            output, element = wrong.nonzero()[0].tolist()
            sample = int(source[output, k].expand(term.shape[1])[element])
            numbers = term[output, element].detach().flatten()
            odd = float(numbers[~numbers.isfinite()][0])
            raise ValueError(
                f"sample {sample} of the batch holds {odd} in an element that the mix "
                f"shows (element {element} of output {output}): mend it, or leave the sample out"
            )
