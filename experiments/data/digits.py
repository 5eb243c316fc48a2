"""The embedded default: scikit-learn's 1,797 real 8x8 digits, as pixel grids and as point sets drawn from their ink."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from experiments.data.base import Augmented, DataSet, pixel_index
from experiments.data.points import first_points, to_unit_sphere

SIDE = 8
FULL_INK = 16.0  # scikit-learn counts ink per pixel from 0 to 16
CLASSES = tuple(str(digit) for digit in range(10))
TEST_EVERY = 4  # a quarter of each class is for testing
EXTRUSION = 0.1  # half thickness of a point set along z, in units of the image's half side


def _ink() -> tuple[Tensor, Tensor]:
    """Ink (1797, 8, 8) in [0, 1], and labels (1797,)."""
    digits = load_digits()
    return torch.from_numpy(digits.images / FULL_INK).float(), torch.from_numpy(np.asarray(digits.target)).long()


def _test_mask(labels: Tensor) -> Tensor:
    """Every fourth sample of each class, by a fixed shuffle, so that both domains hold out the same digits."""
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(len(CLASSES)):
        members = shuffled[labels[shuffled] == digit]
        mask[members[::TEST_EVERY]] = True
    return mask


def shift_by_one(images: Tensor, generator: torch.Generator) -> Augmented:
    """Move each image by -1, 0 or 1 pixels along both axes; what comes in is empty. (B, 1, 8, 8) to the same."""
    batch, _, height, width = images.shape
    offsets = torch.randint(0, 3, (2, batch, 1), generator=generator).to(images.device)
    rows = offsets[0] + torch.arange(height, device=images.device)  # (B, H)
    columns = offsets[1] + torch.arange(width, device=images.device)  # (B, W)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    sample = torch.arange(batch, device=images.device)[:, None, None]
    moved = padded[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
    return Augmented(moved, pixel_index(rows - 1, columns - 1, height, width))


def centre(images: Tensor) -> Tensor:
    """Ink in [0, 1] to about zero mean and unit variance (the set's mean is 0.305 and its deviation 0.376)."""
    return (images - 0.305) / 0.376


def uncentre(images: Tensor) -> Tensor:
    """The inverse of `centre`."""
    return images * 0.376 + 0.305


def ink_points(ink: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw points from the ink of images.

    A pixel is drawn with probability proportional to its ink (inverse CDF), the point lies uniformly within the pixel's
    square, and z is uniform within a small thickness. x points right, y up.

    Args:
        ink: (B, H, W), >= 0, some of it positive in every image.
        count: points per image, N.
        generator: CPU generator of all draws.

    Returns:
        (B, N, 3) float32 before centring: a pixel is 2 / max(H, W) wide and the image's centre is the origin.
    """
    batch, height, width = ink.shape
    cumulative = ink.flatten(1).double().cumsum(1)
    cumulative /= cumulative[:, -1:].clone()
    draws = torch.rand(batch, count, generator=generator, dtype=torch.float64)
    pixel = torch.searchsorted(cumulative, draws, right=True).clamp_(max=height * width - 1)
    jitter = torch.rand(batch, count, 3, generator=generator)
    size = max(height, width) / 2
    x = (pixel % width + jitter[..., 0] - width / 2) / size
    y = (height / 2 - torch.div(pixel, width, rounding_mode="floor") - jitter[..., 1]) / size
    z = (2 * jitter[..., 2] - 1) * EXTRUSION
    return torch.stack([x, y, z], dim=-1)


def load_digit_images(roots: Sequence[Path] = ()) -> DataSet:
    """The digits as grey images (1, 8, 8): about 1,350 to train on, 450 to test, classes split alike."""
    ink, labels = _ink()
    augmentation = "shift by up to 1 pixel"
    how: dict[str, Any] = {
        "augment": shift_by_one,
        "prepare": centre,
        "restore": uncentre,
        "augmentation": augmentation,
    }
    return _divided("image", ink[:, None], labels, **how)


def load_digit_points(
    roots: Sequence[Path] = (), num_points: int | None = None, *, count: int = 256, seed: int = 0
) -> DataSet:
    """The digits as sets of `count` points (x, y, z) on their ink, centred, in the unit sphere; the same split.

    Of each set the first `num_points` are kept, all by default.
    """
    ink, labels = _ink()
    points = to_unit_sphere(ink_points(ink, count, torch.Generator().manual_seed(seed)))
    return _divided("points", first_points(points, num_points, "digits"), labels)


def _divided(domain: str, samples: Tensor, labels: Tensor, **how: Any) -> DataSet:
    """The digits as a data set of a domain; `how` samples become what a model reads is `DataSet`'s."""
    test = _test_mask(labels)
    parts: dict[str, Any] = {
        "train": samples[~test],
        "train_labels": labels[~test],
        "test": samples[test],
        "test_labels": labels[test],
    }
    return DataSet(name="digits", title="digits", domain=domain, classes=CLASSES, **parts, **how)
