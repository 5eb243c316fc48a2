"""The page of the paper's figures: one HTML file with everything inside, nothing fetched, light or dark."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from experiments.report.paper_drawing import cell_pngs
from experiments.report.paper_figures import Cell, PaperFigure
from experiments.report.style import head
from experiments.report.style import text as _text

MORE_CSS = """
.sheet { overflow-x: auto; margin-top: 20px; padding-bottom: 6px; }
.cells { display: grid; grid-template-columns: repeat(var(--columns), minmax(104px, 1fr)); gap: 8px; }
.cells > span { font-size: 14px; font-weight: 600; text-align: center; align-self: end; line-height: 1.3; }
.cells figure { margin: 0; }
.cells img { display: block; width: 100%; border-radius: 6px; }
.cells figcaption { margin: 4px 0 0; font-size: 12.5px; line-height: 1.35; text-align: center; }
.cells figcaption .a, .cells figcaption .b { font-weight: 500; display: block; }
.cells .first { margin-top: 14px; }
.cells .first.top { margin-top: 0; }
ul { padding-left: 20px; max-width: 86ch; }
.key { display: flex; flex-wrap: wrap; gap: 6px 22px; color: var(--soft); font-size: 14px; }
.key i { display: inline-block; width: 12px; height: 12px; border-radius: 50%; margin-right: 7px; }
"""
KEY = (
    '<p class="key"><span><i style="background:#56b4e9"></i>made of a</span>'
    '<span><i style="background:#f2ece4;border:1px solid var(--line)"></i>half of each</span>'
    '<span><i style="background:#f0a030"></i>made of b</span><span>★ query, in the colour of its sample</span></p>'
)


def make_page(figures: Sequence[PaperFigure], sources: Sequence[str], notes: Sequence[str], command: str) -> str:
    """The whole page.

    Args:
        figures: at least one.
        sources: where the samples of each domain and their saliency come from, a sentence each.
        notes: what the reader must know besides.
        command: that drew the figures.
    """
    listed = "".join(f"<li>{_text(line)}</li>" for line in sources)
    warned = "".join(f'<p class="note">{_text(line)}</p>' for line in notes)
    return f"""{head("SageMix in pictures", MORE_CSS)}<main>
<header>
<p class="kicker">mixkit · figures</p>
<h1>SageMix in pictures</h1>
<p class="lead">The subjects of Figures 1, 3, 4 and 6 of the SageMix paper (Lee et al., NeurIPS 2022), drawn anew from
the samples named below. Every picture and every number is read from the plan that a mixer would train with.</p>
{KEY}
</header>
{"".join(_figure(figure) for figure in figures)}
<section>
<h2>Samples and saliency</h2>
<ul>{listed}</ul>
{warned}
<pre>{_text(command)}</pre>
</section>
</main>
</body>
</html>
"""


def _figure(figure: PaperFigure) -> str:
    headings = "".join(f"<span>{_text(heading)}</span>" for heading in figure.columns)
    cells = []
    for place, (rows, pictures) in enumerate(zip(figure.pairs, cell_pngs(figure), strict=True)):
        for i, (row, pngs) in enumerate(zip(rows, pictures, strict=True)):
            place_class = "" if i else "first top" if place == 0 else "first"
            cells += [_cell(cell, png, place_class) for cell, png in zip(row, pngs, strict=True)]
    return (
        f'<section id="{figure.name}"><h2>{_text(figure.title)}</h2><p>{_text(figure.text)}</p>'
        f'<div class="sheet"><div class="cells" style="--columns:{len(figure.columns)}">{headings}{"".join(cells)}'
        "</div></div></section>"
    )


def _cell(cell: Cell, png: bytes, place: str) -> str:
    lines = "".join(f'<span class="{which}">{_text(text)}</span>' for text, which in cell.lines)
    caption = f"<figcaption>{lines}</figcaption>" if lines else ""
    source = base64.b64encode(png).decode()
    opening = f'<figure class="{place}">' if place else "<figure>"
    return f'{opening}<img alt="{_text(cell.about)}" src="data:image/png;base64,{source}">{caption}</figure>'
