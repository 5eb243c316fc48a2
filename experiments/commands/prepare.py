"""`python -m experiments prepare`: ModelNet10 or ModelNet40 as one NumPy archive, from the public releases.

The meshes are https://modelnet.cs.princeton.edu's, CLASS/{train,test}/CLASS_0001.off each. Points are drawn from their
surface by area; each shape is centred on its points' mean and scaled into the unit sphere. The points of the release
modelnet40_ply_hdf5_2048 are drawn already: it is brought into the same form.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.base.console import make_console
from experiments.base.errors import ExperimentError
from experiments.base.files import write_whole
from experiments.commands.options import DATA, roots_of, whole
from experiments.data.meshes import draw_points, read_off
from experiments.data.modelnet import SPLITS
from experiments.data.modelnet40 import FOLDER, load_modelnet40
from experiments.data.points import to_unit_sphere


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prepare`."""
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("dataset", choices=("modelnet10", "modelnet40"))
    parser.add_argument("folder", type=Path, help=f"the unpacked meshes, or the folder {FOLDER}")
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"default: DATASET.npz in ${DATA}, else in ./data")
    parser.add_argument("--points", type=whole(1), default=1024, metavar="N", help="of a shape (default: 1024)")
    parser.add_argument("--seed", type=whole(0), default=0, metavar="S", help="of the points drawn (default: 0)")
    parser.add_argument("--jobs", type=whole(1), default=1, metavar="J", help="processes (default: 1)")
    parser.set_defaults(data_root=None)


def main(args: argparse.Namespace) -> int:
    """Make the archive; returns 0."""
    console = make_console()
    output = args.output or roots_of(args)[0] / f"{args.dataset}.npz"
    if output.exists():
        raise ExperimentError(f"{output} exists: name another file with --output, or remove it first.")
    if not args.folder.is_dir():
        raise ExperimentError(f"{args.folder} is not a folder.")
    if args.dataset == "modelnet40" and (args.folder / "train_files.txt").is_file():
        arrays = _from_hdf5(args.folder, args.points)
    else:
        arrays = _from_meshes(args.folder, args.points, args.seed, args.jobs)
    archive = io.BytesIO()
    np.savez_compressed(archive, **arrays)
    write_whole(output, archive.getvalue())
    shapes = " and ".join(f"{len(arrays[f'labels_{split}']):,}" for split in SPLITS)
    console.print(f"{output}: {shapes} shapes of {args.points} points, {len(arrays['classes'])} classes")
    return 0


def _from_hdf5(folder: Path, count: int) -> dict[str, Any]:
    if folder.name != FOLDER:
        raise ExperimentError(f"{folder} must keep its name, {FOLDER}.")
    data = load_modelnet40([folder.parent], count)
    arrays: dict[str, Any] = {"classes": np.array(data.classes)}
    for split in SPLITS:
        x, y, z = getattr(data, split).unbind(2)  # y is up; archives have z up, as the meshes have
        arrays[f"points_{split}"] = torch.stack([x, -z, y], 2).half().numpy()
        arrays[f"labels_{split}"] = getattr(data, f"{split}_labels").numpy().astype(np.uint8)
    return arrays


def _from_meshes(folder: Path, count: int, seed: int, jobs: int) -> dict[str, Any]:
    classes = sorted(path.name for path in folder.iterdir() if all((path / split).is_dir() for split in SPLITS))
    if not classes:
        raise ExperimentError(f"{folder} holds no folders CLASS/train and CLASS/test of meshes.")
    arrays: dict[str, Any] = {"classes": np.array(classes)}
    with ProcessPoolExecutor(jobs) as pool:
        for split in SPLITS:
            files = [
                (k, path) for k, name in enumerate(classes) for path in sorted((folder / name / split).glob("*.off"))
            ]
            if not files:
                raise ExperimentError(f"{folder} holds no .off files to {split} with.")
            work: Callable[[tuple[int, Path]], NDArray[np.float16]] = partial(_shape, count=count, seed=seed)
            arrays[f"points_{split}"] = np.stack(list(pool.map(work, files, chunksize=16)))
            arrays[f"labels_{split}"] = np.array([label for label, _ in files], np.uint8)
    return arrays


def _shape(file: tuple[int, Path], count: int, seed: int) -> NDArray[np.float16]:
    """The points of one mesh; the draw depends on the seed and the file's name alone."""
    path = file[1]
    generator = np.random.default_rng([seed, *path.name.encode()])
    try:
        points = draw_points(read_off(path), count, generator)
    except ExperimentError as error:
        raise ExperimentError(f"{path}: {error}") from None
    return to_unit_sphere(torch.from_numpy(points)[None])[0].numpy().astype(np.float16)
