"""What may happen to images: (B, C, H, W) in [0, 1] and a CPU generator of all draws to the same shape and range.

Lengths are shares of the image's side, so that 8 x 8 digits and 32 x 32 photographs are damaged alike; what comes in
from outside is 0, as is a hole.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def add_pixel_noise(images: Tensor, generator: torch.Generator, *, sigma: float) -> Tensor:
    """Add a normal draw of deviation `sigma` to every pixel of every channel, and clip to [0, 1]."""
    return (images + sigma * torch.randn(images.shape, generator=generator).to(images)).clamp(0, 1)


def shift(images: Tensor, generator: torch.Generator, *, share: float) -> Tensor:
    """Move each image by `share` of its sides, in whole pixels, in one of the four diagonal directions."""
    batch, _, height, width = images.shape
    signs = 2 * torch.randint(0, 2, (2, batch, 1), generator=generator).to(images.device) - 1
    rows = torch.arange(height, device=images.device) - signs[0] * round(share * height)  # (B, H): where from
    columns = torch.arange(width, device=images.device) - signs[1] * round(share * width)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    sample = torch.arange(batch, device=images.device)[:, None, None]
    moved = images[sample, :, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]]
    return (moved * inside[..., None]).permute(0, 3, 1, 2).contiguous()


def place_anew(images: Tensor, generator: torch.Generator, *, most: float = 0, factor: float = 1) -> Tensor:
    """Rotate and scale each image about its centre, bilinear.

    Args:
        images: (B, C, H, W).
        generator: draws the angles, one per image, uniform in -most ... most.
        most: the largest angle in degrees. Default 0: no rotation.
        factor: above 1 the content becomes larger. Default 1.
    """
    angle = math.radians(most) * (2 * torch.rand(len(images), generator=generator) - 1)
    cosine, sine, zero = angle.cos() / factor, angle.sin() / factor, torch.zeros(len(images))
    height, width = images.shape[2:]
    first = torch.stack([cosine, sine * height / width, zero], 1)  # of where each pixel comes from: x, then y
    second = torch.stack([-sine * width / height, cosine, zero], 1)
    grid = F.affine_grid(torch.stack([first, second], 1).to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def cut_hole(images: Tensor, generator: torch.Generator, *, share: float) -> Tensor:
    """Empty a square of `share` of each image's area, anywhere within it; its side is a whole number of pixels."""
    batch, _, height, width = images.shape
    side = min(round(math.sqrt(share * height * width)), height, width)
    draws = torch.rand(2, batch, 1, generator=generator)
    top = (draws[0] * (height - side + 1)).long()
    left = (draws[1] * (width - side + 1)).long()
    rows, columns = torch.arange(height), torch.arange(width)
    hole = ((rows >= top) & (rows < top + side))[:, :, None] & ((columns >= left) & (columns < left + side))[:, None, :]
    return images.masked_fill(hole[:, None].to(images.device), 0)
