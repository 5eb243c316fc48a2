"""The page of the paper's tables says what the recipes say, figure by figure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

tomlkit = pytest.importorskip("tomlkit")

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "results" / "paper.md").read_text(encoding="utf-8")
NAMES = {
    "modelnet40": "ModelNet40",
    "scanobjectnn-obj-only": "OBJ_ONLY",
    "scanobjectnn-pb-t50-rs": "PB_T50_RS",
    "pointnet": "PointNet",
    "pointnet2_ssg": "PointNet++",
    "pointnet2_partseg": "PointNet++",
    "dgcnn": "DGCNN",
    "dgcnn_partseg": "DGCNN",
    "seconds_per_epoch": "seconds an epoch",
}
COLUMNS = {  # what tells the columns of a table apart; a figure, unless it is here
    2: ("dataset", "model"), 6: ("model",), 8: ("model",), 9: ("dataset",), 10: ("dataset",),
}  # fmt: skip
TABLES = sorted(int(path.stem.removeprefix("table")) for path in (ROOT / "experiments/recipes").glob("table*.toml"))


def shown(number: int) -> dict[str, dict[str, str]]:
    """{method: {column: cell}} of one table of the page."""
    section = PAGE.partition(f"## Table {number}:")[2].partition("\n## ")[0]
    rows = [[cell.strip(" `") for cell in line[1:-1].split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {method: dict(zip(rows[0][1:], cells, strict=True)) for method, *cells in rows[2:]}


def reported(block: dict[str, Any], number: int) -> dict[tuple[str, str], tuple[float, float | None]]:
    """{(method, column): (figure, deviation)} of what a recipe says the paper has."""
    column = ", ".join(NAMES.get(block[key], block[key]) for key in COLUMNS.get(number, ("figure",)))
    deviations = block.get("deviations", {})
    short = {method: re.sub(":sigma=2.0$", "", method) if number in (2, 8) else method for method in block["rows"]}
    return {(short[m], column): (figure, deviations.get(m)) for m, figure in block["rows"].items()}


@pytest.mark.parametrize("number", TABLES)
def test_each_figure_is_the_recipes(number: int) -> None:
    recipe = tomlkit.parse((ROOT / f"experiments/recipes/table{number}.toml").read_text(encoding="utf-8")).unwrap()
    expected = {}
    for block in recipe["paper"]:
        expected |= reported(block, number)
    cells = {(method, column): cell for method, row in shown(number).items() for column, cell in row.items() if cell}
    found = {place: [float(part) for part in cell.split(" ± ")] for place, cell in cells.items()}
    assert found == {place: [number for number in pair if number is not None] for place, pair in expected.items()}
