"""What tests share: where real samples and reference results lie, and small models."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
import torch
from torch import nn

# CI tries the same examples every time; elsewhere each run tries new ones
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")

SAMPLES = Path(__file__).parent / "data"  #: a few real images and point clouds; its README says whose they are
GOLDEN = Path(__file__).parent / "golden"  #: results of the authors' implementation

#: Options of `python -m experiments` that make a run as small as can be.
SMALL_RUN = ["--limit", "64", "--num-points", "32", "--width", "4", "--threads", "1", "--accelerator", "cpu"]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class PointModel(nn.Module):
    """A PointNet in miniature, with what a saliency pass must leave alone: BatchNorm and dropout."""

    def __init__(self, num_classes: int = 5, channels: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(channels, 16), nn.ReLU(), nn.Linear(16, 16))
        self.norm = nn.BatchNorm1d(16)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(16, num_classes))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.features(points).amax(1)))


class ImageModel(nn.Module):
    """A convolutional network in miniature, with BatchNorm and dropout."""

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3))
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, num_classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images).mean((2, 3)))
