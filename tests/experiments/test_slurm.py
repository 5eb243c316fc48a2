"""Sweeps on a cluster, which a fake of Slurm's programs stands for: jobs are preempted, killed and out of time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.base.claims import holder_of
from experiments.run.folder import RunFolder
from experiments.sweeps.plan import read_plan
from tests.experiments.tiny_runs import wait

pytest.importorskip("submitit")

FAKE = Path(__file__).parents[1] / "fake_slurm.py"
SWEEP = [
    "sweep", "--recipe", "short", "--datasets", "digits", "--models", "pointnet", "--limit", "64", "--num-points", "32",
    "--width", "4", "--threads", "1", "--accelerator", "cpu",
]  # fmt: skip


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a cluster's programs on the PATH; its folder."""
    programs, home = tmp_path / "bin", tmp_path / "slurm"
    programs.mkdir()
    home.mkdir()
    for name in ("sbatch", "srun", "scontrol", "scancel", "squeue", "sacct"):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} {name} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(home))
    return home


def task_of(home: Path, run: RunFolder) -> str:
    """The cluster's name of the job whose process has a run."""
    pid = holder_of(run.path)
    assert pid is not None
    step = int(Path(f"/proc/{pid.pid}/stat").read_text().rpartition(")")[2].split()[1])
    return next(file.stem for file in home.glob("*.task") if json.loads(file.read_text()).get("step") == step)


@pytest.mark.slow
def test_jobs_that_are_preempted_killed_and_out_of_time(tmp_path: Path, cluster: Path) -> None:
    sweep = [
        *SWEEP,
        "--methods",
        "vanilla",
        "mixup",
        "--epochs",
        "40",
        "--test-every",
        "40",
        "--seeds",
        *map(str, range(6)),
    ]
    assert main([*sweep, "--output", str(tmp_path / "local")]) == 0
    words = [*sweep, "--output", str(tmp_path / "slurm-sweep"), "--launcher", "slurm", "--jobs", "2", "--time", "5"]
    process = subprocess.Popen([sys.executable, "-m", "experiments", *words])
    done: set[Path] = set()
    preempted, killed, out_of_time = ["TERM", "USR2"], ["KILL"], ["USR2"]
    for signs in (preempted, killed, out_of_time, preempted):
        run = None
        while run is None:
            wait((tmp_path / "slurm-sweep/plan.json").is_file, seconds=240)
            alive = [
                run
                for run in read_plan(tmp_path / "slurm-sweep")
                if (holder := holder_of(run.path)) and holder.alive and run.path not in done and run.epochs_done()
            ]
            run = alive[0] if alive else None
            assert process.poll() is None
            time.sleep(0.02)
        done.add(run.path)
        name = task_of(cluster, run)
        if signs == killed:
            holder = holder_of(run.path)
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder.pid if holder else 0, signal.SIGKILL)
        for sign in signs:
            subprocess.run(["scancel", name, "--signal", sign], check=True)
    assert process.wait(1200) == 0
    rows = [json.loads((tmp_path / name / "summary.json").read_text())["rows"] for name in ("local", "slurm-sweep")]
    assert rows[0][0]["ended"] == 6
    assert [row["scores"] for row in rows[0]] == [row["scores"] for row in rows[1]]
    starts = [json.loads(file.read_text())["starts"] for file in cluster.glob("*.task")]
    assert sum(starts) >= 12 + 4


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "there is no Slurm cluster here: sbatch is not on the PATH."),
        (["--set-slurm", "qos"], "--set-slurm wants NAME=VALUE, got 'qos'."),
    ],
)
def test_a_cluster_that_is_not_there_is_one_sentence(
    tmp_path: Path, words: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sweep = [*SWEEP, "--methods", "vanilla", "--epochs", "1", "--output", str(tmp_path / "sweep")]
    assert main([*sweep, "--launcher", "slurm", *words]) == 2
    assert says in capsys.readouterr().err


def test_attach_needs_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SWEEP, "--methods", "vanilla", "--attach"]) == 2
    assert "it goes with --launcher slurm" in capsys.readouterr().err


def test_a_cluster_that_refuses(tmp_path: Path, cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cluster.parent / "bin" / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2\nexit 1\n")
    sweep = [*SWEEP, "--methods", "vanilla", "--epochs", "1", "--output", str(tmp_path / "sweep")]
    assert main([*sweep, "--launcher", "slurm", "--partition", "nowhere"]) == 2
    error = capsys.readouterr().err
    ours = [line for line in error.splitlines() if line.startswith("error: ")]  # beside what sbatch says itself
    assert ours == ["error: the cluster did not take the jobs: sbatch: error: invalid partition"]
