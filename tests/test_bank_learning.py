"""A bank that learns nothing says so once, and one in Lightning travels in its checkpoints."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mixkit import SaliencyBank, create_mixer
from mixkit.watch import Unheard

KEYS, LABELS = torch.arange(4), torch.arange(4)


def make(bank: SaliencyBank) -> Any:
    return create_mixer("sagemix", "points", num_classes=5, saliency=bank, solver="identity")


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(18, 5))


@pytest.mark.parametrize("way", ["the weights' gradients alone", "a detached batch"])
def test_a_bank_that_learns_nothing_says_so_once(way: str) -> None:
    bank, model = SaliencyBank(4), network()
    mixer = make(bank)

    def step() -> None:
        mixed, targets = mixer(torch.randn(4, 6, 3), LABELS, samples=KEYS)
        if way == "a detached batch":
            F.cross_entropy(model(mixed.detach()), targets).backward()
        else:
            torch.autograd.grad(F.cross_entropy(model(mixed), targets), list(model.parameters()))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(Unheard.LIMIT):
            step()
    with pytest.warns(UserWarning, match=r"has learnt nothing from the last 32 mixed batches.*\[\*weights, mixed\]"):
        step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2 * Unheard.LIMIT):
            step()
    assert (bank.look_up(KEYS) == 1).all()


@pytest.mark.parametrize("way", ["backward", "named", "accumulated"])
def test_a_bank_that_learns_says_nothing(way: str) -> None:
    bank, model = SaliencyBank(4), network()
    mixer = make(bank)
    losses: list[Tensor] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2 * Unheard.LIMIT):
            mixed, targets = mixer(torch.randn(4, 6, 3), LABELS, samples=KEYS)
            losses.append(F.cross_entropy(model(mixed), targets))
            if way == "named":
                torch.autograd.grad(losses.pop(), [*model.parameters(), mixed])
            elif way == "backward" or len(losses) == 16:
                torch.stack(losses).sum().backward()
                losses.clear()
            with torch.no_grad():
                mixer(torch.randn(4, 6, 3), LABELS, samples=KEYS)  # nobody expects a gradient here
    assert (bank.state_dict()["updates"] > 0).all()


def test_a_bank_travels_in_lightnings_checkpoints(tmp_path: Any) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    from mixkit.lightning import BankCallback

    class Classifier(lightning.LightningModule):  # type: ignore[name-defined, misc]
        def __init__(self, num_samples: int = 8, bank: bool = True) -> None:
            super().__init__()
            self.model = network()
            self.bank = SaliencyBank(num_samples)
            self.mixer = make(self.bank) if bank else create_mixer("mixup", "points", num_classes=5)

        def training_step(self, batch: Any, _: int) -> Tensor:
            points, labels, keys = batch
            mixed, targets = self.mixer(points, labels, samples=keys)
            return F.cross_entropy(self.model(mixed), targets)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    data = TensorDataset(torch.randn(8, 6, 3), torch.arange(8) % 5, torch.arange(8))
    quiet: dict[str, Any] = {
        "accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
        "enable_model_summary": False, "default_root_dir": tmp_path,
    }  # fmt: skip

    def train(module: Any, epochs: int, path: Any = None, callbacks: Any = None) -> Any:
        trainer = lightning.Trainer(max_epochs=epochs, callbacks=callbacks or [BankCallback()], **quiet)
        trainer.fit(module, DataLoader(data, batch_size=4), ckpt_path=path)
        return trainer

    first, path = Classifier(), tmp_path / "first.ckpt"
    train(first, 1).save_checkpoint(path)
    learnt = first.bank.look_up(torch.arange(8))
    assert not (learnt == 1).all()
    found: list[Tensor] = []

    class Look(lightning.Callback):  # type: ignore[name-defined, misc]
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            found.append(pl_module.bank.look_up(torch.arange(8)))

    train(Classifier(), 2, path, [BankCallback(), Look()])
    assert torch.equal(found[0], learnt)
    with pytest.raises(ValueError, match="the bank is 9 x"):
        train(Classifier(num_samples=9), 2, path)
    with pytest.raises(ValueError, match="no mixer with a SaliencyBank in Classifier"):
        train(Classifier(bank=False), 1)
    plain = tmp_path / "plain.ckpt"
    trainer = lightning.Trainer(max_epochs=1, **quiet)
    trainer.fit(Classifier(), DataLoader(data, batch_size=4))
    trainer.save_checkpoint(plain)
    with pytest.warns(UserWarning, match="the checkpoint has no saliency banks"):
        train(Classifier(), 2, plain)
