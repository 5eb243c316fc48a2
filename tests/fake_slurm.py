"""A Slurm cluster of one machine for tests: the programs sbatch, srun, scontrol, scancel, squeue and sacct.

Called by the name of the program. What it knows lies in the folder $FAKE_SLURM, a file a task; `sbatch` starts a
scheduler there unless one is at work. A signal reaches the process group of a task's step, not its script.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HOME = Path(os.environ.get("FAKE_SLURM", "."))
IDLE = 5.0  # seconds after which a scheduler without tasks ends


@contextlib.contextmanager
def locked() -> Iterator[None]:
    with (HOME / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read(name: str) -> dict[str, Any]:
    task: dict[str, Any] = json.loads((HOME / f"{name}.task").read_text())
    return task


def write(name: str, **changes: Any) -> None:
    file = HOME / f"{name}.task"
    content = json.dumps({**(json.loads(file.read_text()) if file.exists() else {}), **changes})
    unfinished = HOME / f"{name}.new"
    unfinished.write_text(content)
    unfinished.replace(file)


def names() -> list[str]:
    return sorted((path.stem for path in HOME.glob("*.task")), key=lambda name: [int(n) for n in name.split("_")])


def sbatch(script: str) -> None:
    """Queue the tasks of a script, whose array and number of tasks at a time its comments say."""
    text = Path(script).read_text()
    found = re.search(r"^#SBATCH --array=0-(\d+)%?(\d*)", text, flags=re.M)
    last, most = (int(found[1]), int(found[2] or 1000)) if found else (0, 1000)
    with locked():
        job = 1 + max((int(name.split("_")[0]) for name in names()), default=99)
        for index in range(last + 1):
            name = f"{job}_{index}" if found else f"{job}"
            write(name, state="PENDING", script=script, most=most, starts=0, array=bool(found))
    nowhere = subprocess.DEVNULL
    subprocess.Popen(
        [sys.executable, __file__, "scheduler"], start_new_session=True, stdin=nowhere, stdout=nowhere, stderr=nowhere
    )
    print(f"Submitted batch job {job}")


def scheduler() -> None:
    """Run what is pending, and note what has ended, until nothing is left for a while."""
    with (HOME / "scheduler").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        running: dict[str, subprocess.Popen[bytes]] = {}
        idle = time.monotonic()
        while time.monotonic() < idle + IDLE:
            with locked():
                for name, process in list(running.items()):
                    if process.poll() is not None:
                        del running[name]
                        ended = "COMPLETED" if process.returncode == 0 else "FAILED"
                        write(name, state="PENDING" if read(name).get("requeue") else ended, requeue=False)
                for name in names():
                    task = read(name)
                    if task["state"] == "PENDING" and len(running) < task["most"]:
                        running[name] = start(name, task)
            if running:
                idle = time.monotonic()
            time.sleep(0.1)


def start(name: str, task: dict[str, Any]) -> subprocess.Popen[bytes]:
    job, _, index = name.partition("_")
    environment = {**os.environ, "SLURM_JOB_ID": job, "SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_LOCALID": "0"}
    environment |= {"SLURM_JOB_NUM_NODES": "1", "SLURM_NODEID": "0", "SLURM_JOB_NODELIST": "localhost"}
    environment |= {"SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": index} if task["array"] else {}
    process = subprocess.Popen(["bash", task["script"]], env=environment, start_new_session=True)
    write(name, state="RUNNING", pid=process.pid, starts=task["starts"] + 1)
    return process


def srun(*words: str) -> None:
    """Run the command that follows the options, its output in the file that they name."""
    words = tuple(word for word in words if word != "--unbuffered")
    place = next(number for number, word in enumerate(words) if not word.startswith("-") and "/" in word
                 and not words[number - 1].startswith("-"))  # fmt: skip
    options = dict(zip(words[:place:2], words[1:place:2], strict=False))
    job, index = os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_ARRAY_TASK_ID", "0")
    for stream, option in ((1, "--output"), (2, "--error")):
        if option in options:
            file = options[option]
            for mark, value in (("%A", job), ("%j", job), ("%a", index), ("%t", "0")):
                file = file.replace(mark, value)
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), stream)
    os.setpgid(0, 0)
    with locked():
        write(f"{job}_{index}" if "SLURM_ARRAY_TASK_ID" in os.environ else job, step=os.getpid())
    os.execvp(words[place], words[place:])


def scontrol(verb: str, name: str) -> None:
    assert verb == "requeue"
    with locked():
        write(name, requeue=True)


def scancel(name: str, *words: str) -> None:
    """Signal a task, SIGTERM and SIGKILL by default."""
    sent = [signal.SIGTERM, signal.SIGKILL]
    if words:
        sent = [getattr(signal, f"SIG{words[1].removeprefix('SIG')}")]
    for sign in sent:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(read(name)["step"], sign)


def squeue() -> None:
    for name in names():
        print(name, read(name)["state"])


def sacct(*words: str) -> None:
    print("JobID|State|NodeList")
    for name in names():
        print(f"{name}|{read(name)['state']}|localhost")


if __name__ == "__main__":
    program = Path(sys.argv[0]).name
    given = sys.argv[1:] if program != Path(__file__).name else sys.argv[2:]
    globals()[program if program != Path(__file__).name else sys.argv[1]](*given)
