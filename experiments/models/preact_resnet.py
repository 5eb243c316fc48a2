"""PreActResNet18 for small images (He et al. 2016, arXiv 1603.05027); nothing about data or training."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class PreActBlock(nn.Module):
    """Two convolutions, each after its BatchNorm and ReLU; the shortcut, of one tap, reads the pre-activation.

    Args:
        in_channels: channels of the input.
        channels: channels of the output.
        stride: the first convolution's.
        taps: the side of the filters. Default 3.
        conv: the convolution. Default that of images.
        norm: its BatchNorm. Default that of images.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        *,
        taps: int = 3,
        conv: type[nn.Conv1d | nn.Conv2d] = nn.Conv2d,
        norm: type[nn.BatchNorm1d | nn.BatchNorm2d] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.bn1 = norm(in_channels)
        self.conv1 = conv(in_channels, channels, taps, stride=stride, padding=taps // 2, bias=False)
        self.bn2 = norm(channels)
        self.conv2 = conv(channels, channels, taps, padding=taps // 2, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            self.shortcut = conv(in_channels, channels, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, channels, H / stride, W / stride); likewise (B, in_channels, T)."""
        active = F.relu(self.bn1(x))
        residual = x if self.shortcut is None else self.shortcut(active)
        return self.conv2(F.relu(self.bn2(self.conv1(active)))) + residual


class PreActResNet18(nn.Module):
    """3x3 stem, four stages of two pre-activation blocks at width x (1, 2, 4, 8), average pool, linear.

    Args:
        num_classes: number of logits.
        width: channels of the stem and of stage 1; 64 in the papers (11.2 million parameters with 100 classes).
        in_channels: 3 for colour, 1 for grey.
        final_norm: BatchNorm and ReLU before the pool, as in the original; Co-Mixup's variant has none (False).
    """

    #: What a ManifoldMixer may draw from: the input and stages 1 and 2, whole residual blocks.
    mixing_layers = ("input", "layer1", "layer2")

    def __init__(self, num_classes: int, *, width: int = 64, in_channels: int = 3, final_norm: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.layer1 = self._stage(width, width, stride=1)
        self.layer2 = self._stage(width, 2 * width, stride=2)
        self.layer3 = self._stage(2 * width, 4 * width, stride=2)
        self.layer4 = self._stage(4 * width, 8 * width, stride=2)
        self.norm: nn.Module = nn.Sequential(nn.BatchNorm2d(8 * width), nn.ReLU()) if final_norm else nn.Identity()
        self.head = nn.Linear(8 * width, num_classes)

    @staticmethod
    def _stage(in_channels: int, channels: int, stride: int) -> nn.Sequential:
        return nn.Sequential(PreActBlock(in_channels, channels, stride), PreActBlock(channels, channels, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) of any size from 8 x 8 to logits (B, num_classes)."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(images)))))
        return self.head(self.norm(x).mean(dim=(2, 3)))
