"""ModelNet40 and ScanObjectNN from small files in their true formats, and what is said of wrong ones."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from experiments.base.errors import ExperimentError
from experiments.data import load_data, modelnet40, scanobjectnn
from experiments.data.points import to_unit_sphere


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def write_h5(path: Path, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)


def cloud(shapes: int, points: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((shapes, points, 3)).astype(np.float32)


# ---- ModelNet40


@pytest.fixture
def modelnet40_root(tmp_path: Path) -> Path:
    """Five training files of 2 shapes and two test files of 1, as in the release; the lists name another folder."""
    folder = tmp_path / modelnet40.FOLDER
    for part, count, shapes in (("train", 5, 2), ("test", 2, 1)):
        for k in range(count):
            labels = np.arange(k, k + shapes, dtype=np.uint8)[:, None] * 6
            write_h5(folder / f"ply_data_{part}{k}.h5", data=cloud(shapes, 1030, seed=k), label=labels)
        names = [f"data/{modelnet40.FOLDER}/ply_data_{part}{k}.h5" for k in range(count)]
        (folder / f"{part}_files.txt").write_text("\n".join(names) + "\n")
    (folder / "shape_names.txt").write_text("\n".join(f"thing_{k}" for k in range(40)) + "\n")
    return tmp_path


def test_modelnet40_reads_its_files_in_order(modelnet40_root: Path) -> None:
    data = load_data("points", "modelnet40", [modelnet40_root / "none", modelnet40_root])
    wanted = np.concatenate([cloud(2, 1030, seed=k) for k in range(5)])[:, :1024]
    assert np.array_equal(data.train.numpy(), wanted)
    assert data.train_labels.tolist() == [0, 6, 6, 12, 12, 18, 18, 24, 24, 30]
    assert data.train_labels.dtype == torch.long
    assert np.array_equal(data.test.numpy(), np.concatenate([cloud(1, 1030, seed=k) for k in range(2)])[:, :1024])
    assert data.test_labels.tolist() == [0, 6]
    assert (len(data.classes), data.classes[39]) == (40, "thing_39")
    out = data.augment(data.train, generator())
    assert out.index is not None
    assert out.batch.shape == (10, 1024, 3)


def test_modelnet40_takes_as_many_points_as_asked_for(modelnet40_root: Path) -> None:
    assert load_data("points", "modelnet40", [modelnet40_root], num_points=1030).test.shape == (2, 1030, 3)
    with pytest.raises(ExperimentError, match="ModelNet40 has 1030 points a shape: 2048 points cannot be taken"):
        load_data("points", "modelnet40", [modelnet40_root], num_points=2048)


def test_modelnet40_absent_or_packed_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExperimentError, match=r"train_files\.txt.*c9ab8e6d.*--data-root.*Msun/modelnet40"):
        modelnet40.load_modelnet40([tmp_path])
    archive = tmp_path / modelnet40.ARCHIVE
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("file", "content")
    with pytest.raises(ExperimentError, match=r"zip is damaged \(its md5 is .*, not c9ab8e6dfb16"):
        modelnet40.load_modelnet40([tmp_path])
    monkeypatch.setattr(modelnet40, "MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    with pytest.raises(ExperimentError, match=rf"not unpacked: run `python -m zipfile -e {archive} {tmp_path}`"):
        modelnet40.load_modelnet40([tmp_path])


def test_modelnet40_with_missing_files_names_them(modelnet40_root: Path) -> None:
    folder = modelnet40_root / modelnet40.FOLDER
    (folder / "ply_data_train1.h5").unlink()
    (folder / "ply_data_train3.h5").unlink()
    with pytest.raises(ExperimentError, match=r"lacks ply_data_train1\.h5, ply_data_train3\.h5 of its train_files"):
        modelnet40.load_modelnet40([modelnet40_root])
    (folder / "train_files.txt").unlink()
    with pytest.raises(ExperimentError, match=r"lacks train_files\.txt: unpack"):
        modelnet40.load_modelnet40([modelnet40_root])
    (folder / "shape_names.txt").write_text("chair\n")
    with pytest.raises(ExperimentError, match=r"shape_names\.txt is absent or does not name 40 classes"):
        modelnet40.load_modelnet40([modelnet40_root])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"data": cloud(2, 9, 0)}, "lacks label"),
        ({"data": cloud(2, 9, 0), "label": np.zeros((3, 1))}, r"data is \(2, 9, 3\) and label \(3, 1\), wanted"),
        ({"data": cloud(2, 9, 0)[..., :2], "label": np.zeros((2, 1))}, r"data is \(2, 9, 2\)"),
        ({"data": np.zeros((0, 9, 3)), "label": np.zeros((0, 1))}, r"data is \(0, 9, 3\)"),
        ({"data": np.float32(1), "label": np.zeros((2, 1))}, r"data is \(\)"),
        ({"data": np.full((2, 9, 3), np.inf), "label": np.zeros((2, 1))}, "not finite numbers"),
        ({"data": np.zeros((2, 9, 3), "S3"), "label": np.zeros((2, 1))}, "not finite numbers"),
        (
            {"data": cloud(2, 9, 0), "label": np.full((2, 1), 40)},
            r"label holds values .* not labels, 0 \.\.\. 39",
        ),
        ({"data": cloud(2, 9, 0), "label": np.full((2, 1), -1)}, "label holds values"),
        ({"data": cloud(2, 9, 0), "label": np.full((2, 1), 0.5)}, "label holds values"),
        ({"data": cloud(2, 9, 0), "label": np.array([[0], [0]])}, r"different numbers of points: \[9, 1030\]"),
    ],
)
def test_modelnet40_with_wrong_arrays_says_which(modelnet40_root: Path, arrays: dict, message: str) -> None:
    write_h5(modelnet40_root / modelnet40.FOLDER / "ply_data_train2.h5", **arrays)
    with pytest.raises(ExperimentError, match=message):
        modelnet40.load_modelnet40([modelnet40_root])


def test_damaged_h5_files_are_told(modelnet40_root: Path) -> None:
    file = modelnet40_root / modelnet40.FOLDER / "ply_data_test1.h5"
    whole = file.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"<html>not found</html>", whole[:8] + bytes(100) + whole[108:]):
        file.write_bytes(broken)
        with pytest.raises(ExperimentError, match=r"ply_data_test1\.h5 is damaged and cannot be read .*get it again"):
            modelnet40.load_modelnet40([modelnet40_root])


# ---- ScanObjectNN


def write_scans(root: Path, variant: str, points: int = 40) -> None:
    about = scanobjectnn.VARIANTS[variant]
    for seed, (part, count) in enumerate((("training", 4), ("test", 3))):
        data = cloud(count, points, seed) * 0.1 + 5  # neither centred nor scaled
        mask = np.full((count, points), -1, np.int32)
        write_h5(
            root / about.folder / f"{part}_{about.suffix}", data=data, label=np.arange(count, dtype=np.int32), mask=mask
        )


@pytest.mark.parametrize("place", scanobjectnn.PLACES)
@pytest.mark.parametrize(
    ("variant", "file"),
    [
        ("obj-only", "main_split_nobg/training_objectdataset.h5"),
        ("obj-bg", "main_split/training_objectdataset.h5"),
        ("pb-t50-rs", "main_split/training_objectdataset_augmentedrot_scale75.h5"),
    ],
)
def test_scanobjectnn_reads_each_variant_from_its_files(tmp_path: Path, place: str, variant: str, file: str) -> None:
    write_scans(tmp_path / place, variant)
    assert (tmp_path / place / file).is_file()
    data = load_data("points", f"scanobjectnn-{variant}", [tmp_path], num_points=30)
    assert data.name == f"scanobjectnn-{variant}"
    assert data.train.shape == (4, 40, 3)  # all of them, since each batch draws its own
    torch.testing.assert_close(data.train.norm(dim=2).amax(1), torch.ones(4))
    assert data.train_labels.tolist() == [0, 1, 2, 3]
    first = torch.from_numpy(cloud(3, 40, 1) * 0.1 + 5)[:, :30]
    first = first - first.mean(1, keepdim=True)
    torch.testing.assert_close(data.test, first / first.norm(dim=2).amax(1)[:, None, None], atol=1e-4, rtol=1e-4)
    assert len(data.classes) == 15


def test_scanobjectnn_trains_on_1024_points_by_default(tmp_path: Path) -> None:
    write_scans(tmp_path, "obj-bg", points=2048)
    data = load_data("points", "scanobjectnn-obj-bg", [tmp_path])
    assert data.test.shape == (3, 1024, 3)
    batch, index = data.augment(data.train, generator())
    assert batch.shape == (4, 1024, 3)
    assert index.shape == (4, 1024)
    with pytest.raises(ExperimentError, match="has 2048 points a shape: 2049 points"):
        load_data("points", "scanobjectnn-obj-bg", [tmp_path], num_points=2049)


def test_pick_turn_jitter_is_what_it_says() -> None:
    points = torch.from_numpy(cloud(400, 60, 3)) * 4 + 9
    batch, index = scanobjectnn.pick_turn_jitter(points, generator(), num_points=50)
    assert all(len(set(row.tolist())) == 50 for row in index)
    assert torch.bincount(index.flatten()).min() > 400 * 50 / 60 * 0.85  # every point as often as any other
    picked = points.gather(1, index[:, :, None].expand(-1, -1, 3))
    picked = picked - picked.mean(1, keepdim=True)
    picked = picked / picked.norm(dim=2).amax(1)[:, None, None]
    # the best turn about y in the plane (z, x), as a complex factor
    before, after = torch.complex(picked[..., 2], picked[..., 0]), torch.complex(batch[..., 2], batch[..., 0])
    factor = (after * before.conj()).sum(1)
    factor = factor / factor.abs()
    turned = before * factor[:, None]
    jitter = torch.stack([batch[..., 1] - picked[..., 1], (after - turned).real, (after - turned).imag])
    assert jitter[0].abs().max() <= 0.05 + 1e-6
    assert jitter.abs().max() < 0.06
    for axis in range(3):
        assert jitter[axis].std().item() == pytest.approx(0.01, rel=0.05)
    eighths = torch.histc(factor.angle(), bins=4, min=-torch.pi, max=torch.pi) / 400
    assert (eighths - 0.25).abs().max() < 0.08


def test_jitter_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanobjectnn, "JITTER", 0.1)  # at 0.01 the limit is five deviations away, and seldom met
    points = torch.from_numpy(cloud(20, 60, 3))
    batch, index = scanobjectnn.pick_turn_jitter(points, generator(), num_points=60)
    height = to_unit_sphere(points.gather(1, index[:, :, None].expand(-1, -1, 3)))[..., 1]  # turning leaves it
    assert (batch[..., 1] - height).abs().max().item() == pytest.approx(0.05, abs=1e-6)


def test_scanobjectnn_absent_says_which_files(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"put main_split_nobg/training_objectdataset\.h5 and .*zhangtao-whu"):
        load_data("points", "scanobjectnn-obj-only", [tmp_path])
    write_scans(tmp_path, "obj-bg")
    with pytest.raises(ExperimentError, match=r"PB_T50_RS is not in .*scale75.*cminst/ScanObjectNN"):
        load_data("points", "scanobjectnn-pb-t50-rs", [tmp_path])
    (tmp_path / "main_split/test_objectdataset.h5").unlink()
    with pytest.raises(ExperimentError, match=r"main_split lacks test_objectdataset\.h5"):
        load_data("points", "scanobjectnn-obj-bg", [tmp_path])
