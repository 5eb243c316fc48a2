"""The benchmarks of the step and of what saliencies find: small runs, and what their figures mean."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch

from experiments.__main__ import main
from experiments.bench.quality import capture
from experiments.bench.step import Workload, measure


def test_capture_is_the_mean_saliency_at_the_queries_over_the_mean() -> None:
    exact = torch.tensor([[4.0, 0, 0, 0], [1, 2, 3, 4]])
    near = torch.tensor([[2.0, 1, 1, 0], [2, 2, 3, 3]])
    right, wrong = capture(exact, exact, near), capture(exact.flip(1), exact, near)
    torch.testing.assert_close(right[:, 0], torch.tensor([4.0, 30 / 25]).double())
    torch.testing.assert_close(right[:, 1], torch.tensor([2.0, 27 / 25]).double())
    assert float(right[0, 2]) == pytest.approx(1 / 4), "one place of four"
    torch.testing.assert_close(wrong[:, 0], torch.tensor([0.0, 20 / 25]).double())
    assert float(right[1, 3]) == pytest.approx(1)
    assert float(wrong[1, 3]) == pytest.approx(-1)
    uniform = capture(torch.ones(2, 4), exact, near)[:, :3]
    torch.testing.assert_close(uniform, torch.ones(2, 3).double())
    torch.testing.assert_close(capture(torch.zeros(2, 4), exact, near)[:, :3], uniform)  # what a mixer does then


def test_a_step_is_split_into_its_sections(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "step.json"
    arguments = [
        "--cases",
        "pointnet",
        "--width",
        "8",
        "--batch-size",
        "4",
        "--repeats",
        "2",
        "--methods",
        "pointmixup",
    ]
    assert main(["bench", "step", *arguments, "--saliencies", "exact", "clean pass", "bank", "--json", str(file)]) == 0
    rows = json.loads(file.read_text())["results"]["pointnet"]
    assert list(rows) == ["vanilla", "floor", "sagemix, exact", "sagemix, clean pass", "sagemix, bank", "pointmixup"]
    assert rows["vanilla"]["ratio"] == 1
    for name, row in rows.items():
        assert (row["saliency"] > 0.1) == (name in ("floor", "sagemix, exact", "sagemix, clean pass")), name
        assert (row["assignment"] > 0) == (name not in ("vanilla", "floor")), name
        assert row["train"] > 0
    assert "sagemix, bank" in capsys.readouterr().out


def test_puzzle_mix_is_measured_with_its_clean_pass_as_well() -> None:
    arguments = argparse.Namespace(
        methods=["mixup", "puzzlemix"], saliencies=["clean pass"], precision="32", width=4, batch_size=4, repeats=1,
        device="cpu", cpu_time=False, memory=False,
    )  # fmt: skip
    rows = list(measure("preact", arguments))
    assert rows == ["vanilla", "floor", "sagemix, clean pass", "mixup", "puzzlemix", "puzzlemix, clean pass"]
    assert Workload("preact", arguments).step(rows[-1]).mixer.clean_weight == 1
    assert Workload("preact", arguments).step(rows[-2]).mixer.clean_weight == 0


def test_quality_follows_every_saliency_along_a_training(tmp_path: Path) -> None:
    file = tmp_path / "quality.json"
    arguments = ["--data", "image/digits", "--limit", "60", "--epochs", "2", "--batch-size", "20", "--width", "4"]
    assert main(["bench", "quality", *arguments, "--measured", "3", "--json", str(file)]) == 0
    first, second = json.loads(file.read_text())["epochs"]
    assert first["candidates"]["bank"]["captured"] == pytest.approx(1, abs=0.05)  # nothing is remembered yet
    assert second["candidates"]["bank"]["captured"] != pytest.approx(1, abs=1e-6)
    assert second["candidates"]["exact"]["share"] == pytest.approx(1)
    sharp, plain = (second["candidates"][f"resolution 0.5{name}"] for name in (", sharpness 3", ""))
    assert sharp["spread"] < plain["spread"]
    assert {"resolution 0.5", "bfloat16", "exact, last time", "spectral residual"} <= set(second["candidates"])
