"""What the playground mixes: one sample a class of each data set, or an upload, two of them as a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.base.errors import ExperimentError
from experiments.data import load_data
from experiments.data.digits import load_digit_points
from experiments.data.points import to_unit_sphere
from experiments.playground.uploads import read_upload

LARGEST_SIDE = 96  # pixels of an image
POINTS = 512  # of a cloud
Roots = tuple[Path, ...]


class Samples(NamedTuple):
    """One sample of each class: images (C, H, W) in [0, 1], or clouds (N, 3), by the names of their classes."""

    samples: Mapping[str, Tensor]


@dataclass(frozen=True)
class Source:
    """Where samples come from.

    Attributes:
        title: how the app calls it.
        load: from the folders that hold data sets to the samples.
    """

    title: str
    load: Callable[[Roots], Samples]


def _photographs(roots: Roots) -> Samples:
    """scikit-learn's two photographs, cut square."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    squares = (_square(torch.tensor(image).permute(2, 0, 1).float() / 255) for image in photographs)
    shrunk = [_resize(image, LARGEST_SIDE) for image in squares]
    return Samples(dict(zip(("temple", "flower"), shrunk, strict=True)))


def _digit_clouds(roots: Roots) -> Samples:
    data = load_digit_points(count=POINTS)
    return Samples(_one_per_class(data.classes, data.test_labels, data.test))


def _of_set(domain: str, name: str) -> Callable[[Roots], Samples]:
    """The first test sample of each class of a data set."""

    def load(roots: Roots) -> Samples:
        data = load_data(domain, name, roots)
        samples = _one_per_class(data.classes, data.test_labels, data.test)
        if domain == "image":
            return Samples({k: data.restore(data.prepare(v[None]))[0].clamp(0, 1) for k, v in samples.items()})
        return Samples({k: v.float()[:POINTS, :3] for k, v in samples.items()})

    return load


SOURCES: dict[str, dict[str, Source]] = {
    "image": {
        "photographs": Source("photographs", _photographs),
        "digits": Source("digits", _of_set("image", "digits")),
        "cifar100": Source("CIFAR-100", _of_set("image", "cifar100")),
    },
    "points": {
        "digits": Source("digits", _digit_clouds),
        "modelnet10": Source("ModelNet10", _of_set("points", "modelnet10")),
        "modelnet40": Source("ModelNet40", _of_set("points", "modelnet40")),
    },
}
"""The sources of each domain; the first ones need no files."""


@functools.lru_cache(maxsize=8)
def load_source(domain: str, source: str, roots: Roots = ()) -> Samples:
    """The samples of a source; ExperimentError where its files are absent or damaged."""
    return SOURCES[domain][source].load(roots)


def load_sample(domain: str, name: str | Path, roots: Sequence[Path | str] = ()) -> Tensor:
    """A sample by its name.

    Args:
        domain: "image" or "points".
        name: "source/class", such as "digits/3", or the path of an image or a cloud (`read_upload`).
        roots: the folders that hold data sets. Default: none, which is enough for what comes with the experiments.

    Returns:
        An image (C, H, W) in [0, 1], or a cloud (`POINTS`, 3), centred, in the unit sphere.

    Raises:
        ExperimentError: a class or a file that there is not, or that cannot be read.
    """
    source, _, member = str(name).partition("/")
    if source in SOURCES[domain]:
        samples = load_source(domain, source, tuple(map(Path, roots))).samples
        if member not in samples:
            raise ExperimentError(f"{source} has no class {member!r}: there are {', '.join(samples)}.")
        sample = samples[member]
    else:
        sample = torch.tensor(read_upload(name, domain))
        sample = sample.permute(2, 0, 1).float() / 255 if domain == "image" else sample
    return sample if domain == "image" else _cloud(sample)


def load_pair(domain: str, a: str | Path, b: str | Path, roots: Sequence[Path | str] = ()) -> Tensor:
    """Two samples as a batch, brought to one size.

    Args:
        domain: "image" or "points".
        a: the name of a sample (`load_sample`).
        b: the name of the other.
        roots: the folders that hold data sets. Default: none.

    Returns:
        (2, C, S, S) in [0, 1], S the larger of their shorter sides, at most `LARGEST_SIDE`, or (2, `POINTS`, 3).

    Raises:
        ExperimentError: as `load_sample`.
    """
    first, second = (load_sample(domain, name, roots) for name in (a, b))
    if domain == "points":
        return torch.stack([first, second])
    images = [_square(first), _square(second)]
    side = min(max(image.shape[1] for image in images), LARGEST_SIDE)
    channels = max(image.shape[0] for image in images)
    return torch.stack([_resize(image, side).expand(channels, -1, -1) for image in images])


def _one_per_class(classes: Sequence[str], labels: Tensor, samples: Tensor) -> dict[str, Tensor]:
    """The first sample of each class that has one."""
    places = {name: (labels == label).nonzero().flatten().tolist()[:1] for label, name in enumerate(classes)}
    return {name.replace("_", " "): samples[place[0]].clone() for name, place in places.items() if place}


def _square(image: Tensor) -> Tensor:
    """The middle of an image (C, H, W)."""
    height, width = image.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[:, top : top + side, left : left + side]


def _resize(image: Tensor, side: int) -> Tensor:
    """A square image of another side; larger ones keep the pixels that one sees."""
    if image.shape[1] == side:
        return image
    if image.shape[1] < side:
        return F.interpolate(image[None], (side, side), mode="nearest-exact")[0]
    return F.interpolate(image[None], (side, side), mode="bilinear", antialias=True)[0].clamp(0, 1)


def _cloud(points: Tensor) -> Tensor:
    """`POINTS` points of a cloud (N, 3), each once or each as often as it takes, in the unit sphere."""
    if len(points) != POINTS:
        order = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
        points = points[order.repeat(-(-POINTS // len(points)))[:POINTS]]
    return to_unit_sphere(points.double()[None])[0].float()
