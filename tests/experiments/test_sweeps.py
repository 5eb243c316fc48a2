"""Sweeps that fail, are stopped, run on two devices, or were done before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.base.claims import claim
from experiments.run.folder import RunFolder
from tests.experiments.tiny_runs import wait


def test_a_process_that_fails_says_why(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "sweep"
    sweep = [
        "sweep", "--recipe", "short", "--datasets", "digits", "--models", "pointnet", "--methods", "vanilla",
        "--num-points", "32", "--limit", "64", "--epochs", "1", "--threads", "1", "--accelerator", "tpu", "--jobs", "2",
        "--output", str(folder),
    ]  # fmt: skip
    assert main(sweep) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "its process ended with code 2, saying: error: cannot run on 1 x tpu" in out
    assert "log.txt" in out


@pytest.mark.slow
def test_a_stopped_sweep_stops_its_processes(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    sweep = [
        "sweep", "--recipe", "short", "--datasets", "digits", "--models", "pointnet", "--methods", "vanilla", "mixup",
        "--limit", "64", "--num-points", "32", "--width", "4", "--epochs", "5000", "--threads", "1",
        "--accelerator", "cpu", "--jobs", "2", "--output", str(folder),
    ]  # fmt: skip
    with subprocess.Popen([sys.executable, "-m", "experiments", *sweep], stderr=subprocess.DEVNULL) as process:
        wait(lambda: len(list(folder.rglob("last.ckpt"))) >= 2, process, seconds=180)
        process.terminate()
        assert process.wait(60) == 130
    for path in folder.rglob("recipe.toml"):
        claim(path.parent).close()  # nobody trains there
        assert RunFolder(path.parent).read().status == "interrupted"


@pytest.mark.slow
def test_a_sweep_on_two_devices_ends_in_one_report(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    sweep = [
        "sweep", "--recipe", "short", "--datasets", "digits", "--models", "pointnet", "--methods", "sagemix",
        "--limit", "64", "--num-points", "32", "--width", "4", "--epochs", "1", "--threads", "1",
        "--accelerator", "cpu", "--devices", "2", "--output", str(folder),
    ]  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "experiments", *sweep], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["status"] == "complete"
    assert summary["rows"][0]["scores"]["final"]["mean"] > 0


def test_a_sweep_skips_what_is_done(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "sweep"
    sweep = [
        "sweep", "--recipe", "short", "--datasets", "digits", "--models", "pointnet",
        "--methods", "vanilla", "pointmixup",
        "--seeds", "0", "1", "--num-points", "32", "--limit", "64", "--width", "4", "--threads", "1", "--epochs", "2",
        "--accelerator", "cpu", "--output", str(folder),
    ]  # fmt: skip
    assert main([*sweep, "--seeds", "0"]) == 0
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("last.ckpt")}
    assert len(before) == 2
    capsys.readouterr()
    assert main([*sweep, "--resume"]) == 0
    out = capsys.readouterr().out
    assert out.count("done before") == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert [(row["method"], row["seeds"]) for row in summary["rows"]] == [("vanilla", [0, 1]), ("pointmixup", [0, 1])]
    assert main([*sweep, "--resume", "--lr", "0.5"]) == 2
    assert "holds a run of another configuration" in capsys.readouterr().err
    assert main([*sweep, "--resume", "--methods", "mixup", "--seeds", "3", "4", "--jobs", "2"]) == 0
    assert len(list(folder.rglob("last.ckpt"))) == 6
    assert main(["report", str(folder), "--output", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 1
    for label in ("vanilla", "pointmixup", "mixup"):
        assert label in page
    assert main(["report", str(tmp_path / "nothing")]) == 2
