"""The tables of runs in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.report.conclusion import conclusions
from experiments.report.tables import PARTS_NOTE, cells, columns_note, headings, paired_note

LESSER = ("last 10", "best", "gap", "F1", "class mIoU", "within: class", "points", "runs")  # what a page shows besides


def make_table(title: str, rows: Sequence[dict[str, Any]], width: int = 120) -> Table:
    """The rows of one arm, as `summary.summarise` gives them, as a table.

    Args:
        title: the arm's title.
        rows: the arm's rows.
        width: letters in a line. Where not all columns fit, the lesser ones are left out, and the caption names them.
    """
    columns = dict(zip(headings(rows), zip(*(cells(row, rows) for row in rows), strict=True), strict=True))
    left_out = []
    for lesser in LESSER:
        if _width(rows, columns) > width and lesser in columns:
            columns.pop(lesser)
            left_out.append(lesser)
    caption = f"Left out for want of width: {', '.join(left_out)}; report.html has them." if left_out else None
    table = Table(
        title=Text(title), title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim",
        caption=caption, caption_justify="left", caption_style="dim",
    )  # fmt: skip
    table.add_column("", min_width=15, no_wrap=True)
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True, min_width=5)
    for place, row in enumerate(rows):
        table.add_row(Text(row["method"]), *(texts[place] for texts in columns.values()))
        for seed, why in row["stopped"].items():
            table.add_row(Text(f"  seed {seed}: {why}", style="red"))
    return table


def _width(rows: Sequence[dict[str, Any]], columns: Mapping[str, Sequence[str]]) -> int:
    """How many letters a line of the table takes: two lie between columns."""
    first = max(15, *(len(row["method"]) for row in rows))
    return first + sum(2 + max(5, len(heading), *map(len, texts)) for heading, texts in columns.items())


def print_tables(console: Console, summary: dict[str, Any]) -> None:
    """One table per arm, and what their columns mean."""
    for arm, facts in summary["arms"].items():
        console.print(make_table(facts["title"], [row for row in summary["rows"] if row["arm"] == arm], console.width))
    console.print(columns_note(summary["rows"]), style="dim")
    if note := paired_note(summary["rows"]):
        console.print(note, style="dim")
    if any("class_miou" in row["scores"] for row in summary["rows"]):
        console.print(PARTS_NOTE, style="dim")
    for sentence in conclusions(summary):
        console.print(sentence)
