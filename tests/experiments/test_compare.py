"""`compare` from end to end at a tiny budget, its options, files, report and messages."""

from __future__ import annotations

import argparse
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from experiments.__main__ import main
from experiments.base.errors import ExperimentError
from experiments.base.files import make_output
from experiments.data import load_data
from experiments.data.corruptions import COMPARED
from experiments.data.digits import centre
from experiments.models import DEFAULTS, create_model
from experiments.report.curves import accuracy_limits
from experiments.report.export import find_runs
from experiments.report.pairs import draw_pairs
from experiments.report.sheets import gallery
from experiments.report.summary import curves_of, summarise
from experiments.report.tables import cells, headings
from experiments.report.terminal import make_table
from experiments.run.methods import parse_method, split_methods
from experiments.run.recipe import load_recipe
from experiments.run.records import EpochRecord, RunResult
from experiments.run.runner import load_trained

TINY = ["--threads", "1", "--jobs", "1", "--epochs", "2", "--width", "4", "--limit", "64", "--batch-size", "32"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare") / "run"
    picture = folder.parent / "docs" / "gallery.png"
    assert main(["compare", *TINY, "--seeds", "0", "1", "--output", str(folder), "--gallery", str(picture)]) == 0
    return folder


def test_every_row_is_trained_and_written_down(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text(encoding="utf-8"))
    assert summary["status"] == "complete"
    rows = [(row["arm"], row["method"]) for row in summary["rows"]]
    image, points = "digits-preact_resnet18", "digits-pointnet"
    assert rows == [
        (image, "vanilla"),
        (image, "mixup"),
        (image, "cutmix"),
        (image, "sagemix"),
        (image, "sagemix (steady)"),
        (points, "vanilla"),
        (points, "pointmixup"),
        (points, "cutmix"),
        (points, "sagemix (σ 2)"),
        (points, "sagemix (σ 2, steady)"),
    ]
    runs = find_runs([finished])
    assert len(runs) == 10 * 2
    for row in summary["rows"]:
        mine = [run for run in runs if (run.config.arm, run.label) == (row["arm"], row["method"])]
        assert [run.config.seed for run in mine] == row["seeds"] == [0, 1]
        last = [run.records[-1].scores["accuracy"] for run in mine]
        assert [len(run.records) for run in mine] == [2, 2]
        final = row["scores"]["final"]
        assert final["mean"] == pytest.approx(sum(last) / 2)
        assert final["std"] == pytest.approx(abs(last[0] - last[1]) / 2**0.5)
        assert (row["cost"] == 1) == (row["method"] == "vanilla")
        for run in mine:
            names = {path.name for path in run.folder.iterdir() if path.name != ".lock"}
            assert names == {
                "recipe.toml", "environment.json", "metrics.jsonl", "summary.json", "checkpoints", "tensorboard"
            }  # fmt: skip
    about = summary["arms"][points]
    assert (about["train_samples"], about["config"]["epochs"], about["config"]["width"]) == (64, 2, 4)
    assert summary["environment"]["packages"]["torch"]
    assert (finished.parent / "docs" / "gallery.png").read_bytes()[:4] == b"\x89PNG"


class Links(HTMLParser):
    """Collects what a page would fetch, and every id."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.images = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.images += tag == "img"
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action") and value:
                self.fetched.append(value)
            if name == "id" and value:
                self.ids.append(value)


def test_the_report_needs_nothing_from_outside(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    links = Links()
    links.feed(page)
    assert links.fetched
    assert all(link.startswith(("data:", "#")) for link in links.fetched)
    assert not re.search(r"url\((?!#)", page)
    assert "@import" not in page
    assert "<script" not in page
    assert links.images == 2 * 3 * 6
    assert len(links.ids) == len(set(links.ids))
    assert page.count("<svg") == page.count("</svg>") == 2
    assert "prefers-color-scheme: dark" in page
    for words in (
        "PreActResNet18",
        "PointNet",
        "64 images of digits for 2 epochs",
        "sagemix (σ 2, steady)",
        "mean ± standard",
        "nothing follows for other data, models or budgets",
    ):
        assert words in page


def test_the_last_epoch_is_scored_under_each_corruption(finished: Path) -> None:
    for run in find_runs([finished]):
        first, last = (record.scores for record in run.records)
        assert not any("corrupted" in name for name in first)
        kinds = {
            "image": ("noise", "rotation", "scaling", "occlusion"),
            "points": ("noise", "rotation", "scaling", "dropout"),
        }
        each = {name[10:]: value for name, value in last.items() if name.startswith("corrupted_")}
        assert tuple(each) == kinds[run.config.domain]
        assert last["corrupted"] == pytest.approx(sum(each.values()) / 4)
        config, data, model = load_trained(run.folder, [])  # as the last checkpoint says it, too
        damaged = COMPARED[config.domain]["noise"]
        if config.domain == "image":
            inputs = centre(damaged(data.test, torch.Generator().manual_seed(0)))
        else:
            inputs = damaged(data.test, torch.Generator().manual_seed(0))
        with torch.no_grad():
            right = (model(inputs).argmax(1) == data.test_labels).double().mean().item()
        assert each["noise"] == pytest.approx(100 * right)


def test_columns_fit_a_terminal_and_the_error_is_relative_to_vanillas(finished: Path) -> None:
    rows = json.loads((finished / "summary.json").read_text(encoding="utf-8"))["rows"]
    for arm in {row["arm"] for row in rows}:
        mine = [row for row in rows if row["arm"] == arm]
        assert headings(mine) == ["final", "ECE", "scaled", "corrupted", "paired", "error", "cost"]
        console = Console(width=120, file=io.StringIO())
        console.print(make_table("one", mine))
        lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
        assert len(lines) == 2 + len(mine)
        assert all(len(cells(row, mine)) == 7 for row in mine)
        vanilla, *others = mine
        assert vanilla["paired"] is None
        for row in others:
            errors = [100 - one["scores"]["final"]["mean"] for one in (row, vanilla)]
            assert cells(row, mine)[-2] == f"{round(100 * (errors[0] / errors[1] - 1)):+d} %".replace("-", "−")
            assert row["paired"]["error_cut"] == pytest.approx(100 * (1 - errors[0] / errors[1]))


def test_a_narrow_terminal_leaves_out_columns_and_says_which() -> None:
    runs = [result(method, seed, [90.0 + seed, 91.0]) for method in ("vanilla", "mixup") for seed in range(3)]
    rows = summarise(runs)
    for width, left_out in ((81, []), (80, ["last 10"]), (70, ["last 10", "best"])):
        console = Console(width=width, file=io.StringIO())
        console.print(make_table("one", rows, width))
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert "…" not in text
        assert re.split(r"\s{2,}", text.splitlines()[1].strip()) == [x for x in headings(rows) if x not in left_out]
        assert (f"Left out for want of width: {', '.join(left_out)};" in text) == bool(left_out)


def test_the_page_has_the_accuracy_under_each_corruption(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    summary = json.loads((finished / "summary.json").read_text(encoding="utf-8"))
    table = page[page.index("<h2>Robustness</h2>") :].partition("</section>")[0]
    for row in summary["rows"]:
        names = [name for name in row["scores"] if name.startswith("corrupted_")]
        line = "".join(f"<td>{row['scores'][name]['mean']:.1f}</td>" for name in names)
        assert re.search(f"</i>{re.escape(row['method'])}</th>{line}</tr>", table)
        assert len(names) == 4
    for word in ("noise", "rotation", "scaling", "occlusion", "dropout"):
        assert f"<th>{word}</th>" in table


def test_processes_that_train_one_run_after_the_other_end_as_one_process_does(finished: Path, tmp_path: Path) -> None:
    """Two at once, five runs: each process has more than one, and logs lie apart."""
    options = [*TINY, "--domains", "points", "--seeds", "0", "--jobs", "2", "--accelerator", "cpu"]
    assert main(["compare", *options, "--output", str(tmp_path / "run")]) == 0
    mine = {(run.config.method, run.config.seed): run for run in find_runs([tmp_path / "run"])}
    there = {
        (run.config.method, run.config.seed): run for run in find_runs([finished]) if run.config.domain == "points"
    }
    assert len(mine) == 5
    for key, run in mine.items():
        assert run.records[-1].scores == there[key].records[-1].scores
        assert run.config.title in (run.folder / "log.txt").read_text(encoding="utf-8")


def test_a_finished_run_is_not_overwritten(finished: Path, capsys: pytest.CaptureFixture) -> None:
    before = (finished / "summary.json").read_bytes()
    again = ["compare", *TINY, "--epochs", "1", "--domains", "image", "--methods", "mixup", "--output", str(finished)]
    assert main(again) == 0
    assert (finished / "summary.json").read_bytes() == before
    other = finished.with_name("run-2")
    assert f"is in use; writing to {other}" in capsys.readouterr().out
    summary = json.loads((other / "summary.json").read_text(encoding="utf-8"))
    assert [row["method"] for row in summary["rows"]] == ["vanilla", "mixup"]
    assert list(summary["arms"]) == ["digits-preact_resnet18"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image-data", "cifar100", "--data-root", "{tmp}"], "CIFAR-100 is not in"),
        (["--point-data", "modelnet10", "--data-root", "{tmp}"], "modelnet10.npz is not in"),
        (["--methods", "mixop"], "unknown method 'mixop'"),
        (["--methods", "sound/mixup"], "unknown domain 'sound'"),
        (["--methods", "sagemix:sigma=-1"], "sigma"),
        (["--methods", "sagemix:sigmas=1"], "sigmas"),
        (["--methods", "sagemix:sigma"], "name:option=value"),
        (["--limit", "20", "--batch-size", "32"], "batch of 32 is larger than the 20"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    options = [option.format(tmp=tmp_path) for option in options]
    assert main(["compare", *options, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [["--epochs", "0"], ["--seeds", "-1"], ["--batch-size", "1"], ["--limit", "x"]])
def test_impossible_numbers_are_refused(options: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["compare", *options])
    assert stop.value.code == 2
    assert "wanted a whole number" in capsys.readouterr().err


def test_a_run_that_stops_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from experiments.run.mixing import Mixing

    mix = Mixing.mix
    monkeypatch.setattr(Mixing, "mix", lambda self, batch, *rest: mix(self, batch * torch.nan, *rest))
    options = ["compare", *TINY, "--domains", "points", "--methods", "mixup:p=0.0", "--output", str(tmp_path / "run")]
    assert main(options) == 1
    out = capsys.readouterr().out
    assert "the loss became nan in epoch 1, step 1 of 2; the run stops here and keeps what was saved" in out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert summary["status"] == "stopped"
    assert summary["rows"][0]["scores"]["final"] is not None
    assert not summary["rows"][1]["scores"]
    assert "the loss became nan" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_methods_are_read_into_rows() -> None:
    rows = split_methods(["mixup", "points/sagemix:sigma=2.0,query=max", "points/sagemix"], ["image", "points"])
    assert rows["image"] == ["vanilla", "mixup"]
    assert rows["points"] == ["vanilla", "mixup", "sagemix:sigma=2.0,query=max", "sagemix"]
    spec = parse_method(rows["points"][2], "points")
    assert spec.label == "sagemix (σ 2, query max)"
    assert spec.options == {"sigma": 2.0, "query": "max"}
    with pytest.raises(ExperimentError, match="vanilla has no options"):
        split_methods(["vanilla:p=1"], ["image"])
    every = split_methods(["points/sagemix:sigma=0.3", "all"], ["points"])["points"]
    assert every[:2] == ["vanilla", "sagemix:sigma=0.3"]
    assert "sagemix" not in every
    assert {"rsmix", "pointcutmix_k", "cutmix"} <= set(every)


def result(method: str, seed: int, accuracies: list[float], cost: float = 2.0, **about: object) -> RunResult:
    config = load_recipe("short").resolve(
        None, {"dataset": "digits", "model": "pointnet", "method": method, "seed": seed}
    )
    records = [
        EpochRecord(i + 1, 1.0, 0.1, 2.0, 50.0, cost, {"accuracy": a, "ece": 5.0, "gap": -1.0})
        for i, a in enumerate(accuracies)
    ]
    return RunResult(Path("nowhere"), config, records, **{"status": "complete", **about})  # type: ignore[arg-type]


def test_summary_has_best_final_and_last_ten() -> None:
    up = [float(i) for i in range(1, 13)]
    mixed = [result("mixup", seed, [90.0, *up[:-1]]) for seed in (0, 1)]
    broken = result("mixup", 2, [50.0], status="stopped", stopped="the loss became nan")
    rows = summarise([result("vanilla", 0, up, cost=1.0), *mixed, broken])
    first, second = (row["scores"] for row in rows)
    assert (first["best"]["mean"], first["final"]["mean"], first["last10"]["mean"]) == (12, 12, 7.5)
    assert (second["best"]["mean"], second["final"]["mean"], second["best"]["std"]) == (90, 11, 0)
    assert second["last10"]["mean"] == pytest.approx(sum(range(2, 12)) / 10)
    assert rows[1]["cost"] == 2
    assert rows[1]["stopped"] == {"2": "the loss became nan"}
    assert headings(rows) == ["runs", "best", "final", "last 10", "ECE", "gap", "paired", "cost"]
    assert cells(rows[0], rows) == ["1", "12.0", "12.0", "7.5", "5.0", "−1.0", "–", "1.00×"]
    assert cells(rows[1], rows)[:2] == ["2", "90.0±0.0"]
    epochs, curves = curves_of([*mixed, broken], "digits-pointnet")["mixup"]
    assert curves.shape == (2, 12)
    assert epochs.tolist() == list(range(1, 13))


def test_runs_of_other_budgets_are_other_rows() -> None:
    short = result("mixup", 0, [50.0, 60.0])
    long = replace(short, config=replace(short.config, epochs=300), records=result("mixup", 0, [90.0]).records)
    rows = summarise([short, long])
    assert [row["method"] for row in rows] == ["mixup [epochs 15]", "mixup [epochs 300]"]
    assert [row["scores"]["final"]["mean"] for row in rows] == [60, 90]
    assert set(curves_of([short, long], "digits-pointnet")) == {"mixup [epochs 15]", "mixup [epochs 300]"}
    with pytest.raises(ExperimentError, match="has a seed twice"):
        summarise([short, short])


def test_a_row_that_lacks_runs_says_so() -> None:
    rows = summarise([result("vanilla", 0, [1.0]), result("vanilla", 1, [1.0]), result("mixup", 0, [1.0])])
    assert headings(rows)[0] == "runs"
    assert [cells(row, rows)[0] for row in rows] == ["2", "1"]


def test_the_papers_figures_stand_beside_the_right_rows() -> None:
    def row(method: str) -> dict:
        one = result(method, 0, [90.0])
        config = replace(one.config, dataset="scanobjectnn-obj-only", model="dgcnn", method=method)
        return summarise([replace(one, config=config)])[0]

    rows = [row("vanilla"), row("sagemix"), row("sagemix:sigma=0.5"), row("cutmix")]
    assert headings(rows)[-3:] == ["paper", "paper, 5 runs", "paper ECE"]
    assert [cells(one, rows)[-3:] for one in rows] == [
        ["86.2", "85.7", "19.8"], ["88.0", "87.3", "5.1"], ["87.6", "–", "–"], ["–", "–", "–"]
    ]  # fmt: skip


def test_a_recipe_and_the_command_line_may_say_the_same(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    from experiments.commands import compare
    from experiments.commands.compare import plan

    parser = argparse.ArgumentParser()
    compare.add_arguments(parser)
    methods = ["mixup", "sagemix", "points/sagemix:sigma=2.0"]
    runs = plan(parser.parse_args(["--seeds", "0", "--methods", *methods]), {"image": "digits", "points": "digits"})
    assert [run.method for run in runs] == [
        "vanilla", "mixup", "sagemix", "vanilla", "mixup", "sagemix:sigma=2.0"
    ]  # fmt: skip
    options = ["--domains", "points", "--methods", "sagemix:sigma=2", "sagemix:sigma=2.0"]
    assert main(["compare", *options, "--output", str(tmp_path / "run")]) == 2
    assert "is the same run as" in capsys.readouterr().err


def test_output_takes_the_next_free_name(tmp_path: Path) -> None:
    assert make_output(tmp_path / "a") == tmp_path / "a"
    (tmp_path / "a" / "summary.json").write_text("{}")
    assert make_output(tmp_path / "a") == tmp_path / "a-2"
    assert make_output(tmp_path / "a") == tmp_path / "a-2"  # still empty
    (tmp_path / "file").write_text("")
    assert make_output(tmp_path / "file") == tmp_path / "file-2"
    with pytest.raises(ExperimentError, match="cannot be made"):
        make_output(tmp_path / "file" / "below")


def test_gallery_shows_what_the_plan_says() -> None:
    for domain in ("image", "points"):
        data = load_data(domain, "digits", [])
        torch.manual_seed(0)
        model = create_model(DEFAULTS[domain], channels=data.channels, num_classes=10, width=4)
        pairs = draw_pairs(data, model, 2, seed=0)
        for pair, (row,) in zip(pairs, gallery(pairs).pairs, strict=True):
            a, saliency_a, b, saliency_b, shares, mixed = row
            own = shares.values if domain == "image" else shares.strength
            assert own is not None
            assert len(set(pair.classes)) == 2
            assert mixed.numbers["share_of_a"] == pytest.approx(own.mean(), abs=1e-5)
            assert mixed.lines[0] == (f"{round(100 * own.mean())} % {pair.classes[0]}", "a")
            assert shares.marks[0] == saliency_a.marks[0] == (pair.query[0], "a")
            assert saliency_b.marks == ((pair.query[1], "b"),)
            if domain == "image":
                assert saliency_a.values.max() == saliency_b.values.max() == pytest.approx(1)
                share = own[..., None]
                wanted = share * a.values + (1 - share) * b.values
                assert np.abs(wanted - mixed.values).max() < 1e-5
            else:
                assert saliency_a.strength.max() == saliency_b.strength.max() == pytest.approx(1)
                # every mixed point lies between its own point of a and some point of b
                off = mixed.values - own[:, None] * a.values
                there = off / (1 - own[:, None]).clip(1e-3)
                near = np.linalg.norm(there[:, None] - b.values[None], axis=2).min(1)
                assert near[own < 0.9].max() < 1e-4
                assert np.argmax(own) == pair.query[0] or own.max() > 0.9


def test_accuracy_axis_leaves_out_the_first_epochs_only() -> None:
    low, high = accuracy_limits([np.array([[10.0, 60.0, 90.0, 92.0, 94.0, 96.0]])])
    assert 88 <= low < 90
    assert 96 < high <= 101


def test_help_names_the_commands(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "compare" in out
    assert "bench" in out
