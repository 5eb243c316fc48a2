"""DGCNN (Wang et al. 2019, arXiv 1801.07829): the classifier, and the network that labels the parts of a shape."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.models import fast
from experiments.models.fast.edges import add_edges, edge_norm
from experiments.models.layers import EdgeNorm, PoolNorm, RowNorm, gather
from experiments.models.neighbours import nearest

SLOPE = 0.2  # of every leaky ReLU


class EdgeConv(nn.Module):
    """Linear layers on [x_j - x_i, x_i] for the k neighbours j of each point, each with BatchNorm, then the maximum.

    (B, in_channels, N) to (B, channels, N).

    Args:
        in_channels: the number of input channels of the points.
        channels: the number of channels of each layer.
        k: neighbours in the space of the features, the point itself among them; all where there are fewer.
        num_coords: how many of the channels say who is near; None, the default, all.
    """

    def __init__(self, in_channels: int, channels: tuple[int, ...], k: int, num_coords: int | None = None) -> None:
        super().__init__()
        self.k = k
        self.num_coords = num_coords
        self.first = nn.Linear(2 * in_channels, channels[0], bias=False)
        layers: list[nn.Module] = []
        for narrow, wide in itertools.pairwise(channels):
            layers += [RowNorm(narrow, SLOPE), nn.Linear(narrow, wide, bias=False)]
        self.further = nn.Sequential(*layers)
        self.norm = EdgeNorm(channels[-1], SLOPE)

    def forward(self, features: Tensor) -> Tensor:
        """The shape says channels first; in memory a point's channels lie together."""
        rows = features.mT
        index = nearest(rows[:, :, : self.num_coords], self.k)
        if fast.is_on():
            return self._forward_split(rows, index).mT
        own = rows[:, :, None].expand(-1, -1, index.shape[2], -1)
        edges = self.first(torch.cat([gather(rows, index) - own, own], 3))
        return self.norm(self.further(edges.flatten(0, 2)).unflatten(0, index.shape)).mT

    def _forward_split(self, rows: Tensor, index: Tensor) -> Tensor:
        """The first layer runs on the points (see `fast.edges`); if it is the only one, no edge is held."""
        near, own = self.first.weight.chunk(2, dim=1)
        values, centres = F.linear(rows, near), F.linear(rows, own - near)
        if not self.further:
            return edge_norm(self.norm, SLOPE, values, centres, index)
        edges = add_edges(values, centres, index)
        return self.norm(self.further(edges.flatten(0, 2)).unflatten(0, index.shape))


class Pointwise(nn.Sequential):
    """The same linear layer, BatchNorm and leaky ReLU for each row of (rows, in_channels)."""

    def __init__(self, in_channels: int, channels: int, *, bias: bool = False) -> None:
        super().__init__(nn.Linear(in_channels, channels, bias=bias), RowNorm(channels, SLOPE))


class DGCNN(nn.Module):
    """EdgeConv 64, 64, 128, 256, together 512 to 1024, maximum and mean over the points, 512, 256, logits.

    1.8 million parameters with 40 classes.

    Args:
        num_classes: number of logits.
        width: 64 in the paper; every layer scales with it.
        in_channels: 3 for bare points; the first three say who is near in the first EdgeConv.
        k: neighbours of a point. Default 20, the paper's for 1024 points.
        dropout: after each of the two hidden layers of the head. Default 0.5.
    """

    #: What a ManifoldMixer may draw from: the input and the EdgeConv stages.
    mixing_layers = ("input", "edge1", "edge2", "edge3", "edge4")

    def __init__(
        self, num_classes: int, *, width: int = 64, in_channels: int = 3, k: int = 20, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.edge1 = EdgeConv(in_channels, (width,), k, num_coords=3)
        self.edge2 = EdgeConv(width, (width,), k)
        self.edge3 = EdgeConv(width, (2 * width,), k)
        self.edge4 = EdgeConv(2 * width, (4 * width,), k)
        self.embed = nn.Linear(8 * width, 16 * width, bias=False)
        self.pool = PoolNorm(16 * width, SLOPE)
        self.head = nn.Sequential(
            Pointwise(32 * width, 8 * width),
            nn.Dropout(dropout),
            Pointwise(8 * width, 4 * width, bias=True),
            nn.Dropout(dropout),
            nn.Linear(4 * width, num_classes),
        )

    def forward(self, points: Tensor) -> Tensor:
        """Points (B, N, in_channels), any N, to logits (B, num_classes)."""
        one = self.edge1(points.mT)
        two = self.edge2(one)
        three = self.edge3(two)
        four = self.edge4(three)
        rows = torch.cat([stage.mT for stage in (one, two, three, four)], 2)
        return self.head(self.pool(self.embed(rows)))


class Alignment(nn.Module):
    """The T-Net: a 3 x 3 matrix for each cloud, the identity at first, that turns it before its parts are told."""

    def __init__(self, width: int, in_channels: int, k: int) -> None:
        super().__init__()
        self.edge = EdgeConv(in_channels, (width, 2 * width), k, num_coords=3)
        self.embed = nn.Linear(2 * width, 16 * width, bias=False)
        self.norm = EdgeNorm(16 * width, SLOPE)
        self.head = nn.Sequential(Pointwise(16 * width, 8 * width), Pointwise(8 * width, 4 * width))
        self.matrix = nn.Linear(4 * width, 9)
        nn.init.zeros_(self.matrix.weight)
        with torch.no_grad():
            self.matrix.bias.copy_(torch.eye(3).flatten())

    def forward(self, points: Tensor) -> Tensor:
        """Points (B, N, C) to the same with their first three channels turned."""
        rows = self.embed(self.edge(points.mT).mT)
        features = self.norm(rows[:, None])[:, 0]
        turn = self.matrix(self.head(features)).unflatten(1, (3, 3)).to(points.dtype)
        return torch.cat([points[:, :, :3] @ turn, points[:, :, 3:]], 2)


class DGCNNPartSeg(nn.Module):
    """T-Net, EdgeConv (64, 64), (64, 64), (64), 1024 and its maximum, the category, then 256, 256, 128, parts.

    Args:
        num_classes: number of parts of all categories together.
        width: 64 in the paper; every layer scales with it.
        in_channels: 3 for bare points.
        k: neighbours of a point. Default 40, the paper's for 2048 points.
        dropout: after each of the first two layers of the head. Default 0.5.
        num_categories: the number of shapes' categories. Default 16.
    """

    #: What a ManifoldMixer may draw from: the input and the EdgeConv stages.
    mixing_layers = ("input", "edge1", "edge2", "edge3")

    def __init__(
        self,
        num_classes: int,
        *,
        width: int = 64,
        in_channels: int = 3,
        k: int = 40,
        dropout: float = 0.5,
        num_categories: int = 16,
    ) -> None:
        super().__init__()
        self.align = Alignment(width, in_channels, k)
        self.edge1 = EdgeConv(in_channels, (width, width), k, num_coords=3)
        self.edge2 = EdgeConv(width, (width, width), k)
        self.edge3 = EdgeConv(width, (width,), k)
        self.embed = nn.Linear(3 * width, 16 * width, bias=False)
        self.pool = EdgeNorm(16 * width, SLOPE)
        self.category = Pointwise(num_categories, width)
        self.whole = nn.Linear(17 * width, 4 * width, bias=False)  # of the first layer: what a shape's points share,
        self.local = nn.Linear(3 * width, 4 * width, bias=False)  # and what is each one's own
        self.norm = RowNorm(4 * width, SLOPE)
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            Pointwise(4 * width, 4 * width),
            nn.Dropout(dropout),
            Pointwise(4 * width, 2 * width),
            nn.Linear(2 * width, num_classes, bias=False),
        )

    def forward(self, points: Tensor, category: Tensor) -> Tensor:
        """Points (B, N, in_channels) and categories (B, num_categories), one-hot or soft, to logits (B, parts, N)."""
        one = self.edge1(self.align(points).mT)
        two = self.edge2(one)
        three = self.edge3(two)
        rows = torch.cat([stage.mT for stage in (one, two, three)], 2)
        features = self.pool(self.embed(rows)[:, None])[:, 0]
        shared = self.whole(torch.cat([features, self.category(category.to(features.dtype))], 1))
        first = self.norm((self.local(rows) + shared[:, None]).flatten(0, 1))
        return self.head(first).unflatten(0, rows.shape[:2]).mT
