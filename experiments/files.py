"""Files that are whole or not there: everything a run leaves behind is written through here."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import IO, Any

from experiments.errors import ExperimentError, RunStoppedError


def write_whole(path: Path, content: bytes | str) -> None:
    """Replace a file in one go: a reader, and whoever comes after a crash, sees the old content or the new.

    Raises:
        RunStoppedError: it cannot be written (a full disk); the old file is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise RunStoppedError(f"{path} cannot be written: {error.strerror}") from error


def claim(folder: Path) -> IO[bytes]:
    """Lock a folder for this process, until the file that is returned is closed or the process ends.

    Raises:
        RunStoppedError: it cannot be written. ExperimentError: another process has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("wb")
    except OSError as error:
        raise RunStoppedError(f"{folder} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise ExperimentError(f"another process is training in {folder}.") from error
    return file


def write_json(path: Path, content: Any) -> None:
    """A JSON file, whole."""
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    """A file of JSON lines, whole."""
    write_whole(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
