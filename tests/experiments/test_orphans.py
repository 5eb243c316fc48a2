"""Whoever begins processes may be killed: those end too, and what they did can be gone on with at once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.base.claims import claim
from experiments.base.stopping import PARENT, asked_to_stop, stopped_by_signals
from experiments.report.export import find_runs
from experiments.run.folder import RunFolder
from experiments.sweeps.plan import read_plan
from experiments.sweeps.sweeper import _done
from tests.experiments.tiny_runs import wait

SWEEP = [
    "sweep", "--recipe", "short", "--datasets", "digits", "--models", "pointnet", "--methods", "vanilla", "--seeds",
    "0", "1", "--limit", "64", "--num-points", "32", "--width", "4", "--threads", "1", "--accelerator", "cpu",
    "--jobs", "2",
]  # fmt: skip


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.is_file() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    return False


MIDDLE = """
import os, signal, subprocess, sys, time
from experiments.base.stopping import PARENT
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup would have its children ignore
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], env={**os.environ, PARENT: str(os.getpid())})
print(child.pid, flush=True)
time.sleep(60)
"""
CHILD = """
import os, time
from experiments.base.stopping import PARENT, asked_to_stop
assert PARENT not in os.environ
assert not asked_to_stop()
print("asks", flush=True)
while not asked_to_stop():
    time.sleep(0.01)
"""


POOLED = """
import os, time
from experiments.base.stopping import end_with
end_with(os.getppid())
print("asks", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("child_code", [CHILD, POOLED])
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGHUP])
def test_a_process_hears_of_the_end_of_who_began_it(sign: signal.Signals, child_code: str) -> None:
    command = [sys.executable, "-c", MIDDLE, child_code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as middle:
        assert middle.stdout is not None
        child = int(middle.stdout.readline())
        assert middle.stdout.readline() == "asks\n"
        assert alive(child)
        middle.send_signal(sign)
        wait(lambda: not alive(child), seconds=30)


def test_nobody_waits_for_a_parent_unasked() -> None:
    assert PARENT not in os.environ
    assert not asked_to_stop()


def test_a_hangup_is_noted_unless_it_is_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopped_by_signals():
            signal.raise_signal(signal.SIGHUP)
            assert not asked_to_stop()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with stopped_by_signals():
            signal.raise_signal(signal.SIGHUP)
            assert asked_to_stop()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_who_goes_on_waits_for_who_was_there(tmp_path: Path) -> None:
    sweep = [*SWEEP, "--epochs", "1", "--output", str(tmp_path)]
    assert main([*sweep, "--plan-only"]) == 0
    locks = [claim(run.path) for run in read_plan(tmp_path)]
    threading.Timer(2, lambda: [lock.close() for lock in locks]).start()
    assert main([*sweep, "--resume"]) == 0
    assert [run.status() for run in read_plan(tmp_path)] == ["complete"] * 2


def test_one_sweep_in_a_folder_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with claim(tmp_path / "sweep"):
        assert main([*SWEEP, "--epochs", "1", "--output", str(tmp_path / "sweep"), "--resume"]) == 2
    assert "another process is training in" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "sweep").iterdir()] == [".lock"]


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_a_killed_sweep_leaves_no_process_and_goes_on_at_once(tmp_path: Path, sign: signal.Signals) -> None:
    folder = tmp_path / "sweep"
    command = [sys.executable, "-m", "experiments", *SWEEP, "--epochs", "60", "--output", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait(lambda: process.poll() is not None or len(list(folder.rglob("last.ckpt"))) == 2, seconds=120)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            assert len(children) == 2
            process.send_signal(sign)
            process.wait(60)
        finally:
            process.kill()
    assert main([*SWEEP, "--epochs", "60", "--output", str(folder), "--resume"]) == 0  # at once
    assert not any(alive(int(child)) for child in children)
    runs = find_runs([folder])
    assert [run.status for run in runs] == ["complete"] * 2
    assert all(_done(RunFolder(run.folder), run.config) for run in runs)
