"""The models: shapes, published sizes, what they must be blind to."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from experiments.models import PointNet, PreActResNet18, create_model


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_preact_resnet18_has_11_2_million_parameters() -> None:
    assert parameters(PreActResNet18(100)) == pytest.approx(11.2e6, rel=0.005)
    # without the last BatchNorm: two numbers less for each of its 512 channels
    assert parameters(PreActResNet18(100)) - parameters(PreActResNet18(100, final_norm=False)) == 2 * 512


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (2, 3, 20, 12), (3, 1, 8, 8)])
def test_preact_resnet18_takes_any_size(shape: tuple[int, ...]) -> None:
    model = PreActResNet18(7, width=4, in_channels=shape[1])
    assert model(torch.randn(shape)).shape == (shape[0], 7)
    maps = model.layer3(model.layer2(model.layer1(model.stem(torch.randn(shape)))))
    assert maps.shape[1:] == (16, -(-shape[2] // 4), -(-shape[3] // 4))


def test_preact_shortcut_reads_the_pre_activation() -> None:
    block = PreActResNet18(2, width=4).layer2[0].eval()
    nn.init.zeros_(block.conv2.weight)  # only the shortcut is left
    x = torch.randn(2, 4, 8, 8)
    assert block.shortcut is not None
    torch.testing.assert_close(block(x), block.shortcut(torch.relu(block.bn1(x))))


def test_pointnet_size_is_its_layers() -> None:
    sizes = [3, 64, 64, 64, 128, 1024, 512]
    wanted = sum(a * b + 2 * b for a, b in itertools.pairwise(sizes)) + 512 * 40 + 40
    assert parameters(PointNet(40)) == wanted


def test_pointnet_ignores_the_order_of_points_and_takes_any_number() -> None:
    model = PointNet(5, width=8).eval()
    for count in (1, 7, 100):
        points = torch.randn(3, count, 3)
        logits = model(points)
        assert logits.shape == (3, 5)
        torch.testing.assert_close(model(points[:, torch.randperm(count)]), logits)


def test_create_model_refuses_other_domains() -> None:
    with pytest.raises(ValueError, match="'sound'"):
        create_model("sound", channels=1, num_classes=2, width=8)
