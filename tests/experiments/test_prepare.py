"""ModelNet's archive from meshes and from the HDF5 release: what is drawn, where from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from experiments.__main__ import main
from experiments.base.errors import ExperimentError
from experiments.data import load_data
from experiments.data.meshes import Mesh, draw_points, read_off

SQUARE = "OFF\n4 1 0\n0 0 5\n1 0 5\n1 1 5\n0 1 5\n4 0 1 2 3\n"
#: a triangle of area 1/2 in the plane z = 0, and one of area 3/2 in the plane z = 1
TWO = "OFF\n6 2 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1\n0 1 1\n3 0 1 2\n3 3 4 5\n"


def off(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mesh.off"
    path.write_text(text)
    return path


def test_off_files_of_triangles_and_polygons(tmp_path: Path) -> None:
    mesh = read_off(off(tmp_path, TWO))
    assert mesh.vertices[4].tolist() == [3, 0, 1]
    assert mesh.triangles.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read_off(off(tmp_path, SQUARE)).triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    glued = read_off(off(tmp_path, "OFF" + SQUARE.removeprefix("OFF\n") + "# a comment\n"))
    assert glued.vertices.shape == (4, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no OFF file"),
        ("PLY\n", "begins with 'PLY'"),
        (SQUARE[:-6], "breaks off"),
        (SQUARE.replace("4 1 0", "4 x 0"), "invalid literal"),
        (SQUARE.replace("4 1 0", "4 0 0"), "has no faces"),
        (SQUARE.replace("4 0 1 2 3", "4 0 1 2 9"), "vertices that are not there"),
        (SQUARE.replace("4 0 1 2 3", "2 0 1 2 3"), "a face has 2 corners"),
        (SQUARE.replace("4 0 1 2 3", "5 0 1 2 3"), "breaks off within its faces"),
        (SQUARE.replace("1 1 5", "1 nan 5"), "infinite coordinates"),
        ("OFF\n99999999999999999999 1 0\n", "breaks off"),
    ],
)
def test_damaged_off_files_say_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ExperimentError, match=rf"mesh\.off.*{message}"):
        read_off(off(tmp_path, text))


def test_points_lie_on_the_surface_by_area(tmp_path: Path) -> None:
    points = draw_points(read_off(off(tmp_path, TWO)), 20_000, np.random.default_rng(0))
    low, high = points[points[:, 2] < 1e-9], points[np.abs(points[:, 2] - 1) < 1e-9]
    assert len(low) + len(high) == 20_000
    assert len(high) / 20_000 == pytest.approx(0.75, abs=0.01)
    assert (low[:, :2].sum(1) <= 1 + 1e-9).all()
    assert (low >= 0).all()
    # uniform within a triangle: the mean is its centre of mass, and half of the points are nearer than half to a corner
    np.testing.assert_allclose(low.mean(0), [1 / 3, 1 / 3, 0], atol=0.01)
    assert (low[:, 0] < 0.5).mean() == pytest.approx(0.75, abs=0.02)


def test_a_mesh_without_area_is_refused() -> None:
    flat = Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]]))
    with pytest.raises(ExperimentError, match="without area"):
        draw_points(flat, 5, np.random.default_rng(0))


def meshes(root: Path) -> Path:
    """Two classes whose shapes are told apart by their number of faces."""
    for name, text, shapes in (("sofa", SQUARE, 3), ("bed", TWO, 2)):
        for split, start in (("train", 1), ("test", 100)):
            folder = root / "meshes" / name / split
            folder.mkdir(parents=True)
            for k in range(start, start + shapes):
                (folder / f"{name}_{k:04}.off").write_text(text)
    return root / "meshes"


def test_prepare_makes_an_archive_of_meshes_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXKIT_DATA", str(tmp_path / "data"))
    folder = meshes(tmp_path)
    assert main(["prepare", "modelnet10", str(folder), "--points", "64"]) == 0
    data = load_data("points", "modelnet10", [tmp_path / "data"])
    assert data.classes == ("bed", "sofa")
    assert data.train.shape == (5, 64, 3)
    assert data.train_labels.tolist() == [0, 0, 1, 1, 1]
    assert data.test_labels.tolist() == [0, 0, 1, 1, 1]
    points = data.train.float()
    torch.testing.assert_close(points.mean(1), torch.zeros(5, 3), atol=2e-3, rtol=0)
    torch.testing.assert_close(points.norm(dim=2).amax(1), torch.ones(5), atol=2e-3, rtol=0)
    assert points[2:, :, 2].abs().max() < 1e-3  # squares stay flat
    assert not torch.equal(points[2], points[3])  # each file has draws of its own
    assert main(["prepare", "modelnet10", str(folder), "--points", "64", "--output", str(tmp_path / "again.npz")]) == 0
    again = np.load(tmp_path / "again.npz")
    assert np.array_equal(again["points_train"], data.train.numpy())


def test_prepare_refuses_what_it_cannot_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, there = meshes(tmp_path), tmp_path / "there.npz"
    there.touch()
    for arguments, message in (
        ([str(folder), "--output", str(there)], "there.npz exists"),
        ([str(tmp_path / "none"), "--output", str(tmp_path / "new.npz")], "is not a folder"),
        ([str(folder / "bed"), "--output", str(tmp_path / "new.npz")], "holds no folders CLASS/train and CLASS/test"),
    ):
        assert main(["prepare", "modelnet10", *arguments]) == 2
        assert message in capsys.readouterr().err
    (folder / "bed/train/bed_0001.off").write_text("OFF\n3 1 0\n")
    assert main(["prepare", "modelnet10", str(folder), "--output", str(tmp_path / "new.npz")]) == 2
    assert "bed_0001.off is damaged" in capsys.readouterr().err


def test_prepare_brings_the_hdf5_release_into_the_same_form(tmp_path: Path) -> None:
    folder = tmp_path / "modelnet40_ply_hdf5_2048"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for split, shapes in (("train", 3), ("test", 2)):
        with h5py.File(folder / f"ply_data_{split}0.h5", "w") as file:
            file.create_dataset("data", data=generator.random((shapes, 70, 3)).astype(np.float16).astype(np.float32))
            file.create_dataset("label", data=np.arange(shapes, dtype=np.uint8)[:, None])
        (folder / f"{split}_files.txt").write_text(f"ply_data_{split}0.h5\n")
    (folder / "shape_names.txt").write_text("\n".join(f"thing_{k}" for k in range(40)))
    output = tmp_path / "archive" / "modelnet40.npz"
    assert main(["prepare", "modelnet40", str(folder), "--points", "64", "--output", str(output)]) == 0
    official = load_data("points", "modelnet40", [tmp_path], num_points=64)
    archive = load_data("points", "modelnet40", [output.parent], num_points=64)
    assert torch.equal(archive.train.float(), official.train)  # the same axes, whichever of the two is read
    assert torch.equal(archive.test.float(), official.test)
    assert archive.test_labels.tolist() == [0, 1]
    assert archive.classes == official.classes
