"""A command that trains in seconds, one that does so slowly, how to wait for it, and what its run leaves."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.run.folder import RunFolder

TINY = [
    "pointcloud", "--recipe", "short", "--dataset", "digits", "--model", "pointnet", "--num-points", "32",
    "--limit", "64", "--width", "4", "--threads", "1", "--accelerator", "cpu", "--epochs", "4",
    "--method", "sagemix:saliency=bank",
]  # fmt: skip

#: the same program, in which every epoch takes long enough to be stopped after it
SLOWED = """
import sys, time
from experiments.run import checkpoint
save = checkpoint.save_checkpoint
def slow(*args, **kwargs):
    save(*args, **kwargs)
    time.sleep(0.3)
checkpoint.save_checkpoint = slow
from experiments.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def curve(folder: Path) -> list[tuple[float, dict[str, float]]]:
    return [(record.train_loss, record.scores) for record in RunFolder(folder).read().records]


def wait(reached: Callable[[], object], *processes: subprocess.Popen[Any], seconds: float) -> None:
    """Waits until something is reached, and fails when one of the processes ends first, or after so many seconds."""
    deadline = time.monotonic() + seconds
    while not reached():
        for process in processes:
            assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
