"""The report of a comparison: what the gallery shows, its pictures, and the page that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from experiments.data import DataSet
from experiments.report.figures import gallery_picture
from experiments.report.gallery import make_gallery
from experiments.report.page import make_page
from experiments.results import RunResult

__all__ = ["write_report"]

PAIRS_IN_PICTURE = 2


def write_report(
    folder: Path,
    summary: dict[str, Any],
    results: Sequence[RunResult],
    samples: dict[str, tuple[DataSet, nn.Module]],
    picture: Path | None = None,
) -> None:
    """Write report.html.

    Args:
        folder: where to.
        summary: as written to summary.json.
        results: the runs, for the curves.
        samples: by domain, what the gallery mixes and the trained model whose saliency guides it.
        picture: also save a short gallery of all domains as this PNG.
    """
    galleries = {domain: make_gallery(data, model) for domain, (data, model) in samples.items()}
    (folder / "report.html").write_text(make_page(summary, results, galleries), encoding="utf-8")
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        gallery_picture([item for items in galleries.values() for item in items[:PAIRS_IN_PICTURE]], picture)
