"""The domain of pixel grids: batches (B, C, H, W)."""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mixkit import Domain, ElementSet, MixPlan, register_domain
from mixkit.channels import ambiguous
from mixkit.domain import describe
from mixkit_image.spectral import spectral_residual


@register_domain("image")
class PixelGrid(Domain):
    """Images (B, C, H, W), any size and number of channels, contiguous or channels_last, floating point.

    Methods that only move pixels (`Method.moves`: CutMix, SaliencyMix, PointCutMix) take integers, such as uint8, too.

    An element is a pixel, its coordinates are (column, row) in pixels; pixels at the same place are paired.
    The length scale is a quarter of the shorter side: 8 pixels on CIFAR, the paper's sigma.

    Args:
        frames: take videos (B, T, C, H, W) as well, all of whose frames are mixed alike. Default False: of five
            dimensions, a volume would look the same.
    """

    method_defaults: ClassVar = {"sagemix": {"theta": 0.3}}
    conversion: ClassVar = "convert images first, as v2.ToDtype(torch.float32, scale=True) does"
    saliencies: ClassVar = {"spectral_residual": spectral_residual}

    def __init__(self, frames: bool = False) -> None:
        self.frames = frames

    def elements(self, batch: Tensor) -> ElementSet:
        """See `Domain.elements`."""
        dims = (4, 5) if self.frames else (4,)
        if not isinstance(batch, Tensor) or batch.dim() not in dims or not batch.numel():
            got = tuple(batch.shape) if isinstance(batch, Tensor) else type(batch).__name__
            video = ", or of videos (B, T, C, H, W)" if self.frames else ""
            raise ValueError(f"images must be a batch (B, C, H, W){video}, got {got}")
        if batch.is_complex():
            raise TypeError(f"images must be real numbers, got {batch.dtype}")
        height, width = batch.shape[-2:]
        coords = pixel_coords(height, width, batch.device).expand(len(batch), -1, -1)
        return ElementSet(coords, batch.flatten(1, -3).flatten(2).mT, (height, width), min(height, width) / 4)

    def batch(self, elements: ElementSet, like: Tensor) -> Tensor:
        """See `Domain.batch`."""
        images = elements.values.mT.unflatten(2, elements.grid or ())
        if like.dim() == 5:
            return images.unflatten(1, (-1, like.shape[2])).contiguous()
        channels_last = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
        return images.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)

    def feature_elements(
        self, activation: Any, elements: ElementSet, channels_last: bool | None = None
    ) -> ElementSet | None:
        """A feature map (B, C, h, w) or (B, h, w, C), or tokens (B, T, C) of a patch grid, as cells.

        Each cell lies at its centre in input pixels. Tokens before the patches (class, distillation, registers) belong
        to no place and are mixed by the ratio of the sample, as is a vector (B, C).
        """
        if not isinstance(activation, Tensor) or not elements.grid or activation.dim() not in (3, 4):
            return super().feature_elements(activation, elements)
        height, width = elements.grid
        layout = _layout(activation, height, width, channels_last)
        if layout is None:
            raise ValueError(
                f"{describe(activation)} is neither a feature map nor patch tokens of {height} x {width} images"
            )
        rows, columns = layout.grid
        step = torch.tensor([width / columns, height / rows]).to(activation.device, non_blocking=True)
        coords = (pixel_coords(rows, columns, activation.device) + 0.5) * step - 0.5
        return ElementSet(coords.expand(len(activation), -1, -1), layout.values, layout.grid, elements.length_scale)

    def mix_feature(
        self, plan: MixPlan, activation: Any, features: ElementSet | None, channels_last: bool | None = None
    ) -> Any:
        """See `Domain.mix_feature`."""
        if features is None:
            return super().mix_feature(plan, activation, features)
        if activation.dim() == 3:
            extra = activation.shape[1] - features.num_elements
            patches = plan.apply(activation[:, extra:])
            return torch.cat([plan.pooled().apply(activation[:, :extra]), patches], 1) if extra else patches
        fits_last = activation.shape[1:3] == features.grid
        if activation.shape[2:] == features.grid and not (fits_last and channels_last):
            mixed = plan.apply(activation.flatten(2).mT)
            return self.batch(ElementSet(features.coords, mixed, features.grid), like=activation)
        return plan.apply(activation.flatten(1, 2)).unflatten(1, activation.shape[1:3])

    def pool_saliency(self, saliency: Tensor, elements: ElementSet, features: ElementSet) -> Tensor:
        """The mean saliency of each cell's pixels."""
        maps = saliency.unflatten(1, elements.grid or ())[:, None]
        rows, columns = features.grid or (1, 1)
        return F.adaptive_avg_pool2d(maps, (rows, columns)).flatten(1)


class _Layout(NamedTuple):
    grid: tuple[int, int]
    values: Tensor  # (B, h * w, C)


def _layout(activation: Tensor, height: int, width: int, channels_last: bool | None) -> _Layout | None:
    """How an activation of height x width images is laid out, judged by the grid that it makes.

    Raises:
        ValueError: a feature map whose channels may come first or last, and nobody has said which.
    """

    def shrunk(rows: int, columns: int, slack: int) -> bool:
        return 1 <= rows <= height and columns <= width and abs(rows * width / height - columns) <= slack

    if activation.dim() == 4:
        first, second, last = activation.shape[1:]
        # the sides of a square are mostly rounded alike
        slack = int(height != width or not (second == last or first == second))
        fits_first, fits_last = shrunk(second, last, slack), shrunk(first, second, slack)
        if fits_first and fits_last and channels_last is None:
            raise ambiguous(activation, "(B, C, h, w)", "(B, h, w, C)")
        if fits_last and (channels_last or not fits_first):
            return _Layout((first, second), activation.flatten(1, 2))
        return _Layout((second, last), activation.flatten(2).mT) if fits_first else None
    for extra in range(min(activation.shape[1], 9)):  # class, distillation and register tokens come first
        patches = activation.shape[1] - extra
        rows = max(round(math.sqrt(patches * height / width)), 1)
        columns = patches // rows
        whole = rows * columns == patches and height % rows == 0 and width % columns == 0
        if whole and height // rows == width // columns:
            return _Layout((rows, columns), activation[:, extra:])
    return None


@functools.lru_cache(maxsize=16)
def pixel_coords(height: int, width: int, device: torch.device) -> Tensor:
    """(1, H * W, 2) float32, the (column, row) of each pixel in row-major order."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([columns, rows], 2).reshape(1, -1, 2).float().to(device)
