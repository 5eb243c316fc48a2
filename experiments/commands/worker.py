"""`python -m experiments worker`: train the runs of a sweep's folder, beside any number of other workers.

What a run says goes to the log in its folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from experiments.base.errors import STOPPED, exit_code
from experiments.commands import options, train

if TYPE_CHECKING:
    from experiments.base.claims import Claim
    from experiments.run.folder import RunFolder

POLL = 0.1  # seconds
EPILOG = """\
Workers on several machines need nothing but a folder that all of them see. A run whose worker died is taken over from
its last checkpoint: at once on the same machine, after a minute without a heartbeat on another.

examples:
  python -m experiments sweep --recipe table2 --output /shared/table2 --plan-only
  python -m experiments worker /shared/table2                                       # on each machine
  python -m experiments status /shared/table2 --watch
  python -m experiments sweep --recipe table2 --output /shared/table2 --resume      # the report
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `worker`: the folder, the machine, the data."""
    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of a sweep")
    options.add_data_root(parser)
    options.add_machine_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Train until nothing is left; returns the exit code."""
    from experiments.data.shared import DataCache
    from experiments.run.records import outcome
    from experiments.sweeps.plan import PLAN, SHARED
    from experiments.sweeps.work import work

    of_sweep = (args.folder / PLAN).is_file()  # not of one run, whose data would be shared with nobody
    cache = DataCache(args.folder / SHARED if of_sweep else None)
    out = os.fdopen(os.dup(1), "w", buffering=1)

    def tell(run: RunFolder) -> None:
        result = run.read()
        print(f"{result.config.title}: {outcome(result)}", file=out)

    def train_one(run: RunFolder, own: Claim) -> int:
        with run.log.open("ab") as log, redirected(log):
            if args.devices * args.nodes > 1:
                return _in_a_process(run, own, args)
            try:
                return exit_code(lambda: train.go_on(run, args, own, cache))
            except Exception:  # a defect: the log has it, and the other runs are trained
                traceback.print_exc()
                return 1

    return work(args.folder, train_one, tell)


def _in_a_process(run: RunFolder, own: Claim, args: argparse.Namespace) -> int:
    """Train by processes that share the run's batches, the first of which is handed the claim."""
    from experiments.base.machine import Machine
    from experiments.base.stopping import PARENT, asked_to_stop
    from experiments.sweeps.processes import machine_words

    machine = Machine(args.accelerator, args.devices, args.nodes, args.threads)
    words = [sys.executable, "-m", "experiments", "train", "--resume", str(run.path)]
    words += machine_words(machine, options.roots_of(args))
    environment = {**os.environ, **own.hand_on(), PARENT: str(os.getpid())}
    with subprocess.Popen(words, env=environment) as process:
        while (code := process.poll()) is None:
            if asked_to_stop():
                process.terminate()
                process.wait()
                return STOPPED
            time.sleep(POLL)
    return code


@contextmanager
def redirected(log: IO[bytes]) -> Iterator[None]:
    """Within, what this process and those that it begins say goes to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(stream) for stream in (1, 2)]
    for stream in (1, 2):
        os.dup2(log.fileno(), stream)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, old in zip((1, 2), before, strict=True):
            os.dup2(old, stream)
            os.close(old)
