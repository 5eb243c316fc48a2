"""What public objects print: three lines at most, options, no addresses and no tensors' numbers."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import nn

import mixkit
import mixkit_image
import mixkit_points
from tests.conftest import ImageModel


def norm(images: torch.Tensor) -> torch.Tensor:
    return images.norm(dim=1)


class Norm:
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return norm(images)


def objects() -> dict[str, Any]:
    model = ImageModel(5)
    images = torch.rand(4, 3, 8, 8)
    made: dict[str, Any] = {
        "saliency": mixkit.GradientSaliency(model, resolution=0.5),
        "saliency with a partial loss": mixkit.GradientSaliency(
            model, functools.partial(nn.functional.mse_loss, reduction="sum")
        ),
        "bank": mixkit.SaliencyBank(9),
        "grid": mixkit_image.PixelGrid(frames=True),
        "points": mixkit_points.PointSet(layout="bcn"),
        "elements": mixkit_image.PixelGrid().elements(images),
        "identity": mixkit.MixPlan.identity(40),
        "plan": mixkit.create_mixer("comixup", "image", num_classes=5, model=model).plan(images, torch.arange(4)),
        "assignment": mixkit.assign(torch.rand(2, 8, 3), torch.rand(2, 8, 3)),
        "per sample": mixkit.PerSample(torch.rand(40)),
        "per element": mixkit.PerElement(torch.rand(4, 64)),
        "schedule": mixkit.Schedule(p=0.5, theta=lambda share: 0.2),
        "manifold": mixkit.ManifoldMixer(model, ["input"], "sagemix", num_classes=5),
        "collate": mixkit.Collate(mixkit.create_mixer("mixup", "points", num_classes=5), "cloud", "label"),
        "transform": mixkit_image.SageMix(num_classes=5),
        "transform with masks": mixkit_image.MixTransform("cutmix", num_classes=5, mask_classes=3, ignore_index=255),
        "timm": mixkit_image.TimmMixup(num_classes=5, model=model),
    }
    for name in mixkit.list_methods("image"):
        saliency = mixkit.SaliencyBank(9) if name == "saliencymix" else Norm()
        mixer = mixkit.create_mixer(name, "image", num_classes=5, saliency=saliency, inside=True)
        made |= {f"{name} itself": mixer.method, f"{name} in a mixer": mixer}
    made["scheduled"] = mixkit.create_mixer(
        "sagemix", "image", model=model, schedule="mwh", total_steps=7, clean_weight=0.5
    )
    return made


def test_everything_prints_itself_in_three_lines_without_addresses() -> None:
    for name, thing in objects().items():
        text = repr(thing)
        assert type(thing).__name__ in text, name
        assert "0x" not in text, (name, text)
        assert "tensor(" not in text, (name, text)
        assert len(text.splitlines()) <= 3, (name, text)
        assert len(text) <= 500, (name, text)


def test_what_is_printed_is_what_was_asked_for() -> None:
    made = objects()
    for name, part in {
        "saliency": "GradientSaliency(model=ImageModel, loss=default_loss, forward=None, resolution=0.5",
        "saliency with a partial loss": "loss=mse_loss(reduction='sum')",
        "grid": "PixelGrid(frames=True)",
        "points": "layout='bcn'",
        "elements": "4 samples of 64 elements on a grid 8 x 8, 2 coordinates and 3 values each, torch.float32 on cpu",
        "identity": "; ... 38 more",
        "assignment": "Assignment(index (2, 8), cost and gap (2,), on cpu, gap at most ",
        "per element": "PerElement((4, 64) torch.float32)",
        "manifold": "ManifoldMixer(ImageModel, layers=['input'], saliency_at='input'",
        "transform": "saliency=spectral_residual",
        "sagemix in a mixer": "saliency=Norm",
        "saliencymix in a mixer": "saliency=SaliencyBank(0 of 9",
        "scheduled": "p=1.0, clean_weight=0.5, schedule=Schedule(p=mwh, total_steps=7)",
    }.items():
        assert part in repr(made[name]), (name, repr(made[name]))


@pytest.mark.parametrize("method", ["mixup", "cutmix"])
def test_a_saliency_that_is_not_used_is_not_shown(method: str) -> None:
    mixer = mixkit.create_mixer(method, "image", num_classes=5, saliency="spectral_residual")
    assert "saliency" not in repr(mixer)
    mixer.p = 0.0
    assert "p=0.0" in repr(mixer)
