"""A residual network for sequences, PreActResNet18 in one dimension with strides of 4; nothing about training."""

from __future__ import annotations

from torch import Tensor, nn

from experiments.models.preact_resnet import PreActBlock

STEM = 31  # taps of the first filters: 4 ms of sound at 8 kHz
TAPS = 5


class ResNet1d(nn.Module):
    """A stem of long filters, four stages of two pre-activation blocks (He et al. 2016), average pool, linear.

    The stem has a stride of 4, as every stage but the first has, as networks for raw sound shrink it fast (Dai et al.,
    ICASSP 2017).

    Args:
        num_classes: number of logits.
        width: channels of the stem and of stage 1; the others have 2, 4 and 8 times as many. Default 64.
        in_channels: 1 for sound, as many as a sensor has axes. Default 1.
    """

    #: What a ManifoldMixer may draw from: the input and stages 1 and 2, whole residual blocks.
    mixing_layers = ("input", "layer1", "layer2")

    def __init__(self, num_classes: int, *, width: int = 64, in_channels: int = 1) -> None:
        super().__init__()
        self.stem = nn.Conv1d(in_channels, width, STEM, stride=4, padding=STEM // 2, bias=False)
        self.layer1 = self._stage(width, width, stride=1)
        self.layer2 = self._stage(width, 2 * width, stride=4)
        self.layer3 = self._stage(2 * width, 4 * width, stride=4)
        self.layer4 = self._stage(4 * width, 8 * width, stride=4)
        self.norm = nn.Sequential(nn.BatchNorm1d(8 * width), nn.ReLU())
        self.head = nn.Linear(8 * width, num_classes)

    @staticmethod
    def _stage(in_channels: int, channels: int, stride: int) -> nn.Sequential:
        first = PreActBlock(in_channels, channels, stride, taps=TAPS, conv=nn.Conv1d, norm=nn.BatchNorm1d)
        return nn.Sequential(first, PreActBlock(channels, channels, 1, taps=TAPS, conv=nn.Conv1d, norm=nn.BatchNorm1d))

    def forward(self, sequences: Tensor) -> Tensor:
        """Sequences (B, in_channels, T) of any length to logits (B, num_classes)."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(sequences)))))
        return self.head(self.norm(x).mean(dim=2))
