"""The figures of rows as text, the same in the terminal and in the report, with the paper's beside them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.run.recipe import load_recipe, recipe_names

TITLES = {
    "best": "best",
    "final": "final",
    "last10": "last 10",
    "ece": "ECE",
    "ece_scaled": "scaled",
    "gap": "gap",
    "corrupted": "corrupted",
    "weighted_f1": "F1",
    "class_miou": "class mIoU",
    "point_accuracy": "points",
    "instance_miou_within": "within: mIoU",
    "class_miou_within": "within: class",
}
SHOWN = ("final", "ece", "ece_scaled", "corrupted")  # where runs were scored on corrupted samples: the page has more
UNDER = "corrupted_"  # how names of accuracies under a corruption begin
FIVE = "accuracy of five runs"
COST = (
    "Cost: seconds of the steps over those of the same steps without mixing (≈: what mixes or learns in the model's "
    "own passes, over vanilla's step)."
)
NOTE = (
    "Accuracy in %: best epoch, last epoch, mean of the last 10. ECE in % at the last epoch (15 bins); scaled: ECE at "
    "the temperature that fits samples which are neither trained on nor scored; gap = confidence − accuracy; F1: mean "
    f"over the classes in %, weighted by their samples. {COST}"
)
PARTS_NOTE = (
    "best, final, last 10: instance mIoU in %, the argmax over all parts; within: the argmax over the parts of the "
    "shape's category."
)


def headings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns that the rows of one arm have figures for."""
    counts = ["runs"] if len({row["ended"] for row in rows}) > 1 else []
    return [*counts, *(TITLES[name] for name in _names(rows)), *_over(rows), "cost", *_paper(rows)]


def cells(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row's figures as text, one per heading of all the rows of its arm."""

    def text(name: str) -> str:
        spread = row["scores"].get(name)
        if spread is None:
            return "–"
        mean = f"{spread['mean']:{'+.1f' if name == 'gap' else '.1f'}}".replace("-", "−")
        return f"{mean}±{spread['std']:.1f}" if row["ended"] > 1 else mean

    cost = row["cost"]
    figures = [str(row["ended"])] if len({other["ended"] for other in rows}) > 1 else []
    figures += [text(name) for name in _names(rows)]
    figures += [{"paired": _difference, "error": _cut}[heading](row) for heading in _over(rows)]
    figures.append("–" if cost is None else f"{'≈' if row['cost_is_rough'] else ''}{cost:.2f}×")
    for by_method in _paper(rows).values():
        figures.append(f"{by_method[row['name']]:.1f}" if row["name"] in by_method else "–")
    return figures


def paper_figures(dataset: str, model: str, figure: str) -> dict[str, float]:
    """What the SageMix paper's tables say of a data set and a model, by method; empty where they say nothing.

    Args:
        dataset: the name in a configuration.
        model: the name in a configuration.
        figure: the name in a recipe's ``[[paper]]``: "accuracy", "accuracy of five runs", "ece", "instance_miou",
            "seconds_per_epoch", or a corruption of Table 3.
    """
    figures: dict[str, float] = {}
    for table in _paper_tables():
        if (table["dataset"], table["model"], table["figure"]) == (dataset, model, figure):
            figures.update(table["rows"])
    return figures


@functools.cache  # every cell asks, and reading the recipes takes a second
def _paper_tables() -> list[Mapping[str, Any]]:
    return [table for name in recipe_names() for table in load_recipe(name).paper]


def _over(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The heading of the paired differences, if there are any."""
    if not any(row.get("paired") for row in rows):
        return []
    return ["paired", "error"] if _corrupted(rows) else ["paired"]


def _difference(row: Mapping[str, Any]) -> str:
    """A row's mean difference to its baseline, with half the interval where there is one."""
    if not row.get("paired"):
        return "–"
    difference = row["paired"]["scores"]["final"]
    mean = f"{difference['mean']:+.1f}".replace("-", "−")
    return mean if difference["half"] is None else f"{mean}±{difference['half']:.1f}"


def _cut(row: Mapping[str, Any]) -> str:
    """By how much a row's error differs from its baseline's, in % of that."""
    cut = row["paired"]["error_cut"] if row.get("paired") else None
    return "–" if cut is None else f"{round(-cut):+d} %".replace("-", "−")


def _corrupted(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there are scores of corrupted samples, which make a table of their own kind."""
    return any("corrupted" in row["scores"] for row in rows)


def corruptions(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The names of the corruptions that an arm's rows were scored under, and each row's mean accuracies as text."""
    names = list(dict.fromkeys(name for row in rows for name in row["scores"] if name.startswith(UNDER)))
    figures = [[f"{row['scores'][n]['mean']:.1f}" if n in row["scores"] else "–" for n in names] for row in rows]
    return [name.removeprefix(UNDER) for name in names], figures


def columns_note(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the columns mean that all tables have, or those of a table with corrupted samples."""
    if not _corrupted(rows):
        return NOTE
    kinds, _ = corruptions(rows)
    return (
        "Of the last epoch, in %: accuracy (final); ECE (15 bins), and at the temperature that fits samples which are "
        f"neither trained on nor scored (scaled); mean accuracy under {', '.join(kinds)} (corrupted), of those that "
        f"the domain has; how the mean error, 100 - final, differs from vanilla's, in % of that (error). {COST}"
    )


def paired_note(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the paired differences are, with the names of what rows are compared with; "" where there are none."""
    against = list(dict.fromkeys(row["paired"]["against"].partition(" [")[0] for row in rows if row.get("paired")))
    if not against:
        return ""
    pairs = "seed and fold" if any(row.get("folds") for row in rows) else "seed"
    return (
        f"Paired: the last epoch's score minus that of {' or '.join(against)} at the same {pairs}, mean ± half of its "
        "95 % interval (Student's t)."
    )


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    scored = {name for row in rows for name in row["scores"]}
    if _corrupted(rows):
        return [name for name in SHOWN if name in scored]
    return [name for name in TITLES if name in scored] or ["best", "final", "last10"]


def _paper(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The paper's figures by method, for each column that it has some for."""
    if not rows or rows[0].get("scored") == "validation":  # the paper's figures are of the test samples
        return {}
    parts = any("class_miou" in row["scores"] for row in rows)
    columns = {"paper": "instance_miou"} if parts else {"paper": "accuracy", "paper, 5 runs": FIVE, "paper ECE": "ece"}
    figures = {title: paper_figures(rows[0]["dataset"], rows[0]["model"], figure) for title, figure in columns.items()}
    return {title: by_method for title, by_method in figures.items() if any(row["name"] in by_method for row in rows)}
