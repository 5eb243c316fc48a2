"""Sheets of pictures: the gallery and the paper's figures as tables of cells; `drawing` draws them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from experiments.report.pairs import CELLS, METHODS, PRIORS, RADIUS, RATIO, Mix, Pair, sagemix

A, B = "a", "b"
SWEPT = 2  # pairs in a sweep, at most


@dataclass(frozen=True)
class Cell:
    """One picture.

    Attributes:
        domain, data: the modality and the data set's name.
        values: (H, W, C) in [0, 1], (H, W) to be coloured by `tint`'s map, or points (N, 3).
        tint: what colours stand for: "own" (1 is a, 0 is b), "saliency" (1 is the most), or "" for an image's own.
        strength: (N,) what is coloured, of points.
        marks: (element, A or B), the queries.
        lines: (text, A, B or "") the lines below.
        alt: for those who do not see it.
        numbers: what is shown, in numbers.
    """

    domain: str
    data: str
    values: np.ndarray
    tint: str = ""
    strength: np.ndarray | None = None
    marks: tuple[tuple[int, str], ...] = ()
    lines: tuple[tuple[str, str], ...] = ()
    alt: str = ""
    numbers: dict[str, Any] | None = None


@dataclass(frozen=True)
class Sheet:
    """A row of cells per pair, or two, below common headings.

    Attributes:
        name: the name of its file.
        title, text: for the page.
        columns: the headings.
        pairs: the rows of cells of each pair.
        palette: whether few colours will do, which makes a file a third of the size.
    """

    name: str
    title: str
    text: str
    columns: tuple[str, ...]
    pairs: tuple[tuple[tuple[Cell, ...], ...], ...]
    palette: bool = False

    def numbers(self) -> list[dict[str, Any]]:
        """What is shown of each mix, in the order of the cells."""
        cells = (cell for rows in self.pairs for row in rows for cell in row)
        return [cell.numbers for cell in cells if cell.numbers and "share_of_a" in cell.numbers]


def make_figures(pairs: Mapping[str, Sequence[Pair]]) -> list[Sheet]:
    """All figures of the domains at hand.

    Args:
        pairs: the pairs of "points" and of "image".
    """
    points, images = pairs.get("points", ()), pairs.get("image", ())
    figures = [figure_1(points)] if points else []
    figures += [figure_3(some[:SWEPT]) for some in (points, images) if some]
    figures += [figure_4(some[:SWEPT]) for some in (points, images) if some]
    return figures + ([figure_6(images)] if images else [])


def gallery(pairs: Sequence[Pair]) -> Sheet:
    """What SageMix makes of pairs, with every quantity in between."""
    rows = []
    for pair in pairs:
        mix, setting = sagemix(pair), {"prior": RATIO, "sigma": pair.scale}
        samples = (cell(pair, i) for i in range(2) for cell in (_sample, _saliency))
        rows.append(((*samples, _shares(pair, mix, setting), _mixed(pair, mix, setting)),))
    columns = (A, f"saliency of {A}", B, f"saliency of {B}", f"λ: share of {A}", "mixed")
    return Sheet("gallery", "Gallery", f"σ {pairs[0].scale:g}", columns, tuple(rows))


def figure_1(pairs: Sequence[Pair]) -> Sheet:
    """The methods side by side on point sets."""
    methods = METHODS["points"]
    rows = []
    for pair in pairs:
        mixes = [_mixed(pair, method(pair), {"method": title}) for title, method in methods.items()]
        rows.append(((_sample(pair, 0), _sample(pair, 1), *mixes),))
    sigma = pairs[0].scale
    return Sheet(
        "figure1-points",
        "Figure 1: point sets, method by method",
        "Each row mixes the same two shapes, a and b. A point's colour is what it is made of: blue of a, orange of b, "
        "pale of both. Every method is given the same ratio of one half: PointMixup moves each point half of the way "
        f"to its partner, RSMix puts a ball of b (radius {RADIUS:g}) in the place of one of a, PointCutMix replaces "
        "half of the points, at random (R) or around one of them (K), and SageMix gives every point a ratio of its "
        f"own, by its distance from two queries (★, prior π {RATIO:g}, σ {sigma:g}). Below: the mixed label.",
        (A, B, *methods),
        tuple(rows),
    )


def figure_3(pairs: Sequence[Pair]) -> Sheet:
    """SageMix along the prior."""
    rows = []
    for pair in pairs:
        mixes = [(sagemix(pair, prior), {"prior": prior, "sigma": pair.scale}) for prior in PRIORS]
        rows.append(_two_rows(pair, mixes, (1,), (0,)))
    kind, sigma = pairs[0].data.domain, pairs[0].scale
    return Sheet(
        f"figure3-{_plural(kind)}",
        f"Figure 3: SageMix along the prior π, {_WORDS[kind]}",
        "The prior is the weight of a before locality. From left to right it grows from 0.1 to 0.9 while all else "
        f"stays, the two queries (★) and the bandwidth σ {sigma:g} among it: the region of a grows from its query on, "
        f"and the label with it. {_ROWS[kind]}",
        (_heading(kind, B), *(f"π = {prior:g}" for prior in PRIORS), _heading(kind, A)),
        tuple(rows),
    )


def figure_4(pairs: Sequence[Pair]) -> Sheet:
    """SageMix along the bandwidth."""
    rows = []
    for pair in pairs:
        mixes = [(sagemix(pair, sigma=sigma), {"prior": RATIO, "sigma": sigma}) for sigma in pair.sigmas]
        rows.append(_two_rows(pair, mixes, (0, 1), ()))
    kind = pairs[0].data.domain
    unit = "pixels" if kind == "image" else "radii of the unit sphere"
    return Sheet(
        f"figure4-{_plural(kind)}",
        f"Figure 4: SageMix along the bandwidth σ, {_WORDS[kind]}",
        f"The bandwidth is given in {unit}; prior π {RATIO:g}, the same queries (★) throughout. A small σ cuts sharply "
        f"where the two queries are equally near, a large one mixes every {_ELEMENTS[kind]} alike, as "
        f"{'Mixup' if kind == 'image' else 'PointMixup'} does. {_ROWS[kind]}",
        (_heading(kind, A), _heading(kind, B), *(f"σ = {sigma:.3g}" for sigma in pairs[0].sigmas)),
        tuple(rows),
    )


def figure_6(pairs: Sequence[Pair]) -> Sheet:
    """The methods side by side on images, with saliency."""
    methods = METHODS["image"]
    rows = []
    for pair in pairs:
        rows.append(_two_rows(pair, [(mix(pair), {"method": title}) for title, mix in methods.items()], (0, 1), ()))
    sigma = pairs[0].scale
    return Sheet(
        "figure6-images",
        "Figure 6: images, method by method",
        "Each pair of rows mixes the same two images at the same ratio of one half. Above: the images and what each "
        "method makes of them. Below: their saliency (bright is much), and the share of a in every pixel: blue is a, "
        "orange b, pale both. CutMix's box is placed at random, SaliencyMix's around the most salient pixel of b, and "
        "what lies outside of the image is lost; Puzzle Mix and Co-Mixup label "
        f"{CELLS} × {CELLS} cells, and Puzzle Mix moves what lies under them as well; Co-Mixup is given this pair "
        "alone. SageMix draws a query in each image by its saliency (★) and mixes every pixel by its "
        f"distance from both (prior π {RATIO:g}, σ {sigma:g} pixels).",
        (A, B, *methods),
        tuple(rows),
    )


_WORDS = {"image": "images", "points": "point sets"}
_ELEMENTS = {"image": "pixel", "points": "point"}
_ROWS = {
    "image": "Above: the images. Below: saliency, and the share of a in every pixel, blue is a, orange b.",
    "points": "A point's colour is its share: blue of a, orange of b, pale of both. Samples are coloured by saliency, "
    "bright is much.",
}


def _plural(domain: str) -> str:
    return "images" if domain == "image" else "points"


def _heading(domain: str, which: str) -> str:
    """Of a sample beside a sweep: what its cells show, which of images are both."""
    return which if domain == "image" else f"saliency of {which}"


def _two_rows(
    pair: Pair, mixes: Sequence[tuple[Mix, dict[str, Any]]], before: tuple[int, ...], after: tuple[int, ...]
) -> tuple[tuple[Cell, ...], ...]:
    """A pair's rows: of points one; of images the images, and below them saliency and shares."""

    def row(
        sample: Callable[[Pair, int], Cell], mixed: Callable[[Pair, Mix, dict[str, Any]], Cell]
    ) -> tuple[Cell, ...]:
        left, right = [sample(pair, i) for i in before], [sample(pair, i) for i in after]
        return (*left, *(mixed(pair, mix, setting) for mix, setting in mixes), *right)

    if pair.data.domain == "points":
        return (row(_saliency, _mixed),)
    return row(_sample, _mixed), row(_saliency, _shares)


def _sample(pair: Pair, i: int) -> Cell:
    """Sample a or b as it is, points in the colour of their sample."""
    name = pair.classes[i]
    shown: dict[str, Any] = {"lines": ((name, "ab"[i]),), "alt": f"{'ab'[i]}, {name}"}
    if pair.data.domain == "points":
        shown |= {"tint": "own", "strength": np.full(pair.elements.num_elements, 1.0 - i)}
    return _cell(pair, _picture(pair, pair.batch[i]), **shown)


def _saliency(pair: Pair, i: int) -> Cell:
    """The saliency of sample a or b, with its query."""
    saliency = pair.saliency[i] / pair.saliency[i].max().clamp_min(1e-30)
    marks = ((pair.query[i], "ab"[i]),)
    alt = f"saliency of {pair.classes[i]} with its query"
    lines = ((pair.classes[i], "ab"[i]),) if pair.data.domain == "points" else ()
    return _elementwise(pair, i, saliency, tint="saliency", marks=marks, lines=lines, alt=alt)


def _shares(pair: Pair, mix: Mix, setting: dict[str, Any]) -> Cell:
    """The share of a in every pixel, or in every point of a, with the queries that lie there."""
    marks = tuple(zip(mix.marks, (A, B), strict=False))
    marks = marks if pair.data.domain == "image" else marks[:1]
    return _elementwise(
        pair, 0, mix.own, tint="own", marks=marks, alt=f"{_name(setting)}: share of {pair.classes[0]} in each element"
    )


def _elementwise(pair: Pair, i: int, values: Tensor, **shown: Any) -> Cell:
    """A value of every element: as an image of its own, or as the colours of sample a's or b's points."""
    if pair.data.domain == "image":
        return _cell(pair, values.reshape(pair.elements.grid or ()).numpy(), **shown)
    return _cell(pair, _picture(pair, pair.batch[i]), strength=values.numpy(), **shown)


def _mixed(pair: Pair, mix: Mix, setting: dict[str, Any]) -> Cell:
    """What was mixed: an image as it is, points by their shares and with the queries."""
    a, b = pair.classes
    share = round(100 * mix.share)
    shown: dict[str, Any] = {
        "lines": ((f"{share} % {a}", A), (f"{100 - share} % {b}", B)),
        "alt": f"{_name(setting)}: {share} % {a}, {100 - share} % {b}",
        "numbers": {**setting, "share_of_a": mix.share},
    }
    if pair.data.domain == "points":
        marks = tuple(zip(mix.marks, (A, B), strict=False))
        shown |= {"tint": "own", "strength": mix.own.numpy(), "marks": marks}
    return _cell(pair, _picture(pair, mix.sample), **shown)


def _cell(pair: Pair, values: np.ndarray, **shown: Any) -> Cell:
    numbers = {"samples": list(pair.places), "classes": list(pair.classes), "queries": list(pair.query)}
    shown["numbers"] = {**numbers, **shown.get("numbers", {})}
    return Cell(pair.data.domain, pair.data.name, values, **shown)


def _name(setting: dict[str, Any]) -> str:
    return setting.get("method") or f"SageMix at π {setting['prior']:g}, σ {setting['sigma']:.3g}"


def _picture(pair: Pair, sample: Tensor) -> np.ndarray:
    """(H, W, C) in [0, 1], or (N, 3)."""
    if pair.data.domain == "points":
        return sample[:, :3].detach().float().numpy()
    return pair.data.restore(sample).clamp(0, 1).permute(1, 2, 0).detach().float().numpy()
