"""What the scripts of docs/gallery share: the real samples that come along, a brief training, rows of pictures."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from experiments.report.drawing import CLASS_COLOURS, INK, PAPER, draw_cell
from experiments.report.pairs import share_of_a
from experiments.report.sheets import Cell

EXCERPTS = Path(__file__).parents[2] / "tests" / "data"  #: small parts of data sets; its README says whose they are
SIDE = 1.6  # of a picture, in inches
DPI = 120
TITLE = 12  # points: ten pixels on a phone, where a sheet of four columns is 360 pixels wide


class Samples(NamedTuple):
    """Samples of a data set with their classes."""

    batch: Any
    labels: Tensor
    classes: tuple[str, ...]


# ---- real samples


def photographs(side: int = 128) -> Tensor:
    """(2, 3, side, side) in [0, 1]: scikit-learn's temple and flower, cut square."""
    from sklearn.datasets import load_sample_images

    images = [torch.tensor(image).permute(2, 0, 1).float() / 255 for image in load_sample_images().images]
    cut = [image[:, : min(image.shape[1:]), 60 : 60 + min(image.shape[1:])] for image in images]
    return torch.stack([F.interpolate(image[None], (side, side), mode="bilinear", antialias=True)[0] for image in cut])


def small_images() -> Samples:
    """60 images (60, 3, 32, 32) in [0, 1] of 20 classes of CIFAR-100, three of each."""
    arrays = np.load(EXCERPTS / "cifar100_sample.npz")
    kept, labels = np.unique(arrays["labels_train"], return_inverse=True)
    names = tuple(str(arrays["classes"][label]).replace("_", " ") for label in kept)
    return Samples(torch.from_numpy(arrays["images_train"]).float() / 255, torch.from_numpy(labels), names)


def shapes(split: str = "train") -> Samples:
    """24 shapes (24, 1024, 3) of 8 classes of ModelNet40, z up, in the unit sphere; of the "test" split 8, one each."""
    arrays = np.load(EXCERPTS / "modelnet40_sample.npz")
    points = torch.from_numpy(arrays[f"points_{split}"]).float()
    labels = torch.from_numpy(arrays[f"labels_{split}"]).long()
    return Samples(points, labels, tuple(str(name) for name in arrays["classes"]))


def street_objects() -> Samples:
    """38 objects of Sydney Urban Objects, a list of (n, 3) in metres, z up: bench, car, pedestrian, pole, tree."""
    arrays = np.load(EXCERPTS / "sydney_sample.npz")
    points = torch.from_numpy(arrays["points"].astype(np.float32)) / 1000 * torch.tensor([1.0, -1.0, -1.0])
    clouds = [points[start:end] for start, end in itertools.pairwise(arrays["offsets"].tolist())]
    kept, labels = np.unique(arrays["labels"], return_inverse=True)
    return Samples(clouds, torch.from_numpy(labels), tuple(str(arrays["classes"][label]) for label in kept))


# ---- a brief training


def train(
    model: nn.Module,
    batch: Tensor,
    labels: Tensor,
    mixer: Any = None,
    *,
    epochs: int = 20,
    batch_size: int = 32,
    rate: float = 2e-3,
    seed: int = 0,
) -> nn.Module:
    """Train a model for some seconds, on samples as they are or mixed; it comes back in eval mode.

    Args:
        model: its weights are changed.
        batch: all samples, as the model reads them.
        labels: (n,) their classes.
        mixer: ``mixer(batch, labels)`` mixes; a `SaliencyBank` is told which samples these are. Default None.
        epochs: how often each sample is seen.
        batch_size: samples in a step.
        rate: the learning rate at its peak, of AdamW with a cycle.
        seed: the seed of the samples' order and of what is mixed.
    """
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * (len(batch) // batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.01)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for keys in torch.randperm(len(batch), generator=generator).split(batch_size):
            if len(keys) < batch_size:
                continue
            inputs, targets = batch[keys], labels[keys]
            if mixer is not None:
                inputs, targets = mixer(inputs, targets, generator=generator, samples=keys)
            loss = F.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cycle.step()
    return model.eval()


# ---- pictures


class Picture(NamedTuple):
    """A picture of a sheet, and what is written above it."""

    title: str
    cell: Cell


def image(pixels: Tensor, title: str = "", marks: Sequence[tuple[int, str]] = ()) -> Picture:
    """An image (C, H, W) in [0, 1]; marks are queries, (pixel, "a" or "b")."""
    values = pixels.detach().float().clamp(0, 1).permute(1, 2, 0).numpy()
    return Picture(title, Cell("image", "", values, marks=tuple(marks)))


def heat(values: Tensor, title: str = "", marks: Sequence[tuple[int, str]] = (), *, tint: str = "saliency") -> Picture:
    """A value of each pixel (H, W): "saliency", of which the largest is bright, or "own", the share of a in [0, 1]."""
    values = values.detach().float()
    if tint == "saliency":
        values = values / values.max().clamp_min(1e-30)
    return Picture(title, Cell("image", "", values.numpy(), tint, marks=tuple(marks)))


def cloud(
    points: Tensor,
    title: str = "",
    strength: Tensor | float = 1.0,
    marks: Sequence[tuple[int, str]] = (),
    *,
    tint: str = "own",
    data: str = "modelnet40",
) -> Picture:
    """A cloud (N, 3) whose colours are a strength (N,): "own", the share of a in [0, 1], "saliency", or "classes".

    ``data`` says how it is looked at: "modelnet40", the default, and "sydney" have z up, "digits" face the viewer.
    """
    values = torch.as_tensor(strength).detach().float().expand(len(points))
    if tint == "classes":
        values = (values + 0.5) / len(CLASS_COLOURS)
    if tint == "saliency":
        values = values / values.max().clamp_min(1e-30)
    shown = points[:, :3].detach().float().numpy()
    kind = {"modelnet40": "modelnet10"}.get(data, data)  # of the sets whose up is z
    return Picture(title, Cell("points", kind, shown, tint, values.numpy(), tuple(marks)))


def show(pictures: Sequence[Picture], columns: int = 4, reach: float = 1.06, title: str = "") -> list[Axes]:
    """Pictures in rows, each with its title above it, as one figure of pyplot; returns its axes, to draw more on them.

    Args:
        pictures: row by row.
        columns: pictures in a row; up to four can be read on a phone.
        reach: clouds are seen from -reach to reach.
        title: what stands above the whole figure.
    """
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    line = TITLE / 72 * 1.4
    lines = [max(len(picture.title.splitlines()) for picture in part) for part in _rows(pictures, columns)]
    gap, top = 0.08, 1.6 * line if title else 0.02
    width = columns * SIDE + (columns + 1) * gap
    height = top + rows * (SIDE + gap) + sum(lines) * line
    figure = plt.figure(figsize=(width, height), dpi=DPI, facecolor=PAPER)
    if title:
        figure.suptitle(title, size=TITLE + 1, weight="bold", color=INK, y=1 - 0.3 * line / height)
    drawn, y = [], height - top
    for part, count in zip(_rows(pictures, columns), lines, strict=True):
        y -= SIDE + count * line
        for column, picture in enumerate(part):
            x = gap + column * (SIDE + gap)
            axes = figure.add_axes((x / width, y / height, SIDE / width, SIDE / height))
            draw_cell(axes, picture.cell, SIDE, reach)
            axes.set_title(picture.title, size=TITLE, color=INK, pad=4)
            drawn.append(axes)
        y -= gap
    return drawn


def _rows(pictures: Sequence[Picture], columns: int) -> list[Sequence[Picture]]:
    return [pictures[start : start + columns] for start in range(0, len(pictures), columns)]


def axes_of(columns: int = 1, rows: int = 1, height: float = 3.2, width: float = 6.6) -> tuple[Figure, Any]:
    """A figure of pyplot with axes for curves in the gallery's style: one, or all of them row by row."""
    with plt.rc_context({"font.size": TITLE, "axes.edgecolor": INK, "axes.titlesize": TITLE, "text.color": INK}):
        figure, axes = plt.subplots(
            rows, columns, figsize=(width, height), dpi=DPI, facecolor=PAPER, layout="constrained", squeeze=False
        )
    for each in axes.flat:
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes[0, 0] if axes.size == 1 else axes.ravel()


__all__ = [
    "Picture",
    "Samples",
    "axes_of",
    "cloud",
    "heat",
    "image",
    "photographs",
    "shapes",
    "share_of_a",
    "show",
    "small_images",
    "street_objects",
    "train",
]
