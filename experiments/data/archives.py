"""Unpacking archives that may be damaged or made to harm: checked to the last byte, within bounds, no links."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any

from experiments.base.errors import ExperimentError

MOST_UNPACKED = 128 * 2**30  # bytes
MOST_MEMBERS = 10**6
BLOCK = 2**20  # bytes
OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
# what reading a damaged archive may raise, beside OSError, which a full disk raises too
DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError, NotImplementedError,
    ValueError, LookupError, OverflowError, MemoryError, struct.error, AttributeError, TypeError,
)  # fmt: skip


def unpack(archive: Path, folder: Path, url: str) -> None:
    """Unpack a zip or tar file, plain or compressed by gzip, bzip2 or xz, into a folder.

    Args:
        archive: the file; a folder beside it must be writable.
        folder: where to; no member may lead outside of it.
        url: where the archive is from, for messages.

    Raises:
        ExperimentError: no archive, a damaged or incomplete one, one that holds links or devices or leads outside of
            the folder, or that would fill more than `MOST_UNPACKED` bytes. OSError: the disk is full.
    """
    try:
        with archive.open("rb") as file:
            first = file.read(6)
        if first.startswith(b"PK") and zipfile.is_zipfile(archive):  # a tar file may end with a zip file
            _unpack_zip(archive, folder, url)
        else:
            plain = archive.with_name("plain")
            _expand(archive, plain, url, first)
            _unpack_tar(plain, folder, url)
    except DAMAGE as error:
        raise damaged(url, error) from error


def damaged(url: str, error: BaseException | str) -> ExperimentError:
    """What to say of an archive that cannot be read to its end."""
    return ExperimentError(f"{url} is damaged and cannot be unpacked ({str(error) or type(error).__name__}).")


def _unpack_zip(archive: Path, folder: Path, url: str) -> None:
    """Every member is checked by its sum as it is read."""
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        _check_amount(len(members), sum(member.file_size for member in members), url)
        for member in members:
            _check_inside(member.filename, url)
        packed.extractall(folder)  # makes plain files and folders only


def _expand(archive: Path, plain: Path, url: str, first: bytes) -> None:
    """Write what a compressed file holds, to its very end, where its sum is checked; a plain file is moved."""
    opener: Any = next((opener for magic, opener in OPENERS.items() if first.startswith(magic)), None)
    if opener is None:
        archive.rename(plain)
        return
    size = 0
    with opener(archive, "rb") as packed, plain.open("wb") as file:
        while block := _read(packed, url):
            size += len(block)
            _check_amount(1, size, url)
            file.write(block)


def _read(packed: IO[bytes], url: str) -> bytes:
    try:
        return packed.read(BLOCK)
    except OSError as error:  # gzip and bzip2 say so that a sum is wrong
        raise damaged(url, error) from error


def _unpack_tar(plain: Path, folder: Path, url: str) -> None:
    """A tar file has no sum of its members: it must be one from its first to its last block."""
    try:
        tar = tarfile.open(plain, "r:")  # noqa: SIM115  # closed below
    except tarfile.TarError as error:
        raise ExperimentError(
            f"{url} is neither a zip nor a tar archive: perhaps it is a page about one, or it is damaged."
        ) from error
    with tar:
        members = tar.getmembers()
        _check_amount(len(members), sum(member.size for member in members), url)
        for member in members:
            _check_inside(member.name, url)
            if not (member.isfile() or member.isdir()):
                raise ExperimentError(f"{url} is not a data set: {member.name} is neither a file nor a folder.")
            if member.size < 0:
                raise damaged(url, f"{member.name} has a size of {member.size}")
            member.mode = 0o755 if member.isdir() else 0o644
        _check_end(plain, tar.offset, url)
        tar.extractall(folder, members)


def _check_end(plain: Path, end: int, url: str) -> None:
    """ExperimentError unless zeros follow the last member: a header that cannot be read ends the list just as well."""
    with plain.open("rb") as file:
        file.seek(end)
        while block := file.read(BLOCK):
            if block.strip(b"\0"):
                raise damaged(url, f"what stands at byte {end:,} is no member")
        if file.tell() < end + tarfile.BLOCKSIZE:
            raise damaged(url, "it breaks off")


def _check_amount(members: int, size: int, url: str) -> None:
    if members > MOST_MEMBERS or size > MOST_UNPACKED:
        raise ExperimentError(
            f"{url} is not unpacked: it would be more than {MOST_MEMBERS:,} files or {MOST_UNPACKED >> 30} GiB."
        )


def _check_inside(name: str, url: str) -> None:
    """ExperimentError where a member's name leads outside of the folder it is unpacked in."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise ExperimentError(f"{url} is not to be trusted: its member {name!r} leads outside of the folder.")
