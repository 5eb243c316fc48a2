"""What public objects print: three lines at most, options, no addresses and no tensors' numbers."""

from __future__ import annotations

import functools
import re
from html.parser import HTMLParser
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


class Reader(HTMLParser):
    """The text, the titles and the widths of a piece of HTML, which has to close what it opens."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.widths: list[float] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        assert tag in ("div", "span")
        assert values.keys() <= {"style", "title"}
        self.open.append(tag)
        if found := re.search(r"width:([\d.]+)%", values.get("style") or ""):
            self.widths.append(float(found[1]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_plan_in_a_notebook() -> None:
    plan = mixkit.MixPlan.pair(torch.tensor([1, 0, 2]), torch.tensor([[0.75], [1.0], [0.5]]))
    read = Reader(plan._repr_html_())
    assert read.text[0] == repr(plan).splitlines()[0]
    assert read.widths == [75.0, 25.0, 100.0, 100.0]
    assert read.text[1:4] == ["0", "sample 0: 0.750", "sample 1: 0.250"]
    mixer = mixkit.create_mixer("comixup", "image", num_classes=40, saliency="spectral_residual")
    large = mixer.plan(torch.rand(40, 3, 16, 16), torch.arange(40))
    assert len(large._repr_html_()) < 12_000
    assert Reader(large._repr_html_()).text[-1] == "... 32 more"
    many = mixkit.MixPlan(torch.arange(9)[None, :, None], None, torch.full((1, 9, 1), 1 / 9), num_samples=9)
    assert Reader(many._repr_html_()).text[-1] == "others: 0.333"
    ragged = mixkit.create_mixer("mixup", "points", num_classes=2).plan(
        [torch.randn(4, 3), torch.randn(6, 3)], torch.arange(2)
    )
    assert len(Reader(ragged._repr_html_()).text) >= 4


def test_a_bank_in_a_notebook() -> None:
    bank = mixkit.SaliencyBank(5, 4)
    assert Reader(bank._repr_html_()).text[1:] == ["never", "5 samples"]
    bank._updates[:] = torch.tensor([0, 1, 1, 2, 3])
    read = Reader(bank._repr_html_())
    assert read.text == [repr(bank), "never", "1 samples", "1 x", "2 samples", "2 x", "1 samples", "3 x", "1 samples"]
    assert read.widths == [20.0, 40.0, 20.0, 20.0]
    bank._updates[:] = torch.tensor([0, 7, 8, 9, 40])
    assert Reader(bank._repr_html_()).text[1::2] == ["never", "7-12 x", "37-42 x"]


def test_html_is_escaped() -> None:
    class Evil(mixkit.SaliencyBank):
        def __repr__(self) -> str:
            return "<script>alert('&')</script>"

    assert Reader(Evil(3)._repr_html_()).text[0] == "<script>alert('&')</script>"
