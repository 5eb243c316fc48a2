"""PointNet++ (Qi et al. 2017, arXiv 1706.02413): set abstraction and the classifiers; parts: `pointnet2_partseg`."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.models import fast
from experiments.models.fast.edges import add_edges, edge_norm
from experiments.models.layers import EdgeNorm, RowNorm, gather
from experiments.models.neighbours import ball_query, farthest_points


class Scale(NamedTuple):
    """One ball of a set abstraction: its radius, how many points it takes at most, and the widths of its layers."""

    radius: float
    size: int
    widths: tuple[int, ...]


class LocalPointNet(nn.Module):
    """Shared layers with BatchNorm and ReLU on the points of each ball, relative to its centre, and their maximum.

    Args:
        in_channels: the number of input channels of the features, without the coordinates.
        scale: the ball.
    """

    def __init__(self, in_channels: int, scale: Scale) -> None:
        super().__init__()
        self.radius, self.size, widths = scale
        self.first = nn.Linear(3 + in_channels, widths[0], bias=False)
        self.further = make_rows(widths)
        self.norm = EdgeNorm(widths[-1])

    def forward(self, coords: Tensor, features: Tensor | None, centres: Tensor) -> Tensor:
        """Coordinates (B, N, 3), features (B, N, in_channels) and centres (B, S, 3) to (B, S, widths[-1])."""
        index = ball_query(coords, centres, self.radius, self.size)
        rows = coords if features is None else torch.cat([coords, features.to(coords.dtype)], 2)
        if fast.is_on():
            return self._forward_split(rows, centres, index)
        near = gather(rows, index)
        edges = self.first(torch.cat([near[..., :3] - centres[:, :, None], near[..., 3:]], 3))
        return self.norm(self.further(edges.flatten(0, 2)).unflatten(0, index.shape))

    def _forward_split(self, rows: Tensor, centres: Tensor, index: Tensor) -> Tensor:
        """The first layer runs on the points, and what it makes of the centre is taken off (see `fast.edges`)."""
        values, shift = self.first(rows), -F.linear(centres, self.first.weight[:, :3])
        if not self.further:
            return edge_norm(self.norm, 0.0, values, shift, index)
        edges = add_edges(values, shift, index)
        return self.norm(self.further(edges.flatten(0, 2)).unflatten(0, index.shape))


class SetAbstraction(nn.Module):
    """Centres by farthest point sampling, and a `LocalPointNet` of each scale around them.

    Returns coordinates (B, S, 3) and features (B, channels, S). In training the first centre is drawn from torch's
    generator; in eval mode it is the first point.

    Args:
        centres: S.
        in_channels: the number of input channels of the features, without the coordinates.
        scales: the balls around each centre.
    """

    def __init__(self, centres: int, in_channels: int, scales: tuple[Scale, ...]) -> None:
        super().__init__()
        self.centres = centres
        self.scales = nn.ModuleList([LocalPointNet(in_channels, scale) for scale in scales])
        self.out_channels = sum(scale.widths[-1] for scale in scales)

    def forward(self, coords: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor]:
        """Coordinates (B, N, 3) and features (B, in_channels, N) or None."""
        start = torch.randint(coords.shape[1], (len(coords),)) if self.training else None
        index = farthest_points(coords, self.centres, start)
        centres = coords.gather(1, index[:, :, None].expand(-1, -1, 3))
        rows = None if features is None else features.mT
        return centres, torch.cat([scale(coords, rows, centres) for scale in self.scales], 2).mT


class GlobalAbstraction(nn.Module):
    """Shared layers on all points, coordinates and features, and their maximum: (B, widths[-1])."""

    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.first = nn.Linear(3 + in_channels, widths[0], bias=False)
        self.further = make_rows(widths)
        self.norm = EdgeNorm(widths[-1])

    def forward(self, coords: Tensor, features: Tensor) -> Tensor:
        """Coordinates (B, N, 3) and features (B, in_channels, N)."""
        rows = torch.cat([coords, features.mT.to(coords.dtype)], 2)
        return self.norm(self.further(self.first(rows).flatten(0, 1)).unflatten(0, (len(rows), 1, -1)))[:, 0]


class PointNet2(nn.Module):
    """Two set abstractions, a global one of [256, 512, 1024], 512, 256, logits.

    The abstractions: SSG (512 centres, radius 0.2, 32 points, [64, 64, 128]), (128, 0.4, 64, [128, 128, 256]), 1.47
    million parameters with 40 classes; MSG three radii at each.

    Args:
        num_classes: number of logits.
        width: 64 in the paper; every layer scales with it.
        in_channels: 3 for bare points.
        dropout: after each of the two hidden layers of the head. Default 0.4.
        centres: the numbers of centres of the two set abstractions. Default (512, 128), the paper's for 1024 points.
    """

    #: What a ManifoldMixer may draw from: the input and the set abstractions, as in PointMixup.
    mixing_layers = ("input", "sa1", "sa2")
    #: The balls of the two set abstractions at the paper's width.
    first: tuple[Scale, ...] = (Scale(0.2, 32, (64, 64, 128)),)
    second: tuple[Scale, ...] = (Scale(0.4, 64, (128, 128, 256)),)

    def __init__(
        self,
        num_classes: int,
        *,
        width: int = 64,
        in_channels: int = 3,
        dropout: float = 0.4,
        centres: tuple[int, int] = (512, 128),
    ) -> None:
        super().__init__()
        self.sa1 = SetAbstraction(centres[0], in_channels - 3, scaled(self.first, width))
        self.sa2 = SetAbstraction(centres[1], self.sa1.out_channels, scaled(self.second, width))
        self.sa3 = GlobalAbstraction(self.sa2.out_channels, (4 * width, 8 * width, 16 * width))
        layers: list[nn.Module] = []
        for narrow, wide in ((16 * width, 8 * width), (8 * width, 4 * width)):
            layers += [nn.Linear(narrow, wide, bias=False), nn.BatchNorm1d(wide), nn.ReLU(), nn.Dropout(dropout)]
        self.head = nn.Sequential(*layers, nn.Linear(4 * width, num_classes))

    def forward(self, points: Tensor) -> Tensor:
        """Points (B, N, in_channels), any N, to logits (B, num_classes)."""
        coords, features = points[:, :, :3], points[:, :, 3:].mT if points.shape[2] > 3 else None
        return self.head(self.sa3(*self.sa2(*self.sa1(coords, features))))


class PointNet2SSG(PointNet2):
    """One radius at each set abstraction."""


class PointNet2MSG(PointNet2):
    """Three radii at each set abstraction."""

    first = (Scale(0.1, 16, (32, 32, 64)), Scale(0.2, 32, (64, 64, 128)), Scale(0.4, 128, (64, 96, 128)))
    second = (Scale(0.2, 32, (64, 64, 128)), Scale(0.4, 64, (128, 128, 256)), Scale(0.8, 128, (128, 128, 256)))


def make_rows(widths: tuple[int, ...]) -> nn.Sequential:
    """Between the first linear layer and the last BatchNorm: BatchNorm, ReLU, linear, for each further width."""
    layers: list[nn.Module] = []
    for narrow, wide in itertools.pairwise(widths):
        layers += [RowNorm(narrow), nn.Linear(narrow, wide, bias=False)]
    return nn.Sequential(*layers)


def scaled(scales: tuple[Scale, ...], width: int) -> tuple[Scale, ...]:
    """The same balls with layers width / 64 as wide."""
    return tuple(
        Scale(radius, size, tuple(max(1, channels * width // 64) for channels in widths))
        for radius, size, widths in scales
    )
