"""Samples that are held out: which ones, from where, and that the test samples are then not looked at."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from experiments.__main__ import main
from experiments.base.errors import ExperimentError
from experiments.data import load_data
from experiments.data.base import DataSet, balanced_subset
from experiments.data.holdout import divide, divide_training
from experiments.data.points import to_unit_sphere
from experiments.run import runner
from experiments.run.config import Config, to_toml
from experiments.run.folder import RunFolder
from experiments.run.metrics import classification_scores, fit_temperature
from experiments.run.recipe import load_recipe
from tests.experiments.test_pointdata import cloud, write_scans

LABELS = torch.arange(400) % 4
TINY = [
    "pointcloud", "--recipe", "short", "--dataset", "digits", "--model", "pointnet", "--num-points", "32", "--width",
    "4", "--threads", "1", "--accelerator", "cpu", "--epochs", "1",
]  # fmt: skip


def counts(chosen: torch.Tensor, labels: torch.Tensor = LABELS) -> list[int]:
    return torch.bincount(labels[chosen]).tolist()


def test_with_enough_left_out_the_training_samples_stay() -> None:
    division = divide_training(LABELS, 80, 0.5, 120)
    assert torch.equal(division.train, balanced_subset(LABELS, 80))
    assert counts(division.validation) == [10] * 4  # half of the 80 that are trained on
    assert counts(division.calibration) == [30] * 4
    everything = torch.cat(division)
    assert everything.unique().numel() == len(everything) == 240


def test_else_they_are_cut_from_the_training_samples() -> None:
    division = divide_training(LABELS, 380, 40)  # 20 are left out
    kept = set(balanced_subset(LABELS, 380).tolist())
    assert set(division.validation.tolist()) | set(division.train.tolist()) == kept
    assert counts(division.validation) == [10] * 4
    assert counts(division.train) == [85] * 4
    assert len(division.calibration) == 0


def test_what_is_left_out_serves_only_where_every_class_has_enough() -> None:
    labels = torch.tensor([0] * 300 + [1] * 300 + [2] * 12)
    division = divide_training(labels, 60, 15)  # all 12 of the small class are among the 60
    kept = set(balanced_subset(labels, 60).tolist())
    assert set(division.validation.tolist()) < kept
    assert counts(division.validation, labels) == [5, 5, 5]
    assert counts(division.train, labels)[2] == 7
    half = divide_training(labels, 60, 24)
    assert counts(half.validation, labels) == [9, 9, 6]  # at most half of a class
    with pytest.raises(ExperimentError, match=r"validation: 31 of 60 training samples .*: 30 at most"):
        divide_training(labels, 60, 31)


def test_by_default_a_temperature_has_up_to_1000_left_out_samples() -> None:
    labels = torch.arange(5000) % 10
    assert counts(divide_training(labels, 200).calibration, labels) == [100] * 10
    assert counts(divide_training(labels, 4800).calibration, labels) == [20] * 10
    assert len(divide_training(labels, 4901).calibration) == 0  # 99 are left
    assert len(divide_training(labels).calibration) == 0
    cut = divide_training(labels, calibration=0.05)
    assert (len(cut.train), counts(cut.calibration, labels)) == (4750, [25] * 10)
    validated, plain = divide_training(labels, 200, 1000), divide_training(labels, 200)
    assert torch.equal(validated.train, plain.train)
    assert not torch.isin(validated.calibration, validated.validation).any()


@given(
    sizes=st.lists(st.integers(2, 40), min_size=1, max_size=5),
    limit=st.none() | st.integers(1, 150),
    validation=st.just(0) | st.floats(0.05, 0.4) | st.integers(1, 30),
    calibration=st.none() | st.integers(0, 20),
)
def test_no_sample_has_two_duties(
    sizes: list[int], limit: int | None, validation: float, calibration: float | None
) -> None:
    labels = torch.cat([torch.full((size,), k) for k, size in enumerate(sizes)])
    try:
        division = divide_training(labels, limit, validation, calibration)
    except ExperimentError:
        return
    everything = torch.cat(division)
    assert everything.unique().numel() == len(everything)
    kept = min(limit or len(labels), len(labels))
    wanted = round(validation * kept) if validation < 1 else validation
    assert len(division.validation) == wanted
    assert len(division.train) * 4 >= kept - len(sizes) * 3 - 3  # twice at most half of each class is cut
    assert torch.equal(torch.cat(divide_training(labels, limit, validation, calibration)), everything)


def test_samples_keep_their_labels_and_parts() -> None:
    labels = torch.arange(24) % 3
    parts = torch.arange(24)[:, None] * 10 + torch.arange(4)
    points = parts[:, :, None].expand(24, 4, 3).float()
    whole = DataSet("p", "parts", "points", ("a", "b", "c"), points, labels, points - 1e6, labels, train_parts=parts)
    data = divide(whole, None, 6, 3)
    assert (len(data.train), len(data.test), data.scored) == (15, 6, "validation")
    for samples, own, own_labels in (
        (data.train, data.train_parts, data.train_labels),
        (data.test, data.test_parts, data.test_labels),
    ):
        assert torch.equal(own[:, :, None].expand_as(samples).float(), samples)
        assert torch.equal(own[:, 0] // 10 % 3, own_labels)
    assert torch.equal(data.held[:, 0, 0].long() // 10 % 3, data.held_labels)
    assert divide(whole) is whole
    assert divide(whole, 6).scored == "test"
    moved = data.to(torch.device("cpu"))
    assert torch.equal(moved.held, data.held)


def test_validation_scans_are_stored_as_test_scans_are(tmp_path: Path) -> None:
    write_scans(tmp_path, "obj-bg")
    data = divide(load_data("points", "scanobjectnn-obj-bg", [tmp_path], num_points=30), None, 0, 0)
    stored = torch.from_numpy(cloud(4, 40, 0) * 0.1 + 5)
    torch.testing.assert_close(data.as_test(data.train), to_unit_sphere(stored[:, :30]), atol=1e-4, rtol=1e-4)


# ---- runs


def test_the_test_samples_are_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    whole = load_data("points", "digits", [], num_points=32)
    poisoned = replace(whole, test=whole.test * float("nan"), test_labels=whole.test_labels + 1000)
    monkeypatch.setattr(runner, "load_data", lambda *args, **options: poisoned)
    folder = tmp_path / "run"
    assert main([*TINY, "--limit", "100", "--validation", "0.2", "--output", str(folder)]) == 0
    result = RunFolder(folder).read()
    assert result.config.validation == 0.2
    assert result.config.arm == "digits-pointnet-validation"
    assert result.tested[-1].scores["accuracy"] >= 0
    line = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert "validation_accuracy" in line
    assert not any(name.startswith("test_") for name in line)
    about = json.loads((folder / "summary.json").read_text())["about"]
    assert (about["scored"], about["train_samples"], about["validation_samples"]) == ("validation", 100, 20)
    assert "test_samples" not in about
    assert load_recipe(folder / "recipe.toml").resolve(None, {}) == result.config
    assert main(["evaluate", str(folder), "--accelerator", "cpu", "--threads", "1"]) == 0
    assert json.loads((folder / "evaluation.json").read_text())["split"] == "validation"
    capsys.readouterr()
    assert main(["report", str(folder), "--output", str(tmp_path / "report")]) == 0
    assert "PointNet on digits (points, validation)" in capsys.readouterr().out
    page = (tmp_path / "report" / "report.html").read_text()
    for words in ("validation accuracy (%)", "cut from the training set", "100 training and 20 validation samples"):
        assert words in page
    monkeypatch.undo()
    assert main([*TINY, "--limit", "100", "--output", str(tmp_path / "other")]) == 0
    both = tmp_path / "both"
    assert main(["report", str(folder), str(tmp_path / "other"), "--output", str(both)]) == 0
    rows = json.loads((both / "summary.json").read_text())["rows"]
    assert {(row["arm"], row["scored"]) for row in rows} == {
        ("digits-pointnet-validation", "validation"),
        ("digits-pointnet", "test"),
    }


def test_the_last_epoch_has_the_ece_at_the_temperature_of_left_out_samples(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert main([*TINY, "--epochs", "2", "--limit", "96", "--output", str(folder)]) == 0
    first, last = RunFolder(folder).read().records
    assert "ece_scaled" not in first.scores
    _, data, model = runner.load_trained(folder, [])
    assert (len(data.train), len(data.held)) == (96, 1000)
    for samples in (data.train, data.test):
        assert not (data.held.flatten(1)[:, None, :6] == samples.flatten(1)[None, :, :6]).all(2).any()
    with torch.no_grad():
        temperature = fit_temperature(model(data.held), data.held_labels)
        scaled = classification_scores((model(data.test) / temperature).softmax(1), data.test_labels)
    assert last.scores["temperature"] == pytest.approx(temperature, rel=1e-4)
    assert last.scores["ece_scaled"] == pytest.approx(scaled.ece, abs=1e-3)
    assert main(["evaluate", str(folder), "--robustness", "--accelerator", "cpu", "--threads", "1"]) == 0
    scores = json.loads((folder / "evaluation.json").read_text())["scores"]
    assert scores["clean"]["ece_scaled"] == pytest.approx(last.scores["ece_scaled"], abs=1e-3)
    assert {row["temperature"] for row in scores.values()} == {scores["clean"]["temperature"]}
    assert main(["pointcloud", "--resume", str(folder), "--threads", "1", "--accelerator", "cpu"]) == 0
    assert RunFolder(folder).read().records == [first, last]
    rows = json.loads((folder / "summary.json").read_text())
    assert (rows["ece_scaled"], rows["about"]["held_samples"]) == (last.scores["ece_scaled"], 1000)


def test_without_left_out_samples_a_temperature_is_fitted_when_asked_for(tmp_path: Path) -> None:
    assert main([*TINY, "--set", "calibration=0.1", "--output", str(tmp_path / "cut")]) == 0
    result = RunFolder(tmp_path / "cut").read()
    assert result.records[-1].scores["temperature"] > 0
    _, data, _ = runner.load_trained(tmp_path / "cut", [])
    everything = len(load_data("points", "digits", []).train)
    assert (len(data.held), len(data.train)) == (round(everything / 10), everything - round(everything / 10))
    assert main([*TINY, "--limit", "96", "--set", "calibration=0", "--output", str(tmp_path / "none")]) == 0
    assert "temperature" not in RunFolder(tmp_path / "none").read().records[-1].scores


@pytest.mark.parametrize("value", ["-0.1", "1.5", "many", "inf"])
def test_what_is_neither_share_nor_number_is_refused(value: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main([*TINY, "--validation", value])
    assert "wanted a share from 0 to 1 or a whole number" in capsys.readouterr().err
    assert main([*TINY, "--set", "calibration=1.5", "--dry-run"]) == 2
    assert "calibration is a share from 0 to 1 or a number of samples, not 1.5" in capsys.readouterr().err


def test_both_ways_to_ask_are_the_same(capsys: pytest.CaptureFixture) -> None:
    assert main([*TINY, "--validation", "50", "--dry-run"]) == 0
    first = capsys.readouterr().out
    assert main([*TINY, "--set", "validation=50", "--dry-run"]) == 0
    assert capsys.readouterr().out == first
    assert "validation = 50\n" in first
    config = Config(dataset="digits", model="pointnet", epochs=1, batch_size=8, lr=0.1)
    assert "calibration" not in to_toml(config)
