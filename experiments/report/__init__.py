"""The report of runs: what is in their folders, summed up, with pictures, on one page."""

from __future__ import annotations

import argparse
import datetime
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.config import Config
from experiments.errors import ExperimentError
from experiments.export import write_export
from experiments.files import write_json, write_whole
from experiments.methods import VANILLA
from experiments.options import add_data_root, roots_of
from experiments.report.figures import gallery_picture
from experiments.report.gallery import GalleryItem, make_gallery
from experiments.report.page import make_page
from experiments.results import RunResult, find_runs, make_output, summarise

__all__ = ["add_arguments", "main", "make_summary", "write_report"]

PAIRS_IN_PICTURE = 2
MODELS = {
    "preact_resnet18": "PreActResNet18",
    "pointnet": "PointNet",
    "pointnet2_ssg": "PointNet++ (SSG)",
    "pointnet2_msg": "PointNet++ (MSG)",
    "dgcnn": "DGCNN",
    "pointnet2_partseg": "PointNet++ (parts)",
    "dgcnn_partseg": "DGCNN (parts)",
}
DATASETS = {
    "cifar100": "CIFAR-100",
    "modelnet10": "ModelNet10",
    "modelnet40": "ModelNet40",
    "scanobjectnn-obj-only": "ScanObjectNN (OBJ_ONLY)",
    "scanobjectnn-obj-bg": "ScanObjectNN (OBJ_BG)",
    "scanobjectnn-pb-t50-rs": "ScanObjectNN (PB_T50_RS)",
    "shapenetpart": "ShapeNetPart",
    "sydney": "Sydney Urban Objects",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m experiments report`."""
    parser.description = "Sum up finished runs: tables with the paper's figures, curves, and a gallery, on one page."
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="DIR", help="folders of runs or of sweeps, or exported files"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: runs/report, the next free one")
    add_data_root(parser)
    parser.add_argument(
        "--baseline", default=VANILLA, metavar="METHOD", help="compare rows with this method, pair by pair (vanilla)"
    )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="also write the runs' settings, curves and scores as one small file (.json), which `report` reads again",
    )
    parser.add_argument("--gallery", type=Path, metavar="FILE", help="save the gallery as one picture too (.png)")


def main(args: argparse.Namespace) -> int:
    """Write the report and print its tables; returns the exit code."""
    from experiments.console import make_console, print_tables

    results = find_runs(args.runs)
    folder = make_output(args.output or Path("runs/report"))
    well = all(result.status == "complete" for result in results)
    summary = make_summary("report", folder.name, results, "complete" if well else "stopped", baseline=args.baseline)
    if args.export is not None:
        write_export(args.export, results)
    write_json(folder / "summary.json", summary)
    page = write_report(folder, summary, results, roots_of(args), args.gallery)
    console = make_console()
    print_tables(console, summary)
    console.print(f"\n{page}", highlight=False, soft_wrap=True)
    return 0


def make_summary(
    command: str,
    name: str,
    results: Sequence[RunResult],
    status: str,
    seconds: float | None = None,
    baseline: str = VANILLA,
) -> dict[str, Any]:
    """What summary.json of a folder of runs holds.

    Args:
        command: for the heading.
        name: of the folder, for the heading.
        results: at least one run.
        status: "running", "complete" or "stopped".
        seconds: of all. Default None: the sum of the epochs' training.
        baseline: the method that rows are compared with, pair by pair.
    """
    arms: dict[str, dict[str, Any]] = {}
    for result in results:
        config = result.config
        name = config.dataset.removesuffix(f"-{config.fold}")
        model, dataset = MODELS.get(config.model, config.model), DATASETS.get(name, name)
        kind = "pixels" if config.domain == "image" else "points"
        first = {
            "title": f"{model} on {dataset} ({kind}{', validation' if config.validation else ''})",
            "model": model,
            "domain": config.domain,
            "config": _common(config),
            "recipes": [],
        }
        about = arms.setdefault(config.arm, {**first, **result.about})
        if (recipe := config.describe()) not in about["recipes"]:
            about["recipes"].append(recipe)
    if seconds is None:
        seconds = sum(record.seconds for result in results for record in result.records)
    return {
        "command": command,
        "name": name,
        "status": status,
        "written": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "seconds": seconds,
        "seeds": list(dict.fromkeys(result.config.seed for result in results)),
        "arms": arms,
        "environment": results[0].environment,
        "rows": summarise(results, baseline),
    }


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
    page = folder / "report.html"
    write_whole(page, make_page(summary, results, galleries))
    if picture is not None and galleries:
        picture.parent.mkdir(parents=True, exist_ok=True)
        gallery_picture([item for items in galleries.values() for item in items[:PAIRS_IN_PICTURE]], picture)
    return page


def _gallery(arm: str, results: Sequence[RunResult], roots: Sequence[Path]) -> list[GalleryItem]:
    """Pairs mixed by the saliency of the arm's SageMix model, or of another where there is none."""
    from experiments.runner import load_trained

    ended = [r for r in results if r.config.arm == arm and r.status == "complete" and not r.config.parts]
    ended = [result for result in ended if result.folder.is_dir()]  # not of an exported file, which has no weights
    ended.sort(key=lambda result: not result.config.method.startswith("sagemix"))
    for result in ended[:1]:
        try:
            _, data, model = load_trained(result.folder, roots)
        except ExperimentError as error:
            logging.getLogger(__name__).warning("no gallery of %s: %s", arm, error)
        else:
            return make_gallery(data, model)
    return []


def _common(config: Config) -> dict[str, Any]:
    """What the runs of an arm have in common."""
    names = ("dataset", "epochs", "batch_size", "width", "num_points", "limit", "validation", "precision")
    return {name: getattr(config, name) for name in names}
