"""One process at a time works in a folder, on whichever machine; the folder of who dies is taken over."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from experiments.base import claims
from experiments.base.claims import CLAIM, TakenOverError, claim, claimed, holder_of
from experiments.base.errors import ExperimentError


@contextmanager
def on_another_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within, each thread is on a machine of its own that shares files with this one, and no locks of the system."""
    with monkeypatch.context() as patch:
        patch.setattr(claims, "machine", lambda: f"another, {threading.get_ident()}")
        patch.setattr("experiments.base.claims.fcntl.flock", lambda *arguments: None)
        yield


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(f"{CLAIM}*"))


def test_a_folder_is_had_once_and_let_go(tmp_path: Path) -> None:
    with claim(tmp_path / "run") as own:
        own.check()
        assert own.deaths == 0
        assert claimed(tmp_path / "run")
        holder = holder_of(tmp_path / "run")
        assert holder is not None
        assert (holder.pid, holder.alive) == (os.getpid(), True)
        with pytest.raises(ExperimentError, match="another process is training in"):
            claim(tmp_path / "run")
    assert not claimed(tmp_path / "run")
    assert names(tmp_path / "run") == []
    own.close()  # once more does nothing
    claim(tmp_path / "run").close()


def test_who_died_here_is_followed_at_once(tmp_path: Path) -> None:
    dies = "import os, sys; from experiments.base.claims import claim; import pathlib\n"
    dies += "own = claim(pathlib.Path(sys.argv[1])); print(own.deaths, flush=True); os._exit(1)"
    for deaths in range(2):
        done = subprocess.run([sys.executable, "-c", dies, str(tmp_path)], capture_output=True, text=True, check=False)
        assert done.stdout == f"{deaths}\n"
        holder = holder_of(tmp_path)
        assert holder is not None
        assert not holder.alive
        assert not claimed(tmp_path)
    with claim(tmp_path) as own:
        assert own.deaths == 2
    assert names(tmp_path) == []  # what ended well is not counted


def test_a_silent_machine_is_followed_and_finds_that_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with on_another_machine(monkeypatch):
        theirs = claim(tmp_path)
    theirs._closed.set()  # frozen: no heartbeat any more
    theirs._heart.join()
    assert claimed(tmp_path)
    with pytest.raises(ExperimentError, match="another process"):
        claim(tmp_path)
    os.utime(tmp_path / names(tmp_path)[0], (0, time.time() - 61))
    assert not claimed(tmp_path)
    with claim(tmp_path) as own:
        assert own.deaths == 1
        with pytest.raises(TakenOverError, match="taken over by another process while this one was silent"):
            theirs.check()
        theirs._closed.clear()
        theirs.close()
        own.check()  # what the other lets go of is its own
        assert claimed(tmp_path)
    assert not claimed(tmp_path)
    with pytest.raises(TakenOverError):
        theirs.check()


def test_a_heartbeat_keeps_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(claims.SILENCE, "0.6")
    with on_another_machine(monkeypatch):
        theirs = claim(tmp_path)
    with theirs:
        for _ in range(10):
            time.sleep(0.1)
            assert claimed(tmp_path)
    assert not claimed(tmp_path)


def test_of_many_that_take_over_one_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with on_another_machine(monkeypatch):
        dead = claim(tmp_path)
        dead._closed.set()
        dead._heart.join()
    old = time.time() - 61
    os.utime(tmp_path / names(tmp_path)[0], (old, old))
    taken, start = [], threading.Barrier(16)

    def take() -> None:
        start.wait()
        with contextlib.suppress(ExperimentError):
            taken.append(claim(tmp_path))

    with on_another_machine(monkeypatch):
        threads = [threading.Thread(target=take) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(taken) == 1
    taken[0].close()


def test_a_claim_is_handed_on(tmp_path: Path) -> None:
    takes = "import sys, pathlib; from experiments.base.claims import claim\n"
    takes += "with claim(pathlib.Path(sys.argv[1])) as own: own.check()"
    command = [sys.executable, "-c", takes]
    with claim(tmp_path) as own:
        environment = {**os.environ, **own.hand_on()}
        assert subprocess.run([*command, str(tmp_path)], env=environment, check=False).returncode == 0
        own.check()  # the other did not let it go
        refused = subprocess.run([*command, str(tmp_path)], check=False, capture_output=True, text=True)
        assert "another process is training" in refused.stderr
        other = subprocess.run([*command, str(tmp_path / "other")], env=environment, check=False)
        assert other.returncode == 0  # a claim of its own


@pytest.mark.parametrize("content", ["", "{", "[]", '{"machine": 1, "host": 2, "pid": "x"}', "\udcff"])
def test_a_damaged_claim_is_another_s_until_it_is_silent(tmp_path: Path, content: str) -> None:
    (tmp_path / f"{CLAIM}0007").write_bytes(content.encode("utf-8", "surrogateescape"))
    (tmp_path / f"{CLAIM}x").touch()
    with pytest.raises(ExperimentError, match="another process"):
        claim(tmp_path)
    os.utime(tmp_path / f"{CLAIM}0007", (0, time.time() - 61))
    with claim(tmp_path) as own:
        assert own.deaths == 7


@pytest.mark.parametrize("text", ["0", "-1", "x", "nan", "inf"])
def test_a_time_of_silence_that_is_none(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(claims.SILENCE, text)
    with pytest.raises(ExperimentError, match=f"MIXKIT_SILENCE is '{text}'; wanted a number of seconds"):
        claims.silence()
