"""What a reader of a page has at hand before a block: a model, data, an optimiser; by page where they differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

import mixkit
from tests.conftest import PointModel
from tests.test_readme import reader as images_reader


def reader(page: str, block: str) -> dict[str, Any]:
    """The names that a reader of the page has, new ones for each block."""
    about = images_reader(block)
    about |= {"mixkit": mixkit, "nn": nn}
    del about["mixer"]  # pages make theirs
    for sign, more in _BY_PAGE.get(page, {}).items():
        if sign in block:
            about |= more()
    return about


class OfLists(PointModel):
    """Takes clouds of different sizes in a list."""

    def forward(self, clouds: Any) -> torch.Tensor:
        return torch.cat([super(OfLists, self).forward(cloud[None]) for cloud in clouds])


def _lightning() -> dict[str, Any]:
    import lightning

    return {"L": lightning}


def _accelerate() -> dict[str, Any]:
    import accelerate

    about = images_reader("")
    loader = DataLoader(about["data"], batch_size=4)
    return {**about, "accelerator": accelerate.Accelerator(cpu=True), "loader": loader}


def _metrics() -> dict[str, Any]:
    import torchmetrics

    accuracy = torchmetrics.classification.MulticlassAccuracy(3, ignore_index=-100)
    return {"accuracy": accuracy, "logits": torch.randn(4, 3), "targets": torch.eye(4, 3)}


def _geometric() -> dict[str, Any]:
    from torch_geometric.data import Batch, Data

    batch = Batch.from_data_list([Data(pos=torch.randn(n, 3), y=torch.tensor([n % 10])) for n in (20, 30, 25)])

    class OfBatches(PointModel):
        def forward(self, batch: Any) -> torch.Tensor:
            clouds = batch.pos.split(batch.ptr.diff().tolist())
            return torch.cat([super(OfBatches, self).forward(cloud[None]) for cloud in clouds])

    return {"loader": [batch], "model": OfBatches(10).eval()}


def _labels() -> dict[str, Any]:
    points = torch.randn(4, 30, 3)
    return {
        "points": points, "heights": torch.randn(4, 30), "numbers": torch.randn(4, 30),
        "mixer": mixkit.create_mixer("mixup", "points"), "class_weights": torch.rand(100),
    }  # fmt: skip


def _parts() -> dict[str, Any]:
    return {"points": torch.randn(4, 30, 3), "category": torch.arange(4), "parts": torch.randint(50, (4, 30))}


def _loss() -> dict[str, Any]:
    return {"mixed": torch.randn(4, 3, 32, 32), "targets": torch.eye(4, 100)}


def _detection() -> dict[str, Any]:
    from mixkit_image import MixTransform

    boxes = torch.tensor([[1.0, 1, 20, 20], [4, 4, 30, 30]])
    data = [(torch.rand(3, 32, 32), {"boxes": boxes, "labels": torch.tensor([1, 2])}) for _ in range(8)]
    return {"MixTransform": MixTransform, "data": data, "detector": lambda images, targets: {}}


def _grids() -> dict[str, Any]:
    class Pooled(nn.Sequential):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return super().forward(batch.flatten(2).mean(2))

    video = nn.Sequential()
    video.add_module("layer1", nn.Conv3d(3, 4, 3))
    video.add_module("layer2", nn.Conv3d(4, 4, 3))
    return {"net": Pooled(nn.Linear(3, 10)), "r3d_18": video}


def _clouds() -> dict[str, Any]:
    from mixkit_points import Channels

    labels = torch.arange(4)
    return {"points": torch.rand(4, 32, 3), "rows": torch.rand(4, 32, 8), "labels": labels, "Channels": Channels}


def _ragged() -> dict[str, Any]:
    return {"model": OfLists(10).eval(), "labels": torch.arange(3)}


def _scenes() -> dict[str, Any]:
    import mixkit_points

    scans = [torch.randn(n, 4) * 10 for n in (200, 300, 250)]
    boxes = [torch.tensor([[0.0, 0, 0, 8, 8, 8, 0]]) for _ in scans]
    labels = [torch.randint(19, (len(scan),)) for scan in scans]
    return {"scans": scans, "labels": labels, "boxes": boxes, "mixkit_points": mixkit_points}


def _partners() -> dict[str, Any]:
    return {"points": torch.randn(6, 20, 3), "ages": torch.rand(6) * 80}


def _calibration() -> dict[str, Any]:
    about = {"logits": torch.randn(20, 100), "labels": torch.arange(20)}
    return {**about, "held_logits": 9 * torch.randn(30, 100), "held_labels": torch.arange(30)}


def _mixer() -> dict[str, Any]:
    return {"mixer": mixkit.create_mixer("cutmix", "image", num_classes=100)}


def _transformer() -> dict[str, Any]:
    from torchvision.models import VisionTransformer

    return {"vit": VisionTransformer(32, 8, 1, 2, 16, 16, num_classes=1000)}


def _held_out() -> dict[str, Any]:
    return {"held_images": torch.randn(10, 3, 32, 32), "held_labels": torch.arange(10)}


def _volumes() -> dict[str, Any]:
    return {"volumes": torch.rand(4, 1, 8, 16, 16), "masks": torch.randint(3, (4, 8, 16, 16))}


def _layers_of_points() -> dict[str, Any]:
    class Largest(nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features.amax(1)

    model = nn.Sequential()
    for name, layer in (
        ("sa1", nn.Linear(3, 8)),
        ("sa2", nn.Linear(8, 8)),
        ("pool", Largest()),
        ("head", nn.Linear(8, 40)),
    ):
        model.add_module(name, layer)
    return {"point_model": model, "points": torch.randn(4, 64, 3), "labels": torch.arange(4)}


#: By page, and there by what a block has in it.
_BY_PAGE: dict[str, dict[str, Callable[[], dict[str, Any]]]] = {
    "guide/training.md": {"L.": _lightning, "accelerator": _accelerate, "accuracy.": _metrics, "batch.y": _geometric},
    "guide/labels.md": {"category": _parts, "mixkit.Per": _labels, "soft_cross": _loss, "class_weights": _labels},
    "guide/troubleshooting.md": {"mixer": _mixer},
    "guide/transforms.md": {"MixTransform": _detection},
    "guide/grids.md": {"net": _grids},
    "guide/points.md": {"(points": _clouds},
    "guide/ragged.md": {"clouds": _ragged},
    "guide/scenes.md": {"scans": _scenes},
    "guide/calibration.md": {"logits": _calibration},
    "guide/schedules.md": {"held_": _held_out},
    "guide/manifold.md": {"vit": _transformer},
    "guide/parallel.md": {"seed": lambda: {"seed": 1, **_mixer()}},
    "guide/partners.md": {"near": _partners},
    "migrate/monai.md": {"volumes": _volumes},
    "migrate/pointmixup.md": {"point_model": _layers_of_points},
}
