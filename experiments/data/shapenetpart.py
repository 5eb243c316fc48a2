"""ShapeNetPart (Yi et al. 2016) with a part label for every point: the text files with normals, or hdf5_data."""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments.base.errors import ExperimentError
from experiments.data.arrays import FARTHEST
from experiments.data.base import DataSet, names_of
from experiments.data.hdf5 import Shapes, listed_files, read_shapes
from experiments.data.points import AUGMENTATION, first_points, scale_shift, to_unit_sphere

TEXT_FOLDER = "shapenetcore_partanno_segmentation_benchmark_v0_normal"
H5_FOLDERS = ("hdf5_data", "shapenet_part_seg_hdf5_data")
TEXT_LIST = "train_test_split/shuffled_{}_file_list.json"
H5_LIST = "{}_hdf5_file_list.txt"
SPLITS = (("train", "val"), ("test",))  # trained on, tested on
NUM_POINTS = 2048
NUM_SHAPES = 16_881
COLUMNS = 7  # x y z nx ny nz part

# category, its folder, how many parts it has; their labels follow one another in this order
_CATEGORIES = (
    ("Airplane", "02691156", 4),
    ("Bag", "02773838", 2),
    ("Cap", "02954340", 2),
    ("Car", "02958343", 4),
    ("Chair", "03001627", 4),
    ("Earphone", "03261776", 3),
    ("Guitar", "03467517", 3),
    ("Knife", "03624134", 2),
    ("Lamp", "03636649", 4),
    ("Laptop", "03642806", 2),
    ("Motorbike", "03790512", 6),
    ("Mug", "03797390", 2),
    ("Pistol", "03948459", 3),
    ("Rocket", "04099429", 3),
    ("Skateboard", "04225987", 3),
    ("Table", "04379243", 3),
)
CLASSES = tuple(name for name, _, _ in _CATEGORIES)
FOLDERS = tuple(folder for _, folder, _ in _CATEGORIES)
_ENDS = tuple(np.cumsum([count for _, _, count in _CATEGORIES]).tolist())
PARTS_OF = tuple(tuple(range(end - count, end)) for end, (_, _, count) in zip(_ENDS, _CATEGORIES, strict=True))
NUM_PARTS = _ENDS[-1]

SOURCE = (
    f"it comes in {TEXT_FOLDER}.zip or shapenet_part_seg_hdf5_data.zip, whose links at Stanford are dead; look for a "
    "mirror under these names"
)


def load_shapenetpart(roots: Sequence[Path], num_points: int | None = None) -> DataSet:
    """ShapeNetPart: 14,007 shapes to train on (train and val) and 2,874 to test, 16 categories, 50 parts.

    Points are x, y, z in the unit sphere. The text files hold some 2,500 points a shape, of which a fixed draw is taken
    that depends on the shape's name alone; where a shape has fewer points than asked for, its points repeat. hdf5_data
    holds 2,048 points a shape, of which the first are taken. A root that holds a layout itself, without its usual
    folder, is read too.

    Args:
        roots: folders, the first of which that holds either layout is read, the text first.
        num_points: points per shape, 2,048 by default.

    Raises:
        ExperimentError: files absent or damaged, fewer points than asked for (hdf5_data).
    """
    num_points = NUM_POINTS if num_points is None else num_points
    if num_points < 1:
        raise ExperimentError(f"ShapeNetPart needs at least one point per shape: {num_points} points cannot be taken.")
    folder = _locate(roots)
    read = _read_text if (folder / TEXT_LIST.format("train")).is_file() else _read_h5
    train, test = (read(folder, splits, num_points) for splits in SPLITS)
    count = len(train.points) + len(test.points)
    return DataSet(
        name="shapenetpart",
        title="ShapeNetPart" if count == NUM_SHAPES else f"ShapeNetPart ({count:,} of {NUM_SHAPES:,} shapes)",
        domain="points",
        classes=CLASSES,
        train=train.points,
        train_labels=train.labels,
        train_parts=train.parts,
        test=test.points,
        test_labels=test.labels,
        test_parts=test.parts,
        parts_of=PARTS_OF,
        augment=scale_shift,
        augmentation=AUGMENTATION,
    )


def _locate(roots: Sequence[Path]) -> Path:
    """The folder that holds one of the layouts."""
    for root in roots:
        for folder in (root / TEXT_FOLDER, root):
            if (folder / TEXT_LIST.format("train")).is_file():
                return folder
        for folder in (*(root / name for name in H5_FOLDERS), root):
            if (folder / H5_LIST.format("train")).is_file():
                return folder
    raise ExperimentError(
        f"ShapeNetPart is not in {names_of(roots)}: put the folder {TEXT_FOLDER} there, with "
        f"{TEXT_LIST.format('{train,val,test}')} and the shapes that they name, or the folder hdf5_data with "
        f"{H5_LIST.format('{train,val,test}')} and the files that they name, or name a folder with --data-root; "
        f"{SOURCE}."
    )


def _read_h5(folder: Path, splits: Sequence[str], num_points: int) -> Shapes:
    """The shapes of some splits of hdf5_data."""
    files = [file for split in splits for file in listed_files(folder, H5_LIST.format(split), SOURCE)]
    shapes = read_shapes(files, len(CLASSES), NUM_PARTS)
    assert shapes.parts is not None
    _check_parts(str(folder), shapes.labels, shapes.parts)
    points = first_points(to_unit_sphere(shapes.points), num_points, "ShapeNetPart (hdf5_data)")
    return Shapes(points, shapes.labels, shapes.parts[:, :num_points].contiguous())


def _read_text(folder: Path, splits: Sequence[str], num_points: int) -> Shapes:
    """The shapes of some splits of the text layout."""
    shapes = [shape for split in splits for shape in _listed_shapes(folder, split)]
    points = torch.empty(len(shapes), num_points, 3)
    parts = torch.empty(len(shapes), num_points, dtype=torch.long)
    labels = torch.tensor([FOLDERS.index(file.parent.name) for file in shapes])
    for i, file in enumerate(shapes):
        table = _read_table(file)
        chosen = np.random.default_rng(zlib.crc32(file.stem.encode())).permutation(len(table))
        chosen = np.resize(chosen, num_points)  # repeats from the start where there are too few
        points[i] = to_unit_sphere(table[None, :, :3])[0, chosen].float()
        parts[i] = table[chosen, COLUMNS - 1].long()
        _check_parts(str(file), labels[i : i + 1], table[None, :, COLUMNS - 1])
    return Shapes(points, labels, parts)


def _listed_shapes(folder: Path, split: str) -> list[Path]:
    """The files of a split, all of which are there."""
    path = folder / TEXT_LIST.format(split)
    try:
        names = [Path(name) for name in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ExperimentError(f"{path} is absent or damaged ({error}): {SOURCE}.") from error
    strange = [str(name) for name in names if name.parent.name not in FOLDERS]
    if strange or not names:
        raise ExperimentError(f"{path} is damaged: {strange[0] if strange else 'no entry'} is of no category.")
    files = [folder / name.parent.name / f"{name.name}.txt" for name in names]
    missing = [f"{file.parent.name}/{file.name}" for file in files if not file.is_file()]
    if missing:
        raise ExperimentError(
            f"{folder} lacks {len(missing)} of the {len(files)} shapes of {path.name}, {', '.join(missing[:3])} among "
            f"them: {SOURCE}."
        )
    return files


def _read_table(file: Path) -> Tensor:
    """(n, 7) float64."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy only warns of an empty file
            table = np.loadtxt(file, dtype=np.float64, ndmin=2)
    except (OSError, ValueError, UserWarning) as error:
        raise ExperimentError(f"{file} is damaged and cannot be read ({error}): get it again.") from error
    if table.shape[1:] != (COLUMNS,) or not (np.abs(table) <= FARTHEST).all():
        raise ExperimentError(
            f"{file} is not the expected file: {table.shape} numbers, wanted (n, 7), x y z nx ny nz part, all finite."
        )
    return torch.from_numpy(table)


def _check_parts(where: str, labels: Tensor, parts: Tensor) -> None:
    """ExperimentError where parts (n, N) are not those of the categories (n,)."""
    first = torch.tensor([own[0] for own in PARTS_OF])[labels][:, None]
    last = torch.tensor([own[-1] for own in PARTS_OF])[labels][:, None]
    wrong = (parts < first) | (parts > last) | (parts != parts.floor() if parts.is_floating_point() else False)
    if wrong.any():
        shape = int(wrong.any(dim=1).nonzero()[0])
        own = PARTS_OF[int(labels[shape])]
        raise ExperimentError(
            f"{where} is damaged: part {parts[shape][wrong[shape]][0].item():g} is not one of "
            f"{CLASSES[int(labels[shape])]}'s, {own[0]} ... {own[-1]}."
        )
