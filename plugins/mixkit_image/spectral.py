"""Spectral-residual saliency: what stands out of an image's own spectrum. Needs no model."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

#: The side at which the method looks at an image, and the blur of its map there (Hou and Zhang scale images to 64).
_SIDE, _BLUR = 64, 2.5


def spectral_residual(images: Tensor) -> Tensor:
    """Saliency of images without a model (Hou and Zhang, CVPR 2007).

    The log amplitude spectrum less its local average, put back with the image's phase, is large where the image departs
    from what its own spectrum would lead one to expect. Images larger than 64 pixels are looked at with their shorter
    side at 64, as in the paper.

    Args:
        images: (B, C, H, W), or videos (B, T, C, H, W), any value range; channels and frames are averaged.

    Returns:
        (B, H * W) float32, >= 0, scaled so that each map sums to 1.

    Example:
        >>> images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> images[:, :, 10:14, 20:24] = 3.0  # a bright square on noise
        >>> row, column = divmod(int(spectral_residual(images).argmax()), 32)
        >>> 9 <= row <= 14, 19 <= column <= 24
        (True, True)
    """
    height, width = images.shape[-2:]
    with torch.autocast(images.device.type, enabled=False):
        grey = images.detach().float().flatten(1, -3).mean(1, keepdim=True)
        shrink = max(min(height, width) / _SIDE, 1)
        size = (max(round(height / shrink), 1), max(round(width / shrink), 1))
        if shrink > 1:
            grey = F.interpolate(grey, size, mode="bilinear", antialias=True, align_corners=False)
        spectrum = torch.fft.fft2(grey)
        log_amplitude = torch.log(spectrum.abs() + 1e-8)
        around = F.avg_pool2d(F.pad(log_amplitude, (1, 1, 1, 1), mode="circular"), 3, 1)
        unexpected = torch.fft.ifft2(torch.polar(torch.exp(log_amplitude - around), spectrum.angle())).abs().square()
        saliency = _blur(unexpected, _BLUR * min(size) / _SIDE).clamp_min(0)
        if shrink > 1:
            saliency = F.interpolate(saliency, (height, width), mode="bilinear", align_corners=False)
    return F.normalize(saliency.flatten(1), p=1, dim=1)


def _blur(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of maps (B, 1, H, W) as a product of spectra, which wraps around as the transform itself does."""
    rows = torch.fft.fftfreq(maps.shape[2], device=maps.device)[:, None]
    columns = torch.fft.rfftfreq(maps.shape[3], device=maps.device)
    kernel = torch.exp(-2 * (math.pi * sigma) ** 2 * (rows.square() + columns.square()))
    return torch.fft.irfft2(torch.fft.rfft2(maps) * kernel, s=maps.shape[2:])
