"""The recipes of docs/guide/training.md, as they stand there, for packages that may be installed."""

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

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "guide" / "training.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)


def snippet(word: str) -> str:
    (found,) = (each for each in SNIPPETS if word in each)
    return found


@pytest.mark.parametrize("accumulate", [1, 2])
def test_hugging_faces_trainer(accumulate: int, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=8, patch_size=4,
        num_labels=3,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.ViTForImageClassification(config)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    data = [{"pixel_values": torch.rand(3, 8, 8), "labels": k % 3} for k in range(8)]
    rate = 0.5
    arguments = transformers.TrainingArguments(
        str(tmp_path), num_train_epochs=1, per_device_train_batch_size=8 // accumulate, max_grad_norm=0.0,
        gradient_accumulation_steps=accumulate, learning_rate=rate, optim="sgd", lr_scheduler_type="constant",
        report_to=[], save_strategy="no", eval_strategy="epoch", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    inner = mixkit.create_mixer("cutmix", "image", num_classes=3, p=1.0, partners="derangement")

    def mixer(images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(inner(images, labels))
        return seen[-1]

    about: dict[str, Any] = {
        "transformers": transformers, "mixer": mixer, "F": F, "model": model, "arguments": arguments, "data": data
    }  # fmt: skip
    exec(snippet("MixTrainer"), about)
    about["trainer"].train()
    assert [len(images) for images, _ in seen] == [8 // accumulate] * accumulate
    assert any((targets > 0).sum(1).max() == 2 for _, targets in seen)
    losses = [entry["eval_loss"] for entry in about["trainer"].state.log_history if "eval_loss" in entry]
    with torch.no_grad():
        clean = torch.stack([entry["pixel_values"] for entry in data])
        expected = F.cross_entropy(model.eval()(clean).logits, torch.tensor([entry["labels"] for entry in data]))
    assert losses == pytest.approx([float(expected)], rel=1e-4)
    # the step is that of the plain soft loss over all mixed samples
    after = [parameter.detach().clone() for parameter in model.parameters()]
    with torch.no_grad():
        for parameter, old in zip(model.parameters(), before, strict=True):
            parameter.copy_(old)
    images, targets = (torch.cat(part) for part in zip(*seen, strict=True))
    grads = torch.autograd.grad(F.cross_entropy(model.train()(images).logits, targets), list(model.parameters()))
    for new, old, grad in zip(after, before, grads, strict=True):
        torch.testing.assert_close(new, old - rate * grad, rtol=1e-3, atol=1e-5)


def test_accelerate() -> None:
    accelerate = pytest.importorskip("accelerate")
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    mixer = mixkit.create_mixer("sagemix", "image", num_classes=5, model=model)
    loader = DataLoader([(torch.rand(3, 8, 8), k) for k in range(5)], batch_size=5)
    about: dict[str, Any] = {
        "accelerator": accelerate.Accelerator(cpu=True), "model": model, "mixer": mixer, "loader": loader, "F": F,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
    }  # fmt: skip
    exec(snippet("accelerator.backward"), about)
    assert about["targets"].sum().item() == pytest.approx(5)
    assert model[1].weight.grad.abs().sum() > 0


def test_metrics() -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    accuracy = torchmetrics.classification.MulticlassAccuracy(3, ignore_index=-100, average="micro")
    targets = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.4, 0.6], [0.0, 0.0, 0.0]])
    logits = torch.tensor([[3.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
    exec(snippet("hard_targets"), {"accuracy": accuracy, "logits": logits, "targets": targets, "mixkit": mixkit})
    assert accuracy.compute().item() == 0.5
