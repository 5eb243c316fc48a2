"""ScanObjectNN (Uy et al. 2019), three of its variants, from the authors' h5 files: 2,048 points a scan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from experiments.base.errors import ExperimentError
from experiments.data.base import Augmented, DataSet, names_of
from experiments.data.hdf5 import read_shapes
from experiments.data.points import first_points, take, to_unit_sphere, turn

CLASSES = (
    *("bag", "bin", "box", "cabinet", "chair", "desk", "display", "door"),
    *("shelf", "table", "bed", "pillow", "sink", "sofa", "toilet"),
)
PLACES = ("", "h5_files", "ScanObjectNN", "ScanObjectNN/h5_files", "scanobjectnn")  # of the splits, below a root
NUM_POINTS = 1024
JITTER = 0.01
JITTER_LIMIT = 0.05
HUB = "zhangtao-whu/point_cloud_datasets"


class Variant(NamedTuple):
    """A variant's title, its folder, what its files are called after `training_` and `test_`, and where it is found."""

    title: str
    folder: str
    suffix: str
    mirrors: str


VARIANTS = {
    "obj-only": Variant("ScanObjectNN OBJ_ONLY", "main_split_nobg", "objectdataset.h5", HUB),
    "obj-bg": Variant("ScanObjectNN OBJ_BG", "main_split", "objectdataset.h5", HUB),
    "pb-t50-rs": Variant(
        "ScanObjectNN PB_T50_RS",
        "main_split",
        "objectdataset_augmentedrot_scale75.h5",
        f"cminst/ScanObjectNN, {HUB}",
    ),
}


def pick_turn_jitter(points: Tensor, generator: torch.Generator, *, num_points: int) -> Augmented:
    """Draw points of each scan, bring them into the unit sphere, turn them about y (up) and shake each a little.

    Args:
        points: (B, N, 3).
        generator: CPU generator of all draws.
        num_points: how many points to draw, without repeats.

    Returns:
        (B, num_points, 3) float32 and the places of the points. The jitter is normal, of deviation 0.01 along each
        axis, cut at 0.05.
    """
    batch, count, _ = points.shape
    index = torch.rand(batch, count, generator=generator).argsort(dim=1)[:, :num_points]
    angle = 2 * math.pi * torch.rand(batch, 1, generator=generator)
    jitter = (JITTER * torch.randn(batch, num_points, 3, generator=generator)).clamp_(-JITTER_LIMIT, JITTER_LIMIT)
    index, angle, jitter = (draw.to(points.device) for draw in (index, angle, jitter))
    turned = turn(to_unit_sphere(take(points.float(), index)), angle.cos(), angle.sin(), "y")
    return Augmented(turned + jitter, index)


def _locate(roots: Sequence[Path], variant: Variant) -> tuple[Path, Path]:
    """The files of a variant, to train on and to test."""
    places = [root / place / variant.folder for root in roots for place in PLACES]
    names = [f"{part}_{variant.suffix}" for part in ("training", "test")]
    folder = next((folder for folder in places if any((folder / name).is_file() for name in names)), None)
    source = f"it comes in h5_files.zip of its authors; mirrors on the Hugging Face hub, untested: {variant.mirrors}"
    if folder is None:
        wanted = " and ".join(f"{variant.folder}/{name}" for name in names)
        raise ExperimentError(
            f"{variant.title} is not in {names_of(roots)}: put {wanted} there, or name the folder that holds "
            f"{variant.folder} with --data-root; {source}."
        )
    for name in names:
        if not (folder / name).is_file():
            raise ExperimentError(f"{folder} lacks {name}: {source}.")
    return folder / names[0], folder / names[1]


def load_scanobjectnn(roots: Sequence[Path], num_points: int | None = None, *, variant: str) -> DataSet:
    """ScanObjectNN: scans of 15 classes; the files' mask of the background is not used.

    Args:
        roots: folders; the files lie there in main_split or main_split_nobg, or so below h5_files or ScanObjectNN.
        num_points: points per scan, 1,024 of 2,048 by default: drawn anew for each batch in training, the first ones at
            test (the authors draw them there too, so that their accuracy changes from one test to the next).
        variant: "obj-only" (2,309 scans to train on, 581 to test), "obj-bg" (the same with their background) or
            "pb-t50-rs" (11,416 and 2,882: shifted, turned and scaled boxes).

    Raises:
        ExperimentError: files absent or damaged, fewer points than asked for.
    """
    record = VARIANTS[variant]
    train, test = (read_shapes([file], len(CLASSES)) for file in _locate(roots, record))
    num_points = NUM_POINTS if num_points is None else num_points
    first_points(train.points[:1], num_points, record.title)  # for its message alone
    return DataSet(
        name=f"scanobjectnn-{variant}",
        title=record.title,
        domain="points",
        classes=CLASSES,
        train=to_unit_sphere(train.points),
        train_labels=train.labels,
        test=to_unit_sphere(first_points(test.points, num_points, record.title)),
        test_labels=test.labels,
        as_test=lambda points: to_unit_sphere(first_points(points, num_points, record.title)),
        augment=partial(pick_turn_jitter, num_points=num_points),
        augmentation=f"random {num_points} of {train.points.shape[1]} points, turn about y, jitter 0.01 up to 0.05",
    )
