"""report.html of a folder of runs, with a gallery of each arm that has a model at hand."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.base.errors import ExperimentError
from experiments.base.files import write_json, write_whole
from experiments.report.figures import gallery_picture
from experiments.report.gallery import GalleryItem, make_gallery
from experiments.report.page import make_page
from experiments.run.records import RunResult

PAIRS_IN_PICTURE = 2
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
        summary: of `make_summary`.
        results: the runs, for the curves and the gallery.
        roots: folders with data, for the gallery; an arm whose data or checkpoints are not there has none.
        picture: also save a short gallery of all arms as this PNG.

    Returns:
        The file.
    """
    galleries = {arm: items for arm in summary["arms"] if (items := _gallery(arm, results, roots))}
    page = folder / PAGE
    write_whole(page, make_page(summary, results, galleries))
    if picture is not None and galleries:
        picture.parent.mkdir(parents=True, exist_ok=True)
        gallery_picture([item for items in galleries.values() for item in items[:PAIRS_IN_PICTURE]], picture)
    return page


def _gallery(arm: str, results: Sequence[RunResult], roots: Sequence[Path]) -> list[GalleryItem]:
    """Pairs mixed by the saliency of the arm's SageMix model, or of another where there is none."""
    from experiments.run.runner import load_trained

    ended = [r for r in results if r.config.arm == arm and r.status == "complete" and not r.config.parts]
    ended = [result for result in ended if result.folder.is_dir()]  # not of an exported file, which has no weights
    ended.sort(key=lambda result: result.config.spec.name != "sagemix")
    for result in ended[:1]:
        try:
            _, data, model = load_trained(result.folder, roots)
        except ExperimentError as error:
            logging.getLogger(__name__).warning("no gallery of %s: %s", arm, error)
        else:
            return make_gallery(data, model)
    return []
