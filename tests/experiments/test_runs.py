"""Runs as folders: killed and resumed, damaged, out of disk; and evaluated."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mixkit
from experiments.__main__ import main
from experiments.base.claims import claim
from experiments.base.stopping import asked_to_stop, stopped_by_signals
from experiments.run import checkpoint
from experiments.run.checkpoint import FORMAT, seal
from experiments.run.folder import LAST, RunFolder
from experiments.run.methods import parse_method
from experiments.run.recipe import load_recipe
from tests.experiments.tiny_runs import SLOWED, TINY, curve, wait


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert main([*TINY, "--output", str(folder)]) == 0
    return folder


def test_a_run_leaves_its_recipe_and_curve(whole: Path) -> None:
    result = RunFolder(whole).read()
    assert result.status == "complete"
    assert [record.epoch for record in result.records] == [1, 2, 3, 4]
    assert load_recipe(whole / "recipe.toml").resolve(None, {}) == result.config
    assert result.config.method == "sagemix:sigma=2.0,saliency=bank"
    summary = json.loads((whole / "summary.json").read_text(encoding="utf-8"))
    assert summary["final"] == result.records[-1].scores["accuracy"]
    assert any(path.name.startswith("events.") for path in (whole / "tensorboard").iterdir())


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_killed_and_resumed_ends_as_if_it_had_not_been(whole: Path, tmp_path: Path, sign: signal.Signals) -> None:
    folder = tmp_path / "killed"
    # the third epoch's line is the sign that two checkpoints are behind it
    command = [sys.executable, "-c", SLOWED, *TINY, "--output", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        lines = folder / "metrics.jsonl"
        wait(lambda: lines.is_file() and len(lines.read_text().splitlines()) >= 2, process, seconds=120)
        process.send_signal(sign)
        process.wait(60)
    assert process.returncode == (-signal.SIGKILL if sign == signal.SIGKILL else 130)
    done = len(RunFolder(folder).read().records)
    assert 2 <= done < 4
    assert RunFolder(folder).read().status == ("running" if sign == signal.SIGKILL else "interrupted")
    assert main(["pointcloud", "--resume", str(folder), "--threads", "1", "--accelerator", "cpu"]) == 0
    assert curve(folder) == curve(whole)
    assert RunFolder(folder).read().status == "complete"


@pytest.mark.parametrize("method", ["recursivemix", "sagemix:schedule=told"])
def test_a_resumed_run_goes_on_with_what_its_mixer_remembers(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch before, or how far the network overfits."""
    command, folder = [*TINY[:-1], method, "--output"], tmp_path / "stopped"
    assert main([*command, str(tmp_path / "whole")]) == 0
    save, written = checkpoint.save_checkpoint, list[str]()

    def save_two(path: Path, **content: Any) -> None:
        save(path, **content)
        written.append(path.name)
        if written.count(LAST) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_checkpoint", save_two)
        assert main([*command, str(folder)]) == 130
    assert main(["pointcloud", "--resume", str(folder), "--threads", "1", "--accelerator", "cpu"]) == 0
    assert curve(folder) == curve(tmp_path / "whole")
    ends = [RunFolder(place).read().records[-1] for place in (folder, tmp_path / "whole")]
    assert ends[0].overfit == ends[1].overfit
    assert (ends[0].overfit is None) == (method == "recursivemix")


def test_a_schedule_that_nobody_tells_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    command = [*TINY[:-1], "sagemix:schedule=told", "--limit", "1300"]  # leaves 43 out: too few
    assert main([*command, "--output", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "nothing is held out that it could be told of: give --limit, or calibration in a recipe" in said
    assert main([*command, "--limit", "1200", "--epochs", "1", "--output", str(tmp_path / "other")]) == 0
    (record,) = RunFolder(tmp_path / "other").read().records
    assert record.overfit is not None


@pytest.mark.parametrize(
    ("text", "domain", "settings"),
    [
        ("sagemix:schedule=told", "image", {"p": 1.0, "theta": 8.0}),
        ("sagemix:schedule=told", "points", {"p": 1.0, "theta": 8.0}),
        ("sagemix:theta=20,schedule=told", "image", {"p": 1.0, "theta": 20.0}),
        ("sagemix:schedule=steady", "image", {"p": 1.0}),
        ("cutmix:schedule=told", "image", {"p": 1.0}),
    ],
)
def test_who_is_told_mixes_harder(text: str, domain: str, settings: dict[str, float]) -> None:
    spec = parse_method(text, domain)
    schedule = spec.schedule.make(80)
    mixer = mixkit.create_mixer(
        spec.name, domain, num_classes=2, model=nn.Identity(), **spec.options, schedule=schedule
    )
    begun = dict(vars(mixer.method))
    schedule.share = 0.5
    assert schedule.now() == {"p": 1, **({"theta": mixer.method.theta} if "theta" in settings else {})}
    schedule.tell(torch.ones(9), torch.zeros(9))
    assert schedule.now() == settings
    assert vars(mixer.method) == begun


def test_signals_are_noted_and_a_second_interrupt_is_not_waited_for() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopped_by_signals():
        assert not asked_to_stop()
        for sign in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(sign)
            assert asked_to_stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with stopped_by_signals():  # what was heard before or within is heard after
            assert asked_to_stop()
        assert asked_to_stop()
    assert not asked_to_stop()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_resumed_run_goes_on_as_it_began(whole: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["pointcloud", "--resume", str(whole), "--epochs", "9"]) == 2
    assert "is a run with epochs = 4, not 9" in capsys.readouterr().err
    assert main([*TINY, "--resume", str(whole)]) == 0  # the same command, whose method the recipe has completed
    assert main(["pointcloud", "--resume", str(whole), "--method", "sagemix:sigma=0.3"]) == 2
    assert "is a run with method" in capsys.readouterr().err
    assert main(["pointcloud", "--resume", str(whole.parent)]) == 2
    assert "is not the folder of a run" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["cut", "flipped", "zeroed", "empty", "other"])
def test_a_damaged_checkpoint_is_one_sentence(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture, damage: str
) -> None:
    folder = tmp_path / "run"
    subprocess.run(["cp", "-r", str(whole), str(folder)], check=True)
    last = folder / "checkpoints" / LAST
    content = last.read_bytes()
    if damage == "other":
        buffer = io.BytesIO()
        state = {"model": {}, "optimizer": {}, "schedule": {}, "bank": None, "records": []}
        torch.save({"format": FORMAT, **state}, buffer)
        last.write_bytes(seal(buffer.getvalue()))
    else:
        middle = len(content) // 2
        spoiled = {
            "cut": content[:middle],
            "flipped": content[::-1],
            "zeroed": content[:middle] + bytes(64) + content[middle + 64 :],
            "empty": b"",
        }
        last.write_bytes(spoiled[damage])
    metrics = (folder / "metrics.jsonl").read_bytes()
    assert main(["pointcloud", "--resume", str(folder), "--threads", "1", "--accelerator", "cpu"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert ("damaged" if damage != "other" else "of another model") in error
    assert error.count("\n") == 1
    assert (folder / "metrics.jsonl").read_bytes() == metrics
    assert (folder / "checkpoints" / "best.ckpt").exists()


def test_a_full_disk_stops_the_run_and_keeps_what_was_saved(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    replaced = os.replace
    written: list[str] = []

    def full(source: Any, target: Any) -> None:
        if Path(target).name == LAST and len(written) >= 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(Path(target).name) if Path(target).name == LAST else None
        replaced(source, target)

    monkeypatch.setattr(os, "replace", full)
    folder = tmp_path / "full"
    assert main([*TINY, "--output", str(folder)]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "cannot be written: No space left on device; the run stops here and keeps what was saved" in out
    assert not list(folder.rglob("*.unfinished"))
    monkeypatch.setattr(os, "replace", replaced)
    assert len(RunFolder(folder).read().records) == 2
    assert main(["pointcloud", "--resume", str(folder), "--threads", "1", "--accelerator", "cpu"]) == 0
    assert curve(folder) == curve(whole)


def test_missing_data_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for dataset in ("modelnet40", "scanobjectnn-obj-only"):
        command = ["pointcloud", "--dataset", dataset, "--data-root", str(tmp_path), "--output", str(tmp_path / "run")]
        assert main(command) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert not (tmp_path / "run").exists()


def test_one_process_at_a_time(whole: Path, capsys: pytest.CaptureFixture) -> None:
    with claim(whole):
        assert main(["pointcloud", "--resume", str(whole), "--threads", "1", "--accelerator", "cpu"]) == 2
    assert "another process is training" in capsys.readouterr().err


def test_evaluation_meets_every_corruption(whole: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["evaluate", str(whole), "--robustness", "--threads", "1", "--accelerator", "cpu"]) == 0
    scores = json.loads((whole / "evaluation.json").read_text(encoding="utf-8"))["scores"]
    assert scores["clean"] == pytest.approx(RunFolder(whole).read().records[-1].scores)
    assert {"noise 0.05", "rotate-z 180", "rotate-z uniform", "scale 2.0", "drop 50 %"} <= set(scores)
    assert "drop 50 %" in capsys.readouterr().out
