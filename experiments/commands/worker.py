"""`python -m experiments worker`: train one run after the other, as a sweep tells.

One process serves many runs, because importing everything takes as long as a small run. Each line of the input is the
folder of a run to go on with; the answer is a line with the run's exit code. What the run says goes to the log in its
folder.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from experiments.base.errors import STOPPED, exit_code
from experiments.commands import options, train
from experiments.run.folder import RunFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `worker`, which are of the machine and of the data."""
    options.add_data_root(parser)
    options.add_machine_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Train until the input ends; returns the exit code."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    for line in iter(sys.stdin.readline, ""):
        folder = Path(line.rstrip("\n"))
        log = os.open(RunFolder(folder).log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.close(log)
        try:
            code = exit_code(partial(train.go_on, folder, args))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
        if code == STOPPED:
            return code
        answers.write(f"{code}\n")
    return 0
