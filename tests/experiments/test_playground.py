"""The playground without a browser: controls, what is mixed, the code that does it, scenes, and the static page."""

from __future__ import annotations

import base64
import json
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import mixkit
from experiments.__main__ import main
from experiments.base.errors import ExperimentError
from experiments.playground import saliency as saliency_module
from experiments.playground.choices import PAINT, QUERY, UPLOAD, Chosen, click, sentence, set_option, show
from experiments.playground.controls import Control, make_controls
from experiments.playground.mixing import PAIR, Settings, mix
from experiments.playground.page import PRIORS, SCALES, write_page
from experiments.playground.saliency import KINDS, find_saliency
from experiments.playground.samples import LARGEST_SIDE, POINTS, SOURCES, load_pair
from experiments.playground.scene import make_scene
from experiments.playground.snippet import snippet
from mixkit.registry import accepted, get_domain, get_method

CASES = [(domain, method) for domain in KINDS for method in mixkit.list_methods(domain)]
SCALE = {"image": 2.0, "points": 0.3}
DIGIT_MODEL = saliency_module.digit_model


class Mean(nn.Module):
    """Logits of any batch: its mean, times ten numbers."""

    def forward(self, batch: Tensor) -> Tensor:
        return batch.flatten(1).square().mean(1, keepdim=True) * torch.arange(10.0)


@cache
def untrained(domain: str) -> nn.Module:
    return Mean()


@pytest.fixture(autouse=True)
def _untrained_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saliency_module, "digit_model", untrained)


def digits(domain: str, method: str = "sagemix", **more: Any) -> Settings:
    return Settings(domain, "digits/3", "digits/8", method, **more)


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code, names)
    return names


# ---- controls


@pytest.mark.parametrize(("domain", "method"), CASES)
def test_every_option_has_a_control_whose_values_the_method_takes(domain: str, method: str) -> None:
    cls = get_method(method)
    controls = {control.name: control for control in make_controls(method, domain, SCALE[domain])}
    assert list(accepted(cls)) == list(controls)[: len(accepted(cls))]
    defaults = {**get_domain(domain).method_defaults.get(method, {})}
    for name, control in controls.items():
        assert control.info, f"{method}'s docstring says nothing of {name}"
        if control.kind in ("slider", "whole"):
            assert control.low <= control.default <= control.high
            values = [control.low, control.default, control.high, control.high - control.step]
        elif control.kind == "choice":
            assert control.default in control.choices
            values = list(control.choices)
        else:
            values = {"flag": [True, False], "number": [None, 1], "text": [""]}[control.kind]
        for value in values:
            options = set_option({}, control, value)["options"]
            mixkit.create_mixer(method, domain, inside=True, num_classes=2, saliency=len, **{**defaults, **options})


def test_words_are_chosen_and_lists_are_typed() -> None:
    kinds = {control.kind for domain, method in CASES for control in make_controls(method, domain, 1.0)}
    assert kinds == {"slider", "whole", "number", "flag", "choice", "text"}
    [counts] = [control for control in make_controls("remix", "image", 1.0) if control.name == "counts"]
    assert set_option({}, counts, "[90, 10]") == {"options": {"counts": (90, 10)}}
    assert set_option({"options": {"counts": (1, 2)}}, counts, " ") == {"options": {}}
    with pytest.raises(ValueError, match="counts must be a list or none, got 'many'"):
        set_option({}, counts, "many")


def test_sigma_starts_at_the_length_scale_and_defaults_are_left_out() -> None:
    sigma = next(control for control in make_controls("sagemix", "points", 0.3) if control.name == "sigma")
    assert (sigma.kind, sigma.default) == ("slider", 0.3)
    assert set_option({}, sigma, 0.3) == {"options": {}}
    assert set_option({}, sigma, 1) == {"options": {"sigma": 1}}


# ---- what is mixed, and its code


@pytest.mark.parametrize(("domain", "method"), CASES)
def test_the_code_makes_what_is_shown(domain: str, method: str) -> None:
    settings = digits(domain, method, seed=4)
    mixed = mix(settings)
    names = run(snippet(settings))
    assert torch.equal(names["mixed"][0], mixed.sample)
    assert torch.equal(names["targets"][0], mixed.targets)
    assert mixed.own.shape == (mixed.plan.num_elements or mixed.own.numel(),)
    assert bool(((mixed.own >= 0) & (mixed.own <= 1.0001)).all())
    if method not in ("snapmix",):  # whose label weights are shares of saliency each for itself
        assert float(mixed.targets.sum()) == pytest.approx(1, abs=1e-4)


VARIANTS = {
    "options": {"options": {"sigma": 0.7, "query": "max"}},
    "by hand": {"queries": (5, 40), "prior": 0.3, "options": {"sigma": 1.5}},
    "by hand at the length scale": {"queries": (60, 2)},
    "painted": {"saliency": "painted", "painted": ((3, 9), ())},
    "model": {"saliency": "model"},
}


@pytest.mark.parametrize("domain", KINDS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_code_says_what_was_set(domain: str, variant: str) -> None:
    settings = digits(domain, **VARIANTS[variant])
    mixed = mix(settings)
    assert torch.equal(run(snippet(settings))["mixed"][0], mixed.sample)
    assert not torch.equal(mixed.sample, mix(digits(domain)).sample) or variant in ("model",)


def test_the_code_reads_uploads_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "my \"cloud\" \\ 'ü'.txt"
    np.savetxt(tmp_path / name, np.random.default_rng(0).normal(size=(700, 3)))
    settings = Settings("points", str(tmp_path / name), "digits/8")
    mixed = mix(settings)
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path) not in snippet(settings)
    assert torch.equal(run(snippet(settings))["mixed"][0], mixed.sample)


def test_the_code_names_the_folders_of_data_that_are_no_part_of_the_experiments(real_root: Path) -> None:
    settings = Settings("points", "modelnet40/airplane", "digits/8", roots=(real_root,))
    assert f'roots=["{real_root}"]' in snippet(settings)
    assert torch.equal(run(snippet(settings))["mixed"][0], mix(settings).sample)
    assert "roots" not in snippet(digits("points", roots=(real_root,)))


@pytest.mark.parametrize("domain", KINDS)
@pytest.mark.parametrize("query", ["sequential", "saliency", "max", "uniform"])
def test_the_queries_that_are_shown_are_those_that_were_drawn(domain: str, query: str) -> None:
    options = {"query": query, "sigma": 1.0, **({} if query in ("max", "uniform") else {"sharpness": 2.0})}
    mixed = mix(digits(domain, options=options, saliency="painted", painted=((3, 9), (30,)), seed=5))
    assert mixed.queries is not None
    elements = mixkit.create_mixer("mixup", domain).domain.elements(mixed.batch)
    index = torch.arange(len(mixed.own)) if mixed.plan.index is None else mixed.plan.index[0, 1]
    distance = [
        (elements.coords[0] - elements.coords[0, mixed.queries[0]]).square().sum(1),
        (elements.coords[1][index] - elements.coords[1, mixed.queries[1]]).square().sum(1),
    ]
    # Eq. 8: what is left of the log-ratio is the prior's, the same everywhere
    prior = torch.logit(mixed.own.double()) - (distance[1] - distance[0]) / 2
    sure = (mixed.own > 0.01) & (mixed.own < 0.99)
    assert int(sure.sum()) > 5
    assert float(prior[sure].max() - prior[sure].min()) < 1e-3
    assert (mixed.marks[0], int(index[mixed.marks[1]])) == mixed.queries


def test_pairs_are_brought_to_one_size(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), (255, 0, 0)).save(tmp_path / "red.png")
    assert load_pair("image", "digits/3", "digits/8").shape == (2, 1, 8, 8)
    mixed = load_pair("image", tmp_path / "red.png", "digits/8")
    assert mixed.shape == (2, 3, LARGEST_SIDE, LARGEST_SIDE)
    assert mixed[0].mean((1, 2)).tolist() == [1, 0, 0]
    np.save(tmp_path / "few.npy", np.eye(3)[[0, 1, 2, 0, 1]] * 1e9)
    cloud = load_pair("points", tmp_path / "few.npy", "digits/8")
    assert cloud.shape == (2, POINTS, 3)
    assert float(cloud[0].norm(dim=1).max()) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ExperimentError, match="digits has no class '11': there are 0, 1"):
        load_pair("points", "digits/11", "digits/8")


@pytest.mark.parametrize(("domain", "kind"), [(domain, kind) for domain in KINDS for kind in KINDS[domain]])
def test_saliency_of_every_kind_is_a_number_for_each_element(domain: str, kind: str) -> None:
    batch = load_pair(domain, "digits/3", "digits/8")
    found = find_saliency(domain, batch, kind, ((7,), ()))
    count = 64 if domain == "image" else POINTS
    assert found.shape == (2, count)
    assert bool((found >= 0).all())
    if kind == "painted":
        assert int(found[0].argmax()) == 7
        assert found[1].unique().numel() == 1


# ---- choices


def chosen(domain: str, **more: Any) -> Chosen:
    values: dict[str, Any] = {
        **{"source_a": "digits", "member_a": "3", "file_a": None, "source_b": "digits", "member_b": "8"},
        **{"file_b": None, "method": "mixup", "kind": KINDS[domain][0], "prior": 0.5, "seed": 1},
    }
    return Chosen(**{**values, **more})


@pytest.mark.parametrize("domain", KINDS)
def test_a_click_sets_a_query_or_paints(domain: str) -> None:
    first = show(domain, (), chosen(domain, method="cutmix"))
    queried = click(domain, (), first.chosen, "b", 13, QUERY)
    assert queried.chosen.method == "sagemix"
    assert queried.mixed is not None
    assert queried.mixed.queries == (len(queried.mixed.own) // 2, 13)
    again = click(domain, (), queried.chosen, "a", 10**9, QUERY)
    assert again.mixed is not None
    assert again.mixed.queries == (len(again.mixed.own) - 1, 13)
    painted = click(domain, (), click(domain, (), first.chosen, "a", 5, PAINT).chosen, "a", 6, PAINT)
    assert painted.chosen.kind == "painted"
    assert painted.chosen.memory["painted"] == [[5, 6], []]


def test_other_units_forget_what_was_set_in_the_old_ones() -> None:
    memory = {"options": {"sigma": 1.0}, "queries": [1, 2]}
    kept = show("image", (), chosen("image", method="sagemix", memory=memory, scale=2.0))
    assert kept.chosen.memory == memory
    grown = chosen("image", method="sagemix", source_a="photographs", member_a="temple", memory=memory, scale=2.0)
    assert show("image", (), grown).chosen.memory == {}
    assert show("image", (), grown).chosen.scale == LARGEST_SIDE / 4


def test_what_is_wrong_is_a_sentence_and_shows_nothing(tmp_path: Path) -> None:
    (tmp_path / "<b>bad [1](2).txt").write_text("words")
    wrong = [
        chosen("points", source_a=UPLOAD),
        chosen("points", source_a=UPLOAD, file_a=str(tmp_path / "<b>bad [1](2).txt")),
        chosen("points", source_a="modelnet10", member_a="chair"),
        chosen("points", member_a=None),
        chosen("points", method="resizemix", memory={"options": {"low": 0.9, "high": 0.2}}, scale=0.3),
    ]
    for one in wrong:
        shown = show("points", (tmp_path / "nowhere",), one)
        assert shown.scene is shown.code is None
        assert shown.sentence.startswith("⚠ ")
        assert "\n" not in shown.sentence
        assert not re.search(r"(?<!\\)[<*_`\[]", shown.sentence)
    assert sentence("<a> *b*\n") == "⚠ \\<a\\> \\*b\\*\N{REPLACEMENT CHARACTER}"


# ---- scenes and the page


def test_a_scene_holds_what_was_mixed() -> None:
    mixed = mix(digits("points"))
    scene = json.loads(json.dumps(make_scene("points", ("3", "8"), mixed)))
    np.testing.assert_array_equal(decoded(scene["mixed"], "<f4").reshape(-1, 3), mixed.sample.numpy())
    np.testing.assert_allclose(decoded(scene["own"], "u1") / 255, mixed.own.numpy(), atol=0.002)
    assert [len(decoded(one, "u1")) for one in scene["saliency"]] == [POINTS, POINTS]
    assert scene["marks"] == list(mixed.marks)
    image = mix(digits("image"))
    pixels = decoded(make_scene("image", ("3", "8"), image)["mixed"], "u1").reshape(8, 8, 3)
    np.testing.assert_allclose(pixels[..., 0] / 255, image.sample[0].clamp(0, 1).numpy(), atol=0.002)


def decoded(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.playground.page.find_saliency", lambda domain, batch, kind: spread(domain, batch))
        return write_page(tmp_path_factory.mktemp("page") / "deep" / "er")


def spread(domain: str, batch: Tensor) -> Tensor:
    return find_saliency(domain, batch, "painted", ((1,), (2,)))


def test_the_page_holds_tables_and_loads_nothing_from_elsewhere(page: Path) -> None:
    assert {path.name for path in page.parent.iterdir()} == {"index.html", "playground.js", "view.css", "plotly.min.js"}
    html, script = page.read_text(), (page.parent / "playground.js").read_text()
    assert re.findall(r'(?:src|href)="([^"]+)"', html) == ["data:,", "view.css", "plotly.min.js", "playground.js"]
    for text in (html, script, (page.parent / "view.css").read_text()):
        assert not re.search(r"https?:|//[a-z]+\.[a-z]|@import|url\(", text)
    assert len(script) < 1_500_000


def test_the_pages_tables_are_the_engines(page: Path) -> None:
    text = (page.parent / "playground.js").read_text()
    tables = json.loads(text.partition("window.mixkitPairs = ")[2].partition(";\n")[0])
    assert [table["domain"] for table in tables] == ["image", "points"]
    for table in tables:
        assert list(table["priors"]) == list(PRIORS)
        sagemix = table["methods"]["sagemix"]
        assert len(sagemix["sigmas"]) == len(SCALES)
        own = np.array([[decoded(one, "u1") for one in row] for row in sagemix["own"]])
        assert own.shape == (len(PRIORS), len(SCALES), table["elements"])
        assert bool((np.diff(own.mean(2), axis=0) > 0).all()), "more of a at a larger prior"
        assert bool((own.std(2)[:, -1] < own.std(2).max(1)).all()), "more even at a large sigma"
        others = [method for name, method in table["methods"].items() if name != "sagemix"]
        for method in others:
            shares = [decoded(row[0], "u1").mean() / 255 for row in method["own"]]
            np.testing.assert_allclose(shares, PRIORS, atol=0.04)
    points = tables[1]
    coords = torch.tensor(np.stack([decoded(points[key], "<f4").reshape(-1, 3) for key in "ab"]))
    query = torch.tensor(points["queries"])
    plan = mixkit.functional.sagemix(
        coords, PAIR, torch.tensor([points["index"]] * 2), query, query[PAIR], torch.tensor([0.5, 0.5]), 0.3
    )
    place = PRIORS.index(0.5), points["methods"]["sagemix"]["sigmas"].index(0.3)
    shown = decoded(points["methods"]["sagemix"]["own"][place[0]][place[1]], "u1") / 255
    np.testing.assert_allclose(shown, plan.weight[0, 0].numpy(), atol=0.003)


# ---- the command


@pytest.mark.parametrize("absent", ["gradio", "plotly"])
def test_what_is_not_installed_is_a_sentence(
    absent: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    assert main(["playground", "--port", "0"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "pip install 'mixkit[playground]'" in said


def test_ports_that_cannot_be_had_are_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["playground", "--port", "65536"]) == 2
    assert "--port is at most 65535, got 65536." in capsys.readouterr().err


def test_every_source_of_the_embedded_data_needs_no_files() -> None:
    for domain in KINDS:
        assert isinstance(make_controls("sagemix", domain, 1.0)[0], Control)
        assert load_pair(domain, "digits/0", "digits/1").isfinite().all()
    assert load_pair("image", "photographs/temple", "photographs/flower").shape == (2, 3, LARGEST_SIDE, LARGEST_SIDE)
    assert set(SOURCES) == set(KINDS)


def test_two_that_ask_at_once_get_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    @cache
    def slowly(domain: str) -> nn.Module:
        made.append(domain)
        time.sleep(0.05)
        return Mean()

    monkeypatch.setattr(saliency_module, "_trained", slowly)
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(DIGIT_MODEL, ["image"] * 4))
    assert made == ["image"]
    assert len(set(map(id, models))) == 1
