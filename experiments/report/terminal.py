"""The tables of runs in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.report.conclusion import conclusions
from experiments.report.tables import PARTS_NOTE, cells, columns_note, headings, paired_note


def make_table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    """The rows of one arm, as `summary.summarise` gives them, as a table."""
    table = Table(
        title=Text(title), title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim"
    )
    table.add_column("", min_width=15, no_wrap=True)
    for heading in headings(rows):
        table.add_column(heading, justify="right", no_wrap=True, min_width=5)
    for row in rows:
        table.add_row(Text(row["method"]), *cells(row, rows))
        for seed, why in row["stopped"].items():
            table.add_row(Text(f"  seed {seed}: {why}", style="red"))
    return table


def print_tables(console: Console, summary: dict[str, Any]) -> None:
    """One table per arm, and what their columns mean."""
    for arm, facts in summary["arms"].items():
        console.print(make_table(facts["title"], [row for row in summary["rows"] if row["arm"] == arm]))
    console.print(columns_note(summary["rows"]), style="dim")
    if note := paired_note(summary["rows"]):
        console.print(note, style="dim")
    if any("class_miou" in row["scores"] for row in summary["rows"]):
        console.print(PARTS_NOTE, style="dim")
    for sentence in conclusions(summary):
        console.print(sentence)
