"""A process that trains one run after the other, as it is told: importing everything takes as long as a small run.

`processes` starts it. Each line of its input is the folder of a run to go on with; it answers with a line that has the
run's exit code. What the run says goes to log.txt in its folder.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from experiments.__main__ import main

LOG = "log.txt"
STOPPED = 130  # the exit code of a run that a signal ended


def serve(options: list[str]) -> int:
    """Train until the input ends; `options` are of the machine and of the data. Returns the exit code."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    code = 0
    for line in iter(sys.stdin.readline, ""):
        folder = line.rstrip("\n")
        log = os.open(Path(folder) / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.close(log)
        try:
            code = main(["pointcloud", "--resume", folder, *options])
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
        if code == STOPPED:
            return code
        answers.write(f"{code}\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(serve(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(STOPPED)
