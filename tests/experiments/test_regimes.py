"""What `compare` trains by default, how it shares out the cores, and what it says of the figures."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments.commands import compare
from experiments.commands.compare import plan, share_out
from experiments.report.conclusion import conclusions
from experiments.report.pages import report_page
from experiments.report.summary import make_summary, summarise
from experiments.report.tables import cells
from experiments.run.config import Config
from experiments.run.recipe import load_recipe
from experiments.run.records import EpochRecord, RunResult


def result(method: str, seed: int, accuracies: list[float]) -> RunResult:
    config = load_recipe("short").resolve(
        None, {"dataset": "digits", "model": "pointnet", "method": method, "seed": seed}
    )
    records = [EpochRecord(i + 1, 1.0, 0.1, 2.0, 50.0, 2.0, {"accuracy": a}) for i, a in enumerate(accuracies)]
    return RunResult(Path("nowhere"), config, records, "complete")


def test_the_error_is_cut_over_the_same_seeds() -> None:
    runs = [result("vanilla", seed, [accuracy]) for seed, accuracy in enumerate((80.0, 90.0, 10.0))]
    rows = summarise([*runs, *(result("mixup", seed, [95.0]) for seed in (0, 1))])
    assert rows[1]["paired"]["error_cut"] == pytest.approx(100 * (1 - 5 / 15))  # seed 2 of vanilla has no pair
    perfect = summarise([result("vanilla", 0, [100.0]), result("mixup", 0, [99.0])])
    assert perfect[1]["paired"]["error_cut"] is None
    assert cells({**perfect[1], "scores": {"corrupted": {"mean": 1.0, "std": 0.0}}}, [])  # and the table has a dash


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [
        ((92.0, 92.2, 91.8), "mixup cuts vanilla's error by 20 % (+2.0 points, 95 % interval +1.5 to +2.5)"),
        ((88.0, 88.2, 87.8), "mixup raises vanilla's error by 20 % (−2.0 points, 95 % interval −2.5 to −1.5)"),
        ((95.0, 89.0, 92.0), "not shown to differ from vanilla in accuracy: mixup (+2.0 points, 95 % interval −5.5 to"),
        ((92.0,), "no difference in accuracy is shown, as one seed has no interval: mixup (+2.0 points)"),
    ],
)
def test_the_page_says_what_follows_whatever_the_figures_are(accuracies: tuple[float, ...], words: str) -> None:
    vanilla = [result("vanilla", seed, [90.0]) for seed in range(3)]
    mixed = [result("mixup", seed, [accuracy]) for seed, accuracy in enumerate(accuracies)]
    summary = make_summary("compare", "name", [*vanilla, *mixed], "complete")
    sentence, limits = conclusions(summary)
    assert words in sentence
    assert sentence.count("mixup") == 1
    assert "nothing follows for other data" in limits
    assert conclusions({**summary, "command": "sweep"}) == [sentence, limits]
    assert conclusions(make_summary("compare", "name", vanilla, "complete")) == []


def test_every_budget_is_compared_with_its_own() -> None:
    def trained(method: str, seed: int, epochs: int, score: float) -> RunResult:
        one = result(method, seed, [score + seed] * epochs)
        return replace(one, config=replace(one.config, epochs=epochs))

    runs = [
        trained(method, seed, epochs, score)
        for epochs, gain in ((5, -3.0), (9, 2.0))
        for method, score in (("vanilla", 50.0), ("mixup", 50.0 + gain))
        for seed in range(3)
    ]
    summary = make_summary("sweep", "name", runs, "complete")
    first, second, _ = conclusions(summary)
    assert "training samples: mixup [epochs 5] raises vanilla [epochs 5]'s error by 6 % (−3.0 points" in first
    assert "training samples: mixup [epochs 9] cuts vanilla [epochs 9]'s error by 4 % (+2.0 points" in second
    assert "for 5 to 9 epochs" in report_page(summary, runs, {})


def test_what_corruptions_show_is_said_apart_from_accuracy() -> None:
    def damaged(method: str, seed: int, clean: float, worn: float) -> RunResult:
        one = result(method, seed, [clean])
        one.records[-1].scores["corrupted"] = worn
        return one

    runs = [damaged("vanilla", seed, 90.0, 50.0) for seed in (0, 1, 2)]
    runs += [damaged("mixup", seed, 89.0 + seed, 60.0 + seed / 10) for seed in (0, 1, 2)]
    runs += [damaged("cutmix", seed, 70.0 + seed / 10, 49.0 + seed) for seed in (0, 1, 2)]
    runs += [damaged("sagemix", seed, 90.5 + seed, 30.0 + seed / 10) for seed in (0, 1, 2)]
    accuracy, worn = conclusions(make_summary("compare", "name", runs, "complete"))[0].split("; better than")
    assert "cutmix raises vanilla's error by 199 %" in accuracy
    assert "mixup (+0.0 points" in accuracy.partition("not shown to differ from vanilla in accuracy")[2]
    better, rest = worn.split("; worse than vanilla under corruptions: ")
    worse, unclear = rest.split("; not shown to differ from vanilla under corruptions: ")
    assert better.startswith(" vanilla under corruptions: mixup (+10.1 points, 95 % interval +9.9 to +10.3)")
    assert worse.startswith("sagemix (σ 2) (−19.9 points")
    assert unclear.startswith("cutmix (+0.0 points")


def test_no_error_to_cut_is_no_division_by_zero() -> None:
    runs = [result("vanilla", seed, [100.0]) for seed in (0, 1)]
    runs += [result("mixup", seed, [accuracy]) for seed, accuracy in enumerate((97.9, 98.0))]
    sentence, _ = conclusions(make_summary("compare", "name", runs, "complete"))
    assert "mixup makes errors where vanilla makes none (−2.0" in sentence or "−2.1" in sentence


def planned(*options: str) -> list[Config]:
    parser = argparse.ArgumentParser()
    compare.add_arguments(parser)
    args = parser.parse_args(list(options))
    return plan(args, {"image": args.image_data, "points": args.point_data})


def test_the_default_is_scarce_data_and_everything_else_can_be_had() -> None:
    runs = planned()
    assert len(runs) == 2 * 5 * 3
    assert {run.seed for run in runs} == {0, 1, 2}
    for run in runs:
        assert (run.limit, run.corrupted) == (200, True)
        assert run.epochs == {"image": 100, "points": 40}[run.domain]
        assert run.test_every < run.epochs
    assert {run.batch_size for run in runs if run.domain == "image"} == {50}
    assert {run.batch_size for run in runs if run.domain == "points"} == {25}
    whole = planned("--recipe", "short", "--seeds", "0")
    assert {(run.limit, run.epochs, run.seed) for run in whole} == {(None, 15, 0)}
    more = planned("--limit", "400", "--epochs", "7")
    assert {(run.limit, run.epochs) for run in more} == {(400, 7)}
    other = planned("--image-data", "cifar100", "--point-data", "modelnet10")
    short = load_recipe("short").resolve(
        "equal", {"dataset": "cifar100", "model": "preact_resnet18", "corrupted": True}
    )
    assert other[0] == short


@pytest.mark.parametrize(
    ("options", "cores", "gpu", "wanted"),
    [
        ([], 2, False, (2, 1)),
        ([], 1, False, (1, 1)),
        ([], 16, False, (4, 4)),
        (["--threads", "1"], 3, False, (3, 1)),
        (["--threads", "8"], 4, False, (1, 8)),
        (["--jobs", "1"], 4, False, (1, 4)),
        (["--jobs", "3", "--threads", "2"], 1, False, (3, 2)),
        ([], 16, True, (1, None)),
        (["--accelerator", "cpu"], 2, True, (2, 1)),
        (["--jobs", "4"], 16, True, (4, None)),
        (["--devices", "2"], 16, False, (1, None)),
    ],
)
def test_cores_are_shared_out(
    options: list[str], cores: int, gpu: bool, wanted: tuple[int, int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    parser = argparse.ArgumentParser()
    compare.add_arguments(parser)
    assert share_out(parser.parse_args(options)) == wanted
