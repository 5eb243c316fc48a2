"""PointNet classifier without T-Nets (Qi et al. 2017, arXiv 1612.00593), as the SageMix line of papers uses it."""

from __future__ import annotations

import itertools

from torch import Tensor, nn


class PointNet(nn.Module):
    """Shared layers 3-64-64-64-128-1024 on every point, maximum over the points, 512, dropout 0.5, logits.

    Args:
        num_classes: number of logits.
        width: channels of the first layer; 64 in the paper, every other layer scales with it.
        in_channels: 3 for bare points.
        dropout: before the last layer.
    """

    def __init__(self, num_classes: int, *, width: int = 64, in_channels: int = 3, dropout: float = 0.5) -> None:
        super().__init__()
        sizes = [in_channels, width, width, width, 2 * width, 16 * width]
        layers: list[nn.Module] = []
        for narrow, wide in itertools.pairwise(sizes):
            # A 1 x 1 convolution over points is a linear layer on rows of points, and faster as one.
            layers += [nn.Linear(narrow, wide, bias=False), nn.BatchNorm1d(wide), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(16 * width, 8 * width, bias=False),
            nn.BatchNorm1d(8 * width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(8 * width, num_classes),
        )

    def forward(self, points: Tensor) -> Tensor:
        """Points (B, N, in_channels), any N, to logits (B, num_classes)."""
        batch, count, channels = points.shape
        features = self.features(points.reshape(batch * count, channels))
        return self.head(features.view(batch, count, -1).amax(dim=1))
