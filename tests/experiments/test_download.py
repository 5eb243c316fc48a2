"""Archives fetched from a file:// address: unpacked as a whole or not at all."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import random
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from experiments.base.errors import ExperimentError
from experiments.data import archives, download, modelnet40
from experiments.data.download import download_archive


def make_zip(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in files.items():
            packed.writestr(name.replace("__", "/"), content)
    return path


def make_tar(path: Path, members: list[tarfile.TarInfo], content: bytes = b"data") -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for member in members:
            member.size = len(content) if member.isfile() else 0
            packed.addfile(member, io.BytesIO(content) if member.isfile() else None)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o7000
    return info


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / "root"


def test_a_zip_is_checked_and_unpacked(tmp_path: Path, root: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", set__train__x="1", set__test="2", other="3")
    found = download_archive(archive.as_uri(), root, hashlib.md5(archive.read_bytes()).hexdigest())
    assert found == [root / "other", root / "set"]
    assert (root / "set/train/x").read_text() == "1"
    assert (root / "set/test").read_text() == "2"
    assert sorted(os.listdir(root)) == ["other", "set"]  # nothing else stays


def test_a_tar_is_unpacked_with_ordinary_rights(tmp_path: Path, root: Path) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", [member("set", tarfile.DIRTYPE), member("set/x")])
    assert download_archive(archive.as_uri(), root) == [root / "set"]
    assert (root / "set/x").read_bytes() == b"data"
    assert (root / "set/x").stat().st_mode & 0o7777 == 0o644


def test_what_is_wrong_leaves_the_folder_as_it_was(tmp_path: Path, root: Path) -> None:
    root.mkdir(parents=True)
    (root / "set").mkdir()
    good = make_zip(tmp_path / "good.zip", set__x="1")
    cut = tmp_path / "cut.zip"
    whole = make_zip(tmp_path / "b.zip", new__x="1" * 5000).read_bytes()
    cut.write_bytes(whole[:2000])
    flipped = tmp_path / "flipped.zip"
    flipped.write_bytes(whole.replace(b"11111111", b"11111110", 1))
    page = tmp_path / "page.zip"
    page.write_text("<html>moved</html>")
    climbing_zip = make_zip(tmp_path / "climb.zip", **{"fine": "1", "..__evil": "2"})
    rooted_zip = make_zip(tmp_path / "rooted.zip", __evil="2")
    climbing_tar = make_tar(tmp_path / "climb.tar.gz", [member("fine"), member("a/../../evil")])
    link_tar = make_tar(tmp_path / "link.tar.gz", [member("way", tarfile.SYMTYPE, "/tmp"), member("way/evil")])
    empty = make_zip(tmp_path / "empty.zip")
    for url, md5, message in (
        (good.as_uri(), None, "already holds set: move it away"),
        (good.as_uri(), "0" * 32, "is damaged .its md5 is .* sent another file than the one wanted"),
        (cut.as_uri(), None, "neither a zip nor a tar archive"),
        (flipped.as_uri(), None, "is damaged and cannot be unpacked"),
        (page.as_uri(), None, "perhaps it is a page"),
        (climbing_zip.as_uri(), None, r"its member '\.\./evil' leads outside"),
        (rooted_zip.as_uri(), None, "its member '/evil' leads outside"),
        (climbing_tar.as_uri(), None, "leads outside"),
        (link_tar.as_uri(), None, "way is neither a file nor a folder"),
        (empty.as_uri(), None, "is empty"),
        ((tmp_path / "none.zip").as_uri(), None, "cannot be fetched"),
        ("ftp://example.org/a.zip", None, "starts with https://"),
        ("a.zip", None, "starts with https://"),
    ):
        with pytest.raises(ExperimentError, match=message):
            download_archive(url, root, md5)
        assert os.listdir(root) == ["set"]
        assert os.listdir(root / "set") == []
    assert not (root.parent / "evil").exists()


def test_a_full_disk_is_told_and_cleaned_up(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    archive = make_zip(tmp_path / "a.zip", set__x="1")
    monkeypatch.setattr(zipfile.ZipFile, "extractall", full)
    with pytest.raises(ExperimentError, match="No space left on device"):
        download_archive(archive.as_uri(), root)
    assert os.listdir(root) == []


def test_an_interruption_leaves_nothing(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    archive = make_zip(tmp_path / "a.zip", set__x="1")
    monkeypatch.setattr(download, "_move", stop)
    with pytest.raises(KeyboardInterrupt):
        download_archive(archive.as_uri(), root)
    assert os.listdir(root) == []


class Response(io.BytesIO):
    """What an address answers, with headers of its own."""

    def __init__(self, content: bytes, headers: dict[str, str]) -> None:
        super().__init__(content)
        self.headers = headers


def answer(monkeypatch: pytest.MonkeyPatch, content: bytes, **headers: str) -> None:
    own = {name.replace("_", "-"): value for name, value in headers.items()}
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: Response(content, own))


def test_a_connection_that_breaks_off_is_told(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = make_zip(tmp_path / "a.zip", set__x="1").read_bytes()
    answer(monkeypatch, content[:40], Content_Length=str(len(content)))
    with pytest.raises(ExperimentError, match=f"broke off after 40 of {len(content)} bytes"):
        download_archive("https://example.org/a.zip", root)


@pytest.mark.parametrize("length", ["", "abc", "-5", "1e3", "12 34", "9" * 30, "²"])
def test_a_length_that_is_none_does_not_count(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, length: str
) -> None:
    answer(monkeypatch, make_zip(tmp_path / "a.zip", set__x="1").read_bytes(), Content_Length=length)
    assert download_archive("https://example.org/a.zip", root) == [root / "set"]


def test_what_is_too_large_is_given_up(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = make_zip(tmp_path / "a.zip", set__x="1").read_bytes()
    monkeypatch.setattr(download, "MOST", 100)
    for headers in ({}, {"Content_Length": str(2**60)}):
        answer(monkeypatch, content, **headers)
        with pytest.raises(ExperimentError, match=r"is larger than .* GiB"):
            download_archive("https://example.org/a.zip", root)
    assert os.listdir(root) == []


def test_what_is_too_slow_is_given_up(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, make_zip(tmp_path / "a.zip", set__x="1").read_bytes())
    clock = iter(range(0, 10**6, 30_000))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with pytest.raises(ExperimentError, match="took longer than 6 hours"):
        download_archive("https://example.org/a.zip", root)


@pytest.mark.parametrize("url", ["https://[bad/a.zip", "http://example.org:port/a.zip", "file:///tmp"])
def test_an_address_that_is_none_is_told(root: Path, url: str) -> None:
    with pytest.raises(ExperimentError, match="cannot be fetched"):
        download_archive(url, root)


def test_what_would_fill_the_disk_is_not_unpacked(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_UNPACKED", 10**6)
    (tmp_path / "zeros").write_bytes(bytes(2 * 10**6))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(tmp_path / "zeros")
    for kind in ("gz", "bz2", "xz"):
        with tarfile.open(tmp_path / f"a.tar.{kind}", f"w:{kind}") as tar:
            tar.add(tmp_path / "zeros")
    claims = tarfile.TarInfo("claims")
    claims.size = 10**12
    (tmp_path / "a.tar").write_bytes(claims.tobuf() + bytes(1024))
    for path in sorted(tmp_path.glob("a.*")):
        with pytest.raises(ExperimentError, match=r"is not unpacked|is damaged"):
            download_archive(path.as_uri(), root)
    monkeypatch.setattr(archives, "MOST_MEMBERS", 1)
    with pytest.raises(ExperimentError, match="is not unpacked: it would be more than 1 files"):
        download_archive(make_zip(tmp_path / "b.zip", a="1", b="2").as_uri(), root)
    assert os.listdir(root) == []


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", ""])
def test_a_tar_without_a_known_sum_is_checked_to_its_end(tmp_path: Path, root: Path, kind: str) -> None:
    """Cut anywhere, or with a spoiled sum or a spoiled header, it is not taken for a shorter one."""
    plain, path = tmp_path / "plain.tar", tmp_path / "a.tar"
    with tarfile.open(plain, "w") as tar:
        for name in ("set/x", "set/y", "set/z"):
            info = tarfile.TarInfo(name)
            info.size = 700
            tar.addfile(info, io.BytesIO(os.urandom(700)))
    content = plain.read_bytes()
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "": bytes}[kind]
    path.write_bytes(pack(content))
    assert download_archive(path.as_uri(), root) == [root / "set"]
    shutil.rmtree(root / "set")
    header = 512 + 1024 + 100  # in the second member's header: its rights
    spoiled = [content[:header] + b"!!" + content[header + 2 :], content[: 2 * 1536], content[: 2 * 1536 + 300]]
    whole = pack(content)
    files = [pack(each) for each in spoiled]
    files += [whole[: len(whole) // 2], whole[:-1]] if kind else [content[:3000]]
    if kind:
        middle = len(whole) // 2
        files += [
            whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :] for place in (middle, len(whole) - 6)
        ]
    for each in files:
        path.write_bytes(each)
        with pytest.raises(ExperimentError, match="is damaged and cannot be unpacked"):
            download_archive(path.as_uri(), root)
        assert os.listdir(root) == []


def test_random_damage_of_archives_is_told(tmp_path: Path, root: Path) -> None:
    draw = random.Random(0)
    wholes = [make_zip(tmp_path / "a.zip", set__x="1" * 300, set__y="2").read_bytes()]
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_LZMA) as packed:
        packed.writestr("set/x", "1" * 300)
    wholes.append((tmp_path / "b.zip").read_bytes())
    for kind in ("gz", "bz2", "xz"):
        wholes.append(make_tar_of(tmp_path / f"a.tar.{kind}", kind).read_bytes())
    path = tmp_path / "spoiled"
    for whole in wholes:
        for _ in range(25):
            content = bytearray(whole)
            for _ in range(draw.randint(1, 4)):
                content[draw.randrange(len(content))] = draw.randrange(256)
            path.write_bytes(content[: draw.randrange(len(content))] if draw.random() < 0.2 else content)
            try:
                found = download_archive(path.as_uri(), root)
            except ExperimentError:
                found = []
            for each in found:
                shutil.rmtree(each) if each.is_dir() else each.unlink()
            assert os.listdir(root) == []


def make_tar_of(path: Path, kind: str) -> Path:
    with tarfile.open(path, f"w:{kind}") as packed:
        info = tarfile.TarInfo("set/x")
        info.size = 300
        packed.addfile(info, io.BytesIO(b"1" * 300))
    return path


def test_known_checksums() -> None:
    assert download.KNOWN_MD5 == {"modelnet40": modelnet40.MD5}
