"""Accuracy over epochs as an inline SVG, by matplotlib."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# The curves' colours are names of CSS variables, so that the page can set them for light and dark.
INK = "#010203"
SERIES = 12  # colours there are
STYLES = ("-", "--", "-", "-.", ":", "--", "-.", "-")


def accuracy_curves(curves: dict[str, tuple[np.ndarray, np.ndarray]], name: str, label: str) -> str:
    """Test accuracy over epochs as an inline SVG.

    Args:
        curves: label to epochs (n,) and accuracies (seeds, n) in %; several seeds give the mean in a band of one
            deviation.
        name: letters and digits that make the SVG's ids its own among others in a page.
        label: the y axis.

    Returns:
        An <svg> element with the page's colours: currentColor for text, --series-0, --series-1 ... for lines.
    """
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 10}):
        figure = Figure(figsize=(5.6, 3.7), layout="constrained")
        axes = figure.add_subplot()
        for i, (row, (epochs, values)) in enumerate(curves.items()):
            mean = values.mean(axis=0)
            style: dict[str, Any] = {"color": _series(i), "linestyle": STYLES[i % len(STYLES)], "label": row}
            axes.plot(epochs, mean, linewidth=2, marker="o" if len(mean) < 2 else None, markersize=4, **style)
            if len(values) > 1:
                std = values.std(axis=0, ddof=1)
                axes.fill_between(epochs, mean - std, mean + std, color=_series(i), alpha=0.15, linewidth=0)
        axes.set_ylim(*accuracy_limits([values for _, values in curves.values()]))
        axes.set_xlabel("epoch", color=INK)
        axes.set_ylabel(label, color=INK)
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
