"""PointNet classifier without T-Nets (Qi et al. 2017, arXiv 1612.00593), as the SageMix line of papers uses it."""

from __future__ import annotations

from torch import Tensor, nn

from experiments.models.layers import EdgeNorm, RowNorm


class SharedLayer(nn.Module):
    """The same linear layer, BatchNorm and ReLU for every point: (B, in_channels, N) to (B, channels, N)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, channels, bias=False)
        self.norm = RowNorm(channels)

    def forward(self, features: Tensor) -> Tensor:
        """The shape says channels first; in memory a point's channels lie together, as a linear layer wants them."""
        rows = features.mT
        active = self.norm(self.linear(rows.flatten(0, 1)))
        return active.unflatten(0, rows.shape[:2]).mT


class PointNet(nn.Module):
    """Shared layers 3-64-64-64-128-1024 on every point, maximum over the points, 512, dropout 0.5, logits.

    Args:
        num_classes: number of logits.
        width: channels of the first layer; 64 in the paper, every other layer scales with it.
        in_channels: 3 for bare points.
        dropout: before the last layer.
    """

    #: What a ManifoldMixer may draw from; the widest layer is left out.
    mixing_layers = ("input", "layer1", "layer2", "layer3", "layer4")

    def __init__(self, num_classes: int, *, width: int = 64, in_channels: int = 3, dropout: float = 0.5) -> None:
        super().__init__()
        self.layer1 = SharedLayer(in_channels, width)
        self.layer2 = SharedLayer(width, width)
        self.layer3 = SharedLayer(width, width)
        self.layer4 = SharedLayer(width, 2 * width)
        self.widest = nn.Linear(2 * width, 16 * width, bias=False)
        self.pool = EdgeNorm(16 * width)  # BatchNorm, ReLU and the maximum over the points
        self.head = nn.Sequential(
            nn.Linear(16 * width, 8 * width, bias=False),
            nn.BatchNorm1d(8 * width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(8 * width, num_classes),
        )

    def forward(self, points: Tensor) -> Tensor:
        """Points (B, N, in_channels), any N, to logits (B, num_classes)."""
        features = self.layer4(self.layer3(self.layer2(self.layer1(points.mT))))
        return self.head(self.pool(self.widest(features.mT)[:, None])[:, 0])
