"""Pictures of a comparison, by matplotlib: accuracy curves, cells of the gallery, the gallery as one picture."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.report.gallery import GalleryItem

KINDS = ("a", "saliency a", "b", "saliency b", "lambda", "mixed")
BLUE, ORANGE, PANEL = "#56b4e9", "#f0a030", "#10141b"  # sample a, sample b (Okabe-Ito, lightened), behind point sets
LAMBDA_MAP = LinearSegmentedColormap.from_list("b to a", [ORANGE, "#f2ece4", BLUE])
SALIENCY_MAP = LinearSegmentedColormap.from_list("saliency", ["#566070", "#7a4f7c", "#d9584a", "#ffb347", "#fff6c8"])
# The curves' colours are names of CSS variables, so that the page can set them for light and dark.
INK = "#010203"
SERIES = 12  # colours there are
UPRIGHT_Z = ("modelnet10", "sydney")  # beginnings of the names of sets whose up is z
STYLES = ("-", "--", "-", "-.", ":", "--", "-.", "-")


def accuracy_curves(curves: dict[str, tuple[np.ndarray, np.ndarray]], name: str, what: str) -> str:
    """Test accuracy over epochs as an inline SVG.

    Args:
        curves: label to epochs (n,) and accuracies (seeds, n) in %; several seeds give the mean in a band of one
            deviation.
        name: letters and digits that make the SVG's ids its own among others in a page.
        what: the y axis.

    Returns:
        An <svg> element with the page's colours: currentColor for text, --series-0, --series-1 ... for lines.
    """
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 10}):
        figure = Figure(figsize=(5.6, 3.7), layout="constrained")
        axes = figure.add_subplot()
        for i, (label, (epochs, values)) in enumerate(curves.items()):
            mean = values.mean(axis=0)
            style: dict[str, Any] = {"color": _series(i), "linestyle": STYLES[i % len(STYLES)], "label": label}
            axes.plot(epochs, mean, linewidth=2, marker="o" if len(mean) < 2 else None, markersize=4, **style)
            if len(values) > 1:
                std = values.std(axis=0, ddof=1)
                axes.fill_between(epochs, mean - std, mean + std, color=_series(i), alpha=0.15, linewidth=0)
        axes.set_ylim(*accuracy_limits([values for _, values in curves.values()]))
        axes.set_xlabel("epoch", color=INK)
        axes.set_ylabel(what, color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(colors=INK, length=0)
        axes.grid(color=INK, alpha=0.12, linewidth=0.8)
        axes.spines[:].set_visible(False)
        columns = 1 + len(curves) // 7
        legend = axes.legend(loc="lower right", frameon=False, labelcolor=INK, ncols=columns, fontsize=10 - columns)
        for entry in legend.get_texts():  # a name is no formula
            entry.set_parse_math(False)
        buffer = io.StringIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # the reader's browser has the letters that are lacking here
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _inline(buffer.getvalue(), name, len(curves))


def accuracy_limits(curves: Sequence[np.ndarray]) -> tuple[float, float]:
    """The accuracies that a plot shows: those of the last two thirds of the epochs, lest the first flatten the rest."""
    late = np.concatenate([values[:, values.shape[1] // 3 :].ravel() for values in curves])
    low, high = float(late.min()), float(max(values.max() for values in curves))
    lowest = float(min(values.min() for values in curves))
    if low - lowest <= high - low:  # nothing would be flattened
        low = lowest
    margin = max(1.0, 0.06 * (high - low))
    return max(0.0, low - margin), min(101.0, high + margin)


def _series(i: int) -> str:
    """A colour that stands for series i until `_inline` names the variable."""
    return f"#0a0b{i:02x}"


def _inline(svg: str, name: str, series: int) -> str:
    """Matplotlib's file as an element of a page: no prologue, no metadata, colours as CSS variables, any width."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 xmlns="http://www.w3.org/2000/svg" role="img">', svg, count=1
    )
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)  # ids are shared by all figures of a page
    svg = svg.replace("xlink:href", "href").replace(INK, "currentColor")
    svg = re.sub(r"font: [^;\"]*?(\d+(?:\.\d+)?px)[^;\"]*", r"font-size: \1", svg)
    for i in range(series):
        svg = svg.replace(_series(i), f"var(--series-{i % SERIES})")
    return svg.strip()


def cell_png(item: GalleryItem, kind: str) -> bytes:
    """One cell of the gallery as a square PNG."""
    figure = Figure(figsize=(2, 2), dpi=130)
    draw_cell(figure.add_axes((0, 0, 1, 1)), item, kind)
    return _png(figure)


def gallery_picture(items: Sequence[GalleryItem], path: Path) -> None:
    """The gallery as one PNG, a pair per row."""
    titles = ("a", "saliency of a", "b", "saliency of b", "λ: share of a", "mixed")
    figure = Figure(figsize=(9.6, 1.72 * len(items) + 0.3), dpi=110, facecolor="white")
    grid = figure.add_gridspec(
        len(items),
        6,
        left=0.005,
        right=0.995,
        bottom=0.2 / (1.72 * len(items) + 0.3),
        top=1 - 0.26 / figure.get_figheight(),
    )
    grid.update(wspace=0.04, hspace=0.16)
    for row, item in enumerate(items):
        notes = (item.class_a, "", item.class_b, "", f"σ = {item.sigma:g}", label_text(item))
        for column, (kind, title, note) in enumerate(zip(KINDS, titles, notes, strict=True)):
            axes = figure.add_subplot(grid[row, column])
            draw_cell(axes, item, kind)
            if row == 0:
                axes.set_title(title, fontsize=10, color="#1c2330", pad=5, fontweight="bold")
            axes.text(
                0.5, -0.02, note, transform=axes.transAxes, ha="center", va="top", fontsize=8.5, color="#4a5361",
                parse_math=False,
            )  # fmt: skip
    path.write_bytes(_png(figure))


def label_text(item: GalleryItem) -> str:
    """The mixed label in words."""
    share = round(100 * item.weight_a)
    return f"{share} % {item.class_a}, {100 - share} % {item.class_b}".replace("_", " ")


def draw_cell(axes: Axes, item: GalleryItem, kind: str) -> None:
    """Draw one of `KINDS` of a pair into square axes."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    (_draw_image if item.domain == "image" else _draw_points)(axes, item, kind)


def _draw_image(axes: Axes, item: GalleryItem, kind: str) -> None:
    own = {"a": item.sample_a, "b": item.sample_b, "mixed": item.mixed}.get(kind)
    if own is not None:
        axes.imshow(own.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    elif kind == "lambda":
        axes.imshow(item.own, cmap=LAMBDA_MAP, vmin=0, vmax=1, interpolation="nearest")
    else:
        axes.imshow(
            item.saliency_a if kind == "saliency a" else item.saliency_b,
            cmap=SALIENCY_MAP,
            vmin=0,
            vmax=1,
            interpolation="nearest",
        )
    width = item.own.shape[1]
    for which, index, colour in (("a", item.query_a, BLUE), ("b", item.query_b, ORANGE)):
        if kind in (f"saliency {which}", "lambda"):
            _star(axes, index % width, index // width, colour)


def _draw_points(axes: Axes, item: GalleryItem, kind: str) -> None:
    axes.set_facecolor(PANEL)
    points = item.mixed if kind == "mixed" else item.sample_b if kind in ("b", "saliency b") else item.sample_a
    seen = points @ view_of(item.data).T  # (N, 3): right, up, towards the viewer
    order = np.argsort(seen[:, 2])
    depth = seen[order, 2]
    near = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-6)
    if kind in ("a", "b"):
        colours = np.tile(matplotlib.colors.to_rgb(BLUE if kind == "a" else ORANGE), (len(points), 1))
    elif kind.startswith("saliency"):
        strength = item.saliency_a if kind == "saliency a" else item.saliency_b
        colours = SALIENCY_MAP(np.sqrt(strength[order]))[:, :3]  # a few points have nearly all of it
    else:
        colours = LAMBDA_MAP(item.own[order])[:, :3]
    panel = np.array(matplotlib.colors.to_rgb(PANEL))
    fade = (0.5 + 0.5 * near)[:, None]  # far points sink into the background
    size = 2600 / len(points) ** 0.9
    axes.scatter(
        seen[order, 0], seen[order, 1], s=size * (0.6 + 0.6 * near), c=colours * fade + panel * (1 - fade), linewidths=0
    )
    for which, index, colour in (("a", item.query_a, BLUE), ("b", item.query_b, ORANGE)):
        if kind == f"saliency {which}" or (kind == "lambda" and which == "a"):
            _star(axes, seen[index, 0], seen[index, 1], colour)
    axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")


def _star(axes: Axes, x: float, y: float, colour: str) -> None:
    axes.plot(x, y, marker="*", markersize=13, markerfacecolor=colour, markeredgecolor="black", markeredgewidth=0.8)


def view_of(data: str) -> np.ndarray:
    """(3, 3) rotation to (right, up, towards the viewer); up is z in the sets of `UPRIGHT_Z`, y in every other."""
    upright = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]) if data.startswith(UPRIGHT_Z) else np.eye(3)
    turn, tilt = np.deg2rad((24, 14) if data == "digits" else (35, 22))
    around = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    forward = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    return forward @ around @ upright


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", pil_kwargs={"optimize": True})
    return buffer.getvalue()
