"""Corruptions of test samples: the paper's Table 3, ModelNet-C with its score, their like for others; no models."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from experiments.data.base import DataSet
from experiments.data.image_corruptions import add_pixel_noise, cut_hole, place_anew, shift
from experiments.data.points import take, to_unit_sphere, turn
from experiments.data.sound import add_sound_noise, late, louder, silence_span

Corruption = Callable[[Tensor, torch.Generator], Tensor]
"""(samples, CPU generator of all draws) to corrupted samples, the input left as it is.

Points are (B, N, 3) in the unit sphere and become (B, N', 3); images are (B, C, H, W) in [0, 1] and keep their shape;
so do sequences and spectrograms, which are as they are stored.
"""


def corrupted(data: DataSet, stored: Tensor, corrupt: Corruption, seed: int) -> Tensor:
    """Stored samples, corrupted, as a model reads them.

    Args:
        data: how samples are stored and prepared.
        stored: (n, ...) images as bytes or in [0, 1], points, or sound.
        corrupt: a corruption for the data's domain.
        seed: the seed of the draws; every model meets the same corruption.
    """
    generator = torch.Generator().manual_seed(seed)
    if data.domain == "points":
        return corrupt(data.prepare(stored), generator)
    white = 1.0 if stored.is_floating_point() else 255.0
    return data.prepare(corrupt(stored.float() / white, generator) * white)


def add_noise(points: Tensor, generator: torch.Generator, *, sigma: float) -> Tensor:
    """Move every point by a normal draw of deviation `sigma` along each axis. (B, N, 3) to the same."""
    return points + sigma * torch.randn(points.shape, generator=generator).to(points)


def rotate(
    points: Tensor, generator: torch.Generator, *, axis: str, degrees: float | None = None, most: float = 180
) -> Tensor:
    """Rotate each set about the axis "x", "y" or "z" through the origin, by the right hand.

    Args:
        points: (B, N, 3).
        generator: draws the angles, one per set.
        axis: what to rotate about.
        degrees: the angle of all sets; uniform in -most ... most, for each set anew, by default.
        most: the largest angle in degrees. Default 180.

    Returns:
        (B, N, 3). By 180 degrees exactly, signs change and nothing else.
    """
    if degrees is None:
        angle = math.radians(most) * (2 * torch.rand(len(points), 1, generator=generator) - 1)
    else:
        angle = torch.full((len(points), 1), math.radians(degrees))
    cosine, sine = angle.cos().to(points), angle.sin().to(points)
    if degrees == 180:
        cosine, sine = -torch.ones_like(cosine), torch.zeros_like(sine)  # sin(pi) is not 0 in floating point
    return turn(points, cosine, sine, axis)


def scale(points: Tensor, generator: torch.Generator, *, factor: float) -> Tensor:
    """Scale each set, after its normalisation, by one factor. (B, N, 3) to the same."""
    return points * factor


def drop(points: Tensor, generator: torch.Generator, *, share: float) -> Tensor:
    """Drop a random share of each set's points; the others stay in order.

    Args:
        points: (B, N, 3).
        generator: draws which points.
        share: the share of the points to drop, in [0, 1).

    Returns:
        (B, N - round(share * N), 3), at least one point.
    """
    batch, count, _ = points.shape
    kept = max(1, count - round(share * count))
    index = torch.rand(batch, count, generator=generator).argsort(dim=1)[:, :kept].sort(dim=1).values
    return points.gather(1, index.to(points.device)[:, :, None].expand(-1, -1, points.shape[2]))


CORRUPTIONS: dict[str, Corruption] = {
    "noise 0.01": partial(add_noise, sigma=0.01),
    "noise 0.05": partial(add_noise, sigma=0.05),
    "rotate-x 180": partial(rotate, axis="x", degrees=180),
    "rotate-x uniform": partial(rotate, axis="x"),
    "rotate-z 180": partial(rotate, axis="z", degrees=180),
    "rotate-z uniform": partial(rotate, axis="z"),
    "scale 0.6": partial(scale, factor=0.6),
    "scale 2.0": partial(scale, factor=2.0),
    "drop 25 %": partial(drop, share=0.25),
    "drop 50 %": partial(drop, share=0.5),
}
"""Table 3 by name. Its "rotation X" and "Z" may mean exactly 180 degrees or any angle up to it: both are here."""

IMAGE_CORRUPTIONS: dict[str, Corruption] = {
    "noise 0.1": partial(add_pixel_noise, sigma=0.1),
    "noise 0.2": partial(add_pixel_noise, sigma=0.2),
    "shift 12.5 %": partial(shift, share=0.125),
    "shift 25 %": partial(shift, share=0.25),
    "rotate 15": partial(place_anew, most=15),
    "rotate 30": partial(place_anew, most=30),
    "scale 0.75": partial(place_anew, factor=0.75),
    "scale 1.25": partial(place_anew, factor=1.25),
    "hole 10 %": partial(cut_hole, share=0.1),
    "hole 25 %": partial(cut_hole, share=0.25),
}
"""By name: the like of Table 3 for images of any size, lengths in shares of the side."""

COMPARED: dict[str, dict[str, Corruption]] = {
    "image": {
        "noise": IMAGE_CORRUPTIONS["noise 0.2"],
        "rotation": IMAGE_CORRUPTIONS["rotate 30"],
        "scaling": IMAGE_CORRUPTIONS["scale 0.75"],
        "occlusion": IMAGE_CORRUPTIONS["hole 25 %"],
    },
    "points": {
        "noise": CORRUPTIONS["noise 0.05"],
        "rotation": partial(rotate, axis="z", most=30),
        "scaling": CORRUPTIONS["scale 0.6"],
        "dropout": CORRUPTIONS["drop 50 %"],
    },
    "sequence": {
        "noise": partial(add_sound_noise, sigma=0.3),
        "shift": partial(late, share=0.25),
        "gain": partial(louder, factor=0.4),
        "silence": partial(silence_span, share=0.25),
    },
    "spectrogram": {
        "noise": partial(add_sound_noise, sigma=1.5),  # half a deviation
        "shift": partial(late, share=0.25),
        "band": partial(silence_span, share=0.25, axis=-2),
        "silence": partial(silence_span, share=0.25),
    },
}
"""By domain and name: one corruption of each kind, whose mean accuracy `compare` shows."""

# ---- ModelNet-C (Ren et al., ICML 2022): seven corruptions at five levels

LEVELS = range(1, 6)
MODELNET_C_POINTS = 1024  # the benchmark's numbers of points are for sets of so many; others get the same share
MOST_CLUSTERS = 7

DGCNN_ACCURACY = {
    "scale": 90.6,
    "jitter": 68.4,
    "rotate": 78.5,
    "drop global": 75.2,
    "drop local": 79.3,
    "add global": 70.5,
    "add local": 72.5,
}
"""Mean accuracy of DGCNN over the levels, in %, as published for ModelNet40: what errors are measured against."""


def stretch(points: Tensor, generator: torch.Generator, *, level: int) -> Tensor:
    """Scale each axis of each set by U[1/s, s], s = 1.5 + level / 10, and bring it into the unit sphere. (B, N, 3)."""
    most = 1.5 + level / 10
    factors = torch.empty(len(points), 1, 3).uniform_(1 / most, most, generator=generator)
    return to_unit_sphere(points * factors.to(points))


def tilt(points: Tensor, generator: torch.Generator, *, level: int) -> Tensor:
    """Rotate each set about z, then y, then x by U(-a, a) each, a = 6 degrees times level. (B, N, 3) to the same."""
    most = math.radians(6 * level)
    for axis in "zyx":
        angle = most * (2 * torch.rand(len(points), 1, generator=generator) - 1)
        points = turn(points, angle.cos().to(points), angle.sin().to(points), axis)
    return points


def drop_clusters(points: Tensor, generator: torch.Generator, *, level: int) -> Tensor:
    """Drop 100 times level of 1,024 points, in 1 to 7 clusters: random points with what is nearest to them.

    (B, N, 3) to (B, N', 3), the points that are left in order; at least one.
    """
    batch, count, _ = points.shape
    total = min(_share(100 * level, count), count - 1)
    cluster = _clusters(batch, total, generator)
    alive = torch.ones(batch, count, dtype=torch.bool)
    where = points.detach().float().cpu()
    for k in range(MOST_CLUSTERS):
        centre = (torch.rand(batch, count, generator=generator) * alive).argmax(dim=1, keepdim=True)
        distance = (where - take(where, centre)).norm(dim=2).masked_fill(~alive, torch.inf)
        rank = distance.argsort(dim=1).argsort(dim=1)
        alive &= rank >= (cluster == k).sum(dim=1, keepdim=True)
    index = alive.nonzero()[:, 1].reshape(batch, count - total)
    return take(points, index.to(points.device))


def add_anywhere(points: Tensor, generator: torch.Generator, *, level: int) -> Tensor:
    """Add 10 times level points to 1,024, uniform in the unit ball. (B, N, 3) to (B, N', 3), the new ones last."""
    total = _share(10 * level, points.shape[1])
    direction = torch.nn.functional.normalize(torch.randn(len(points), total, 3, generator=generator), dim=2)
    radius = torch.rand(len(points), total, 1, generator=generator) ** (1 / 3)
    return torch.cat([points, (direction * radius).to(points)], dim=1)


def add_clusters(points: Tensor, generator: torch.Generator, *, level: int) -> Tensor:
    """Add 100 times level points to 1,024, in 1 to 7 clusters about different random points of the set.

    A cluster is normal with a deviation of U[0.075, 0.125]; a new point p outside of the unit sphere becomes p / |p|^2,
    which lies within it. (B, N, 3) to (B, N', 3), the new ones last.
    """
    batch, count, _ = points.shape
    total = _share(100 * level, count)
    cluster = _clusters(batch, total, generator)
    order = torch.rand(batch, count, generator=generator).argsort(dim=1)  # no two clusters about one point
    centre = order[:, torch.arange(MOST_CLUSTERS) % count].gather(1, cluster)
    sigma = torch.empty(batch, MOST_CLUSTERS).uniform_(0.075, 0.125, generator=generator).gather(1, cluster)
    noise = sigma[:, :, None] * torch.randn(batch, total, 3, generator=generator)
    added = take(points, centre.to(points.device)) + noise.to(points)
    added = added / added.square().sum(dim=2, keepdim=True).clamp(min=1)
    return torch.cat([points, added], dim=1)


def _share(of_benchmark: int, count: int) -> int:
    """As many of `count` points as `of_benchmark` is of the benchmark's 1,024."""
    return round(of_benchmark * count / MODELNET_C_POINTS)


def _clusters(batch: int, total: int, generator: torch.Generator) -> Tensor:
    """The cluster, 0 ... 6, that each of `total` points is of, (batch, total): per set, all of its 1 to 7 alike."""
    clusters = torch.randint(1, MOST_CLUSTERS + 1, (batch, 1), generator=generator)
    return (torch.rand(batch, total, generator=generator) * clusters).long().minimum(clusters - 1)


MODELNET_C: dict[str, Corruption] = {
    f"modelnet-c {name} {level}": corruption
    for level in LEVELS
    for name, corruption in {
        "scale": partial(stretch, level=level),
        "jitter": partial(add_noise, sigma=0.01 * level),
        "rotate": partial(tilt, level=level),
        "drop global": partial(drop, share=(1 + level) / 8),
        "drop local": partial(drop_clusters, level=level),
        "add global": partial(add_anywhere, level=level),
        "add local": partial(add_clusters, level=level),
    }.items()
}
"""By name and level: new draws of the distributions of which the benchmark publishes one draw as files."""


def mean_over_levels(accuracies: Mapping[str, float]) -> dict[str, float]:
    """The accuracy under each of ModelNet-C's corruptions, out of those of every name in `MODELNET_C`; in %."""
    return {
        name: sum(accuracies[f"modelnet-c {name} {level}"] for level in LEVELS) / len(LEVELS) for name in DGCNN_ACCURACY
    }


def mean_corruption_error(
    accuracies: Mapping[str, float], reference: Mapping[str, float] = DGCNN_ACCURACY
) -> float | None:
    """mCE: the mean over ModelNet-C's corruptions of the error over another model's.

    Args:
        accuracies: the accuracy in % by corruption, of `mean_over_levels`.
        reference: the other model's; by default DGCNN's published ones, which are of ModelNet40 with 1,024 points.

    Returns:
        1 is as robust as the other model, less is better. None where the other model makes no error under one of the
        corruptions, so that there is no ratio.
    """
    if any(reference[name] >= 100 for name in accuracies):
        return None
    return sum((100 - value) / (100 - reference[name]) for name, value in accuracies.items()) / len(accuracies)
