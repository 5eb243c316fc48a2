"""The data sets: what the samples are, subsets, names, and the messages where files are wrong."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR100

from experiments.base.errors import ExperimentError
from experiments.commands.options import add_data_root, roots_of
from experiments.data import DATASETS, cifar, digits, load_data
from experiments.data.base import DataSet, balanced_subset
from experiments.data.points import first_points, to_unit_sphere


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- digits


def test_points_lie_on_ink_and_only_there() -> None:
    ink = torch.zeros(2, 8, 8)
    ink[0, 1, 6] = 3.0  # one pixel of the first image, two of the second, the right one three times as dark
    ink[1, 4, 2], ink[1, 4, 5] = 1.0, 3.0
    points = digits.ink_points(ink, 4000, generator())
    column = ((points[..., 0] + 1) * 4).floor()
    row = ((1 - points[..., 1]) * 4).ceil() - 1  # y points up
    assert (column[0] == 6).all()
    assert (row[0] == 1).all()
    assert (row[1] == 4).all()
    assert set(column[1].tolist()) == {2.0, 5.0}
    assert (column[1] == 5).float().mean() == pytest.approx(0.75, abs=0.03)
    assert points[..., 2].abs().max() <= digits.EXTRUSION
    assert points[..., 2].std() == pytest.approx(digits.EXTRUSION / 3**0.5, rel=0.05)


def test_digit_points_are_the_same_digits_as_the_images() -> None:
    images, points = digits.load_digit_images(), digits.load_digit_points()
    assert torch.equal(images.train_labels, points.train_labels)
    assert torch.equal(images.test_labels, points.test_labels)
    assert len(images.train) + len(images.test) == 1797
    ink = images.test[:, 0]
    across = torch.arange(8.0)
    spread = (ink.sum(1) * across).sum(1) / ink.sum((1, 2))  # mean column of the ink
    width = ((ink.sum(1) * (across - spread[:, None]) ** 2).sum(1) / ink.sum((1, 2))).sqrt()
    height_of = ink.sum(2)
    middle = (height_of * across).sum(1) / ink.sum((1, 2))
    height = ((height_of * (across - middle[:, None]) ** 2).sum(1) / ink.sum((1, 2))).sqrt()
    aspect = points.test[..., 0].std(1) / points.test[..., 1].std(1)
    assert torch.corrcoef(torch.stack([width / height, aspect]))[0, 1] > 0.9  # another digit's points would not fit


def test_digit_points_fill_the_unit_sphere_and_depend_on_the_seed_alone() -> None:
    first, again, other = (digits.load_digit_points(seed=seed) for seed in (0, 0, 1))
    assert first.train.shape[1:] == (256, 3)
    torch.testing.assert_close(first.train.mean(1), torch.zeros(len(first.train), 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(first.train.norm(dim=2).amax(1), torch.ones(len(first.train)))
    assert torch.equal(first.train, again.train)
    assert not torch.equal(first.train, other.train)


def test_digit_images_are_scikit_learns() -> None:
    data = digits.load_digit_images()
    ours = torch.cat([data.train, data.test]).flatten(1).double() * 16
    theirs = torch.from_numpy(load_digits().data)
    assert torch.equal(ours[np.lexsort(ours.numpy().T)], theirs[np.lexsort(theirs.numpy().T)])
    counts = torch.bincount(data.test_labels).float() / torch.bincount(torch.cat([data.train_labels, data.test_labels]))
    assert ((counts - 0.25).abs() < 0.01).all()
    torch.testing.assert_close(digits.uncentre(digits.centre(data.test)), data.test)


# ---- subsets


def test_limit_is_balanced_and_deterministic() -> None:
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 4)
    chosen = balanced_subset(labels, 31)
    assert torch.bincount(labels[chosen]).tolist() == [14, 13, 4]  # the small class gives all it has
    assert chosen.unique().numel() == 31
    assert torch.equal(chosen, balanced_subset(labels, 31))
    assert not torch.equal(chosen, balanced_subset(labels, 31, seed=1))
    assert torch.equal(balanced_subset(labels, 1000), torch.arange(84))


def test_limit_keeps_samples_and_labels_together() -> None:
    full, part = load_data("points", "digits", []), load_data("points", "digits", [], limit=100)
    assert torch.bincount(part.train_labels).tolist() == [10] * 10
    assert len(part.test) == len(full.test)  # fewer than 1,000 anyway
    for points, label in zip(part.train[:5], part.train_labels[:5], strict=True):
        place = (full.train == points).flatten(1).all(1).nonzero().item()
        assert full.train_labels[place] == label


def test_limit_keeps_parts_with_their_points() -> None:
    labels = torch.arange(12) % 3
    parts = torch.arange(12)[:, None] * 10 + torch.arange(4)
    points = parts[:, :, None].expand(12, 4, 3).float()
    names = ("a", "b", "c")
    full = DataSet("p", "parts", "points", names, points, labels, points + 1, labels, train_parts=parts)
    part = full.limited(6).to(torch.device("cpu"))
    assert torch.equal(part.train_parts[:, :, None].expand(6, 4, 3).float(), part.train)
    assert torch.bincount(part.train_labels).tolist() == [2, 2, 2]
    assert part.test_parts is None
    assert len(part.test) == 12


# ---- names and numbers of points


def test_names_are_known_or_listed() -> None:
    assert {
        "image": ("digits", "cifar100"),
        "points": (
            *("digits", "modelnet10", "modelnet40"),
            *("scanobjectnn-obj-only", "scanobjectnn-obj-bg", "scanobjectnn-pb-t50-rs", "shapenetpart"),
            *("sydney-fold0", "sydney-fold1", "sydney-fold2", "sydney-fold3"),
        ),
        "sequence": ("fsdd-sample", "fsdd"),
        "spectrogram": ("fsdd-sample", "fsdd"),
    } == {domain: tuple(names) for domain, names in DATASETS.items()}
    with pytest.raises(ExperimentError, match="no points data set 'cifar100': there are digits, modelnet10"):
        load_data("points", "cifar100", [])
    with pytest.raises(ValueError, match="no data for domain 'sound'"):
        load_data("sound", "digits", [])
    with pytest.raises(ExperimentError, match="digits holds images"):
        load_data("image", "digits", [], num_points=8)


def test_num_points_takes_the_first_of_each_set() -> None:
    full, part = load_data("points", "digits", []), load_data("points", "digits", [], num_points=40)
    assert torch.equal(full.train[:, :40], part.train)
    assert torch.equal(full.test[:, :40], part.test)
    with pytest.raises(ExperimentError, match="digits has 256 points a shape: 257 points cannot be taken"):
        load_data("points", "digits", [], num_points=257)
    with pytest.raises(ExperimentError, match="0 points cannot be taken"):
        first_points(full.train, 0, "digits")


def test_unit_sphere_of_one_place_is_the_origin() -> None:
    assert torch.equal(to_unit_sphere(torch.full((1, 4, 3), 7.0)), torch.zeros(1, 4, 3))


# ---- CIFAR-100


def test_normalise_is_the_protocols() -> None:
    pixel = torch.tensor([129, 0, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)
    out = cifar.normalise(pixel)
    assert out.flatten().tolist() == pytest.approx([-0.3 / 68.2, -124.1 / 65.4, 142.6 / 70.4], abs=1e-6)
    torch.testing.assert_close(cifar.restore(out), pixel / 255, atol=1e-6, rtol=0)


def test_cifar100_equals_torchvisions(cifar_sample: Path) -> None:
    data = cifar.load_cifar100([cifar_sample / "none", cifar_sample])
    theirs = CIFAR100(str(cifar_sample), train=False)
    assert (len(data.train), len(data.test), len(data.classes)) == (60, 40, 100)
    for i in (0, 17, 39):
        picture, label = theirs[i]
        assert np.array_equal(np.asarray(picture).transpose(2, 0, 1), data.test[i].numpy())
        assert data.test_labels[i] == label
    assert data.classes == tuple(theirs.classes)
    prepared = data.prepare(data.train)  # real images, so of about the statistics that normalise the whole set
    assert prepared.mean().abs() < 0.3
    assert prepared.std() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("name", cifar.ARCHIVES)
def test_cifar100_in_its_archive_says_how_to_unpack(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ExperimentError, match=rf"not unpacked: run `tar -xf {tmp_path}/{name} -C {tmp_path}`"):
        cifar.load_cifar100([tmp_path])


def test_cifar100_absent_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"train, test and meta.*https://.*--data-root"):
        cifar.load_cifar100([tmp_path])


def test_cifar100_damaged_names_the_file(tmp_path: Path) -> None:
    folder = tmp_path / cifar.FOLDER
    folder.mkdir()
    with pytest.raises(ExperimentError, match="lacks the file 'train'"):
        cifar.load_cifar100([tmp_path])
    (folder / "train").write_bytes(b"not the data")
    with pytest.raises(ExperimentError, match=r"train is damaged \(its md5 is .*, not 16019d7e"):
        cifar.load_cifar100([tmp_path])


# ---- where data are looked for


def test_data_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    def roots(*arguments: str) -> tuple[Path, ...]:
        parser = argparse.ArgumentParser()
        add_data_root(parser)
        return roots_of(parser.parse_args(arguments))

    monkeypatch.delenv("MIXKIT_DATA", raising=False)
    assert roots() == (Path("data"),)
    monkeypatch.setenv("MIXKIT_DATA", f"/a{os.pathsep}/b c")
    assert roots() == (Path("/a"), Path("/b c"))
    assert roots("--data-root", "/d", "e") == (Path("/d"), Path("e"))
