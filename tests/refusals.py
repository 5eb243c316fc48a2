"""Whether an error is this project's own word on what came, rather than one from inside."""

from __future__ import annotations

import linecache
from pathlib import Path
from types import TracebackType

import mixkit
import mixkit_image
import mixkit_points

OURS = [Path(package.__file__).parent for package in (mixkit, mixkit_image, mixkit_points)]


def is_our_own(trace: TracebackType | None) -> bool:
    """Whether an exception was raised by a raise statement of this project."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    assert trace is not None
    name = trace.tb_frame.f_code.co_filename
    line = linecache.getline(name, trace.tb_lineno).strip()
    return any(Path(name).is_relative_to(folder) for folder in OURS) and line.startswith("raise ")
