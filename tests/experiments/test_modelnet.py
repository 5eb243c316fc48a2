"""ModelNet10 and ModelNet40 as NumPy archives: what is read, and what is said of archives that are damaged."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.base.errors import ExperimentError
from experiments.data import load_data, modelnet


def write_npz(path: Path, **changes: np.ndarray | None) -> None:
    arrays: dict[str, np.ndarray | None] = {
        "points_train": np.arange(90, dtype=np.float16).reshape(6, 5, 3),
        "labels_train": np.arange(6, dtype=np.uint8) % 2,
        "points_test": np.ones((4, 5, 3), np.float16),
        "labels_test": np.arange(4, dtype=np.uint8) % 2,
        "classes": np.array(["bed", "sofa"]),
    }
    arrays.update(changes)
    np.savez(path / "modelnet10.npz", **{name: array for name, array in arrays.items() if array is not None})


def test_modelnet10_reads_its_arrays(tmp_path: Path) -> None:
    write_npz(tmp_path)
    data = load_data("points", "modelnet10", [tmp_path / "none", tmp_path])
    assert data.train.shape == (6, 5, 3)
    assert data.classes == ("bed", "sofa")
    assert torch.equal(load_data("points", "modelnet10", [tmp_path], num_points=2).train, data.train[:, :2])
    assert data.test_labels.tolist() == [0, 1, 0, 1]
    assert data.prepare(data.test).dtype == torch.float32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels_test": None}, "lacks labels_test"),
        ({"points_train": np.zeros((6, 3), np.float16)}, r"points_train is \(6, 3\).*wanted \(n, N, 3\)"),
        ({"labels_train": np.zeros(5, np.uint8)}, r"labels_train \(5,\)"),
        ({"labels_train": np.full(6, 9, np.uint8)}, r"labels_train holds values that are not labels, 0 \.\.\. 1"),
        ({"labels_train": np.full(6, 0.5)}, "labels_train holds values that are not labels, but float64"),
        ({"points_train": np.zeros((6, 5, 3), complex)}, "points_train holds coordinates that are not finite"),
        ({"classes": np.array([1.0, 2.0])}, "classes holds values that are no names"),
        ({"points_test": np.zeros((0, 5, 3)), "labels_test": np.zeros(0, int)}, "has no samples"),
        ({"points_test": np.full((4, 5, 3), np.nan, np.float16)}, "points_test holds coordinates that are not finite"),
        ({"points_test": np.full((4, 5, 3), 1e300)}, "not finite numbers within 1,000,000"),
        ({"points_test": np.full((4, 5, 3), 1e19, np.float32)}, "not finite numbers within 1,000,000"),
        ({"points_test": np.full((4, 5, 3), "a")}, "points_test holds coordinates that are not finite"),
        ({"points_test": np.full((4, 5, 3), np.datetime64("2020"))}, "points_test holds coordinates"),
        ({"labels_test": np.array([0, 1, 0, 2**63], np.uint64)}, "labels_test holds values that are not labels"),
        ({"labels_test": np.array([0, 1, 0, -1])}, "labels_test holds values that are not labels"),
        ({"labels_test": np.array([0, 1, 0, 1j])}, "labels_test holds values that are not labels, but complex128"),
        ({"labels_test": np.array(["0", "1", "0", "1"])}, "labels_test holds values that are not labels, but <U1"),
        ({"classes": np.array([["bed", "sofa"]])}, r"classes \(1, 2\)"),
        ({"classes": np.array(["bed", None])}, "is damaged and cannot be read"),
    ],
)
def test_modelnet10_with_wrong_arrays_says_which(tmp_path: Path, changes: dict, message: str) -> None:
    write_npz(tmp_path, **changes)
    with pytest.raises(ExperimentError, match=message):
        modelnet.load_modelnet10([tmp_path])


def test_modelnet10_damaged_or_absent(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"modelnet10\.npz is not in .*points_train.*--data-root"):
        modelnet.load_modelnet10([tmp_path])
    write_npz(tmp_path, points_train=np.random.default_rng(0).random((6, 500, 3)))
    file = tmp_path / "modelnet10.npz"
    whole = file.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"hello", whole[:5000] + bytes(200) + whole[5200:]):
        file.write_bytes(broken)
        with pytest.raises(ExperimentError, match="is damaged and cannot be read"):
            modelnet.load_modelnet10([tmp_path])


@pytest.mark.parametrize("name", ["modelnet10", "modelnet40"])
def test_real_shapes(real_root: Path, name: str) -> None:
    data = load_data("points", name, [real_root])
    assert data.classes == ("airplane", "bottle", "car", "chair", "guitar", "lamp", "person", "table")
    assert (data.train.shape, data.test.shape) == ((24, 1024, 3), (8, 1024, 3))
    points = data.prepare(torch.cat([data.train, data.test]))
    torch.testing.assert_close(points.norm(dim=2).amax(1), torch.ones(32), atol=2e-3, rtol=0)
    labels = torch.cat([data.train_labels, data.test_labels])
    cars, bottles = (points[labels == data.classes.index(name)].std(1).mean(0) for name in ("car", "bottle"))
    up, across = (2, [0, 1]) if name == "modelnet10" else (1, [0, 2])  # y is up in ModelNet40's official release
    assert bottles[up] > 2 * bottles[across].max()
    assert cars[up] < cars[across].max() / 1.5


def test_an_archive_in_two_files(tmp_path: Path) -> None:
    write_npz(tmp_path)
    whole = dict(np.load(tmp_path / "modelnet10.npz"))
    (tmp_path / "modelnet10.npz").unlink()
    for split in ("train", "test"):
        own = {key: value for key, value in whole.items() if split in key or key == "classes"}
        np.savez(tmp_path / f"modelnet40_{split}.npz", **own)
    data = load_data("points", "modelnet40", [tmp_path], num_points=4)
    for read, stored in ((data.train, whole["points_train"]), (data.test, whole["points_test"])):
        assert np.array_equal(read.numpy(), stored[:, :4, [0, 2, 1]] * np.array([1, 1, -1]))
    np.savez(tmp_path / "modelnet40_test.npz", **{**own, "classes": np.array(["bed", "desk"])})
    with pytest.raises(ExperimentError, match="do not belong together: they name other classes"):
        load_data("points", "modelnet40", [tmp_path], num_points=4)
    (tmp_path / "modelnet40_test.npz").unlink()
    with pytest.raises(ExperimentError, match=r"modelnet40_train\.npz is there, but modelnet40_test\.npz is not in"):
        load_data("points", "modelnet40", [tmp_path])


def test_the_official_release_comes_before_an_archive(real_root: Path, tmp_path: Path) -> None:
    (tmp_path / "modelnet40_ply_hdf5_2048").mkdir()
    with pytest.raises(ExperimentError, match=r"shape_names\.txt is absent"):
        load_data("points", "modelnet40", [real_root, tmp_path])


@pytest.mark.parametrize("dtype", [">f4", ">f8", np.longdouble, np.float64])
def test_coordinates_of_any_precision_and_byte_order(tmp_path: Path, dtype: str) -> None:
    write_npz(
        tmp_path, points_train=np.arange(90).reshape(6, 5, 3).astype(dtype), labels_test=np.arange(4, dtype=">i8") % 2
    )
    data = modelnet.load_modelnet10([tmp_path])
    assert data.train.dtype == torch.float32
    assert data.train.flatten().tolist() == list(range(90))
    assert data.test_labels.tolist() == [0, 1, 0, 1]


def test_names_in_any_encoding(tmp_path: Path) -> None:
    write_npz(tmp_path, classes=np.array(["Stühle".encode(), "Ti\xdf".encode("latin-1")]))
    assert modelnet.load_modelnet10([tmp_path]).classes == ("Stühle", "Tiß")


def header(shape: str, kind: str = "<f4") -> bytes:
    """The beginning of an .npy file, whatever it claims."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        header("(4, 5, 3)"),
        header("(1000000000000, 5, 3)") + bytes(60),
        header("(100000000000000000000000, 5, 3)") + bytes(60),
        header("(-4, 5, 3)") + bytes(60),
        header("(4, 5, 3)", "|O") + bytes(60),
        header("('a',)"),
        header("(" * 300),
        b"\x93NUMPY\x09\x00" + bytes(80),
        b"\x93NUMPY\x03\x00" + bytes(80),
        b"",
    ],
)
def test_claims_are_checked(tmp_path: Path, content: bytes) -> None:
    write_npz(tmp_path)
    whole = dict(np.load(tmp_path / "modelnet10.npz"))
    with zipfile.ZipFile(tmp_path / "modelnet10.npz", "w") as packed:
        for name, array in whole.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            packed.writestr(f"{name}.npy", content if name == "points_test" else buffer.getvalue())
    with pytest.raises(ExperimentError, match="is damaged and cannot be read"):
        modelnet.load_modelnet10([tmp_path])


def test_other_files_under_that_name(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "a.npy").rename(tmp_path / "modelnet10.npz")
    with pytest.raises(ExperimentError, match="is damaged and cannot be read"):
        modelnet.load_modelnet10([tmp_path])
    (tmp_path / "modelnet10.npz").unlink()
    (tmp_path / "modelnet10.npz").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ExperimentError, match=r"modelnet10\.npz is not in"):
        modelnet.load_modelnet10([tmp_path])
    (tmp_path / "modelnet10.npz").unlink()
    (tmp_path / "modelnet10.npz").mkdir()
    with pytest.raises(ExperimentError, match="is damaged and cannot be read"):
        modelnet.load_modelnet10([tmp_path])
    with pytest.raises(ExperimentError, match=r"modelnet10 cannot be read from .*File name too long"):
        load_data("points", "modelnet10", [tmp_path / ("x" * 300)])
