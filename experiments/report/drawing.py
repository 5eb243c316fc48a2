"""Drawing sheets of pictures, by matplotlib: one cell, or a whole sheet, as a PNG."""

from __future__ import annotations

import io
from itertools import chain

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from experiments.report.sheets import A, Cell, Sheet

BLUE, ORANGE, PANEL = "#56b4e9", "#f0a030", "#10141b"  # sample a, sample b (Okabe-Ito, lightened), behind point sets
LAMBDA_MAP = LinearSegmentedColormap.from_list("b to a", [ORANGE, "#f2ece4", BLUE])
SALIENCY_MAP = LinearSegmentedColormap.from_list("saliency", ["#566070", "#7a4f7c", "#d9584a", "#ffb347", "#fff6c8"])
CLASS_COLOURS = ("#56b4e9", "#f0a030", "#3fc89b", "#f0e442", "#e07bb5", "#f2ece4")
CLASS_MAP = ListedColormap(CLASS_COLOURS)
UPRIGHT_Z = ("modelnet10", "sydney")  # beginnings of the names of sets whose up is z
PAPER, INK, SOFT = "#ffffff", "#1c2330", "#4a5361"
TEXT_COLOURS = {"a": "#0b6ea8", "b": "#a85f00", "": SOFT}  # those of the page on white
MAPS = {"own": LAMBDA_MAP, "saliency": SALIENCY_MAP, "classes": CLASS_MAP}
SIDE, GAP, BETWEEN, TOP, LINE = 1.3, 0.07, 0.2, 0.3, 0.155  # of a picture, in inches
COLOURS = 250  # of a palette; photographs keep their colours


def sheet_png(sheet: Sheet) -> bytes:
    """A whole sheet on white: headings above, labels below, the pairs one below the other."""
    columns = len(sheet.columns)
    heights = [[SIDE + _text_height(row) for row in rows] for rows in sheet.pairs]
    width = columns * SIDE + (columns + 1) * GAP
    height = TOP + sum(chain.from_iterable(heights)) + sum(GAP * (len(rows) - 1) for rows in heights)
    height += BETWEEN * (len(heights) - 1) + GAP
    canvas = Figure(figsize=(width, height), dpi=120, facecolor=PAPER)
    y = height - TOP
    for pair, rows in enumerate(sheet.pairs):
        reach = _reach(rows)
        for row, below in zip(rows, heights[pair], strict=True):
            for column, cell in enumerate(row):
                x = GAP + column * (SIDE + GAP)
                axes = canvas.add_axes((x / width, (y - SIDE) / height, SIDE / width, SIDE / height))
                draw_cell(axes, cell, SIDE, reach)
                if y == height - TOP:
                    at = (x + SIDE / 2) / width, (y + 0.07) / height
                    canvas.text(*at, sheet.columns[column], ha="center", size=10, color=INK, weight="bold")
                for i, (text, which) in enumerate(cell.lines):
                    at = (x + SIDE / 2) / width, (y - SIDE - 0.04 - i * LINE) / height
                    canvas.text(
                        *at, text, ha="center", va="top", size=_size(text), color=TEXT_COLOURS[which], parse_math=False
                    )
            y -= below + GAP
        y -= BETWEEN - GAP
    return _png(canvas, sheet.palette or all(rows[0][0].domain == "points" for rows in sheet.pairs))


def cell_pngs(sheet: Sheet) -> list[list[list[bytes]]]:
    """Every cell of a sheet as a square PNG, in the sheet's order."""
    return [[[_cell_png(cell, _reach(rows)) for cell in row] for row in rows] for rows in sheet.pairs]


def draw_cell(axes: Axes, cell: Cell, side: float, reach: float) -> None:
    """Draw one cell.

    Args:
        axes: square.
        cell: what to draw.
        side: the length of a side of the axes, in inches.
        reach: what of a point set is seen, from -reach to reach.
    """
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if cell.domain == "image":
        colour_map = MAPS[cell.tint] if cell.tint else "gray"
        axes.imshow(cell.values.squeeze(), cmap=colour_map, vmin=0, vmax=1, interpolation="nearest", aspect="auto")
        columns = cell.values.shape[1]
        places = {element: (element % columns, element // columns) for element, _ in cell.marks}
    else:
        places = _draw_points(axes, cell, side, reach)
    edge = "#0b0e13" if cell.domain == "image" else "#ffffff"
    for element, which in cell.marks:
        colour = BLUE if which == A else ORANGE
        axes.plot(
            *places[element], marker="*", markersize=8.5 * side, markerfacecolor=colour, markeredgecolor=edge,
            markeredgewidth=0.55 * side, clip_on=False, zorder=3,
        )  # fmt: skip


def _draw_points(axes: Axes, cell: Cell, side: float, reach: float) -> dict[int, tuple[float, float]]:
    """Draw a point set, near points last, large and bright; returns where the marks go."""
    axes.set_facecolor(PANEL)
    seen = cell.values @ view_of(cell.data).T  # (N, 3): right, up, towards the viewer
    assert cell.strength is not None
    # a few points have nearly all of the saliency
    strength = np.sqrt(cell.strength) if cell.tint == "saliency" else cell.strength
    depth = seen[:, 2]
    near = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-6)
    panel = np.array(to_rgb(PANEL))
    fade = (0.45 + 0.55 * near)[:, None]  # far points sink into the background
    size = 900 * side**2 / len(seen) ** 0.9 * (0.6 + 0.6 * near)
    order = np.argsort(depth)
    if cell.tint == "saliency":  # what matters is seen, however far
        fade, size, order = np.maximum(fade, strength[:, None]), size * (0.8 + strength), np.argsort(strength)
    colours = MAPS[cell.tint](strength)[:, :3] * fade + panel * (1 - fade)
    axes.scatter(seen[order, 0], seen[order, 1], s=size[order], c=colours[order], linewidths=0)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    return {element: (float(seen[element, 0]), float(seen[element, 1])) for element, _ in cell.marks}


def _reach(rows: tuple[tuple[Cell, ...], ...]) -> float:
    """One scale for all point sets of a pair, which leaves nothing out."""
    cells = [cell for row in rows for cell in row if cell.domain == "points"]
    return 1.06 * max((float(np.abs((cell.values @ view_of(cell.data).T)[:, :2]).max()) for cell in cells), default=1.0)


def _cell_png(cell: Cell, reach: float) -> bytes:
    canvas = Figure(figsize=(2, 2), dpi=110)
    draw_cell(canvas.add_axes((0, 0, 1, 1)), cell, 2, reach)
    return _png(canvas, cell.domain == "points")


def _png(canvas: Figure, palette: bool) -> bytes:
    drawn, small = io.BytesIO(), io.BytesIO()
    canvas.savefig(drawn, format="png")
    image = Image.open(drawn).convert("RGB")
    if palette:  # a third of the size
        image = image.quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(small, format="png", optimize=True)
    return small.getvalue()


def _text_height(row: tuple[Cell, ...]) -> float:
    lines = max(len(cell.lines) for cell in row)
    return 0.04 + lines * LINE if lines else 0.0


def _size(text: str) -> float:
    """Of the letters below a cell, so that long names stay within it."""
    return min(8.5, 8.5 * 21 / max(len(text), 1))


def view_of(data: str) -> np.ndarray:
    """(3, 3) rotation to (right, up, towards the viewer); up is z in the sets of `UPRIGHT_Z`, y in every other."""
    upright = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]) if data.startswith(UPRIGHT_Z) else np.eye(3)
    turn, tilt = np.deg2rad((24, 14) if data == "digits" else (35, 22))
    around = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    forward = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    return forward @ around @ upright
