"""The pages: one HTML file each with everything inside, nothing fetched, light or dark as the reader's system is.

What they say is in `templates`. Whatever a value holds is text there, as the templates escape all that they are given.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from experiments.base.machine import device_in_words
from experiments.data import WORDS
from experiments.report.conclusion import conclusions
from experiments.report.curves import SERIES, accuracy_curves, accuracy_limits
from experiments.report.drawing import cell_pngs
from experiments.report.pairs import RATIO
from experiments.report.sheets import Sheet
from experiments.report.summary import curves_of
from experiments.report.tables import PARTS_NOTE, cells, columns_note, corruptions, headings, paired_note
from experiments.run.records import RunResult

COUNTS = {2: "two", 3: "three", 4: "four"}  # domains of a comparison

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
)
_TEMPLATES.filters["base64"] = lambda content: base64.b64encode(content).decode()
_TEMPLATES.globals.update(zip=zip, cell_pngs=cell_pngs)


def report_page(summary: dict[str, Any], results: Sequence[RunResult], galleries: Mapping[str, Sheet]) -> str:
    """The page of a report.

    Args:
        summary: the content of summary.json.
        results: the runs, for the curves.
        galleries: the galleries of the arms that have one.
    """
    arms = [
        _arm(arm, facts["title"], summary, results, f"chart{k}", galleries.get(arm))
        for k, (arm, facts) in enumerate(summary["arms"].items())
    ]
    parts = any("class_miou" in row["scores"] for row in summary["rows"])
    notes = columns_note(summary["rows"]), paired_note(summary["rows"]), PARTS_NOTE if parts else ""
    details = {"arms": summary["arms"], "environment": summary["environment"]}
    return _TEMPLATES.get_template("report.html").render(
        name=summary["name"],
        title=_title(summary),
        summary=summary,
        lead=_lead(summary),
        arms=arms,
        series=SERIES,
        notes=" ".join(filter(None, notes)),
        conclusions=conclusions(summary),
        prior=f"{RATIO:g}",
        configuration=_configuration(summary),
        details=json.dumps(details, indent=2, ensure_ascii=False),
    )


def figures_page(figures: Sequence[Sheet], sources: Sequence[str], notes: Sequence[str], command: str) -> str:
    """The page of the paper's figures.

    Args:
        figures: at least one.
        sources: where the samples of each domain and their saliency come from, a sentence each.
        notes: what the reader must know besides.
        command: the command line that drew the figures.
    """
    return _TEMPLATES.get_template("figures.html").render(
        name="SageMix in pictures", figures=figures, sources=sources, notes=notes, command=command
    )


def _title(summary: dict[str, Any]) -> str:
    """The heading of a report: of one arm its title; of a comparison how many domains it has."""
    arms = summary["arms"]
    if len(arms) == 1:
        return str(next(iter(arms.values()))["title"])
    domains = len({facts["domain"] for facts in arms.values()})
    compared = summary["command"] == "compare" and domains in COUNTS
    return f"One engine, {COUNTS[domains]} domains" if compared else str(summary["name"])


def _arm(
    arm: str, title: str, summary: dict[str, Any], results: Sequence[RunResult], chart: str, gallery: Sheet | None
) -> dict[str, Any]:
    """What the page shows of an arm; `chart` is what the ids of its curves begin with."""
    rows = [row for row in summary["rows"] if row["arm"] == arm]
    kinds, corrupted = corruptions(rows)
    return {
        "title": title,
        "rows": rows,
        "headings": headings(rows),
        "cells": [cells(row, rows) for row in rows],
        "corruptions": kinds,
        "corrupted": corrupted,
        "chart": _chart(arm, results, chart),
        "gallery": gallery,
    }


def _chart(arm: str, results: Sequence[RunResult], name: str) -> dict[str, Any] | None:
    """The curves of an arm as an SVG, and what is to be said of them; None where there are none."""
    curves = curves_of(results, arm)
    if not curves:
        return None
    low, _ = accuracy_limits([values for _, values in curves.values()])
    cut = any(values.min() < low for _, values in curves.values())
    parts = any(result.config.arm == arm and result.config.parts for result in results)
    scored = next(result.config.scored for result in results if result.config.arm == arm)
    label = f"{scored} instance mIoU (%)" if parts else f"{scored} accuracy (%)"
    several = any(len(values) > 1 for _, values in curves.values())
    bands = " The bands are one standard deviation over the runs." if several else ""
    note = bands + (f" The axis starts at {low:.0f} %; early epochs below it are cut off." if cut else "")
    return {"svg": Markup(accuracy_curves(curves, name, label)), "note": note}  # matplotlib escapes names itself


def _lead(summary: dict[str, Any]) -> str:
    """What was trained, on what, for how long."""
    parts = []
    for arm, facts in summary["arms"].items():
        rows = [row for row in summary["rows"] if row["arm"] == arm]
        epochs = _range([max(row["epochs"]) for row in rows])  # of a run that stopped early there are fewer
        kind = WORDS[facts.get("domain", "points")][0]
        weights = f" ({facts['parameters'] / 1e6:.2g} million weights)" if "parameters" in facts else ""
        parts.append(
            f"{facts['model']}{weights} on {facts.get('train_samples', 0):,} {kind} of "
            f"{facts.get('data_title', facts['config']['dataset'])} for {epochs} epochs"
        )
    seeds = _range([len(row["seeds"]) for row in summary["rows"]])
    folds = max((len(row.get("folds", ())) for row in summary["rows"]), default=0)
    many = f"{folds} folds x {seeds} seeds" if folds else f"{seeds} seeds"
    runs = "one run a row" if seeds == "1" and folds < 2 else f"{many} a row, mean ± standard deviation"
    device = f" on {device_in_words(summary['environment'])}" if summary["environment"] else ""
    budget = "" if any("[" in row["method"] for row in summary["rows"]) else " and has the same budget"
    cut = " Scores are of samples cut from the training set; the test samples were not looked at."
    short = (
        ""
        if conclusions(summary)
        else " A short budget says little about which method wins in the long run: like every regulariser, mixing "
        "tends to pay off late."
    )
    validated = cut if any(row.get("scored") == "validation" for row in summary["rows"]) else ""
    return (
        f"{', and '.join(parts)}. Within a table every method starts from the same weights, sees the same data in the "
        f"same order{budget} ({runs}). All in {_duration(summary['seconds'])}{device}."
        f"{short}{validated}"
    )


def _configuration(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """The budget of each arm in words, the seeds and the versions."""
    rows = []
    for facts in summary["arms"].values():
        config = facts["config"]
        samples = ""
        scored = facts.get("scored", "test")
        if {"train_samples", f"{scored}_samples", "sample_shape", "classes", "augmentation"} <= facts.keys():
            shape = " × ".join(map(str, facts["sample_shape"]))
            samples = (
                f"{facts['train_samples']:,} training and {facts[f'{scored}_samples']:,} {scored} samples of {shape}, "
                f"{facts['classes']} classes; augmentation: {facts['augmentation']}. "
            )
        recipes = " Or: ".join(f"{recipe}." for recipe in facts["recipes"])
        weights = f", {facts['parameters']:,} weights" if "parameters" in facts else ""
        text = f"{samples}Width {config['width']}{weights}, precision {config['precision']}. {recipes}"
        rows.append((facts["title"], text))
    rows.append(("Seeds", ", ".join(map(str, summary["seeds"]))))
    if packages := summary["environment"].get("packages"):
        versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
        rows.append(("Versions", f"Python {summary['environment'].get('python', '?')}, {versions}"))
    return rows


def _range(counts: Sequence[int]) -> str:
    """The least and the most of some counts, or the one that all are."""
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
