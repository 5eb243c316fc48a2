"""Large data are held once by all processes of a machine, and are the same data."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments.data import shared
from experiments.data.base import DataSet
from experiments.data.shared import DataCache, share


@pytest.fixture(autouse=True)
def _everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "SMALLEST", 1)


def test_mapped_data_are_the_same(two_blobs: DataSet, tmp_path: Path) -> None:
    data = replace(two_blobs, test=(255 * torch.rand(5, 3, 4, 4)).byte(), held=torch.randn(2, 3).T)
    again = [share(data, tmp_path / "data") for _ in range(2)]
    for one in again:
        assert torch.equal(one.train, data.train)
        assert torch.equal(one.test, data.test)
        assert one.held is not None
        assert torch.equal(one.held, torch.as_tensor(data.held))
        assert one.train_labels is data.train_labels
    assert len(list((tmp_path / "data").iterdir())) == 3
    again[0].train.zero_()  # a page of one's own
    assert torch.equal(again[1].train, data.train)


def test_a_file_that_is_damaged_is_made_anew_or_not_used(two_blobs: DataSet, tmp_path: Path) -> None:
    share(two_blobs, tmp_path)
    files = list(tmp_path.iterdir())
    files[0].write_bytes(b"short")
    for file in files[1:]:
        file.write_bytes(b"\0" * file.stat().st_size)
    again = share(two_blobs, tmp_path)
    assert torch.equal(again.train, two_blobs.train)
    assert torch.equal(again.test, two_blobs.test)


def test_a_folder_that_cannot_be_written_shares_nothing(
    two_blobs: DataSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data").touch()
    assert share(two_blobs, tmp_path / "data").train is two_blobs.train
    assert "data are not shared between processes" in caplog.text


def test_the_last_data_set_is_kept(two_blobs: DataSet) -> None:
    loads: list[int] = []

    def load() -> DataSet:
        loads.append(1)
        return two_blobs

    cache = DataCache()
    assert cache.get("a", load) is cache.get("a", load)
    cache.get("b", load)
    cache.get("a", load)
    assert len(loads) == 3
    cache.clear()
    cache.get("a", load)
    assert len(loads) == 4


HOLDS = """
import sys
from pathlib import Path
import torch
from experiments.data.base import DataSet
from experiments.data.shared import share
samples = torch.arange(2**22)  # 32 MiB
labels = torch.zeros(1, dtype=torch.long)
data = share(DataSet("x", "x", "image", ("a",), samples, labels, labels, labels), Path(sys.argv[1]))
del samples
print(int(data.train.sum()), flush=True)
sys.stdin.readline()
rows = [line.split() for line in Path("/proc/self/smaps").read_text().splitlines()]
start = next(k for k, row in enumerate(rows) if row[-1].endswith(".int64"))
print(next(int(row[1]) for row in rows[start:] if row[0] == "Pss:"))
"""


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not tell whose pages are shared")
def test_processes_hold_one_copy(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    several = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) for _ in range(2)]
    sums = [process.stdout.readline() for process in several if process.stdout is not None]
    assert sums == [f"{2**22 * (2**22 - 1) // 2}\n"] * 2
    mapped = [int(process.communicate("\n")[0]) for process in several]  # kB, the share of each
    assert mapped[0] <= 2**15 // 2 + 64
