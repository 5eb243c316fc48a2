"""CIFAR-100 (Krizhevsky 2009) through torchvision's data set, held as bytes, augmented a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import CIFAR100

from experiments.base.errors import ExperimentError
from experiments.data.base import Augmented, DataSet, check_md5, find_first, names_of, pixel_index

FOLDER = "cifar-100-python"
ARCHIVES = ("cifar-100-python.tar.gz", "cifar-100-python.tar.xz")
MD5 = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}
PADDING = 2
MEAN = (129.3, 124.1, 112.4)  # of bytes
STD = (68.2, 65.4, 70.4)


def crop_and_flip(images: Tensor, generator: torch.Generator) -> Augmented:
    """Crop each image anew after padding it by 2 with black, and mirror half of them. (B, 3, 32, 32) bytes."""
    batch, _, height, width = images.shape
    offsets = torch.randint(0, 2 * PADDING + 1, (2, batch, 1), generator=generator).to(images.device)
    flipped = (torch.rand(batch, 1, generator=generator) < 0.5).to(images.device)
    rows = offsets[0] + torch.arange(height, device=images.device)  # (B, H)
    along = torch.arange(width, device=images.device).expand(batch, width)
    columns = offsets[1] + torch.where(flipped, width - 1 - along, along)  # (B, W)
    padded = torch.nn.functional.pad(images, (PADDING,) * 4).permute(0, 2, 3, 1).contiguous()  # gathers whole pixels
    sample = torch.arange(batch, device=images.device)[:, None, None]
    # channels last in memory, as convolutions like it
    cropped = padded[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return Augmented(cropped, pixel_index(rows - PADDING, columns - PADDING, height, width))


def normalise(images: Tensor) -> Tensor:
    """Bytes to float32 with about zero mean and unit variance per channel."""
    return (images.float() - images.new_tensor(MEAN, dtype=torch.float32)[:, None, None]) / images.new_tensor(
        STD, dtype=torch.float32
    )[:, None, None]


def restore(images: Tensor) -> Tensor:
    """The inverse of `normalise`, to [0, 1]."""
    mean, std = images.new_tensor(MEAN)[:, None, None], images.new_tensor(STD)[:, None, None]
    return ((images * std + mean) / 255).clamp(0, 1)


def _locate(roots: Sequence[Path]) -> Path:
    """The root whose files are complete and undamaged; every other state of affairs is a message."""
    folder = find_first(roots, FOLDER)
    if folder is None:
        archive = next(filter(None, (find_first(roots, name) for name in ARCHIVES)), None)
        if archive is not None:
            raise ExperimentError(
                f"{archive} is not unpacked: run `tar -xf {archive} -C {archive.parent}`, then this again."
            )
        raise ExperimentError(
            f"CIFAR-100 is not in {names_of(roots)}: put the folder {FOLDER} with its files train, test and meta "
            "there, from https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz, or name its parent folder "
            "with --data-root."
        )
    for name, md5 in MD5.items():
        if not (folder / name).is_file():
            raise ExperimentError(f"{folder} lacks the file {name!r}: unpack cifar-100-python.tar.gz there again.")
        check_md5(folder / name, md5, "unpack cifar-100-python.tar.gz again")
    return folder.parent


def load_cifar100(roots: Sequence[Path]) -> DataSet:
    """CIFAR-100: 50,000 images to train on and 10,000 to test, (3, 32, 32) bytes, 100 classes.

    Args:
        roots: folders, the first of which that holds `cifar-100-python` is read.

    Raises:
        ExperimentError: files absent, still in their archive, or damaged (md5).
    """
    root = str(_locate(roots))
    train, test = (CIFAR100(root, train=part, download=False) for part in (True, False))
    images = [torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous() for part in (train, test)]
    return DataSet(
        name="cifar100",
        title="CIFAR-100",
        domain="image",
        classes=tuple(train.classes),
        train=images[0],
        train_labels=torch.tensor(train.targets),
        test=images[1],
        test_labels=torch.tensor(test.targets),
        augment=crop_and_flip,
        prepare=normalise,
        augmentation="crop after padding by 2, mirror",
        restore=restore,
    )
