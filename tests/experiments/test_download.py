"""Archives fetched from a file:// address: unpacked as a whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from experiments.data import download, modelnet40
from experiments.data.download import download_archive
from experiments.errors import ExperimentError


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
    monkeypatch.setattr(download.zipfile.ZipFile, "extractall", full)
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


def test_a_connection_that_breaks_off_is_told(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_zip(tmp_path / "a.zip", set__x="1")
    monkeypatch.setattr(download.shutil, "copyfileobj", lambda source, target, length: target.write(source.read(40)))
    with pytest.raises(ExperimentError, match="broke off after 40 of"):
        download_archive(archive.as_uri(), root)


def test_known_checksums() -> None:
    assert download.KNOWN_MD5 == {"modelnet40": modelnet40.MD5}
