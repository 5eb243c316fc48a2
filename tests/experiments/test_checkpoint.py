"""A checkpoint is read only where each of its bytes is what was written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from experiments.base.errors import ExperimentError
from experiments.run.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, model=model, optimizer=optimizer, schedule=schedule, records=[])
    return path


def test_any_flipped_bit_is_found(saved: Path) -> None:
    content = saved.read_bytes()
    assert load_checkpoint(saved)["records"] == []
    # the directory, where ZIP's own sums do not reach, bit by bit; elsewhere a sample
    directory = content.index(b"PK\1\2")
    places = [*range(0, directory, 97), *range(directory, len(content))]
    for k, place in enumerate(places):
        spoiled = bytearray(content)
        spoiled[place] ^= 1 << (k % 8)
        saved.write_bytes(bytes(spoiled))
        with pytest.raises(ExperimentError, match="is damaged"):
            load_checkpoint(saved)
    saved.write_bytes(content)
    assert load_checkpoint(saved)["records"] == []


@pytest.mark.parametrize("length", [0, 1, 13, 77, 78, 79, 200, -1, -2, -70, -100])
def test_any_cut_is_found(saved: Path, length: int) -> None:
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(ExperimentError, match="is damaged"):
        load_checkpoint(saved)


def test_torch_reads_it_too_and_one_without_a_sum_is_of_an_older_version(saved: Path) -> None:
    content = torch.load(saved, weights_only=True)
    assert content["model"]["weight"].shape == (2, 2)
    torch.save(content, saved)
    with pytest.raises(ExperimentError, match="an older version of mixkit wrote it"):
        load_checkpoint(saved)
