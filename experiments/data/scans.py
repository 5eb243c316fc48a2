"""Scenes with a class for every point, of any number of points each: streets made up, and the formats of real ones."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from experiments.base.errors import ExperimentError
from experiments.data.arrays import FARTHEST, read_npz
from experiments.data.base import find_first, names_of

Scene = TypeVar("Scene")

IGNORED = 255  #: the label of points that are not annotated

SCANS = {
    "streets": ("Streets, made up", "load_streets"),
    "sydney": ("Sydney Urban Scans", "load_sydney_scans"),
    "semantickitti": ("SemanticKITTI", "load_semantickitti"),
    "s3dis": ("S3DIS, Area 5", "load_s3dis"),
}
"""Title and loader of each data set of scenes."""


@dataclass(frozen=True)
class Scans:
    """Scenes to train on and to test on.

    Attributes:
        name: as on the command line.
        title: as people write it.
        classes: names of the classes, in the order of the labels.
        train, test: scenes (n_i, 3 + C) float32, x, y and z in metres with z up, then further channels in [0, 1].
        train_labels, test_labels: (n_i,) long, `IGNORED` where a point is not annotated.
        instances: the classes whose objects PolarMix pastes.
        inclination: in degrees, which LaserMix's bands share.
        voxel: the side of a model's finest voxels in metres that suits them.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    train: list[Tensor]
    train_labels: list[Tensor]
    test: list[Tensor]
    test_labels: list[Tensor]
    instances: tuple[int, ...] = ()
    inclination: tuple[float, float] = (-25.0, 3.0)
    voxel: float = 0.4

    @property
    def channels(self) -> int:
        """The channels of a point beside its coordinates."""
        return self.train[0].shape[1] - 3


def load_scans(name: str, roots: Sequence[Path], limit: int | None = None) -> Scans:
    """Load a data set of scenes.

    Args:
        name: one of `SCANS`.
        roots: the folders to look for files in, in this order.
        limit: train on so many scenes, and test on max(limit, 12) at most, evenly spread. Default None: all.

    Raises:
        ExperimentError: an unknown name; files absent or damaged.
    """
    if name not in SCANS:
        raise ExperimentError(f"no data set of scenes {name!r}: there are {', '.join(SCANS)}.")
    load = getattr(importlib.import_module(__name__), SCANS[name][1])
    scans: Scans = load(roots, limit)
    return scans


def load_streets(roots: Sequence[Path], limit: int | None = None) -> Scans:
    """Made-up streets (`experiments.data.streets`), 16 to train on unless told otherwise, and 12 others to test on."""
    from experiments.data.streets import CLASSES, make_scan

    train, test = (
        [make_scan(first + k, steps=400) for k in range(count)] for first, count in ((0, limit or 16), (10_000, 12))
    )
    (points, labels), (test_points, test_labels) = (
        ([torch.from_numpy(scan.points) for scan in part], [torch.from_numpy(scan.labels) for scan in part])
        for part in (train, test)
    )
    moving = tuple(CLASSES.index(name) for name in ("car", "person", "pole"))
    return Scans(
        "streets", SCANS["streets"][0], CLASSES, points, labels, test_points, test_labels, moving, (-25.0, 8.0)
    )


def load_sydney_scans(roots: Sequence[Path], limit: int | None = None) -> Scans:
    """Whole scans of a Velodyne in Sydney, partly annotated (Quadros et al. 2013); every fourth scan is for testing.

    The classes are those with points in both parts.
    """
    file = "sydney_scenes.npz"
    path = find_first(roots, file)
    if path is None:
        raise ExperimentError(
            f"{file} is not in {names_of(roots)}: it holds points, scale, intensity, offsets, labels and classes of "
            "https://www.acfr.usyd.edu.au/papers/SydneyUrbanObjectsDataset.shtml; put it there or name its folder with "
            "--data-root."
        )
    arrays = read_npz(path, ("points", "scale", "intensity", "offsets", "labels", "classes"))
    points, offsets, labels = arrays["points"], arrays["offsets"].astype(np.int64), arrays["labels"].astype(np.int64)
    sound = (
        points.ndim == 2 and points.shape[1] == 3 and len(labels) == len(points) == len(arrays["intensity"])
        and offsets.ndim == 1 and len(offsets) > 4 and (int(offsets[0]), int(offsets[-1])) == (0, len(points))
        and bool((np.diff(offsets) > 0).all()) and arrays["scale"].size == 1
        and bool(((labels >= 0) & ((labels < len(arrays["classes"])) | (labels == IGNORED))).all())
    )  # fmt: skip
    if not sound:
        raise ExperimentError(f"{path} is damaged: points, offsets, intensity or labels do not fit together.")
    coords = torch.from_numpy(points.astype(np.float32)) * float(arrays["scale"].item())
    rows = torch.cat([coords, torch.from_numpy(arrays["intensity"].astype(np.float32))[:, None] / 255], 1)
    lengths = np.diff(offsets).tolist()
    for_test = np.arange(len(lengths)) % 4 == 3
    of_scan = np.repeat(for_test, lengths)
    both = [c for c in range(len(arrays["classes"])) if all((labels[part] == c).any() for part in (of_scan, ~of_scan))]
    place = np.full(256, IGNORED)
    place[both] = np.arange(len(both))
    names = tuple(str(arrays["classes"][c]) for c in both)
    scenes = list(zip(rows.split(lengths), torch.from_numpy(place[labels]).split(lengths), strict=True))
    train, test = ([scenes[k] for k in np.flatnonzero(part)] for part in (~for_test, for_test))
    moving = [name for name in ("car", "pedestrian", "cyclist", "bicycle", "pole", "4wd", "van") if name in names]
    return _scans("sydney", names, _spread(train, limit), _spread(test, limit, 12), moving, (-25.0, 8.0))


def load_semantickitti(roots: Sequence[Path], limit: int | None = None) -> Scans:
    """SemanticKITTI (Behley et al. 2019): sequences 00 to 07, 09 and 10 to train on, 08 to test on, 19 classes.

    A root holds ``sequences/SEQUENCE/velodyne/NUMBER.bin``, of four little-endian float32 a point (x, y, z, remission),
    and ``sequences/SEQUENCE/labels/NUMBER.label``, of one uint32 a point, whose lower 16 bits are the class.
    """
    folder = find_first(roots, "sequences")
    if folder is None:
        raise ExperimentError(
            f"SemanticKITTI is not in {names_of(roots)}: it needs sequences/00/velodyne/000000.bin and "
            "sequences/00/labels/000000.label and the like, from http://semantic-kitti.org."
        )
    files = {
        sequence: sorted((folder / sequence / "velodyne").glob("*.bin")) for sequence in (f"{s:02d}" for s in range(11))
    }
    train = [file for sequence, of_sequence in files.items() if sequence != "08" for file in of_sequence]
    if not train or not files["08"]:
        raise ExperimentError(f"{folder} has no scans in sequence {'08' if train else '00 to 07, 09 or 10'}.")
    for_training, for_test = (
        [_kitti_scan(file) for file in part] for part in (_spread(train, limit), _spread(files["08"], limit, 12))
    )
    names = tuple(KITTI_CLASSES)
    moving = ("car", "bicycle", "motorcycle", "truck", "other-vehicle", "person", "bicyclist", "motorcyclist")
    return _scans("semantickitti", names, for_training, for_test, moving, (-25.0, 3.0))


#: The 19 classes that are scored, and the raw labels that count as each; the others are ignored.
KITTI_CLASSES: dict[str, tuple[int, ...]] = {
    "car": (10, 252), "bicycle": (11,), "motorcycle": (15,), "truck": (18, 258),
    "other-vehicle": (13, 16, 20, 256, 257, 259),
    "person": (30, 254), "bicyclist": (31, 253), "motorcyclist": (32, 255), "road": (40, 60), "parking": (44,),
    "sidewalk": (48,), "other-ground": (49,), "building": (50,), "fence": (51,), "vegetation": (70,), "trunk": (71,),
    "terrain": (72,), "pole": (80,), "traffic-sign": (81,),
}  # fmt: skip


def _kitti_scan(file: Path) -> tuple[Tensor, Tensor]:
    label_file = file.parent.parent / "labels" / f"{file.stem}.label"
    try:
        points, raw = np.fromfile(file, "<f4"), np.fromfile(label_file, "<u4") & 0xFFFF
    except OSError as error:
        raise ExperimentError(f"{error.filename or file} cannot be read: {error.strerror}.") from error
    if len(points) % 4 or len(points) != 4 * len(raw) or not len(raw):
        raise ExperimentError(
            f"{file} and {label_file} do not fit together: {len(points)} numbers, four a point, and {len(raw)} labels."
        )
    if not bool((np.abs(points) <= FARTHEST).all()):
        raise ExperimentError(f"{file} is damaged: it holds coordinates not finite, or beyond {FARTHEST:g} m.")
    place = np.full(1 << 16, IGNORED)
    for number, raws in enumerate(KITTI_CLASSES.values()):
        place[list(raws)] = number
    rows = torch.from_numpy(points.astype(np.float32).reshape(-1, 4))
    rows[:, 3].clamp_(0, 1)
    return rows, torch.from_numpy(place[raw])


S3DIS_CLASSES = (
    "ceiling", "floor", "wall", "beam", "column", "window", "door", "table", "chair", "sofa", "bookcase", "board",
    "clutter",
)  # fmt: skip


def load_s3dis(roots: Sequence[Path], limit: int | None = None) -> Scans:
    """S3DIS (Armeni et al. 2016): rooms of six areas, of which Area 5 is to test on; 13 classes.

    A root holds ``Area_NUMBER/ROOM/Annotations/CLASS_NUMBER.txt``, of a point a line: x, y, z, red, green and blue to
    255. Stairs and what else is of no class count as clutter. Each room is moved to its lowest corner.
    """
    areas = {number: [root / f"Area_{number}" for root in roots] for number in range(1, 7)}
    rooms = {
        number: sorted({room.parent for folder in folders for room in folder.glob("*/Annotations")})
        for number, folders in areas.items()
    }
    train = [room for number, of_area in rooms.items() if number != 5 for room in of_area]
    if not train or not rooms[5]:
        missing = "Area_5" if train else "Area_1 to Area_4 and Area_6"
        raise ExperimentError(
            f"S3DIS is not in {names_of(roots)}: no room in {missing}; it needs Area_1/office_1/Annotations/chair_1.txt"
            " and the like, from http://buildingparser.stanford.edu/dataset.html (Stanford3dDataset_v1.2)."
        )
    for_training, for_test = (
        [_room(room) for room in part] for part in (_spread(train, limit), _spread(rooms[5], limit, 12))
    )
    furniture = ("table", "chair", "sofa", "bookcase")
    return _scans("s3dis", S3DIS_CLASSES, for_training, for_test, furniture, (-90.0, 90.0), voxel=0.05)


def _room(folder: Path) -> tuple[Tensor, Tensor]:
    rows, labels = [], []
    for file in sorted((folder / "Annotations").glob("*.txt")):
        try:
            table = np.loadtxt(file, dtype=np.float32, ndmin=2, usecols=range(6))
        except (OSError, ValueError, IndexError) as error:
            raise ExperimentError(f"{file} is damaged and cannot be read ({error}): get it again.") from error
        if not len(table) or not bool((np.abs(table) <= FARTHEST).all()):
            raise ExperimentError(f"{file} is not the expected file: wanted x y z r g b in each line, all finite.")
        name = file.stem.rpartition("_")[0]
        label = S3DIS_CLASSES.index(name if name in S3DIS_CLASSES else "clutter")
        rows.append(table)
        labels.append(np.full(len(table), label))
    if not rows:
        raise ExperimentError(f"{folder} has no annotated objects.")
    points = torch.from_numpy(np.concatenate(rows))
    points[:, :3] -= points[:, :3].amin(0)
    points[:, 3:] /= 255
    return points, torch.from_numpy(np.concatenate(labels))


def _spread(scenes: list[Scene], limit: int | None, least: int = 1) -> list[Scene]:
    """At most max(limit, least) of them, evenly spread."""
    count = len(scenes) if limit is None else min(len(scenes), max(limit, least))
    return [scenes[k * len(scenes) // count] for k in range(count)]


def _scans(
    name: str,
    classes: tuple[str, ...],
    train: list[tuple[Tensor, Tensor]],
    test: list[tuple[Tensor, Tensor]],
    instances: Sequence[str],
    inclination: tuple[float, float],
    voxel: float = 0.4,
) -> Scans:
    (points, labels), (test_points, test_labels) = (map(list, zip(*part, strict=True)) for part in (train, test))
    pasted = tuple(classes.index(each) for each in instances)
    return Scans(name, SCANS[name][0], classes, points, labels, test_points, test_labels, pasted, inclination, voxel)
