"""What runs show and what they do not, in sentences made of their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

LIMITS = (
    "The intervals are each row's own, over seeds on the same training and test samples: they do not rank the mixing "
    "methods among each other, one in twenty rows lies beyond its interval by chance alone, and nothing follows for "
    "other data, models or budgets."
)


def conclusions(summary: Mapping[str, Any]) -> list[str]:
    """A sentence an arm and row that its others are compared with, and one of what does not follow.

    There is none where nothing is paired.

    Args:
        summary: what `report.summary.make_summary` made.
    """
    sentences = []
    for arm, facts in summary["arms"].items():
        rows = [row for row in summary["rows"] if row["arm"] == arm and row["paired"]]
        for against in dict.fromkeys(row["paired"]["against"] for row in rows):
            sentences.append(_sentence(facts, [row for row in rows if row["paired"]["against"] == against]))
    return [*sentences, LIMITS] if sentences else []


def _sentence(arm: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """What an arm's rows show against the row that they are compared with."""
    scored, config = rows[0].get("scored", "test"), arm["config"]
    epochs = "" if any("[" in row["method"] for row in rows) else f", {config['epochs']} epochs"  # rows name theirs
    where = "in accuracy" if scored == "test" else f"in accuracy on the {scored} samples"
    if any("class_miou" in row["scores"] for row in rows):
        where = "in instance mIoU"
    parts = _verdicts(rows, "final", where)
    if all("corrupted" in row["paired"]["scores"] for row in rows):
        parts += _verdicts(rows, "corrupted", "under corruptions")
    samples = f"{arm['train_samples']:,}" if "train_samples" in arm else "all"
    return f"{arm['title']}, {samples} training samples{epochs}: {'; '.join(parts)}."


def _verdicts(rows: Sequence[Mapping[str, Any]], score: str, where: str) -> list[str]:
    """Which rows a score shows to be better or worse than the row that they are compared with, and which neither."""
    other = rows[0]["paired"]["against"]
    alone = [row for row in rows if _interval(row, score) is None]
    better = [row for row in rows if (ends := _interval(row, score)) is not None and ends[0] > 0]
    worse = [row for row in rows if (ends := _interval(row, score)) is not None and ends[1] < 0]
    unclear = [row for row in rows if row not in [*alone, *better, *worse]]
    kinds = {
        f"not shown to differ from {other} {where}": unclear,
        f"no difference {where} is shown, as one seed has no interval": alone,
    }
    if score == "final":
        parts = [_in_figures(row, "cuts" if row in better else "raises") for row in [*better, *worse]]
    else:
        parts = []
        kinds = {f"better than {other} {where}": better, f"worse than {other} {where}": worse, **kinds}
    for words, some in kinds.items():
        if some:
            each = ", ".join(f"{row['method']} ({_points(row, score)})" for row in some)
            parts.append(f"{words}: {each}")
    return parts


def _in_figures(row: Mapping[str, Any], verb: str) -> str:
    """What a row does to the other's error, where its interval leaves no doubt which way."""
    cut, points, other = row["paired"]["error_cut"], _points(row, "final"), row["paired"]["against"]
    if cut is None:
        return f"{row['method']} makes errors where {other} makes none ({points})"
    return f"{row['method']} {verb} {other}'s error by {abs(cut):.0f} % ({points})"


def _interval(row: Mapping[str, Any], score: str) -> tuple[float, float] | None:
    """The 95 % interval of the paired difference in a score; None with one pair."""
    difference = row["paired"]["scores"][score]
    if difference["half"] is None:
        return None
    return difference["mean"] - difference["half"], difference["mean"] + difference["half"]


def _points(row: Mapping[str, Any], score: str) -> str:
    """The paired difference in words."""
    mean, ends = row["paired"]["scores"][score]["mean"], _interval(row, score)
    interval = "" if ends is None else f", 95 % interval {ends[0]:+.1f} to {ends[1]:+.1f}"
    return f"{mean:+.1f} points{interval}".replace("-", "−")
