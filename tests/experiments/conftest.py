"""A data set small enough to learn in a moment, and where the real files may lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric

from experiments.data import DataSet
from tests.conftest import SHARED


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
def real_roots() -> list[Path]:
    """Folders in which the real data may lie: ./data, and that of `SHARED`."""
    candidates = [Path(__file__).resolve().parents[2] / "data", SHARED / "data"]
    return [root for root in candidates if root.is_dir()]
