"""Fetching an archive from a given address, checked, and unpacked as a whole or not at all; no addresses are here."""

from __future__ import annotations

import http.client
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from experiments.base.errors import ExperimentError
from experiments.data import modelnet40
from experiments.data.archives import unpack
from experiments.data.base import check_md5

KNOWN_MD5 = {"modelnet40": modelnet40.MD5}
"""The md5 of a data set's archive, where the protocol names one."""

TIMEOUT = 30  # seconds without an answer
SECONDS = 6 * 3600  # in all
MOST = 64 * 2**30  # bytes
SCHEMES = ("https", "http", "file")


def download_archive(url: str, root: Path, md5: str | None = None) -> list[Path]:
    """Fetch a zip or tar archive and unpack it into a folder.

    Everything happens in a hidden folder within `root`, which is removed afterwards; what was unpacked moves to its
    place at the end, so that an interrupted call leaves `root` as it was.

    Args:
        url: https, http or file.
        root: where the archive's top folders are to lie; made where it is absent.
        md5: the MD5 sum of the archive, checked before unpacking; None where none is known.

    Returns:
        What now lies in `root`, sorted.

    Raises:
        ExperimentError: the address cannot be read, holds more than `MOST` bytes or takes longer than `SECONDS`, the
            md5 differs, the file is no whole archive or leads outside of the folder (`unpack`), something of that name
            lies in `root` already, or the disk is full.
    """
    try:
        served = urllib.parse.urlsplit(url).scheme in SCHEMES
    except ValueError:
        served = False
    if not served:
        raise ExperimentError(f"{url} cannot be fetched: an address starts with https://, http:// or file://.")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as hidden:
            archive, unpacked = Path(hidden) / "archive", Path(hidden) / "unpacked"
            _fetch(url, archive)
            if md5 is not None:
                check_md5(archive, md5, f"{url} sent another file than the one wanted, or only a part of it")
            unpacked.mkdir()
            unpack(archive, unpacked, url)
            return _move(unpacked, root)
    except OSError as error:
        raise ExperimentError(f"{url} cannot be unpacked into {root} ({error.strerror or error}).") from error


def _fetch(url: str, path: Path) -> None:
    """Write what an address holds to a file."""
    began, size = time.monotonic(), 0
    with path.open("wb") as file:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
                length = (response.headers.get("Content-Length") or "").strip()
                wanted = int(length) if length.isascii() and length.isdigit() and len(length) < 18 else None
                read = getattr(response, "read1", response.read)  # what is there: one byte at a time is no answer
                while size <= MOST and (wanted or 0) <= MOST and (block := _block(read, url)):
                    size += len(block)
                    if time.monotonic() - began > SECONDS:
                        raise ExperimentError(f"{url} took longer than {SECONDS / 3600:g} hours, and is given up.")
                    file.write(block)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
            raise ExperimentError(f"{url} cannot be fetched ({error}).") from error
    if size > MOST or (wanted or 0) > MOST:
        raise ExperimentError(f"{url} is larger than {MOST / 2**30:g} GiB, and is not fetched.")
    if wanted is not None and size != wanted:
        raise ExperimentError(f"{url} broke off after {size:,} of {wanted:,} bytes: try again.")


def _block(read: Callable[[int], bytes], url: str) -> bytes:
    try:
        return read(1 << 20)
    except OSError as error:  # not one of writing
        raise ExperimentError(f"{url} cannot be fetched ({error}).") from error


def _move(unpacked: Path, root: Path) -> list[Path]:
    """Move the top of what was unpacked into `root`: all of it, or where a name is taken nothing."""
    tops = sorted(path for path in unpacked.iterdir() if path.name != "__MACOSX")
    taken = [path.name for path in tops if (root / path.name).exists()]
    if taken:
        raise ExperimentError(f"{root} already holds {', '.join(taken)}: move it away first.")
    if not tops:
        raise ExperimentError("the archive is empty.")
    return [path.rename(root / path.name) for path in tops]
