"""Options searched by Optuna: trials are runs, hopeless ones are stopped, and a study goes on where it was left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.__main__ import main
from experiments.base.errors import ExperimentError
from experiments.run.folder import RunFolder
from experiments.run.records import EpochRecord, RunResult
from experiments.sweeps.tune import Choice, read_choice

pytest.importorskip("optuna")

EPOCHS = 4
SWEEP = [
    "sweep", "--recipe", "short", "--datasets", "digits", "--models", "pointnet", "--methods", "sagemix", "--seeds",
    "0", "--limit", "64", "--num-points", "32", "--width", "4", "--threads", "1", "--accelerator", "cpu", "--epochs",
    str(EPOCHS), "--validation", "32",
]  # fmt: skip


class Trained:
    """A process that trains an epoch whenever it is looked at; the nearer sigma is to 1 the better."""

    def __init__(self, run: RunFolder, fails: bool = False) -> None:
        self.run, self.epoch, self.ended, self.fails = run, 0, False, fails

    def poll(self) -> int | None:
        if self.ended:
            return 0
        config = self.run.config()
        sigma = float(config.method.split("sigma=")[1].split(",")[0])
        self.epoch += 1
        records = [
            EpochRecord(epoch, 1.0, 0.1, 1.0, 1.0, None, {"accuracy": 50 + 10 * epoch - 20 * abs(sigma - 1)})
            for epoch in range(1, self.epoch + 1)
        ]
        self.ended = self.fails or self.epoch == EPOCHS
        status = "stopped" if self.fails else "complete" if self.ended else "running"
        self.run.write_metrics(config, records)
        self.run.write_summary(RunResult(self.run.path, config, records, status, "x" if self.fails else None), "")
        return 0 if self.ended else None

    def terminate(self) -> None:
        self.ended = True

    def wait(self) -> int:
        return 0


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Tunes by processes that train nothing; `began` counts them."""
    monkeypatch.setattr("experiments.sweeps.tune.POLL", 0)

    def run(*words: str, fails: bool = False, begun: Callable[[], None] = lambda: None) -> int:
        def start(sweep: Any, place: Path, folder: Path, gpus: list[str]) -> Trained:
            begun()
            return Trained(RunFolder(place), fails)

        monkeypatch.setattr("experiments.sweeps.tune.start_worker", start)
        return main([*SWEEP, "--output", str(tmp_path / "tuning"), *words])

    return run


def statuses(folder: Path) -> list[tuple[str, str]]:
    runs = [run.read() for run in RunFolder.below([folder / "tuning"])]
    return [(run.status, run.stopped or "") for run in runs]


def test_it_finds_a_good_value_and_stops_hopeless_trials(
    tuned: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tuned("--tune", "sigma=0.2:4:log", "--trials", "15", "--jobs", "2") == 0
    shown = " ".join(capsys.readouterr().out.split())
    best = float(shown.split("best: sagemix:")[1].split("sigma=")[1].split(",")[0])
    assert 0.7 < best < 1.4
    ended = statuses(tmp_path)
    assert len(ended) == 15
    assert sum(status == "complete" for status, _ in ended) >= 5
    pruned = [why for status, why in ended if status == "stopped"]
    assert pruned
    assert all(why.startswith("pruned after epoch") for why in pruned)
    summary = json.loads((tmp_path / "tuning/summary.json").read_text(encoding="utf-8"))
    assert len(summary["rows"]) == 15
    assert (tmp_path / "tuning/report.html").is_file()


def test_a_study_goes_on_where_it_was_left(
    tuned: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began: list[int] = []

    def interrupt() -> None:
        began.append(1)
        if len(began) == 4:
            raise KeyboardInterrupt

    words = ("--tune", "sigma=0.5:1.5", "theta=0.1|0.2", "--trials", "5")
    assert tuned(*words, begun=interrupt) == 130
    assert tuned(*words, begun=lambda: began.append(1)) == 0
    assert len(began) == 4 + 2  # the one that was begun, and the fifth
    assert len(statuses(tmp_path)) == 5
    assert tuned(*words, begun=lambda: began.append(1)) == 0
    assert len(began) == 6
    assert capsys.readouterr().out.count("best: sagemix") == 2


def test_trials_that_fail_are_no_end(tuned: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert tuned("--tune", "sigma=0.5:1.5", "--trials", "2", fails=True) == 1
    assert "best:" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("sigma=0.1:2", Choice("sigma", (), 0.1, 2)),
        ("sigma=0.1:2:log", Choice("sigma", (), 0.1, 2, True)),
        ("patience=5:40", Choice("patience", (), 5, 40)),
        ("schedule=steady|mwh", Choice("schedule", ("steady", "mwh"))),
    ],
)
def test_choices(text: str, choice: Choice) -> None:
    assert read_choice(text) == choice


@pytest.mark.parametrize(
    "text", ["sigma", "sigma=", "=1:2", "sigma=2:1", "sigma=1:1", "sigma=a:b", "sigma=1:2:exp", "sigma=0:2:log",
             "sigma=nan:1", "sigma=0:inf", "s=a||b"],
)  # fmt: skip
def test_what_is_no_choice_is_one_sentence(text: str) -> None:
    with pytest.raises(ExperimentError, match="--tune"):
        read_choice(text)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--validation", "0"], "nothing is chosen by the test samples"),
        (["--seeds", "0", "1"], "not 2 runs"),
        (["--launcher", "slurm"], "leave --launcher out"),
        (["--tune", "gamma=1:2"], "gamma"),
    ],
)
def test_mistakes_are_one_sentence(
    tuned: Callable[..., int], words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tuned("--tune", "sigma=0.5:1.5", "--trials", "1", *words) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_real_trials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--tune", "sigma=0.2:4:log", "--trials", "3", "--jobs", "2", "--output", str(tmp_path / "tuning")]
    assert main([*SWEEP, *words]) == 0
    assert "best: sagemix" in capsys.readouterr().out
    assert [status for status, _ in statuses(tmp_path)] == ["complete"] * 3
