"""Fetching an archive from a given address, checked, and unpacked as a whole or not at all; no addresses are here."""

from __future__ import annotations

import http.client
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

from experiments.data import modelnet40
from experiments.data.base import check_md5
from experiments.errors import ExperimentError

KNOWN_MD5 = {"modelnet40": modelnet40.MD5}
"""The md5 of a data set's archive, where the protocol names one."""

TIMEOUT = 30  # seconds without an answer
SCHEMES = ("https", "http", "file")


def download_archive(url: str, root: Path, md5: str | None = None) -> list[Path]:
    """Fetch a zip or tar archive and unpack it into a folder.

    Everything happens in a hidden folder within `root`, which is removed afterwards; what was unpacked moves to its
    place at the end, so that an interrupted call leaves `root` as it was.

    Args:
        url: https, http or file.
        root: where the archive's top folders are to lie; made where it is absent.
        md5: of the archive, checked before unpacking; None where none is known.

    Returns:
        What now lies in `root`, sorted.

    Raises:
        ExperimentError: the address cannot be read, the md5 differs, the file is not an archive or leads outside of the
            folder, something of that name lies in `root` already, or the disk is full.
    """
    if urllib.parse.urlsplit(url).scheme not in SCHEMES:
        raise ExperimentError(f"{url} cannot be fetched: an address starts with https://, http:// or file://.")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as hidden:
            archive, unpacked = Path(hidden) / "archive", Path(hidden) / "unpacked"
            _fetch(url, archive)
            if md5 is not None:
                check_md5(archive, md5, f"{url} sent another file than the one wanted, or only a part of it")
            unpacked.mkdir()
            _unpack(archive, unpacked, url)
            return _move(unpacked, root)
    except OSError as error:
        raise ExperimentError(f"{url} cannot be unpacked into {root} ({error.strerror or error}).") from error


def _fetch(url: str, path: Path) -> None:
    """Write what an address holds to a file."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response, path.open("wb") as file:
            shutil.copyfileobj(response, file, 1 << 20)
            wanted = response.headers.get("Content-Length")
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        raise ExperimentError(f"{url} cannot be fetched ({error}).") from error
    if wanted is not None and path.stat().st_size != int(wanted):
        raise ExperimentError(f"{url} broke off after {path.stat().st_size:,} of {int(wanted):,} bytes: try again.")


def _unpack(archive: Path, folder: Path, url: str) -> None:
    """Unpack a zip or tar file, no member of which may lead outside of `folder`."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                for name in packed.namelist():
                    _check_inside(name, url)
                packed.extractall(folder)  # makes plain files and folders only
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                members = tar.getmembers()
                for member in members:
                    _check_inside(member.name, url)
                    if not (member.isfile() or member.isdir()):
                        raise ExperimentError(f"{url} is not a data set: {member.name} is neither a file nor a folder.")
                    member.mode = 0o755 if member.isdir() else 0o644
                tar.extractall(folder, members)
        else:
            raise ExperimentError(f"{url} is neither a zip nor a tar archive: perhaps it is a page about one.")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, NotImplementedError) as error:
        raise ExperimentError(f"{url} is damaged and cannot be unpacked ({error}).") from error


def _check_inside(name: str, url: str) -> None:
    """ExperimentError where a member's name leads outside of the folder it is unpacked in."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise ExperimentError(f"{url} is not to be trusted: its member {name!r} leads outside of the folder.")


def _move(unpacked: Path, root: Path) -> list[Path]:
    """Move the top of what was unpacked into `root`: all of it, or where a name is taken nothing."""
    tops = sorted(path for path in unpacked.iterdir() if path.name != "__MACOSX")
    taken = [path.name for path in tops if (root / path.name).exists()]
    if taken:
        raise ExperimentError(f"{root} already holds {', '.join(taken)}: move it away first.")
    if not tops:
        raise ExperimentError("the archive is empty.")
    return [path.rename(root / path.name) for path in tops]
