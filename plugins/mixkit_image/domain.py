"""The domain of pixel grids: batches (B, C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from mixkit import ElementSet, Grid, register_domain
from mixkit_image.spectral import spectral_residual


@register_domain("image")
class PixelGrid(Grid):
    """Images (B, C, H, W), any size and number of channels, contiguous or channels_last, floating point.

    Methods that only move pixels (`Method.moves`: CutMix, SaliencyMix, PointCutMix) take integers, such as uint8, too.

    An element is a pixel, its coordinates are (column, row) in pixels; pixels at the same place are paired.
    The length scale is a quarter of the shorter side: 8 pixels on CIFAR, the paper's sigma.

    Args:
        frames: take videos (B, T, C, H, W) as well, all of whose frames are mixed alike. Default False: of five
            dimensions, a volume would look the same. The domain "video" mixes in time as well.
        spacing: see `mixkit.Grid`. Default None: 1, a pixel.

    Example:
        >>> elements = PixelGrid().elements(torch.rand(2, 3, 32, 32))
        >>> elements.coords.shape, elements.values.shape, elements.length_scale
        (torch.Size([2, 1024, 2]), torch.Size([2, 1024, 3]), 8.0)
    """

    layouts: ClassVar = ("bchw",)
    noun: ClassVar = "images"
    conversion: ClassVar = "convert images first, as v2.ToDtype(torch.float32, scale=True) does"
    saliencies: ClassVar = {"spectral_residual": spectral_residual}

    def __init__(self, frames: bool = False, spacing: float | Sequence[float] | None = None) -> None:
        super().__init__(spacing)
        self.frames = frames

    @property
    def shapes(self) -> str:
        """See `Grid.shapes`."""
        return super().shapes + (", or of videos (B, T, C, H, W)" if self.frames else "")

    def elements(self, batch: Tensor) -> ElementSet:
        """See `Domain.elements`."""
        video = self.frames and isinstance(batch, Tensor) and batch.dim() == 5
        return super().elements(batch.flatten(1, 2) if video else batch)

    def batch(self, elements: ElementSet, like: Tensor) -> Tensor:
        """See `Domain.batch`."""
        if like.dim() == 5:
            maps = elements.values.mT.unflatten(2, elements.grid or ())
            return maps.unflatten(1, (-1, like.shape[2])).contiguous()
        return super().batch(elements, like)

    def fits(self, activation: Tensor, sides: tuple[int, ...]) -> tuple[bool, bool]:
        """See `Grid.fits`: the maps of images keep their proportions, but for rounding."""
        height, width = sides
        first, second, last = activation.shape[1:]
        # the sides of a square are mostly rounded alike
        slack = int(height != width or not (second == last or first == second))

        def shrunk(rows: int, columns: int) -> bool:
            return 1 <= rows <= height and columns <= width and abs(rows * width / height - columns) <= slack

        return shrunk(second, last), shrunk(first, second)
