"""The schedule in Lightning, under either of its names: it is told how much of the run is done."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import mixkit_image
from mixkit import create_mixer
from tests.conftest import ImageModel

DATA = TensorDataset(torch.randn(8, 3, 8, 8), torch.arange(8) % 5)
QUIET: dict[str, Any] = {
    "accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
    "enable_model_summary": False,
}  # fmt: skip
PACKAGES = ["lightning.pytorch", "pytorch_lightning"]


def packages(name: str) -> tuple[Any, Any]:
    """Lightning under one of its names, and our module as it is with that one loaded."""
    return importlib.import_module(name), importlib.reload(importlib.import_module("mixkit.lightning"))


@pytest.mark.parametrize("package", PACKAGES)
def test_in_lightning(package: str, tmp_path: Any) -> None:
    lightning, module = packages(package)
    seen: list[float | None] = []

    class Classifier(lightning.LightningModule):  # type: ignore[name-defined, misc]
        def __init__(self, **options: Any) -> None:
            super().__init__()
            self.model = ImageModel()
            self.mixer = create_mixer("sagemix", "image", num_classes=5, model=self.model, **options)

        def training_step(self, batch: Any, _: int) -> Tensor:
            if self.mixer.schedule is not None:
                seen.append(self.mixer.schedule.share)
            images, targets = self.mixer(*batch)
            return F.cross_entropy(self.model(images), targets)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    quiet = {**QUIET, "default_root_dir": tmp_path}
    trainer = lightning.Trainer(max_epochs=2, accumulate_grad_batches=2, callbacks=[module.ScheduleCallback()], **quiet)
    classifier = Classifier(schedule="linear")
    trainer.fit(classifier, DataLoader(DATA, batch_size=2))
    assert seen == [0, 0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75]  # four steps of two batches each
    assert "mixer.schedule._extra_state" in classifier.state_dict()
    trainer = lightning.Trainer(max_epochs=1, callbacks=[module.ScheduleCallback()], **quiet)
    with pytest.raises(ValueError, match="no mixer with a schedule in Classifier"):
        trainer.fit(Classifier(), DataLoader(DATA, batch_size=2))

    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(DATA)

    with pytest.raises(ValueError, match="a run without end has no shares"):
        trainer.fit(Classifier(schedule="linear"), DataLoader(Stream(), batch_size=2))


@pytest.mark.parametrize("package", PACKAGES)
def test_manual_optimisation_counts_batches(package: str, tmp_path: Any) -> None:
    lightning, module = packages(package)
    seen: list[float | None] = []

    class Manual(lightning.LightningModule):  # type: ignore[name-defined, misc]
        """Several optimisers, each of which may step several times a batch; its mixer is no module."""

        def __init__(self, steps: int) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.models, self.steps = nn.ModuleList([ImageModel(), ImageModel()]), steps
            self.mixup_fn = mixkit_image.TimmMixup(["mixup"], num_classes=5, schedule="linear", total_steps=8)

        def training_step(self, batch: Any, _: int) -> None:
            seen.append(self.mixup_fn.schedule.share)
            images, targets = self.mixup_fn(*batch)
            for optimizer, model in zip(self.optimizers(), self.models, strict=True):
                optimizer.zero_grad()
                self.manual_backward(F.cross_entropy(model(images), targets))
                for _ in range(self.steps):
                    optimizer.step()

        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(model.parameters(), 0.1) for model in self.models]

    for limits, steps, shares in (
        ({"max_epochs": 2}, 2, [k / 8 for k in range(8)]),
        ({"max_epochs": 2}, 0, [k / 8 for k in range(8)]),
        ({"max_epochs": -1, "max_steps": 24}, 1, [k / 12 for k in range(12)]),
        ({"max_epochs": 9, "max_steps": 8}, 1, [k / 4 for k in range(4)]),
    ):
        seen.clear()
        trainer = lightning.Trainer(callbacks=[module.ScheduleCallback()], default_root_dir=tmp_path, **limits, **QUIET)
        trainer.fit(Manual(steps), DataLoader(DATA, batch_size=2))
        assert seen == pytest.approx(shares)


def test_without_lightning_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ["lightning", "lightning.pytorch", "pytorch_lightning"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "mixkit.lightning", raising=False)
    with pytest.raises(ImportError, match="needs the package lightning: pip install lightning"):
        importlib.import_module("mixkit.lightning")
