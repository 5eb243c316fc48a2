"""Files that are whole or not there: everything a run leaves behind is written through here, and read in bounds."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import Any

from experiments.base.errors import ExperimentError, RunStoppedError

MOST = 2**26  # bytes of a text file


def write_whole(path: Path, content: bytes | str) -> None:
    """Replace a file in one go: a reader, and whoever comes after a crash, sees the old content or the new.

    Raises:
        RunStoppedError: it cannot be written (a full disk); the old file is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(unfinished, "wb", opener=follow_no_link) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise RunStoppedError(f"{path} cannot be written: {error.strerror}") from error


def read_bounded(path: Path, most: int = MOST) -> str:
    """A text file's content; UnicodeDecodeError where it is none, ValueError where it is larger than `most` bytes.

    Nothing is read but plain files, and no more of one than `most`: a folder may be a stranger's.
    """
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it is larger than {most >> 20} MiB")
    return content.decode()


def follow_no_link(path: str, flags: int) -> int:
    """Opens a file to write to; OSError where it is a link, which may lead anywhere."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)


def write_json(path: Path, content: Any) -> None:
    """A JSON file, whole."""
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    """A file of JSON lines, whole."""
    write_whole(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def make_output(wanted: Path) -> Path:
    """Create the output folder; where it holds something already, the next free name beside it: NAME-2, NAME-3, ..."""
    folder, number = wanted, 1
    try:
        while folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            number += 1
            folder = wanted.with_name(f"{wanted.name}-{number}")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExperimentError(f"the output folder {folder} cannot be made: {error.strerror}.") from error
    return folder
