"""The augmentations: what each does to a batch, and that it says where every element comes from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from experiments.data import DATASETS, cifar, digits, load_data
from experiments.data.base import Augmented, unchanged
from experiments.data.points import scale_shift, scale_shift_shuffle


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def reference_crop(image: np.ndarray, row: int, column: int, flip: bool) -> np.ndarray:
    padded = np.zeros((3, 36, 36), dtype=np.uint8)
    padded[:, 2:34, 2:34] = image
    crop = padded[:, row : row + 32, column : column + 32]
    return crop[:, :, ::-1] if flip else crop


def test_crop_and_flip_equals_a_loop() -> None:
    images = torch.randint(0, 256, (64, 3, 32, 32), generator=generator(), dtype=torch.uint8)
    out = cifar.crop_and_flip(images, generator(5)).batch
    draws = generator(5)
    offsets = torch.randint(0, 5, (2, 64, 1), generator=draws)
    flips = torch.rand(64, 1, generator=draws) < 0.5
    for i in range(64):
        wanted = reference_crop(images[i].numpy(), int(offsets[0, i]), int(offsets[1, i]), bool(flips[i]))
        assert np.array_equal(out[i].numpy(), wanted)
    assert out.dtype == torch.uint8
    assert 10 < flips.sum() < 54


def test_shift_by_one_moves_each_image_by_itself() -> None:
    image = torch.rand(1, 1, 8, 8, generator=generator()) + 0.1
    moved = digits.shift_by_one(image.expand(300, 1, 8, 8), generator()).batch
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
    allowed = [padded[0, :, r : r + 8, c : c + 8] for r in range(3) for c in range(3)]
    which = [[torch.equal(one, candidate) for candidate in allowed].index(True) for one in moved]
    assert set(which) == set(range(9))


def test_scale_shift_shuffle_is_one_affine_map_per_set() -> None:
    points = torch.randn(40, 16, 3, generator=generator()).half()
    out = scale_shift_shuffle(points, generator(1)).batch
    # an axis-wise increasing map keeps the order along every axis: sorted coordinates fit a line
    before, after = points.float().sort(1).values, out.sort(1).values
    scale = (after[:, -1] - after[:, 0]) / (before[:, -1] - before[:, 0])
    shift = after[:, 0] - scale * before[:, 0]
    torch.testing.assert_close(after, before * scale[:, None] + shift[:, None], atol=2e-3, rtol=0)
    assert scale.min() >= 2 / 3 - 1e-2
    assert scale.max() <= 3 / 2 + 1e-2
    assert scale.max() - scale.min() > 0.7
    assert shift.abs().max() <= 0.2 + 1e-2
    straight = points.float() * scale[:, None] + shift[:, None]
    assert (straight - out).abs().amax((1, 2)).min() > 0.05  # every set is shuffled


# ---- where elements come from


def check_index(stored: torch.Tensor, out: Augmented) -> None:
    """`stored` holds, as its only channel, each element's place + 1: so must the batch, with 0 for padding."""
    values = out.batch.flatten(2).movedim(1, 2)  # (B, N', D) of images
    assert out.index is not None
    assert out.index.dtype == torch.long
    assert out.index.shape == values.shape[:2]
    assert torch.equal(values[..., 0].long() - 1, out.index)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (5, 9)])
def test_crop_and_flip_says_where_its_pixels_come_from(height: int, width: int) -> None:
    places = torch.arange(1, height * width + 1).reshape(1, 1, height, width).expand(80, 3, height, width)
    out = cifar.crop_and_flip(places, generator())
    check_index(places, out)
    assert (out.index == -1).any()
    assert out.index.min() == -1
    assert (out.index[:, 0] > out.index[:, 1]).any()  # some are mirrored


def test_shift_by_one_says_where_its_pixels_come_from() -> None:
    places = torch.arange(1.0, 65.0).reshape(1, 1, 8, 8).expand(80, 1, 8, 8)
    out = digits.shift_by_one(places, generator())
    check_index(places, out)
    assert (out.index == -1).any()


def test_the_shuffle_says_where_its_points_come_from() -> None:
    points = torch.randn(30, 50, 3, generator=generator())
    batch, index = scale_shift_shuffle(points, generator(1))
    unshuffled = points.gather(1, index[:, :, None].expand(-1, -1, 3))
    again = scale_shift(points, generator(1))  # the same draws of scale and shift come first
    scale = (again.batch[:, 1] - again.batch[:, 0]) / (points[:, 1] - points[:, 0])
    shift = again.batch[:, 0] - scale * points[:, 0]
    torch.testing.assert_close(batch, unshuffled * scale[:, None] + shift[:, None], atol=1e-3, rtol=0)
    assert torch.equal(index.sort(1).values, torch.arange(50).expand(30, 50))
    assert again.index is None


def test_no_augmentation_leaves_everything_in_place() -> None:
    stored = torch.rand(3, 4, 3)
    batch, index = unchanged(stored, generator())
    assert batch is stored
    assert index is None


def test_every_data_set_augments_to_a_batch_and_its_places() -> None:
    for domain, records in DATASETS.items():
        data = load_data(domain, next(iter(records)), [], limit=20)
        out = data.augment(data.train, generator())
        assert out.batch.shape == data.train.shape
        assert data.num_parts == 0
