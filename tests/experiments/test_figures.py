"""`figures` from end to end on digits at a tiny budget: files, page, numbers, messages."""

from __future__ import annotations

import dataclasses
import html
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image

import mixkit
from experiments.__main__ import main
from experiments.base.errors import ExperimentError
from experiments.data import DATASETS, load_data
from experiments.data.base import DataSet
from experiments.report.pairs import METHODS, Pair, draw_pairs, sagemix
from experiments.report.sheets import make_figures
from experiments.run.runner import load_trained

NAMES = [
    "figure1-points",
    "figure3-points",
    "figure3-images",
    "figure4-points",
    "figure4-images",
    "figure6-images",
]
MODELS = {"image": "digits-preact_resnet18", "points": "digits-pointnet"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Figures of a clone without data: what is left is digits."""
    folder = tmp_path_factory.mktemp("figures")
    (folder / "empty").mkdir()
    tiny = {"epochs": 1, "width": 4, "limit": 128}
    with pytest.MonkeyPatch.context() as patch:
        for records in (DATASETS[domain] for domain in MODELS):
            patch.setitem(records, "digits", dataclasses.replace(records["digits"], small_budget=tiny))
        options = ["--data-root", str(folder / "empty"), "--pairs", "1", "--threads", "1", "--seed", "3"]
        assert main(["figures", *options, "--output", str(folder / "out")]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def pairs(drawn: Path) -> dict[str, list[Pair]]:
    found = {}
    for domain, name in MODELS.items():
        _, data, model = load_trained(drawn / "models" / name, [])
        found[domain] = draw_pairs(data, model, 2, seed=3)
    return found


class Page(HTMLParser):
    """What a page holds and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.addresses: list[str] = []
        self.images = 0
        self.without_alt = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += [str(given[name]) for name in ("src", "href", "srcset", "data") if name in given]
        if tag == "section" and "id" in given:
            self.sections.append(str(given["id"]))
        if tag == "img":
            self.images += 1
            self.without_alt += not given.get("alt")


def test_every_figure_is_a_picture_and_on_the_page(drawn: Path) -> None:
    for name in NAMES:
        content = (drawn / f"{name}.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) < 250_000
    page = Page((drawn / "figures.html").read_text(encoding="utf-8"))
    assert page.sections == NAMES
    # one pair: rows x columns of each figure
    assert page.images == 1 * 7 + 1 * 7 + 2 * 7 + 1 * 7 + 2 * 7 + 2 * 8
    assert page.without_alt == 0


def test_the_page_fetches_nothing(drawn: Path) -> None:
    text = (drawn / "figures.html").read_text(encoding="utf-8")
    assert all(address.startswith("data:") for address in Page(text).addresses)
    assert "<script" not in text
    assert "@import" not in text
    assert not re.search(r"url\((?!data:)", text)


def test_the_page_says_what_is_missing_and_where_saliency_comes_from(drawn: Path) -> None:
    text = html.unescape((drawn / "figures.html").read_text(encoding="utf-8"))
    assert "The images are digits, for want of better: CIFAR-100 is not in" in text
    assert "The point sets are digits, for want of better: modelnet10.npz is not in" in text
    assert "the gradient of PreActResNet18 of width 4, trained by vanilla for 1 epoch on 128 samples" in text


def test_the_shares_are_those_of_the_formula_in_plain_python(drawn: Path) -> None:
    shown = json.loads((drawn / "figures.json").read_text(encoding="utf-8"))
    assert list(shown) == NAMES
    checked = 0
    for name, cells in shown.items():
        domain = "points" if name.endswith("points") else "image"
        data = load_data(domain, "digits", [], limit=128)
        for cell in cells:
            if cell.get("method", "SageMix") != "SageMix":
                continue
            scale = 0.3 if domain == "points" else 2.0
            prior, sigma = cell.get("prior", 0.5), cell.get("sigma", scale)
            assert cell["share_of_a"] == pytest.approx(share(data, cell, prior, sigma), abs=1e-5)
            checked += 1
    assert checked == 1 + 4 * 5 + 1


def share(data: DataSet, cell: dict[str, list[int]], prior: float, sigma: float) -> float:
    """The mean of lambda, element by element (Eq. 6, 8 and 9 of the paper)."""
    batch = data.prepare(data.test[cell["samples"]])
    if data.domain == "points":
        a, b = batch.tolist()
        partner = mixkit.assign(batch[:1], batch[1:], tolerance=0.05).index[0].tolist()
    else:
        a = b = [(column, row) for row in range(8) for column in range(8)]
        partner = list(range(64))
    query_a, query_b = a[cell["queries"][0]], b[cell["queries"][1]]
    total = 0.0
    for i, point in enumerate(a):
        weight_a = prior * math.exp(-(math.dist(point, query_a) ** 2) / (2 * sigma**2))
        weight_b = (1 - prior) * math.exp(-(math.dist(b[partner[i]], query_b) ** 2) / (2 * sigma**2))
        total += weight_a / (weight_a + weight_b)
    return total / len(a)


def test_the_labels_on_the_page_are_the_shares(drawn: Path) -> None:
    text = html.unescape((drawn / "figures.html").read_text(encoding="utf-8"))
    for name, cells in json.loads((drawn / "figures.json").read_text(encoding="utf-8")).items():
        section = text[text.index(f'id="{name}"') :]
        shown = re.findall(r'<span class="a">(\d+) % (\w+)</span><span class="b">(\d+) % (\w+)</span>', section)
        for (share_a, a, share_b, b), cell in zip(shown[: len(cells)], cells, strict=True):
            assert [a, b] == cell["classes"]
            assert int(share_a) == round(100 * cell["share_of_a"])
            assert int(share_a) + int(share_b) == 100


@pytest.mark.parametrize("domain", ["points", "image"])
def test_what_is_coloured_is_what_the_plan_weighs(pairs: dict[str, list[Pair]], domain: str) -> None:
    for pair in pairs[domain]:
        for title, method in METHODS[domain].items():
            mix = method(pair)
            mix.plan.validate()
            assert float(mix.own.mean()) == pytest.approx(mix.share, abs=1e-6), title
            if title in ("RSMix", "PointCutMix-R", "PointCutMix-K", "CutMix", "SaliencyMix"):
                assert set(mix.own.tolist()) == {0.0, 1.0}, title
            if title in ("Mixup", "PointMixup", "PointCutMix-R", "PointCutMix-K"):
                assert mix.share == pytest.approx(0.5), title


@pytest.mark.parametrize("domain", ["points", "image"])
def test_a_sharp_switch_keeps_each_query_where_it_is_marked(pairs: dict[str, list[Pair]], domain: str) -> None:
    for pair in pairs[domain]:
        mix = sagemix(pair, sigma=1e-3)
        assert mix.own[list(mix.marks)].tolist() == [1.0, 0.0]
        if domain == "points":
            assert torch.equal(mix.sample[mix.marks[0]], pair.batch[0, pair.query[0]])
            assert torch.equal(mix.sample[mix.marks[1]], pair.batch[1, pair.query[1]])


def test_the_prior_moves_the_share_and_the_bandwidth_levels_it(pairs: dict[str, list[Pair]]) -> None:
    for pair in [*pairs["points"], *pairs["image"]]:
        shares = [sagemix(pair, prior).share for prior in (0.1, 0.3, 0.5, 0.7, 0.9)]
        assert shares == sorted(shares)
        assert shares[0] < shares[-1] - 0.1
        spread = [float(sagemix(pair, sigma=sigma).own.std()) for sigma in pair.sigmas]
        assert spread == sorted(spread, reverse=True)


def test_pairs_are_of_different_classes_and_a_seed_means_the_same(pairs: dict[str, list[Pair]], drawn: Path) -> None:
    _, data, model = load_trained(drawn / "models" / MODELS["image"], [])
    again = draw_pairs(data, model, 2, seed=3)
    for pair, same in zip(pairs["image"], again, strict=True):
        assert len(set(pair.labels.tolist())) == 2
        assert (pair.places, pair.query) == (same.places, same.query)
        assert torch.equal(pair.draws, same.draws)
    assert [pair.places for pair in draw_pairs(data, model, 2, seed=4)] != [pair.places for pair in again]
    assert len(draw_pairs(data, model, 99, seed=0)) == 5  # ten classes are five pairs


def test_one_class_makes_no_pair(pairs: dict[str, list[Pair]], drawn: Path) -> None:
    _, data, model = load_trained(drawn / "models" / MODELS["points"], [])
    alone = dataclasses.replace(data, test_labels=torch.zeros_like(data.test_labels))
    with pytest.raises(ExperimentError, match="one class only"):
        draw_pairs(alone, model, 1, seed=0)


def test_one_domain_alone_is_drawn_too(pairs: dict[str, list[Pair]]) -> None:
    assert [figure.name for figure in make_figures({"points": pairs["points"]})] == [n for n in NAMES if "points" in n]


def test_finished_runs_give_the_same_figures_without_training(drawn: Path, tmp_path: Path) -> None:
    runs = [str(drawn / "models" / name) for name in MODELS.values()]
    options = ["--pairs", "1", "--threads", "1", "--seed", "3", "--output", str(tmp_path / "again")]
    assert main(["figures", "--run", *runs, *options]) == 0
    assert not (tmp_path / "again" / "models").exists()
    for name in ("figures.json", "figure1-points.png", "figure6-images.png"):
        assert (tmp_path / "again" / name).read_bytes() == (drawn / name).read_bytes()


def test_errors_name_what_came_and_what_was_wanted(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(drawn / "models" / MODELS["image"])
    parts = tmp_path / "parts"
    parts.mkdir()
    recipe = (drawn / "models" / MODELS["points"] / "recipe.toml").read_text(encoding="utf-8")
    (parts / "recipe.toml").write_text(recipe.replace('"pointnet"', '"dgcnn_partseg"'), encoding="utf-8")
    (tmp_path / "empty").mkdir()
    out = ["--output", str(tmp_path / "out")]
    for options, message in (
        (["--run", str(tmp_path / "nowhere")], "is not the folder of a run"),
        (["--run", run, run], "is a run on images already"),
        (["--run", run, "--images", "cifar100"], "is of digits, --images wants cifar100"),
        (["--run", str(parts)], "dgcnn_partseg labels parts"),
        (["--images", "cifar100", "--data-root", str(tmp_path / "empty")], "CIFAR-100 is not in"),
        (["--points", "modelnet10", "--data-root", str(tmp_path / "empty")], "modelnet10.npz is not in"),
    ):
        assert main(["figures", *options, *out]) == 2, options
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert message in error
    assert not (tmp_path / "out").exists()


def test_a_card_is_drawn_of_each_method_that_serves_images_or_point_sets(tmp_path: Path) -> None:
    scenes = set(mixkit.list_methods("scene")) - set(mixkit.list_methods("image")) - set(mixkit.list_methods("points"))
    assert main(["cards", "--output", str(tmp_path), "--methods", "cutmix", *sorted(scenes)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["cutmix.png"]
    with Image.open(tmp_path / "cutmix.png") as picture:
        assert picture.mode == "P"
        assert picture.width > 600
        assert picture.height > 300
