"""Who works in a folder: one process at a time, on whichever of the machines that see it.

A claim is two things. A lock of the system, which is free the moment its process is no more, but is sure to be seen
on its own machine alone. And a file with a number, made in one go on any file system, whose time of change is the
heartbeat that other machines see. A claim whose heartbeat has been silent for a minute is taken over by the file with
the next number, which only one process can make. Who slept through that, frozen or cut off, finds a higher number than
its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from experiments.base.errors import ExperimentError, RunStoppedError
from experiments.base.files import follow_no_link, read_bounded

LOCK, CLAIM = ".lock", ".claim-"
SILENCE = "MIXKIT_SILENCE"  #: the environment variable with the seconds after which a silent claim is taken over
HANDED = "MIXKIT_CLAIM"  #: the environment variable by which a process hands its claim to one that it begins

_handed = os.environ.pop(HANDED, "")  # not for the processes that this one begins


@dataclass(frozen=True)
class Holder:
    """Who has a folder, or had it and died.

    Attributes:
        host: the machine's name.
        pid: the number of the process there.
        silent: seconds since its last heartbeat.
        here: whether the process is on this machine, so that the system's lock tells all of it.
        alive: whether it is at work, as far as can be seen from here.
        number: of its claim, from 1; those before it died.
    """

    host: str
    pid: int
    silent: float
    here: bool
    alive: bool
    number: int


class TakenOverError(ExperimentError):
    """Another process has taken over the folder of this one: nothing may be written there any more."""


class Claim:
    """A folder that is this process's, until `close`; made by `claim`."""

    def __init__(self, lock: IO[bytes] | None, file: Path, number: int) -> None:
        self.deaths = number - 1  #: how many processes have died with the folder since one of them let it go
        self._lock, self._file, self._number = lock, file, number
        self._closed = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True, name="heartbeat")
        if lock is not None:
            self._heart.start()

    def hand_on(self) -> dict[str, str]:
        """The environment in which a process that this one begins may work in the folder too."""
        return {HANDED: f"{self._number} {os.getpid()} {self._file.parent.resolve()}"}

    def check(self) -> None:
        """TakenOverError where another process has taken the folder over."""
        numbers = _claims(self._file.parent)
        if self._number not in numbers or max(numbers) > self._number:
            raise TakenOverError(
                f"{self._file.parent} was taken over by another process while this one was silent for more than "
                f"{silence():g} seconds."
            )

    def close(self) -> None:
        """Let the folder go, unless the claim is that of the process that began this one."""
        if self._closed.is_set() or self._lock is None:
            return
        self._closed.set()
        self._heart.join()
        for number, file in sorted(_claims(self._file.parent).items()):
            if number <= self._number:
                with contextlib.suppress(OSError):
                    file.unlink()
        self._lock.close()

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _beat(self) -> None:
        while not self._closed.wait(silence() / 6):
            with contextlib.suppress(OSError):  # a file system that is away for a while, or a claim taken over
                os.utime(self._file)


def claim(folder: Path) -> Claim:
    """Claim a folder for this process, which makes the folder where it is not there.

    Where the process that began this one has handed on its claim, that one is returned.

    Raises:
        RunStoppedError: it cannot be written.
        ExperimentError: another process has it.
    """
    number, _, rest = _handed.partition(" ")
    if rest == f"{os.getppid()} {folder.resolve()}":
        return Claim(None, folder / f"{CLAIM}{int(number):04d}", int(number))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / LOCK, "wb", opener=follow_no_link)  # noqa: SIM115  # the claim closes it
    except OSError as error:
        raise RunStoppedError(f"{folder} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.utime(lock.fileno())
        now = os.stat(lock.fileno()).st_mtime  # by the clock of the file system, which all machines share
        holder = _last(folder, now)
        if holder is not None and not holder.here and holder.alive:  # of one that is here, the lock was free
            raise BlockingIOError
        next_one = 1 if holder is None else holder.number + 1
        file = folder / f"{CLAIM}{next_one:04d}"
        about = json.dumps({"machine": machine(), "host": platform.node(), "pid": os.getpid()})
        with file.open("x", encoding="utf-8") as out:  # which only one process can, and through no link
            out.write(about)
    except (BlockingIOError, FileExistsError) as error:
        lock.close()
        raise ExperimentError(f"another process is training in {folder}.") from error
    except OSError as error:
        lock.close()
        raise RunStoppedError(f"{folder} cannot be written: {error.strerror}") from error
    return Claim(lock, file, next_one)


def holder_of(folder: Path) -> Holder | None:
    """Who has a folder, or died with it; None where nobody has since it was let go. Makes nothing."""
    holder = _last(folder, time.time())
    return replace(holder, alive=_locked(folder)) if holder is not None and holder.here else holder


def claimed(folder: Path) -> bool:
    """Whether a process is at work in a folder; makes nothing."""
    holder = holder_of(folder)
    return _locked(folder) or (holder is not None and holder.alive)


def silence() -> float:
    """Seconds without a heartbeat after which a process on another machine is taken for dead. 60 unless set."""
    text = os.environ.get(SILENCE, "60")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ExperimentError(f"the environment variable {SILENCE} is {text!r}; wanted a number of seconds above 0.")
    return seconds


def machine() -> str:
    """Names what a lock of the system is shared by: the system since it was started, whatever its host's name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


def _claims(folder: Path) -> dict[int, Path]:
    """The claims in a folder by their numbers."""
    return {
        int(number): file
        for file in folder.glob(f"{CLAIM}*")
        if (number := file.name.removeprefix(CLAIM)).isascii() and number.isdigit()
    }


def _last(folder: Path, now: float) -> Holder | None:
    """Who made the last claim, taken for alive by its heartbeat."""
    claims = _claims(folder)
    if not claims:
        return None
    number = max(claims)
    try:
        silent = now - claims[number].stat().st_mtime
    except OSError:  # let go of this moment
        return None
    about = _about(claims[number])
    host, pid = about.get("host"), about.get("pid")
    return Holder(
        host=host if isinstance(host, str) else "",
        pid=pid if isinstance(pid, int) else 0,
        silent=silent,
        here=about.get("machine") == machine(),
        alive=silent < silence(),
        number=number,
    )


def _about(file: Path) -> dict[str, object]:
    """What a claim says of its process; empty where it says nothing yet."""
    try:
        about = json.loads(read_bounded(file, 10_000))
    except (OSError, ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def _locked(folder: Path) -> bool:
    """Whether a process that this machine knows of has the system's lock."""
    try:
        with (folder / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
