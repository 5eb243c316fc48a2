"""The models: shapes, published sizes, what they must be blind to."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from experiments.base.errors import ExperimentError
from experiments.models import MODELS, create_model
from experiments.models.pointnet import PointNet
from experiments.models.preact_resnet import PreActResNet18


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


@pytest.mark.parametrize("name", MODELS)
def test_create_model_makes_each_of_its_names(name: str) -> None:
    model = create_model(name, channels=3, num_classes=5, width=8)
    layers = model.mixing_layers
    assert layers[0] == "input"
    assert len(layers) > 1
    for layer in layers[1:]:
        model.get_submodule(layer)  # raises where there is none


@pytest.mark.parametrize(
    ("name", "options", "layers"),
    [
        ("torchvision/resnet18", {}, ("input", "layer1", "layer2")),
        ("torchvision/googlenet", {}, ("input",)),
        ("timm/resnet18", {}, ("input", "layer1", "layer2")),
        ("timm/vit_tiny_patch16_224", {"img_size": 64}, ("input", "blocks.3", "blocks.7")),
        ("timm/convnext_atto", {}, ("input", "stages.0", "stages.1")),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_create_model_makes_those_of_the_libraries(
    name: str, options: dict[str, int], layers: tuple[str, ...], channels: int
) -> None:
    model = create_model(name, channels=channels, num_classes=7, **options)
    assert model.mixing_layers == layers
    assert model.train()(torch.randn(2, channels, 64, 64)).shape == (2, 7)


def test_torchvision_keeps_its_first_layer_but_for_the_channels() -> None:
    grey, colour = (create_model("torchvision/resnet18", channels=c, num_classes=5) for c in (1, 3))
    assert grey.conv1.weight.shape == (64, 1, 7, 7)
    assert parameters(colour) - parameters(grey) == 2 * 64 * 7 * 7
    assert (grey.conv1.stride, grey.conv1.padding) == (colour.conv1.stride, colour.conv1.padding)
    assert grey.conv1.bias is None


def test_image_models_are_channels_last() -> None:
    for name in ("preact_resnet18", "torchvision/resnet18"):
        model = create_model(name, channels=3, num_classes=5)
        assert all(
            weight.is_contiguous(memory_format=torch.channels_last)
            for weight in model.parameters()
            if weight.dim() == 4
        )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sound", {}, "no model 'sound'; there are preact_resnet18, pointnet"),
        ("image", {}, "no model 'image'"),
        ("keras/resnet", {}, "no model 'keras/resnet'"),
        ("torchvision/resnet17", {}, r"torchvision has no classifier 'resnet17'; it has .*resnet18"),
        ("timm/vit_tiny_patch16_223", {}, r"timm has no model .* vit_tiny_patch16_224"),
        ("torchvision/resnet18", {"width": 32}, "own width"),
        ("torchvision/resnet18", {"depth": 32}, "depth"),
        ("timm/resnet18", {"no_such": 32}, "no_such"),
        ("pointnet", {"k": 20}, "pointnet has no option 'k'; it has dropout"),
        ("pointnet", {"width": 0}, "width must be at least 1"),
    ],
)
def test_create_model_says_what_cannot_be(name: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        create_model(name, channels=3, num_classes=5, **options)
