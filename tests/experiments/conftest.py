"""A data set small enough to learn in a moment, and real samples in the files of whole data sets."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from torchvision.datasets import CIFAR100

from experiments.data import cifar
from experiments.data.base import DataSet
from tests.conftest import SAMPLES


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small are no faster on more threads, and on a busy machine far slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


@pytest.fixture
def two_blobs() -> DataSet:
    """Point sets of two classes that lie left and right of the origin."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    points = torch.randn(64, 8, 3, generator=generator) * 0.3 + (2.0 * labels - 1)[:, None, None]
    return DataSet(
        name="blobs",
        title="two blobs",
        domain="points",
        classes=("left", "right"),
        train=points[:48],
        train_labels=labels[:48],
        test=points[48:],
        test_labels=labels[48:],
    )


@pytest.fixture(scope="session")
def real_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the samples of `SAMPLES` as data sets: the true formats, real images and shapes, few of them.

    CIFAR-100 is 60 and 40 images, with other checksums than the whole set's; ModelNet40 and ModelNet10 are the same 24
    and 8 shapes of 8 classes.
    """
    root = tmp_path_factory.mktemp("real")
    sample = np.load(SAMPLES / "cifar100_sample.npz")
    folder = root / cifar.FOLDER
    folder.mkdir()
    for split in ("train", "test"):
        images, labels = sample[f"images_{split}"], sample[f"labels_{split}"].tolist()
        content = {"data": images.reshape(len(images), -1), "fine_labels": labels}
        (folder / split).write_bytes(pickle.dumps(content, protocol=2))
    names = [str(name) for name in sample["classes"]]
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names}, protocol=2))
    for name in ("modelnet10", "modelnet40"):
        shutil.copy(SAMPLES / "modelnet40_sample.npz", root / f"{name}.npz")
    return root


@pytest.fixture
def cifar_sample(real_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`real_root`, whose CIFAR-100 passes for whole, ours and torchvision's checksums being its own."""
    sums = {name: hashlib.md5((real_root / cifar.FOLDER / name).read_bytes()).hexdigest() for name in cifar.MD5}
    monkeypatch.setattr(cifar, "MD5", sums)
    monkeypatch.setattr(CIFAR100, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": sums["meta"]})
    return real_root
