"""README's Python snippets run, each by itself, with stand-ins for what the reader has: a model, a loader, data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

import mixkit

ROOT = Path(__file__).resolve().parents[1]
SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.S)


def reader(snippet: str) -> dict[str, Any]:
    """What a reader has at hand: images of 100 classes, clouds of 40, and a loop around them."""
    layers = nn.Sequential()
    layers.add_module("layer1", nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU()))
    layers.add_module("layer2", nn.Sequential(nn.Conv2d(8, 8, 3, 2), nn.ReLU()))
    layers.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 100)))
    images = [(torch.randn(3, 32, 32), k % 100) for k in range(8)]
    batches = list(DataLoader(images, batch_size=4))
    if "keys" in snippet:
        batches = [[*batch, torch.arange(4) + 4 * k] for k, batch in enumerate(batches)]
    about: dict[str, Any] = {
        "torch": torch, "F": F, "mixkit": mixkit, "DataLoader": DataLoader,
        "model": layers, "loader": batches, "dataset": images, "data": images,
        "images": batches[0][0], "labels": batches[0][1],
        "clouds": [(torch.randn(64, 3), k % 40) for k in range(8)],
        "coords_a": torch.rand(2, 16, 3), "coords_b": torch.rand(2, 16, 3),
        "optimizer": torch.optim.SGD(layers.parameters(), lr=0.1),
        "accumulate": 2, "epochs": 2, "total_steps": 4, "scaler": torch.amp.GradScaler("cuda", enabled=False),
    }  # fmt: skip
    about["mixer"] = mixkit.create_mixer("cutmix", domain="image", num_classes=100)
    if "v2." in snippet:
        from torchvision.transforms import v2

        about["v2"] = v2
    return about


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippet(snippet: str) -> None:
    about = reader(snippet)
    before = [parameter.clone() for parameter in about["model"].parameters()]
    exec(compile(snippet.replace("num_workers=4", "num_workers=0"), "README.md", "exec"), about)
    if "optimizer.step()" in snippet:
        changed = [not torch.equal(a, b) for a, b in zip(before, about["model"].parameters(), strict=True)]
        assert any(changed)
    for name in ("loader", "transform"):  # what the snippet made of data is used once
        made = about.get(name)
        if isinstance(made, DataLoader):
            batch, targets = next(iter(made))
            torch.testing.assert_close(targets.sum(1), torch.ones(len(batch)))


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) == 3  # the others stand on the pages that tests/test_page_code.py runs
