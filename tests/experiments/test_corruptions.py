"""Corruptions of images: what each does to pixels of small and of large images, and what it leaves alone."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from experiments.__main__ import main
from experiments.data import load_data
from experiments.data.corruptions import COMPARED, IMAGE_CORRUPTIONS, corrupted
from experiments.data.image_corruptions import add_pixel_noise, cut_hole, place_anew, shift

SIZES = [(1, 8), (3, 32)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(channels: int, side: int, batch: int = 6) -> torch.Tensor:
    return torch.rand(batch, channels, side, side, generator=generator(7))


@pytest.mark.parametrize(("channels", "side"), SIZES)
@pytest.mark.parametrize("name", IMAGE_CORRUPTIONS)
def test_draws_come_from_the_generator_alone_and_the_range_stays(name: str, channels: int, side: int) -> None:
    given = images(channels, side)
    before = given.clone()
    first = IMAGE_CORRUPTIONS[name](given, generator(1))
    torch.manual_seed(99)
    assert torch.equal(first, IMAGE_CORRUPTIONS[name](given, generator(1)))
    assert torch.equal(given, before)
    assert first.shape == given.shape
    assert first.min() >= 0
    assert first.max() <= 1
    assert (first != given).flatten(1).any(1).all()
    if "scale" not in name:
        assert not torch.equal(first, IMAGE_CORRUPTIONS[name](given, generator(2)))


def test_noise_has_its_deviation_where_nothing_is_clipped() -> None:
    grey = torch.full((50, 3, 32, 32), 0.5)
    noise = add_pixel_noise(grey, generator(), sigma=0.1) - 0.5
    assert noise.std().item() == pytest.approx(0.1, rel=0.01)
    assert noise.mean().abs() < 0.002
    assert add_pixel_noise(torch.ones(2, 1, 8, 8), generator(), sigma=0.5).max() == 1


@pytest.mark.parametrize(("channels", "side"), SIZES)
@pytest.mark.parametrize("share", [0.125, 0.25])
def test_shift_is_a_diagonal_move_into_which_nothing_comes(channels: int, side: int, share: float) -> None:
    given, step = images(channels, side, 40), round(share * side)
    out = shift(given, generator(), share=share)
    met = set()
    for before, after in zip(given, out, strict=True):
        for down in (-step, step):
            for right in (-step, step):
                wanted = torch.zeros_like(before)
                for row in range(side):
                    for column in range(side):
                        if 0 <= row - down < side and 0 <= column - right < side:
                            wanted[:, row, column] = before[:, row - down, column - right]
                if torch.equal(after, wanted):
                    met.add((down, right))
                    break
    assert len(met) == 4


def test_a_rotation_by_known_angles_moves_a_spot_there_on_any_side_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *size, generator: torch.ones(*size))  # all at the most
    for height, width in ((33, 33), (33, 65)):
        given = torch.zeros(1, 1, height, width)
        given[0, 0, height // 2, width // 2 + 10] = 1  # right of the centre
        out = place_anew(given, generator(), most=30)
        total = out.sum()
        rows, columns = torch.arange(height) - height // 2, torch.arange(width) - width // 2
        place = torch.tensor([(out[0, 0].sum(1) * rows).sum() / total, (out[0, 0].sum(0) * columns).sum() / total])
        assert place.norm().item() == pytest.approx(10, abs=0.3)
        assert math.degrees(math.atan2(place[0].abs(), place[1])) == pytest.approx(30, abs=2)


def test_scaling_keeps_the_centre_and_changes_lengths_by_the_factor() -> None:
    given = torch.zeros(2, 1, 33, 33)
    given[:, 0, 16, 24] = given[:, 0, 16, 8] = 1
    for factor in (0.75, 1.25):
        out = place_anew(given, generator(), factor=factor)[:, 0].sum(1)
        places = torch.arange(33.0) - 16
        spread = ((out * places.square()).sum(1) / out.sum(1)).sqrt()
        torch.testing.assert_close(spread, torch.full((2,), 8 * factor), atol=0.3, rtol=0)
        assert ((out * places).sum(1) / out.sum(1)).abs().max() < 1e-3
    torch.testing.assert_close(place_anew(given, generator()), given)
    turned = place_anew(images(3, 32, 500), generator(), most=15)
    assert turned.shape == (500, 3, 32, 32)


@pytest.mark.parametrize(("channels", "side"), SIZES)
@pytest.mark.parametrize("share", [0.1, 0.25])
def test_a_hole_is_a_whole_square_anywhere_within(channels: int, side: int, share: float) -> None:
    white = torch.ones(4000, channels, side, side)
    empty = cut_hole(white, generator(), share=share) == 0
    length = round(math.sqrt(share) * side)
    assert (empty.sum((2, 3)) == length**2).all()
    assert (empty == empty[:, :1]).all()  # in every channel alike
    rows, columns = empty[:, 0].any(2), empty[:, 0].any(1)
    assert (rows.sum(1) == length).all()
    assert (columns.sum(1) == length).all()
    for lines in (rows, columns):
        first = torch.bincount(lines.long().argmax(1), minlength=side)
        places = side - length + 1
        assert first[places:].sum() == 0
        assert (first[:places] / 4000 - 1 / places).abs().max() < 0.03  # every place alike


def test_stored_bytes_and_stored_shares_are_corrupted_alike() -> None:
    digits = load_data("image", "digits", [])
    hole = COMPARED["image"]["occlusion"]
    out = digits.restore(corrupted(digits, digits.test, hole, 3))
    torch.testing.assert_close(out, hole(digits.test, generator(3)), atol=1e-6, rtol=0)
    from dataclasses import replace

    from experiments.data.cifar import normalise, restore

    stored = torch.randint(0, 256, (5, 3, 32, 32), generator=generator(), dtype=torch.uint8)
    bytes_ = replace(digits, test=stored, prepare=normalise, restore=restore)
    out = restore(corrupted(bytes_, stored, hole, 3))
    torch.testing.assert_close(out, hole(stored.float() / 255, generator(3)), atol=1e-6, rtol=0)


def test_evaluate_scores_images_too(tmp_path: Path) -> None:
    run = [
        "cifar100", "--recipe", "short", "--dataset", "digits", "--limit", "64", "--width", "4", "--epochs", "1",
        "--threads", "1", "--accelerator", "cpu", "--output", str(tmp_path / "run"),
    ]  # fmt: skip
    assert main(run) == 0
    assert main(["evaluate", str(tmp_path / "run"), "--robustness", "--threads", "1", "--accelerator", "cpu"]) == 0
    scores = json.loads((tmp_path / "run" / "evaluation.json").read_text(encoding="utf-8"))["scores"]
    assert list(scores) == ["clean", *IMAGE_CORRUPTIONS]
    assert all(0 <= values["accuracy"] <= 100 for values in scores.values())
