"""A sparse voxel U-Net for scenes, in plain torch: it works on the voxels that hold points, and on nothing else."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mixkit import Packed

_OFFSETS = torch.cartesian_prod(*[torch.arange(-1, 2)] * 3)  # (27, 3), a voxel and its neighbours
_SIDE = 1 << 15  # voxels along an axis that a key has room for


class Voxels(NamedTuple):
    """The voxels of a batch of scenes that hold points."""

    of_row: Tensor
    """(L,) long, the voxel that each row of the finer level lies in."""
    neighbours: Tensor
    """(V, 27) long, the voxels around each; V where there is none."""
    cells: Tensor
    """(V, 4) long, the scene and the place of each."""


def voxelise(cells: Tensor) -> Voxels:
    """The voxels of rows (L, 4) long, each with its scene and its place in whole voxels."""
    keys = _keys(cells)
    unique, of_row = keys.unique(return_inverse=True)
    first = torch.empty_like(unique).scatter_(0, of_row, torch.arange(len(keys), device=keys.device))
    own = cells[first]
    around = own[:, None].repeat(1, len(_OFFSETS), 1)
    around[:, :, 1:] += _OFFSETS.to(own.device)
    wanted = _keys(around.flatten(0, 1)).unflatten(0, (-1, len(_OFFSETS)))
    place = torch.searchsorted(unique, wanted).clamp_max(len(unique) - 1)
    return Voxels(of_row, torch.where(unique[place] == wanted, place, len(unique)), own)


def _keys(cells: Tensor) -> Tensor:
    """One number for a scene and a place."""
    scene, x, y, z = (cells + torch.tensor([0, *[_SIDE // 2] * 3], device=cells.device)).unbind(1)
    return ((scene * _SIDE + x) * _SIDE + y) * _SIDE + z


class SparseConv(nn.Module):
    """A 3 x 3 x 3 convolution at the voxels that there are, with BatchNorm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(27 * in_channels, out_channels, bias=False)
        self.norm = nn.BatchNorm1d(out_channels)

    def forward(self, features: Tensor, voxels: Voxels) -> Tensor:
        """(V, out_channels) of (V, in_channels)."""
        padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
        return self.norm(self.linear(padded[voxels.neighbours].flatten(1))).relu()


class VoxelUNet(nn.Module):
    """Segments points: a U-Net over voxels of three sizes, whose features the points read at their places.

    Args:
        num_classes: number of logits of a point.
        channels: the channels of a point beside its coordinates, 1 for the intensity. Default 1.
        width: channels at the finest level; twice and four times as many at the next two. Default 16.
        voxel: side of the finest voxels in the units of the coordinates. Default 0.4.
    """

    def __init__(self, num_classes: int, channels: int = 1, width: int = 16, voxel: float = 0.4) -> None:
        super().__init__()
        self.voxel = voxel
        widths = (width, 2 * width, 4 * width)
        self.stem = nn.Sequential(nn.Linear(4 + channels, width), nn.BatchNorm1d(width), nn.ReLU())
        self.down = nn.ModuleList(
            SparseConv(before, after) for before, after in zip((width, *widths), widths, strict=False)
        )
        self.up = nn.ModuleList([SparseConv(6 * width, 2 * width), SparseConv(3 * width, width)])
        self.head = nn.Sequential(
            nn.Linear(2 * width, 2 * width), nn.BatchNorm1d(2 * width), nn.ReLU(), nn.Linear(2 * width, num_classes)
        )

    def forward(self, scenes: list[Tensor] | Packed) -> Tensor:
        """Logits (L, num_classes) of the points of all scenes, of a list of (n_i, 3 + channels) or packed."""
        packed = scenes if isinstance(scenes, Packed) else Packed.from_list(scenes)
        coords = packed.rows[:, :3]
        cells = torch.cat([packed.sample[:, None], (coords.detach() / self.voxel).floor().long()], 1)
        within = coords / self.voxel - cells[:, 1:]  # where in its voxel a point lies: coordinates have a gradient
        points = self.stem(torch.cat([within - 0.5, coords[:, 2:3], packed.rows[:, 3:]], 1))
        levels: list[Voxels] = []
        features: list[Tensor] = []
        current = points
        for level, conv in enumerate(self.down):
            if level:
                cells = levels[-1].cells.clone()
                cells[:, 1:] = cells[:, 1:] >> 1
            voxels = voxelise(cells)
            levels.append(voxels)
            current = conv(_mean(current, voxels), voxels)
            features.append(current)
        for level, conv in zip((1, 0), self.up, strict=True):
            current = conv(torch.cat([features[level], current[levels[level + 1].of_row]], 1), levels[level])
        return self.head(torch.cat([points, current[levels[0].of_row]], 1))


def _mean(rows: Tensor, voxels: Voxels) -> Tensor:
    """(V, C) the mean of the rows (L, C) in each voxel."""
    count = rows.new_zeros(len(voxels.cells)).index_add_(0, voxels.of_row, torch.ones_like(rows[:, 0]))
    total = rows.new_zeros(len(voxels.cells), rows.shape[1]).index_add(0, voxels.of_row, rows)
    return total / count[:, None]
