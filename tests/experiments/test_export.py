"""Paired differences, folds in one row, and runs as one small file that reports are made from again."""

from __future__ import annotations

import json
import math
import re
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.base.errors import ExperimentError
from experiments.report.export import find_runs, read_export, write_export
from experiments.report.paired import paired_difference
from experiments.report.summary import curves_of, summarise
from experiments.report.tables import cells, headings, paired_note
from experiments.run.records import RunResult
from tests.conftest import SMALL_RUN
from tests.experiments.test_compare import result

# ---- paired differences


def test_the_interval_is_students_over_the_pairs() -> None:
    mine = {0: 61.0, 1: 64.0, 2: 63.0, 3: 50.0}
    theirs = {0: 60.0, 1: 60.0, 2: 60.5, 9: 10.0}
    difference = paired_difference(mine, theirs)
    assert difference is not None
    assert (difference.pairs, difference.mean) == (3, pytest.approx(2.5))
    # differences 1, 4, 2.5: deviation 1.5; the quantile of two degrees of freedom, from a table, is 4.303
    assert difference.half == pytest.approx(4.303 * 1.5 / 3**0.5, rel=1e-3)
    assert paired_difference({0: 1.0}, {0: 3.0}) == type(difference)(-2.0, None, 1)
    assert paired_difference({0: 1.0}, {1: 3.0}) is None


def test_the_interval_covers_the_truth_19_times_in_20() -> None:
    draws = np.random.default_rng(0).standard_normal((4000, 5)) + 0.7
    inside = 0
    for row in draws:
        difference = paired_difference(dict(enumerate(row)), dict.fromkeys(range(5), 0.0))
        assert difference is not None
        assert difference.half is not None
        inside += abs(difference.mean - 0.7) <= difference.half
    assert inside / 4000 == pytest.approx(0.95, abs=0.012)


def in_fold(one: RunResult, fold: int) -> RunResult:
    return replace(one, config=replace(one.config, dataset=f"sydney-fold{fold}"))


def test_rows_are_compared_with_vanilla_pair_by_pair() -> None:
    vanilla = [result("vanilla", seed, [40.0 + 10 * seed]) for seed in range(3)]
    mixup = [result("mixup", seed, [41.0 + 10 * seed + 0.5 * seed]) for seed in (2, 0, 1)]  # in another order
    rows = summarise([*vanilla, *mixup])
    assert rows[0]["paired"] is None
    final = rows[1]["paired"]["scores"]["final"]
    assert (rows[1]["paired"]["against"], final["pairs"], final["mean"]) == ("vanilla", 3, pytest.approx(1.5))
    assert final["half"] == pytest.approx(4.303 * 0.5 / 3**0.5, rel=1e-3)  # the seeds' own differences do not count
    assert rows[1]["paired"]["scores"]["ece"]["mean"] == 0
    place = headings(rows).index("paired")
    assert [cells(row, rows)[place] for row in rows] == ["–", "+1.5±1.2"]
    assert "minus that of vanilla at the same seed, mean" in paired_note(rows)
    assert "paired" not in headings(summarise(vanilla))


def test_a_baseline_may_be_any_row_of_the_same_budget() -> None:
    def budget(one: RunResult, epochs: int) -> RunResult:
        return replace(one, config=replace(one.config, epochs=epochs))

    short = [budget(result(name, 0, [value]), 5) for name, value in (("vanilla", 10.0), ("mixup", 12.0))]
    long = [budget(result(name, 0, [value]), 80) for name, value in (("vanilla", 50.0), ("mixup", 49.0))]
    rows = {row["method"]: row["paired"] for row in summarise([*short, *long])}
    assert rows["mixup [epochs 5]"]["scores"]["final"]["mean"] == 2
    assert rows["mixup [epochs 80]"]["scores"]["final"]["mean"] == -1
    assert rows["vanilla [epochs 80]"] is None
    sage = [result(name, 0, [value]) for name, value in (("sagemix", 10.0), ("sagemix:sigma=0.3", 13.0))]
    rows = {row["method"]: row["paired"] for row in summarise(sage, "sagemix:sigma=2.0")}  # the recipe's own sigma
    assert rows["sagemix (σ 2)"] is None
    assert rows["sagemix (σ 0.3)"]["scores"]["final"]["mean"] == 3
    assert summarise(sage, "sagemix (σ 2)")[1]["paired"] == rows["sagemix (σ 0.3)"]
    assert all(row["paired"] is None for name in ("vanilla", "sagemix") for row in summarise(sage, name))  # which one?
    one = summarise([sage[0], result("mixup", 0, [9.0])], "sagemix")
    assert one[1]["paired"]["scores"]["final"]["mean"] == -1
    broken = replace(long[0], status="stopped")
    assert all(row["paired"] is None for row in summarise([broken, long[1]]))


def test_folds_are_one_row_and_paired_with_their_like() -> None:
    runs = [
        in_fold(result(name, seed, [60 + 10 * fold + seed + gain]), fold)
        for fold in range(2)
        for seed in range(2)
        for name, gain in (("vanilla", 0.0), ("mixup", 1.0 + fold))
    ]
    rows = summarise(runs)
    assert [(row["arm"], row["ended"], row["seeds"], row["folds"]) for row in rows] == [
        ("sydney-pointnet", 4, [0, 1], ["fold0", "fold1"])
    ] * 2
    assert rows[1]["scores"]["final"]["mean"] == pytest.approx(statistics.fmean([61, 62, 72, 73]))
    final = rows[1]["paired"]["scores"]["final"]
    assert (final["pairs"], final["mean"]) == (4, pytest.approx(1.5))
    assert "at the same seed and fold" in paired_note(rows)
    stopped = replace(runs[0], status="stopped", stopped="why")
    assert summarise([stopped, *runs[1:]])[0]["stopped"] == {"0, fold0": "why"}
    with pytest.raises(ExperimentError, match="has a seed twice"):
        summarise([runs[0], runs[0]])


# ---- files


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "run"
    command = [
        "sweep", "--recipe", "short", "--datasets", "digits", "--models", "pointnet", "--methods", "vanilla",
        "pointmixup", "sagemix:saliency=bank", "--seeds", "0", "1", "--epochs", "3", "--test-every", "2",
    ]  # fmt: skip
    assert main([*command, *SMALL_RUN, "--output", str(folder)]) == 0
    assert main(["evaluate", str(folder), "--robustness", "--accelerator", "cpu", "--threads", "1"]) == 0
    return folder


def test_tables_and_curves_are_those_of_the_runs(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file, first, second = tmp_path / "docs" / "small.json", tmp_path / "first", tmp_path / "second"
    assert main(["report", str(sweep), "--export", str(file), "--output", str(first)]) == 0
    printed = capsys.readouterr().out
    assert "Paired: the last epoch's score minus that of vanilla at the same seed" in " ".join(printed.split())
    assert main(["report", str(file), "--output", str(second)]) == 0
    again = capsys.readouterr().out
    assert again.replace(str(second), str(first)) == printed
    pages = [(folder / "report.html").read_text() for folder in (first, second)]
    tables = [re.findall(r"<table>.*</table>", page, re.DOTALL) for page in pages]
    assert tables[0] == tables[1] != []
    lines = [re.findall(r"<svg.*?</svg>", page, re.DOTALL)[0] for page in pages]
    places = [
        [float(number) for path in re.findall(r' d="([^"]*)"', line) for number in re.findall(r"-?[\d.]+", path)]
        for line in lines
    ]
    assert len(places[0]) > 50
    assert places[0] == pytest.approx(places[1], abs=0.02)  # of a figure 400 wide
    whole, read = find_runs([sweep]), find_runs([file])
    assert [run.config for run in read] == [run.config for run in whole]
    for name in ("draw", "label", "status", "about", "environment"):
        assert [getattr(run, name) for run in read] == [getattr(run, name) for run in whole]
    for mine, theirs in zip(read, whole, strict=True):
        assert [record.epoch for record in mine.tested] == [2, 3]
        assert mine.scores() == pytest.approx(theirs.scores(), abs=1e-4)
        assert mine.evaluation["noise 0.05"] == pytest.approx(theirs.evaluation["noise 0.05"], abs=1e-4)
    arm = "digits-pointnet"
    for label, (epochs, values) in curves_of(whole, arm).items():
        assert np.array_equal(curves_of(read, arm)[label][0], epochs)
        assert curves_of(read, arm)[label][1] == pytest.approx(values, abs=1e-4)


def test_the_file_is_small_and_the_same_every_time(sweep: Path, tmp_path: Path) -> None:
    runs = find_runs([sweep])
    write_export(tmp_path / "a.json", runs)
    write_export(tmp_path / "b.json", read_export(tmp_path / "a.json"))
    text = (tmp_path / "a.json").read_text()
    assert (tmp_path / "b.json").read_text() == text
    content = json.loads(text)
    assert content["runs"][0]["config"].keys() == {"method", "seed"}
    assert content["common"]["epochs"] == 3
    assert str(tmp_path.parent) not in text
    assert len(text) < 3000 + 3000 * len(runs)


def test_exported_files_and_folders_stand_in_one_report(sweep: Path, tmp_path: Path) -> None:
    vanilla = [run for run in find_runs([sweep]) if run.config.method == "vanilla"]
    write_export(tmp_path / "vanilla.json", vanilla)
    rest = sorted(path for path in sweep.rglob("pointmixup-s*") if path.is_dir())
    assert main(["report", str(tmp_path / "vanilla.json"), *map(str, rest), "--output", str(tmp_path / "both")]) == 0
    rows = json.loads((tmp_path / "both" / "summary.json").read_text())["rows"]
    paired = {row["method"]: row["paired"] for row in rows}
    assert paired["pointmixup"]["scores"]["final"]["pairs"] == 2


def test_a_run_without_a_test_is_kept_too(tmp_path: Path) -> None:
    empty = replace(result("mixup", 0, []), status="stopped", stopped="why")
    write_export(tmp_path / "a.json", [empty, result("vanilla", 0, [50.0])])
    first, second = read_export(tmp_path / "a.json")
    assert (first.status, first.stopped, first.records) == ("stopped", "why", [])
    assert second.scores()["final"] == 50
    assert math.isnan(second.records[0].train_loss)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "runs": [{}]}'])
def test_what_is_no_export_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ExperimentError, match=r"a\.json (is not a file of|has format 2)"):
        find_runs([tmp_path / "a.json"])
    with pytest.raises(ExperimentError, match=r"b\.json cannot be read"):
        find_runs([tmp_path / "b.json"])
