"""Reports of runs' folders that somebody else made, or that are damaged: no text of theirs is more than text."""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import mixkit
from experiments.__main__ import main
from experiments.base.errors import ExperimentError, plain
from experiments.report.export import find_runs, write_export
from experiments.report.pages import report_page
from experiments.report.summary import make_summary
from experiments.report.terminal import print_tables
from tests.conftest import SMALL_RUN

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> $\\frac$ [/bold] ../../x &amp; :smile: ü 点"
TAGS = {
    *("html", "head", "meta", "title", "link", "style", "body", "main", "header", "section", "p", "h1", "h2", "h3"),
    *("div", "table", "tbody", "tr", "th", "td", "i", "figure", "figcaption", "details", "summary", "pre", "dl", "dt"),
    *("dd", "svg", "g", "path", "defs", "use", "clippath", "rect", "text", "span", "b", "small", "img", "tspan"),
}

#: How many files the slow test damages; 1,000 take about four minutes of one core, more by MIXKIT_FUZZ_CASES=3000.
CASES = int(os.environ.get("MIXKIT_FUZZ_CASES", "1000"))


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.ids: list[str] = []
        self.policy = ""
        self.said: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.tags.add(tag)
        self.names |= values.keys()
        self.ids += [values["id"] or ""] if "id" in values else []
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def check(page: str) -> Page:
    read = Page(page)
    assert read.tags <= TAGS, read.tags - TAGS
    assert not [name for name in read.names if name.startswith("on") or name in ("srcdoc", "action")]
    assert not [name for name in read.ids if not re.fullmatch(r"chart\d+-[\w.:-]+", name)]
    assert len(read.ids) == len(set(read.ids))
    assert read.policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    return read


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    command = ["pointcloud", "--recipe", "short", "--dataset", "digits", "--model", "pointnet", "--epochs", "2"]
    assert main([*command, *SMALL_RUN, "--output", str(folder)]) == 0
    scores = {"clean": {"accuracy": 50.0}, "noise": {"accuracy": 40.0, "mce": 1.2}}
    (folder / "evaluation.json").write_text(json.dumps({"scores": scores}))
    shutil.rmtree(folder / "checkpoints")  # no gallery: that of a strange model is tested with `compare`
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def change(path: Path, update: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    update(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def evil_method() -> Iterator[str]:
    name = "<script>alert(0)</script> $x^$ [/red] \"'&"
    mixkit.register_method(name)(type("Evil", (mixkit.methods.Mixup,), {}))
    yield name
    del mixkit.registry._methods[name]


def test_what_a_run_says_is_text(
    run: Path, tmp_path: Path, evil_method: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = (run / "recipe.toml").read_text()
    recipe = recipe.replace('"vanilla"', json.dumps(evil_method)).replace('"digits"', '"no.such_data+set"')
    (run / "recipe.toml").write_text(recipe)

    def evil(summary: dict[str, Any]) -> None:
        del summary["config"]
        for name, value in summary["about"].items():
            if isinstance(value, str) and name not in ("scored", "domain"):
                summary["about"][name] = EVIL
        summary["about"].update({EVIL: EVIL, "title": EVIL, "config": EVIL, "recipes": EVIL, "model": EVIL})

    change(run / "summary.json", evil)
    for name in ("python", "platform", "cpu", "gpu"):
        change(run / "environment.json", lambda machine, name=name: machine.update({name: EVIL}))  # type: ignore[misc]
    change(run / "environment.json", lambda machine: machine["packages"].update({EVIL: EVIL}))
    stopped = Path(shutil.copytree(run, tmp_path / "stopped"))
    change(stopped / "summary.json", lambda summary: summary.update(status="stopped", stopped=f"{EVIL}\x1b[31m\n"))
    (stopped / "recipe.toml").write_text(recipe.replace("seed = 0", "seed = 1"))
    assert main(["report", str(run), str(stopped), "--output", str(tmp_path / "report<b>")]) == 0
    read = check((tmp_path / "report<b>" / "report.html").read_text(encoding="utf-8"))
    assert read.tags >= {"svg", "table", "pre"}
    said = "".join(read.said)
    assert said.count(EVIL) >= 5
    assert said.count(evil_method) >= 2  # in the table and beside its curve
    assert "\x1b" not in said
    out = capsys.readouterr().out
    assert evil_method in out
    assert ":smile:" in out
    assert "\x1b" not in out


NONE = object()
DAMAGES = [
    ("metrics.jsonl", "", "has 0 epochs of the 2 that summary.json calls complete"),
    ("metrics.jsonl", "[]\n", "line 1: it holds no object"),
    ("metrics.jsonl", "\x00\x01", "line 1: Expecting value"),
    ("metrics.jsonl", b"\xff\xfe", "it is no text"),
    ("metrics.jsonl", '{"epoch": 1}\n', "line 1: it lacks"),
    ("metrics.jsonl", "[" * 100_000, "nested too deeply"),
    ("metrics.jsonl", {"epoch": 2}, "line 1: epoch 2 of 2 stands where 1 should"),
    ("metrics.jsonl", {"epoch": "1"}, "epoch must be a whole number, got '1'"),
    ("metrics.jsonl", {"epoch": True}, "epoch must be a whole number, got True"),
    ("metrics.jsonl", {"epoch": 10**400}, "epoch must be a whole number, got one of more than 18 digits"),
    ("metrics.jsonl", {"train_loss": float("nan")}, "NaN is no number"),
    ("metrics.jsonl", {"train_loss": None}, "train_loss must be a number, got None"),
    ("metrics.jsonl", {"step_ms": -1}, "step_ms is -1"),
    ("metrics.jsonl", {"seconds": [1]}, r"seconds must be a number, got \[1\]"),
    ("metrics.jsonl", {"cost": "1"}, "cost must be a number or none"),
    ("metrics.jsonl", {"test_accuracy": 1e300}, "which is no score"),
    ("metrics.jsonl", {"test_accuracy": {}}, "accuracy must be a number"),
    ("metrics.jsonl", {"test_accuracy": NONE}, "none of accuracy and instance_miou"),
    ("metrics.jsonl", {"<b>": 1}, "unknown name '<b>'"),
    ("summary.json", "", "summary.json: Expecting value"),
    ("summary.json", "3", "summary.json: it holds no object"),
    ("summary.json", {"status": 3}, "status is none of running"),
    ("summary.json", {"status": ["complete"]}, "status is none of running"),
    ("summary.json", {"stopped": {}}, "stopped must be text or none"),
    ("summary.json", {"about": []}, "list where names and values are wanted"),
    ("summary.json", {"about": {"train_samples": "many"}}, "train_samples must be a whole number"),
    ("summary.json", {"about": {"sample_shape": [1, "<b>"]}}, "each of sample_shape must be a whole number"),
    ("summary.json", {"final": 99.9}, "the last epoch of metrics.jsonl is not the one that summary.json tells of"),
    ("summary.json", {"config": 3}, "config is int"),
    ("summary.json", {"config": {"lr": 3}}, r"recipe.toml says lr = 0\.005, but summary.json that .* trained with 3"),
    ("environment.json", "null", "environment.json: it holds no object"),
    ("environment.json", {"threads": 1e999}, "is no number"),
    ("environment.json", {"threads": "<b>"}, "threads must be a whole number"),
    ("environment.json", {"packages": {"a": 3}}, "packages.a must be text or none"),
    ("environment.json", {"packages": [1]}, "packages is list"),
    ("evaluation.json", {"scores": []}, "scores are list"),
    ("evaluation.json", {"scores": {"clean": 3}}, "scores are int"),
    ("evaluation.json", {"scores": {"clean": {"accuracy": None}}}, "accuracy must be a number"),
    ("recipe.toml", "", "says nothing of dataset"),
    ("recipe.toml", b"\xff\x00", "recipe.toml is not a TOML file"),
    ("recipe.toml", 'base = "/etc/passwd"\n[defaults]\n', "unknown recipe '/etc/passwd'"),
    ("recipe.toml", "epochs = 1" + 500 * "0", "got one of more than 18 digits"),
    ("recipe.toml", "width = 1000000000", "width is a whole number of at most 4,096"),
    ("recipe.toml", 'method = "a\\nb"', "method is a line of"),
    ("recipe.toml", 'method = "<b>"', "says method = '<b>', but summary.json that the run was trained with 'vanilla'"),
    ("recipe.toml", 'dataset = "../../x"', "dataset is a name of"),
    ("recipe.toml", 'model = "<script>"', "model is a name of"),
    ("recipe.toml", "lr = nan", "lr must be a number"),
    ("recipe.toml", "limit = [1]", "limit must be a whole number or none"),
]


@pytest.mark.parametrize(("name", "content", "message"), DAMAGES)
def test_a_damaged_file_is_one_sentence(
    run: Path, tmp_path: Path, name: str, content: Any, message: str, capsys: pytest.CaptureFixture
) -> None:
    path = run / name
    if isinstance(content, dict) and name == "metrics.jsonl":
        lines = path.read_text().splitlines()
        line = {key: value for key, value in {**json.loads(lines[0]), **content}.items() if value is not NONE}
        path.write_text("\n".join([json.dumps(line), *lines[1:]]))
    elif isinstance(content, dict):
        change(path, lambda values: values.update(content))
    elif isinstance(content, str) and name == "recipe.toml" and " = " in content and "base" not in content:
        first = content.partition("=")[0]
        own = [line for line in path.read_text().splitlines() if not line.startswith(first)]
        path.write_text("\n".join([*own, content]))
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert main(["report", str(run), "--output", str(tmp_path / "report")]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert error[:-1].isprintable()
    assert not (tmp_path / "report").exists()


def test_a_large_file_is_not_read(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with (run / "metrics.jsonl").open("wb") as file:
        file.truncate(2**36)  # takes no room
    assert main(["report", str(run), "--output", str(tmp_path / "report")]) == 2
    assert "it is larger than 64 MiB" in capsys.readouterr().err


def test_nothing_is_written_through_a_link(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    for name in (".lock", "recipe.toml.unfinished"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(mine)
        assert main(["pointcloud", "--resume", str(run), "--threads", "1", "--accelerator", "cpu"]) in (1, 2)
        assert "cannot be written" in " ".join("".join(capsys.readouterr()).split())
        (run / name).unlink(missing_ok=True)
    assert mine.read_text() == "mine"


VALUES = [
    *(None, True, -1, 0, 2**70, 1e308, float("nan"), float("inf"), "", EVIL, "\ud800", "\x00", [], {}, [[]]),
    *([EVIL], {EVIL: EVIL}, {"accuracy": 1}, "complete", 3, 0.5, "9" * 5000),
]


def spoil(draw: random.Random, path: Path) -> None:
    """Damage a file: its bytes, or a value or a name of what it holds."""
    content = bytearray(path.read_bytes())
    kind = draw.random()
    if kind < 0.15:
        path.write_bytes(content[: draw.randrange(len(content))])
    elif kind < 0.4 or path.suffix == ".toml":
        for _ in range(draw.randint(1, 3)):
            content[draw.randrange(len(content))] = draw.choice([draw.randrange(256), *b'"{}[]<>=,.0\n'])
        path.write_bytes(content)
    else:
        lines = content.decode().splitlines() if path.suffix == ".jsonl" else [content.decode()]
        place = draw.randrange(len(lines))
        value = json.loads(lines[place])
        lines[place] = json.dumps(replaced(draw, value))
        path.write_text("\n".join(lines), encoding="utf-8")


def replaced(draw: random.Random, value: Any) -> Any:
    """A value somewhere in a value is another, is lacking, or has another name."""
    if not isinstance(value, (dict, list)) or not value or draw.random() < 0.1:
        return draw.choice(VALUES)
    if isinstance(value, list):
        place = draw.randrange(len(value))
        return [replaced(draw, one) if k == place else one for k, one in enumerate(value)]
    name, kind = draw.choice(list(value)), draw.random()
    if kind < 0.1:
        return {key: one for key, one in value.items() if key != name}
    if kind < 0.2:
        return {EVIL if key == name else key: one for key, one in value.items()}
    return {**value, name: replaced(draw, value[name])}


def fuzz(whole: Path, tmp_path: Path, count: int) -> None:
    draw, refused = random.Random(0), 0
    write_export(tmp_path / "a.json", find_runs([whole]))
    exported = (tmp_path / "a.json").read_bytes()
    names = ["recipe.toml", "metrics.jsonl", "summary.json", "environment.json", "evaluation.json"]
    for k in range(count):
        if k % 4:
            where = tmp_path / f"run{k}"
            where.mkdir()
            for name in names:
                shutil.copy(whole / name, where)
            spoil(draw, where / draw.choice(names))
        else:
            where = tmp_path / "a.json"
            where.write_bytes(exported)
            spoil(draw, where)
        try:
            runs = find_runs([where])
            summary = make_summary("report", EVIL, runs, "complete")
        except ExperimentError as error:
            refused += len(plain(str(error))) > 0
            continue
        check(report_page(summary, runs, {}))
        json.dumps(summary).encode()
        print_tables(Console(file=io.StringIO()), summary)
        write_export(tmp_path / "b.json", runs)
    assert 0.2 * count < refused < count


def test_random_damage_is_told_or_does_no_harm(whole: Path, tmp_path: Path) -> None:
    fuzz(whole, tmp_path, 60)


@pytest.mark.slow
def test_much_random_damage_is_told_or_does_no_harm(whole: Path, tmp_path: Path) -> None:
    fuzz(whole, tmp_path, CASES)
