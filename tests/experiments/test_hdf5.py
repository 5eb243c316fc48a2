"""HDF5 files that are damaged or made to harm: one sentence each, and nothing read of other files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from experiments.base.errors import ExperimentError
from experiments.data.hdf5 import listed_files, read_shapes

POINTS, LABELS = np.zeros((4, 5, 3), np.float32), np.zeros((4, 1), np.uint8)


def write(path: Path, **changes: object) -> None:
    with h5py.File(path, "w") as file:
        for name, value in {"data": POINTS, "label": LABELS, **changes}.items():
            if callable(value):
                value(file, name)
            elif value is not None:
                file[name] = value


def external(file: h5py.File, name: str) -> None:
    file[name] = h5py.ExternalLink("secret.h5", "data")


def raw(file: h5py.File, name: str) -> None:
    file.create_dataset(name, (4, 5, 3), np.float32, external=[("/etc/hostname", 0, 240)])


def virtual(file: h5py.File, name: str) -> None:
    layout = h5py.VirtualLayout((4, 5, 3), np.float32)
    layout[:] = h5py.VirtualSource("secret.h5", "data", shape=(4, 5, 3))
    file.create_virtual_dataset(name, layout)


def soft(file: h5py.File, name: str) -> None:
    file[name] = h5py.SoftLink("/nowhere")


def group(file: h5py.File, name: str) -> None:
    file.create_group(name)


def huge(shape: tuple[int, ...]) -> Callable[[h5py.File, str], None]:
    return lambda file, name: file.create_dataset(name, shape, np.float32, chunks=(1, 64, 3))


def empty(file: h5py.File, name: str) -> None:
    file[name] = h5py.Empty("f")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": external}, "data is no array within the file"),
        ({"data": raw}, "data is no array within the file"),
        ({"data": virtual}, "data is no array within the file"),
        ({"data": soft}, "data is no array within the file"),
        ({"data": group}, "data is no array within the file"),
        ({"data": empty}, "data holds .*, not finite numbers"),
        ({"data": huge((10**9, 10**6, 3))}, "data is larger than 4 GiB"),
        ({"data": huge((10**4, 2048, 3))}, r"data claims to be \(10000, 2048, 3\), of which the file holds next to"),
        ({"data": None}, "lacks data"),
        ({"data": "text"}, "data holds object, not finite numbers"),
        ({"data": np.full((4, 5, 3), b"2020-01-01")}, "data holds .*, not finite numbers"),
        ({"data": POINTS.astype(complex)}, "data holds complex128, not finite numbers"),
        ({"data": POINTS.astype(np.float64) + 1e300}, "data holds coordinates that are not finite numbers within"),
        ({"data": POINTS + 1e19}, "data holds coordinates that are not finite numbers within"),
        ({"data": POINTS.astype(int)}, "data holds coordinates that are not finite numbers"),
        ({"label": np.full(4, np.nan)}, "label holds values that are not labels"),
        ({"label": np.full(4, 1.5)}, "label holds values that are not labels"),
        ({"label": np.full(4, -1.0)}, "label holds values that are not labels"),
        ({"label": np.full(4, 2**63, np.uint64)}, "label holds values that are not labels"),
        ({"label": np.zeros(4, complex)}, "label holds complex128, not finite numbers"),
        ({"label": np.array([b"a"] * 4)}, "label holds .*, not finite numbers"),
        ({"label": np.zeros(4, bool)}, "label holds bool, not finite numbers"),
    ],
)
def test_what_is_no_point_set_is_one_sentence(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    write(tmp_path / "secret.h5", data=POINTS)
    write(tmp_path / "a.h5", **changes)
    with pytest.raises(ExperimentError, match=message) as caught:
        read_shapes([tmp_path / "a.h5"], 10)
    assert "\n" not in str(caught.value)


def test_floats_that_are_labels_and_another_byte_order(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", data=(POINTS + 1).astype(">f8"), label=np.array([0.0, 1, 2, 9], ">f4"))
    shapes = read_shapes([tmp_path / "a.h5"], 10)
    assert shapes.labels.tolist() == [0, 1, 2, 9]
    assert (shapes.points == 1).all()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_lists_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "mübel.h5").write_bytes(b"")
    (tmp_path / "list.txt").write_text("data/mübel.h5\n\n", encoding=encoding)
    assert listed_files(tmp_path, "list.txt", "get it") == [tmp_path / "mübel.h5"]
    (tmp_path / "list.txt").write_bytes(b"a\0b\n\xff")
    with pytest.raises(ExperimentError, match="lacks"):
        listed_files(tmp_path, "list.txt", "get it")
