"""What a run ran on: versions, processor, accelerator; written beside every result."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("mixkit", "torch", "torchvision", "lightning", "torchmetrics", "numpy", "scipy", "scikit-learn", "numba")
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of glibc's malloc.h


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


def describe_device(environment: dict[str, Any]) -> str:
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
