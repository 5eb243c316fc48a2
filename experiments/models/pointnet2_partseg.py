"""PointNet++ (Qi et al. 2017, arXiv 1706.02413) for the parts of a shape; its set abstraction is in `pointnet2`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from experiments.models.layers import RowNorm
from experiments.models.neighbours import interpolate
from experiments.models.pointnet2 import GlobalAbstraction, PointNet2SSG, SetAbstraction, scaled


class Propagation(nn.Module):
    """Features of few points carried to many: interpolated, joined to what the many have, and shared layers on both.

    Args:
        in_channels: the number of channels of both together.
        widths: the widths of the layers, each with BatchNorm and ReLU.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for narrow, wide in zip((in_channels, *widths[:-1]), widths, strict=True):
            layers += [nn.Linear(narrow, wide, bias=False), RowNorm(wide)]
        self.layers = nn.Sequential(*layers)

    def forward(self, own: Tensor, carried: Tensor) -> Tensor:
        """What the points have (B, N, C) and what was carried to them (B, N, C') to (B, N, widths[-1])."""
        rows = torch.cat([own.to(carried.dtype), carried], 2)
        return self.layers(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])


class PointNet2PartSeg(nn.Module):
    """The SSG classifier's abstractions, then propagation [256, 256], [256, 128], [128, 128, 128], 128, parts.

    The category and the coordinates join at the last propagation, where the points are all there again.

    Args:
        num_classes: number of parts of all categories together.
        width: 64 in the paper; every layer scales with it.
        in_channels: 3 for bare points.
        dropout: before the last layer. Default 0.5.
        num_categories: the number of shapes' categories. Default 16.
        centres: the numbers of centres of the two set abstractions. Default (512, 128).
    """

    #: What a ManifoldMixer may draw from: the input and the set abstractions.
    mixing_layers = ("input", "sa1", "sa2")

    def __init__(
        self,
        num_classes: int,
        *,
        width: int = 64,
        in_channels: int = 3,
        dropout: float = 0.5,
        num_categories: int = 16,
        centres: tuple[int, int] = (512, 128),
    ) -> None:
        super().__init__()
        self.sa1 = SetAbstraction(centres[0], in_channels - 3, scaled(PointNet2SSG.first, width))
        self.sa2 = SetAbstraction(centres[1], self.sa1.out_channels, scaled(PointNet2SSG.second, width))
        self.sa3 = GlobalAbstraction(self.sa2.out_channels, (4 * width, 8 * width, 16 * width))
        self.fp3 = Propagation(self.sa2.out_channels + 16 * width, (4 * width, 4 * width))
        self.fp2 = Propagation(self.sa1.out_channels + 4 * width, (4 * width, 2 * width))
        self.fp1 = Propagation(in_channels + num_categories + 2 * width, (2 * width, 2 * width, 2 * width))
        self.head = nn.Sequential(
            nn.Linear(2 * width, 2 * width, bias=False),
            RowNorm(2 * width),
            nn.Dropout(dropout),
            nn.Linear(2 * width, num_classes),
        )

    def forward(self, points: Tensor, category: Tensor) -> Tensor:
        """Points (B, N, in_channels) and categories (B, num_categories), one-hot or soft, to logits (B, parts, N)."""
        coords, features = points[:, :, :3], points[:, :, 3:].mT if points.shape[2] > 3 else None
        few, some = self.sa1(coords, features)
        fewer, more = self.sa2(few, some)
        whole = self.sa3(fewer, more)
        rows = self.fp3(more.mT, whole[:, None].expand(-1, more.shape[2], -1))
        rows = self.fp2(some.mT, interpolate(few, fewer, rows))
        shape = category.to(points.dtype)[:, None].expand(-1, points.shape[1], -1)
        rows = self.fp1(torch.cat([points, shape], 2), interpolate(coords, few, rows))
        return self.head(rows.flatten(0, 1)).unflatten(0, rows.shape[:2]).mT
