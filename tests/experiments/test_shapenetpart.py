"""ShapeNetPart from small files in both of its true formats, and what is said of wrong ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from experiments.base.errors import ExperimentError
from experiments.data import load_data, shapenetpart


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def table(category: int, points: int, seed: int) -> np.ndarray:
    """Rows x y z nx ny nz part, the parts cycling through the category's."""
    rows = np.random.default_rng(seed).standard_normal((points, 7)).round(5)
    own = shapenetpart.PARTS_OF[category]
    rows[:, 6] = [own[i % len(own)] for i in range(points)]
    return rows


LISTED = {"train": [(0, 70), (2, 90)], "val": [(15, 64)], "test": [(4, 65), (2, 20)]}


@pytest.fixture
def text_root(tmp_path: Path) -> Path:
    folder = tmp_path / shapenetpart.TEXT_FOLDER
    (folder / "train_test_split").mkdir(parents=True)
    (folder / "synsetoffset2category.txt").write_text("Airplane\t02691156\n")
    for split, shapes in LISTED.items():
        names = []
        for k, (category, points) in enumerate(shapes):
            synset = shapenetpart.FOLDERS[category]
            (folder / synset).mkdir(exist_ok=True)
            rows = [" ".join(f"{value:.5f}" for value in row) for row in table(category, points, seed=k).tolist()]
            (folder / synset / f"{split}{k}.txt").write_text("\n".join(rows) + "\n")
            names.append(f"shape_data/{synset}/{split}{k}")
        (folder / f"train_test_split/shuffled_{split}_file_list.json").write_text(json.dumps(names))
    return tmp_path


def test_the_parts_are_the_official_ones() -> None:
    assert shapenetpart.NUM_PARTS == 50
    assert [parts[0] for parts in shapenetpart.PARTS_OF] == [0, 4, 6, 8, 12, 16, 19, 22, 24, 28, 30, 36, 38, 41, 44, 47]
    assert [part for parts in shapenetpart.PARTS_OF for part in parts] == list(range(50))
    assert shapenetpart.CLASSES[:3] == ("Airplane", "Bag", "Cap")
    assert shapenetpart.CLASSES[10] == "Motorbike"
    assert len(shapenetpart.PARTS_OF[10]) == 6


@pytest.mark.parametrize("inside", [True, False])
def test_text_layout_trains_on_train_and_val(text_root: Path, inside: bool) -> None:
    root = text_root / shapenetpart.TEXT_FOLDER if inside else text_root
    data = load_data("points", "shapenetpart", [root], num_points=60)
    assert data.train_labels.tolist() == [0, 2, 15]
    assert data.test_labels.tolist() == [4, 2]
    assert data.train.shape == (3, 60, 3)
    assert data.train_parts.shape == (3, 60)
    assert data.parts_of == shapenetpart.PARTS_OF
    assert data.num_parts == 50
    assert data.title == "ShapeNetPart (5 of 16,881 shapes)"


def test_text_layout_keeps_points_and_parts_together(text_root: Path) -> None:
    data = load_data("points", "shapenetpart", [text_root], num_points=60)
    for points, parts, (category, count), seed in (
        (data.train[1], data.train_parts[1], (2, 90), 1),
        (data.test[1], data.test_parts[1], (2, 20), 1),
    ):
        rows = table(category, count, seed)
        whole = rows[:, :3] - rows[:, :3].mean(0)
        whole /= np.linalg.norm(whole, axis=1).max()
        distance = np.linalg.norm(points.numpy()[:, None] - whole[None], axis=2)
        nearest = distance.argmin(1)
        assert distance.min(1).max() < 1e-5
        assert parts.tolist() == rows[nearest, 6].tolist()
        uses = np.bincount(nearest, minlength=count)
        assert (uses.min(), uses.max()) == ((0, 1) if count == 90 else (3, 3))  # repeats only where it must


def test_text_layout_draws_the_same_points_every_time(text_root: Path) -> None:
    first = load_data("points", "shapenetpart", [text_root], num_points=60)
    again = load_data("points", "shapenetpart", [text_root], num_points=60)
    fewer = load_data("points", "shapenetpart", [text_root], num_points=33)
    assert torch.equal(first.train, again.train)
    assert torch.equal(first.train_parts, again.train_parts)
    assert torch.equal(first.test[:, :33], fewer.test)
    assert torch.equal(first.test_parts[:, :33], fewer.test_parts)
    assert load_data("points", "shapenetpart", [text_root]).train.shape == (3, 2048, 3)
    with pytest.raises(ExperimentError, match="0 points cannot be taken"):
        load_data("points", "shapenetpart", [text_root], num_points=0)


def test_parts_stay_aligned_under_augmentation(text_root: Path) -> None:
    data = load_data("points", "shapenetpart", [text_root], num_points=60)
    batch, index = data.augment(data.train, generator())
    assert index is None
    before, after = data.train.argsort(dim=1), batch.argsort(dim=1)
    assert torch.equal(before, after)  # scaled and shifted, not shuffled


def h5_part_file(path: Path, categories: list[int], seed: int, points: int = 50, **changes: np.ndarray) -> None:
    tables = [table(category, points, seed + k) for k, category in enumerate(categories)]
    arrays = {
        "data": np.stack([rows[:, :3] for rows in tables]).astype(np.float32),
        "label": np.array(categories, np.uint8)[:, None],
        "pid": np.stack([rows[:, 6] for rows in tables]).astype(np.uint8),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in {**arrays, **changes}.items():
            file.create_dataset(name, data=array)


@pytest.fixture(params=["hdf5_data", "shapenet_part_seg_hdf5_data", "."])
def h5_root(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    folder = tmp_path / request.param
    for split, files in {"train": [[0, 1], [2]], "val": [[15]], "test": [[4, 4, 9]]}.items():
        names = [f"ply_data_{split}{k}.h5" for k in range(len(files))]
        for k, categories in enumerate(files):
            h5_part_file(folder / names[k], categories, seed=10 * k)
        (folder / f"{split}_hdf5_file_list.txt").write_text("\n".join(names))
    return tmp_path, folder


def test_hdf5_layout_reads_train_and_val_and_test(h5_root: tuple[Path, Path]) -> None:
    data = load_data("points", "shapenetpart", [h5_root[0]], num_points=50)
    assert data.train_labels.tolist() == [0, 1, 2, 15]
    assert data.test_labels.tolist() == [4, 4, 9]
    rows = table(2, 50, seed=10)
    assert data.train_parts[2].tolist() == rows[:, 6].tolist()
    whole = rows[:, :3] - rows[:, :3].mean(0)
    np.testing.assert_allclose(data.train[2].numpy(), whole / np.linalg.norm(whole, axis=1).max(), atol=1e-6)
    fewer = load_data("points", "shapenetpart", [h5_root[0]], num_points=20)
    assert torch.equal(data.test[:, :20], fewer.test)
    assert torch.equal(data.test_parts[:, :20], fewer.test_parts)
    with pytest.raises(ExperimentError, match="has 50 points a shape: 2048 points cannot be taken"):
        load_data("points", "shapenetpart", [h5_root[0]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pid": np.full((1, 50), 50)}, r"pid holds values that are not labels, 0 \.\.\. 49"),
        ({"pid": np.zeros((1, 49))}, r"pid is \(1, 49\), wanted \(1, 50\)"),
        ({"pid": np.full((1, 50), 8)}, r"part 8 is not one of Table's, 47 \.\.\. 49"),
    ],
)
def test_hdf5_layout_with_wrong_parts_says_so(h5_root: tuple[Path, Path], changes: dict, message: str) -> None:
    h5_part_file(h5_root[1] / "ply_data_val0.h5", [15], seed=0, **changes)
    with pytest.raises(ExperimentError, match=message):
        load_data("points", "shapenetpart", [h5_root[0]], num_points=50)


def replace_line(line: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        file.write_text("\n".join([*file.read_text().splitlines()[:-1], line]))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace_line("1 2 3 4 5"), r"test0\.txt is damaged and cannot be read"),  # cut off within a line
        (replace_line("1 2 x 4 5 6 12"), "is damaged and cannot be read"),
        (replace_line("1 2 nan 4 5 6 12"), "all finite"),
        (replace_line("1 2 3 4 5 6 11"), r"test0\.txt is damaged: part 11 is not one of Chair's, 12 \.\.\. 15"),
        (replace_line("1 2 3 4 5 6 12.5"), r"part 12\.5 is not one of Chair's"),
        (lambda file: file.write_text("1 2 3 12\n1 2 3 12\n"), r"\(2, 4\) numbers, wanted \(n, 7\)"),
        (lambda file: file.write_text(""), "is damaged and cannot be read .*no data"),
        (lambda file: file.write_bytes(b"\xff\xfe\x00"), "is damaged and cannot be read"),
        (lambda file: file.unlink(), r"lacks 1 of the 2 shapes of shuffled_test_file_list\.json, 03001627/test0\.txt"),
    ],
)
def test_text_layout_with_wrong_files_says_which(text_root: Path, change: Callable[[Path], None], message: str) -> None:
    change(text_root / shapenetpart.TEXT_FOLDER / "03001627/test0.txt")
    with pytest.raises(ExperimentError, match=message):
        load_data("points", "shapenetpart", [text_root], num_points=60)


def test_wrong_lists_are_told(text_root: Path) -> None:
    path = text_root / shapenetpart.TEXT_FOLDER / "train_test_split/shuffled_val_file_list.json"
    for content, message in (
        ("[", "val_file_list.json is absent or damaged"),
        ("[1]", "absent or damaged"),
        ('["shape_data/1234/a"]', "shape_data/1234/a is of no category"),
        ("[]", "no entry is of no category"),
    ):
        path.write_text(content)
        with pytest.raises(ExperimentError, match=message):
            load_data("points", "shapenetpart", [text_root])
    path.unlink()
    with pytest.raises(ExperimentError, match="absent or damaged"):
        load_data("points", "shapenetpart", [text_root])


def test_shapenetpart_absent_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"put the folder shapenetcore_.*or the folder hdf5_data.*--data-root"):
        load_data("points", "shapenetpart", [tmp_path])


def test_shapes_of_every_category(tmp_path: Path) -> None:
    """A set in the release's form: balls of over 2,048 points in all categories, whose parts are slabs."""
    folder = tmp_path / shapenetpart.TEXT_FOLDER
    (folder / "train_test_split").mkdir(parents=True)
    wanted = {"train": [*range(16), *[2] * 3], "val": [2, 2], "test": [2] * 11}
    for split, categories in wanted.items():
        names = []
        for k, category in enumerate(categories):
            draw = np.random.default_rng([k, category, len(split)])
            points = draw.standard_normal((2100 + 50 * k, 3))
            points *= (draw.random(len(points)) ** (1 / 3) / np.linalg.norm(points, axis=1))[:, None]
            own = shapenetpart.PARTS_OF[category]
            slab = np.minimum(((points[:, 1] + 1) / 2 * len(own)).astype(int), len(own) - 1)
            rows = np.column_stack([points + 3, points, np.array(own)[slab]])
            synset = shapenetpart.FOLDERS[category]
            (folder / synset).mkdir(exist_ok=True)
            np.savetxt(folder / synset / f"{split}{k}.txt", rows, fmt="%.5f")
            names.append(f"shape_data/{synset}/{split}{k}")
        (folder / f"train_test_split/shuffled_{split}_file_list.json").write_text(json.dumps(names))
    data = load_data("points", "shapenetpart", [tmp_path])
    assert data.train.shape == (21, 2048, 3)
    assert data.test.shape == (11, 2048, 3)
    assert set(data.train_labels.tolist()) == set(range(16))  # shapes of each category
    assert data.test_labels.tolist() == [2] * 11  # Caps
    assert (data.train.norm(dim=2) <= 1 + 1e-5).all()
    assert data.train.norm(dim=2).amax(1).min() > 0.9
    for parts, label in zip(data.train_parts, data.train_labels.tolist(), strict=True):
        assert set(parts.tolist()) <= set(data.parts_of[label])
    # parts are regions: most points share their nearest neighbour's part, which shuffled parts would not
    nearest = (torch.cdist(data.test, data.test) + 9 * torch.eye(2048)).argmin(2)
    assert (data.test_parts.gather(1, nearest) == data.test_parts).float().mean() > 0.95
