"""report.html of a folder of runs, with a gallery of each arm that has a model at hand."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.base.errors import ExperimentError
from experiments.base.files import write_json, write_whole
from experiments.report.drawing import sheet_png
from experiments.report.pages import report_page
from experiments.report.pairs import METHODS, draw_pairs
from experiments.report.sheets import Sheet, gallery
from experiments.run.records import RunResult

PAIRS, PAIRS_IN_PICTURE = 3, 2
CANDIDATES = 100  # test samples that pairs are chosen from: a large model takes a while for each
SUMMARY, PAGE = "summary.json", "report.html"


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Write what `make_summary` made into a folder of runs."""
    write_json(folder / SUMMARY, summary)


def write_report(
    folder: Path,
    summary: dict[str, Any],
    results: Sequence[RunResult],
    roots: Sequence[Path],
    picture: Path | None = None,
) -> Path:
    """Write report.html into a folder.

    Args:
        folder: where to.
        summary: what `make_summary` made.
        results: the runs, for the curves and the gallery.
        roots: folders with data, for the gallery; an arm whose data or checkpoints are not there has none.
        picture: also save a short gallery of all arms as this PNG.

    Returns:
        The file.
    """
    galleries = {arm: sheet for arm in summary["arms"] if (sheet := _gallery(arm, results, roots))}
    page = folder / PAGE
    write_whole(page, report_page(summary, results, galleries))
    if picture is not None and galleries:
        picture.parent.mkdir(parents=True, exist_ok=True)
        pairs = [rows for sheet in galleries.values() for rows in sheet.pairs[:PAIRS_IN_PICTURE]]
        picture.write_bytes(sheet_png(replace(next(iter(galleries.values())), pairs=tuple(pairs))))
    return page


def _gallery(arm: str, results: Sequence[RunResult], roots: Sequence[Path]) -> Sheet | None:
    """Pairs mixed by the saliency of the arm's SageMix model, or of another where there is none; images and points."""
    from experiments.run.runner import load_trained

    ended = [r for r in results if r.config.arm == arm and r.status == "complete" and not r.config.parts]
    ended = [result for result in ended if result.config.domain in METHODS]
    ended = [result for result in ended if result.folder.is_dir()]  # not of an exported file, which has no weights
    ended.sort(key=lambda result: result.config.spec.name != "sagemix")
    for result in ended[:1]:
        try:
            _, data, model = load_trained(result.folder, roots)
            return gallery(draw_pairs(data, model, PAIRS, seed=0, candidates=CANDIDATES))
        except ExperimentError as error:
            logging.getLogger(__name__).warning("no gallery of %s: %s", arm, error)
    return None
