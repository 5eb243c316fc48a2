"""What to run on, by Lightning Fabric, and what a run ran on: versions, processor, accelerator."""

from __future__ import annotations

import ctypes
import importlib.metadata
import logging
import os
import platform
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric

from experiments.base.errors import ExperimentError

PACKAGES = ("mixkit", "torch", "torchvision", "lightning", "torchmetrics", "numpy", "scipy", "scikit-learn", "numba")
PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed"}
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of glibc's malloc.h


@dataclass(frozen=True)
class Machine:
    """What to run on: Fabric's own options."""

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    threads: int | None = None


def make_fabric(machine: Machine, precision: str) -> Fabric:
    """Fabric on the machine's devices, launched; several devices share each batch by DistributedDataParallel.

    Raises:
        ExperimentError: devices that the machine has not.
    """
    for name in ("lightning.fabric", "lightning.pytorch"):  # they announce each precision
        logging.getLogger(name).setLevel(logging.WARNING)
    if machine.threads:
        torch.set_num_threads(machine.threads)
    keep_freed_memory()
    several = machine.devices * machine.nodes > 1
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        try:
            fabric = Fabric(
                accelerator=machine.accelerator,
                devices=machine.devices,
                num_nodes=machine.nodes,
                strategy="ddp" if several else "auto",
                precision=PRECISIONS[precision],  # type: ignore[arg-type]
            )
            fabric.launch()
        except (RuntimeError, ValueError, ImportError) as error:
            raise ExperimentError(f"cannot run on {machine.devices} x {machine.accelerator}: {error}") from error
    return fabric


def describe_environment(device: torch.device, precision: str) -> dict[str, Any]:
    """Versions, processor and accelerator as plain values for JSON."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cpu": _cpu_name(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "precision": precision,
    }


def keep_freed_memory() -> None:
    """Have glibc keep what is freed for what comes next: activations mapped anew at every step cost page faults.

    Measured on a CPU, one thread: a PointNet++ step takes half the time, PointNet's in bfloat16 six tenths. Elsewhere
    than on glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**28)):
        mallopt(option, value)


def device_in_words(environment: dict[str, Any]) -> str:
    """The machine in a few words."""
    if environment.get("gpu"):
        return str(environment["gpu"])
    if "threads" not in environment:
        return "a machine that is not told of"
    threads = environment["threads"]
    return f"{threads} CPU thread{'s' if threads != 1 else ''} ({environment.get('cpu')})"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    """The processor's own name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
