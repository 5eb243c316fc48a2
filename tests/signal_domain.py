"""A third party's domain, whole: 1-D signals (B, C, L), registered as any plugin would."""

from __future__ import annotations

import torch
from torch import Tensor

import mixkit


@mixkit.register_domain("signal")
class Signal(mixkit.Domain):
    """Signals (B, C, L): an element is a time step, its coordinate is its index."""

    def elements(self, batch: Tensor) -> mixkit.ElementSet:
        if batch.dim() != 3:
            raise ValueError(f"signals must be (B, C, L), got {tuple(batch.shape)}")
        length = batch.shape[2]
        steps = torch.arange(length, dtype=torch.float32, device=batch.device)[None, :, None].expand(len(batch), -1, -1)
        return mixkit.ElementSet(steps, batch.mT, grid=(length,), length_scale=length / 8)

    def batch(self, elements: mixkit.ElementSet, like: Tensor) -> Tensor:
        return elements.values.mT.contiguous()
