"""Any number of workers train the runs of a sweep's folder: each run once, and none is lost where a worker dies."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.base.claims import Claim, claim
from experiments.base.errors import STOPPED, ExperimentError
from experiments.commands.status import duration
from experiments.run.config import Config
from experiments.run.folder import METRICS, RunFolder
from experiments.sweeps.plan import PLAN, read_plan, run_folder, write_plan
from experiments.sweeps.state import Observer, count, state_of
from experiments.sweeps.work import MOST_DEATHS, work

SWEEP = [
    "sweep", "--recipe", "short", "--datasets", "digits", "--models", "pointnet", "--methods", "vanilla", "mixup",
    "--limit", "64", "--num-points", "32", "--width", "4", "--threads", "1", "--accelerator", "cpu",
]  # fmt: skip


EPOCHS = 9


def config_of(seed: int) -> Config:
    return Config(dataset="digits", model="pointnet", seed=seed, epochs=EPOCHS, batch_size=8, lr=0.1)


@pytest.fixture
def planned(tmp_path: Path) -> Path:
    """The folder of a sweep of three runs, none of which has begun."""
    runs = [run_folder(tmp_path, config) for config in map(config_of, (2, 0, 1))]
    for run, seed in zip(runs, (2, 0, 1), strict=True):
        run.path.mkdir(parents=True)
        run.write_config(config_of(seed))
    write_plan(tmp_path, runs)
    return tmp_path


def seeds_of(runs: list[RunFolder]) -> list[int]:
    return [run.config().seed for run in runs]


class TestWork:
    def test_runs_are_trained_in_the_plan_s_order(self, planned: Path) -> None:
        trained, told = [], []

        def train(run: RunFolder, own: Claim) -> int:
            own.check()
            trained.append(run)
            run.write_end("complete")
            return 0

        assert work(planned, train, told.append) == 0
        assert seeds_of(trained) == seeds_of(told) == [2, 0, 1]
        assert work(planned, train, told.append) == 0  # nothing is left
        assert len(trained) == 3

    def test_what_is_another_s_is_waited_for_and_taken_over(self, planned: Path) -> None:
        first = read_plan(planned)[0]
        theirs, trained = claim(first.path), []

        def train(run: RunFolder, own: Claim) -> int:
            trained.append(run)
            run.write_end("complete")
            if len(trained) == 2:
                theirs.close()  # without having ended the run
            return 0

        assert work(planned, train, lambda run: None) == 0
        assert seeds_of(trained) == [0, 1, 2]

    def test_what_fails_says_why_and_the_others_are_trained(self, planned: Path) -> None:
        def train(run: RunFolder, own: Claim) -> int:
            run.log.write_text("error: no memory\n")
            return 2

        assert work(planned, train, lambda run: None) == 0
        for run in read_plan(planned):
            assert run.status() == "stopped"
            assert str(run.read().stopped).startswith(
                "its process ended with code 2, saying: error: no memory (more in"
            )

    def test_what_kills_its_process_again_and_again_is_given_up(self, planned: Path) -> None:
        first, trained = read_plan(planned)[0], []
        (first.path / f".claim-{MOST_DEATHS:04d}").write_text("{}")
        os.utime(first.path / f".claim-{MOST_DEATHS:04d}", (0, 0))

        def train(run: RunFolder, own: Claim) -> int:
            trained.append(run)
            run.write_end("complete")
            return 0

        assert work(planned, train, lambda run: None) == 0
        assert seeds_of(trained) == [0, 1]
        assert first.read().stopped == f"its process died 3 times, saying: nothing (more in {first.log})"

    def test_who_is_told_to_stop_stops(self, planned: Path) -> None:
        assert work(planned, lambda run, own: STOPPED, lambda run: None) == STOPPED
        assert [run.status() for run in read_plan(planned)] == ["waiting"] * 3

    def test_a_run_that_was_taken_over_is_left_alone(self, planned: Path) -> None:
        calls = []

        def train(run: RunFolder, own: Claim) -> int:
            calls.append(run)
            if len(calls) == 1:
                (run.path / ".claim-0002").touch()
                run.log.write_text("error: taken over\n")
                return 2
            for path in run.path.glob(".claim-0002"):
                path.unlink()
            run.write_end("complete")
            return 0

        os.environ["MIXKIT_SILENCE"] = "1"
        try:
            assert work(planned, train, lambda run: None) == 0
        finally:
            del os.environ["MIXKIT_SILENCE"]
        assert all(run.status() == "complete" for run in read_plan(planned))
        assert seeds_of(calls) == [2, 0, 1, 2]


class TestPlan:
    @pytest.mark.parametrize(
        "content", ["{", "[]", '{"runs": 1}', '{"runs": [1]}', '{"runs": ["../x"]}', '{"runs": ["/etc"]}', "{}"]
    )
    def test_a_damaged_plan_is_one_sentence(self, planned: Path, content: str) -> None:
        (planned / PLAN).write_text(content)
        with pytest.raises(ExperimentError, match="is damaged"):
            read_plan(planned)

    def test_without_a_plan_all_runs_below(self, planned: Path) -> None:
        (planned / PLAN).unlink()
        assert seeds_of(read_plan(planned)) == [0, 1, 2]

    def test_no_runs(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for command in ("status", "worker"):
            assert main([command, str(tmp_path / "nothing")]) == 2
            assert "holds no runs: `sweep` makes them" in capsys.readouterr().err


class TestStatus:
    def test_phases(self, planned: Path, capsys: pytest.CaptureFixture[str]) -> None:
        first, second, third = read_plan(planned)
        first.write_end("stopped", "a loss that is not finite")
        (third.path / ".claim-0001").write_text('{"host": "far", "pid": 7}')
        os.utime(third.path / ".claim-0001", (0, time.time() - 100))
        with claim(second.path):
            states = Observer(planned).look()
            assert [state.phase for state in states] == ["failed", "running", "lost"]
            assert count(states) == {"running": 1, "lost": 1, "failed": 1, "waiting": 0, "done": 0}
            assert main(["status", str(planned)]) == 1
        shown = " ".join(capsys.readouterr().out.split())
        assert "3 runs, 1 running, 1 lost, 1 failed" in shown
        assert "a loss that is not finite" in shown
        assert "its process 7 on far is no more, or silent for 100 s" in shown
        assert state_of(second).phase == "waiting"

    def test_time_left_is_by_the_epochs_so_far(self, planned: Path) -> None:
        run = read_plan(planned)[0]
        lines = [
            {"epoch": epoch, "train_loss": 1.0, "lr": 0.1, "seconds": seconds, "step_ms": 1.0, "cost": None,
             "mixed": None} for epoch, seconds in ((1, 90.0), (2, 10.0), (3, 12.0))
        ]  # fmt: skip
        (run.path / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
        with claim(run.path):
            state = state_of(run)
        assert (state.trained, state.epochs) == (3, EPOCHS)
        assert state.seconds_left == pytest.approx(12 * (EPOCHS - 3))

    def test_a_damaged_run_is_one_of_the_failed(self, planned: Path) -> None:
        (read_plan(planned)[1].path / "summary.json").write_text("{")
        states = Observer(planned).look()
        assert [state.phase for state in states] == ["waiting", "failed", "waiting"]
        assert "is damaged" in states[1].why

    def test_it_watches_until_all_have_ended(self, planned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        runs = read_plan(planned)
        monkeypatch.setattr(time, "sleep", lambda seconds: runs.pop().write_end("stopped", "x"))
        assert main(["status", str(planned), "--watch", "3"]) == 1
        assert not runs

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(0.2, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (18740, "5 h 12 min"), (184000, "2 d 3 h")],
    )
    def test_durations(self, seconds: float, text: str) -> None:
        assert duration(seconds) == text


def scores_of(folder: Path) -> dict[str, list[dict[str, float]]]:
    return {run.path.name: [record.scores for record in run.read().records] for run in read_plan(folder)}


def test_workers_beside_a_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sweep that is planned, worked on by a worker, and then reported; a sweep by workers of its own is alike."""
    sweep = [*SWEEP, "--seeds", "0", "--epochs", "2", "--output"]
    assert main([*sweep, str(tmp_path / "a"), "--plan-only"]) == 0
    assert "2 runs are planned" in capsys.readouterr().out
    words = ["worker", str(tmp_path / "a"), "--threads", "1", "--accelerator", "cpu"]
    done = subprocess.run([sys.executable, "-m", "experiments", *words], capture_output=True, text=True, check=True)
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "digits, pointnet, vanilla, seed 0", "digits, pointnet, mixup, seed 0"
    ]  # fmt: skip
    assert [run.status() for run in read_plan(tmp_path / "a")] == ["complete"] * 2
    assert "mixup, seed 0" in next((tmp_path / "a").rglob("mixup-s0/log.txt")).read_text(encoding="utf-8")
    assert main([*sweep, str(tmp_path / "a"), "--resume"]) == 0
    assert capsys.readouterr().out.count("done before") == 2
    assert main([*sweep, str(tmp_path / "b")]) == 0
    assert scores_of(tmp_path / "a") == scores_of(tmp_path / "b")


def _worker(folder: str) -> None:
    sys.exit(main(["worker", folder, "--threads", "1", "--accelerator", "cpu"]))


@pytest.mark.slow
def test_no_run_is_lost_where_workers_are_killed(tmp_path: Path) -> None:
    """Two workers, one of which is killed at a random moment, twenty times over: each run once, the same scores."""
    sweep = [*SWEEP, "--seeds", "0", "1", "--epochs", "8", "--test-every", "4", "--output"]
    assert main([*sweep, str(tmp_path / "whole")]) == 0
    wanted = scores_of(tmp_path / "whole")
    context, moments = get_context("forkserver"), random.Random(0)
    context.set_forkserver_preload(["experiments.commands.worker", "experiments.run.runner", "experiments.sweeps.work"])
    interrupted = 0
    for number in range(20):
        folder = tmp_path / f"{number}"
        assert main([*sweep, str(folder), "--plan-only"]) == 0
        started = time.monotonic()
        pair = [context.Process(target=_worker, args=(str(folder),)) for _ in range(2)]
        for process in pair:
            process.start()
        while not list(folder.rglob("checkpoints")) and time.monotonic() < started + 120:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 1.5))
        victim = pair[0]
        interrupted += victim.is_alive()
        os.kill(victim.pid or 0, signal.SIGKILL)
        pair[1].join(300)
        assert pair[1].exitcode == 0
        victim.join()
        assert scores_of(folder) == wanted
        for run in read_plan(folder):
            ended = [line for line in run.log.read_text(encoding="utf-8").splitlines() if " ms a step, " in line]
            assert len(ended) == 1
            assert not list(run.path.glob(".claim-*"))
    assert interrupted >= 10
