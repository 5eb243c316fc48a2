"""The fast ways give what plain torch gives: logits, gradients and running statistics of every point model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from experiments.__main__ import main
from experiments.models import create_model, fast

MODELS: dict[str, dict[str, Any]] = {
    "pointnet": {},
    "dgcnn": {"k": 5},
    "dgcnn_partseg": {"k": 5},
    "pointnet2_ssg": {"centres": (20, 6)},
    "pointnet2_msg": {"centres": (20, 6)},
    "pointnet2_partseg": {"centres": (20, 6)},
}


def outcome(name: str, on: bool, training: bool) -> dict[str, Tensor]:
    """Logits, gradients of the input and of the parameters, and buffers, after one pass of a model."""
    torch.manual_seed(3)
    model = create_model(name, channels=6, num_classes=5, width=8, dropout=0.0, **MODELS[name]).double()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):  # also scales below 0, and statistics of their own
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.running_mean)
    model.train(training)
    points = torch.rand(3, 40, 6, dtype=torch.float64, requires_grad=True)
    categories = [torch.eye(16, dtype=torch.float64)[:3]] if "partseg" in name else []
    with fast.use(on):
        logits = model(points, *categories)
        logits.square().mean().backward()
    found = {"logits": logits, "points": points.grad, **dict(model.named_buffers())}
    return {**found, **{parameter: value.grad for parameter, value in model.named_parameters()}}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_fast_and_plain_agree(name: str, training: bool) -> None:
    quick, plain = outcome(name, True, training), outcome(name, False, training)
    assert quick.keys() == plain.keys()
    for part, value in quick.items():
        torch.testing.assert_close(value, plain[part], rtol=1e-6, atol=1e-9, msg=f"{part} differs")


def test_the_switch_is_put_back_after_an_error() -> None:
    before = fast.is_on()
    with fast.use(not before):
        assert fast.is_on() is not before
    assert fast.is_on() is before
    with pytest.raises(ZeroDivisionError), fast.use(not before):
        1 / 0  # noqa: B018
    assert fast.is_on() is before


def test_the_benchmark_measures_both(tmp_path: Path) -> None:
    options = ["--models", "dgcnn", "--width", "2", "--repeats", "1", "--json", str(tmp_path / "m.json")]
    assert main(["bench", "models", *options]) == 0
    found = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))["results"]["dgcnn"]
    assert set(found) == {"plain_ms", "fast_ms", "plain_mb", "fast_mb"}
    assert found["fast_mb"] < found["plain_mb"]
