"""The figures of rows as text, the same in the terminal and in the report, with the paper's beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.config import load_recipe, recipe_names

TITLES = {
    "best": "best",
    "final": "final",
    "last10": "last 10",
    "ece": "ECE",
    "gap": "gap",
    "class_miou": "class mIoU",
    "point_accuracy": "points",
    "instance_miou_within": "within: mIoU",
    "class_miou_within": "within: class",
}
NOTE = (
    "Accuracy in %: best epoch, last epoch, mean of the last 10. ECE in % at the last epoch (15 bins); gap = "
    "confidence − accuracy. Cost: seconds of a step over those of the same step without mixing, median of all steps "
    "(≈: mixing inside the model, over vanilla's step)."
)
PARTS_NOTE = (
    "best, final, last 10: instance mIoU in %, the argmax over all parts; within: the argmax over the parts of the "
    "shape's category."
)


def headings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns that the rows of one arm have figures for."""
    return [*(TITLES[name] for name in _names(rows)), "cost", *(["paper"] if _paper(rows) else [])]


def cells(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row's figures as text, one per heading of all the rows of its arm."""

    def text(name: str) -> str:
        spread = row["scores"].get(name)
        if spread is None:
            return "–"
        mean = f"{spread['mean']:{'+.1f' if name == 'gap' else '.1f'}}".replace("-", "−")
        return f"{mean}±{spread['std']:.1f}" if len(row["seeds"]) - len(row["stopped"]) > 1 else mean

    cost, paper = row["cost"], _paper(rows)
    figures = [text(name) for name in _names(rows)]
    figures.append("–" if cost is None else f"{'≈' if row['cost_is_rough'] else ''}{cost:.2f}×")
    if paper:
        known = paper.get(row["name"])
        figures.append("–" if known is None else f"{known:.1f}")
    return figures


def paper_figures(dataset: str, model: str, figure: str) -> dict[str, float]:
    """What the SageMix paper's tables say of a data set and a model, by method; empty where they say nothing.

    Args:
        dataset: as in a configuration.
        model: as in a configuration.
        figure: "accuracy", "ece", "instance_miou" or "seconds_per_epoch".
    """
    found: dict[str, float] = {}
    for name in recipe_names():
        for table in load_recipe(name).paper:
            if (table["dataset"], table["model"], table["figure"]) == (dataset, model, figure):
                found.update(table["rows"])
    return found


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    there = {name for row in rows for name in row["scores"]}
    return [name for name in TITLES if name in there] or ["best", "final", "last10"]


def _paper(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    if not rows:
        return {}
    figure = "instance_miou" if any("class_miou" in row["scores"] for row in rows) else "accuracy"
    return paper_figures(rows[0]["dataset"], rows[0]["model"], figure)
