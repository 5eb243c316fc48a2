"""The domain of pixel grids: batches (B, C, H, W)."""

from __future__ import annotations

import functools
from typing import ClassVar

import torch
from torch import Tensor

from mixkit import Domain, ElementSet, register_domain
from mixkit_image.spectral import spectral_residual


@register_domain("image")
class PixelGrid(Domain):
    """Images (B, C, H, W), floating point, any size and number of channels, contiguous or channels_last.

    An element is a pixel, its coordinates are (column, row) in pixels; pixels at the same place are paired.
    The length scale is a quarter of the shorter side: 8 pixels on CIFAR, the paper's sigma.
    """

    method_defaults: ClassVar = {"sagemix": {"theta": 0.3}}
    saliencies: ClassVar = {"spectral_residual": spectral_residual}

    def elements(self, batch: Tensor) -> ElementSet:
        """See `Domain.elements`."""
        if not isinstance(batch, Tensor) or batch.dim() != 4 or not batch.numel():
            got = tuple(batch.shape) if isinstance(batch, Tensor) else type(batch).__name__
            raise ValueError(f"images must be a batch (B, C, H, W), got {got}")
        if not batch.is_floating_point():
            raise TypeError(
                f"images must be floating point to be mixed, got {batch.dtype}: v2.ToDtype(torch.float32, scale=True)"
            )
        height, width = batch.shape[2:]
        coords = pixel_coords(height, width, batch.device).expand(len(batch), -1, -1)
        return ElementSet(coords, batch.flatten(2).mT, (height, width))

    def batch(self, elements: ElementSet, like: Tensor) -> Tensor:
        """See `Domain.batch`."""
        images = elements.values.mT.unflatten(2, elements.grid or ())
        channels_last = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
        return images.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)

    def length_scale(self, elements: ElementSet) -> float:
        """A quarter of the shorter side, in pixels."""
        return min(elements.grid or ()) / 4

    def feature_elements(self, activation: Tensor, elements: ElementSet) -> ElementSet:
        """A feature map (B, C, h, w): its cells, at their centres in input pixels."""
        if activation.dim() != 4 or not elements.grid:
            raise ValueError(f"a feature map must be (B, C, h, w), got {tuple(activation.shape)}")
        (height, width), (rows, columns) = elements.grid, activation.shape[2:]
        step = torch.tensor([width / columns, height / rows], device=activation.device)
        coords = (pixel_coords(rows, columns, activation.device) + 0.5) * step - 0.5
        return ElementSet(coords.expand(len(activation), -1, -1), activation.flatten(2).mT, (rows, columns))


@functools.lru_cache(maxsize=16)
def pixel_coords(height: int, width: int, device: torch.device) -> Tensor:
    """(1, H * W, 2) float32, the (column, row) of each pixel in row-major order."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([columns, rows], 2).reshape(1, -1, 2).float().to(device)
