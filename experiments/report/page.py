"""The report page: one HTML file with everything inside, nothing fetched, light or dark as the reader's system is."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.base.machine import describe_device
from experiments.report.conclusion import conclusions
from experiments.report.figures import KINDS, SERIES, accuracy_curves, accuracy_limits, cell_png, label_text
from experiments.report.gallery import PRIOR, GalleryItem
from experiments.report.style import head
from experiments.report.style import text as _text
from experiments.report.summary import curves_of
from experiments.report.tables import PARTS_NOTE, cells, columns_note, corruptions, headings, paired_note
from experiments.run.records import RunResult

HEADINGS = {"compare": "One engine, two domains"}
HOW = """<section>
<h2>How SageMix mixes</h2>
<p>Each row takes two test samples, <span class="a">a</span> and <span class="b">b</span>. The gradient of the trained
model's loss says which elements matter; from it a query is drawn in each sample (★). Every element then
gets its own share λ of a, large near a's query and small near b's (here with prior {prior}). The label is
shared out by the mean of λ.</p>
{gallery}
</section>"""


def make_page(
    summary: dict[str, Any], results: Sequence[RunResult], galleries: Mapping[str, Sequence[GalleryItem]]
) -> str:
    """The whole page.

    Args:
        summary: as written to summary.json.
        results: the runs, for the curves.
        galleries: pairs by domain.
    """
    arms = summary["arms"]
    title = next(iter(arms.values()))["title"] if len(arms) == 1 else HEADINGS.get(summary["command"], summary["name"])
    charts = "".join(_chart(arm, about["title"], results, f"chart{k}") for k, (arm, about) in enumerate(arms.items()))
    gallery = "".join(_gallery(arms[arm]["title"], items) for arm, items in galleries.items())
    details = json.dumps({"arms": arms, "environment": summary["environment"]}, indent=2, ensure_ascii=False)
    tables = "".join(_table(summary, arm) for arm in arms)
    parts = any("class_miou" in row["scores"] for row in summary["rows"])
    return f"""{head(summary["name"])}<main>
<header>
<p class="kicker">mixkit · {_text(summary["command"])} · {_text(summary["written"][:10])}</p>
<h1>{_text(title)}</h1>
<p class="lead">{_lead(summary)}</p>
</header>
<section>
<h2>Results</h2>
<div class="wide"><table>{tables}</table></div>
<p class="note">{_text(columns_note(summary["rows"]))} \
{_text(paired_note(summary["rows"]))}{" " + _text(PARTS_NOTE) if parts else ""}</p>
{_conclusions(summary)}
{_each_corruption(summary)}
</section>
<section>
<h2>Score by epoch</h2>
<div class="charts">{charts}</div>
</section>
{HOW.format(prior=f"{PRIOR:g}", gallery=gallery) if gallery else ""}
<section>
<h2>Configuration</h2>
{_configuration(summary)}
<details><summary>Everything, as JSON</summary><pre>{_text(details)}</pre></details>
</section>
</main>
</body>
</html>
"""


def _conclusions(summary: dict[str, Any]) -> str:
    """What the reader may conclude and what not, where the runs are a comparison."""
    return "".join(f"<p>{_text(sentence)}</p>" for sentence in conclusions(summary))


def _each_corruption(summary: dict[str, Any]) -> str:
    """The accuracies that the column of corrupted samples is the mean of, out of sight until wanted."""
    tables = []
    for arm, about in summary["arms"].items():
        rows = [row for row in summary["rows"] if row["arm"] == arm]
        names, body = corruptions(rows)
        if names:
            lines = [(about["title"], names), *((row["method"], texts) for row, texts in zip(rows, body, strict=True))]
            tables += [
                f"<tr><th>{_text(first)}</th>{''.join(f'<td>{_text(text)}</td>' for text in texts)}</tr>"
                for first, texts in lines
            ]
    if not tables:
        return ""
    return (
        "<details><summary>Accuracy under each corruption</summary>"
        f'<div class="wide"><table>{"".join(tables)}</table></div></details>'
    )


def _lead(summary: dict[str, Any]) -> str:
    """What was trained, on what, for how long."""
    parts = []
    for about in summary["arms"].values():
        kind = "images" if about.get("domain") == "image" else "point sets"
        weights = f" ({about['parameters'] / 1e6:.2g} million weights)" if "parameters" in about else ""
        parts.append(
            f"{about['model']}{weights} on {about.get('train_samples', 0):,} {kind} of "
            f"{about.get('data_title', about['config']['dataset'])} for {about['config']['epochs']} epochs"
        )
    seeds = len(summary["seeds"])
    folds = max((len(row.get("folds", ())) for row in summary["rows"]), default=0)
    many = f"{folds} folds x {seeds} seeds" if folds else f"{seeds} seeds"
    runs = "one run a row" if seeds == 1 and folds < 2 else f"{many} a row, mean ± standard deviation"
    device = f" on {describe_device(summary['environment'])}" if summary["environment"] else ""
    budget = "" if any("[" in row["method"] for row in summary["rows"]) else " and has the same budget"
    cut = " Scores are of samples cut from the training set; the test samples were not looked at."
    short = (
        ""
        if conclusions(summary)
        else "A short budget says little about which method wins in the long run: like every regulariser, mixing tends "
        "to pay off late."
    )
    validated = cut if any(row.get("scored") == "validation" for row in summary["rows"]) else ""
    return _text(
        f"{', and '.join(parts)}. Within a table every method starts from the same weights, sees the same data in the "
        f"same order{budget} ({runs}). All in {_duration(summary['seconds'])}{device}. "
        f"{short}"
        f"{validated}"
    )


def _table(summary: dict[str, Any], arm: str) -> str:
    """The rows of an arm, with a heading of their own."""
    rows = [row for row in summary["rows"] if row["arm"] == arm]
    names = headings(rows)
    columns = len(names) + 1
    head = "".join(f"<th>{_text(name)}</th>" for name in names)
    body = [
        f'<tbody><tr><th colspan="{columns}" scope="rowgroup">{_text(summary["arms"][arm]["title"])}</th></tr>',
        f'<tr class="head"><th></th>{head}</tr>',
    ]
    for i, row in enumerate(rows):
        swatch = f'<i style="background:var(--series-{i % SERIES})"></i>'
        figures = "".join(f"<td>{_text(cell.replace('±', ' ± '))}</td>" for cell in cells(row, rows))
        body.append(f'<tr><th scope="row">{swatch}{_text(row["method"])}</th>{figures}</tr>')
        body += [
            f'<tr><td class="stopped" colspan="{columns}">seed {_text(seed)}: {_text(why)}</td></tr>'
            for seed, why in row["stopped"].items()
        ]
    return "".join(body) + "</tbody>"


def _chart(arm: str, title: str, results: Sequence[RunResult], name: str) -> str:
    """The curves of an arm; `name` is what its ids begin with."""
    curves = curves_of(results, arm)
    if not curves:
        return ""
    low, _ = accuracy_limits([values for _, values in curves.values()])
    cut = any(values.min() < low for _, values in curves.values())
    note = f" The axis starts at {low:.0f} %; early epochs below it are cut off." if cut else ""
    parts = any(result.config.arm == arm and result.config.parts for result in results)
    scored = next(result.config.scored for result in results if result.config.arm == arm)
    what = f"{scored} instance mIoU (%)" if parts else f"{scored} accuracy (%)"
    return f"<figure>{accuracy_curves(curves, name, what)}<figcaption>{_text(title)}.{note}</figcaption></figure>"


def _gallery(title: str, items: Sequence[GalleryItem]) -> str:
    rows = []
    for item in items:
        captions = {
            "a": f'<b class="a">a</b> {_text(item.class_a)}',
            "saliency a": "saliency of a, query ★",
            "b": f'<b class="b">b</b> {_text(item.class_b)}',
            "saliency b": "saliency of b, query ★",
            "lambda": "λ, the share of a",
            "mixed": f"mixed: {_text(label_text(item))}",
        }
        images = "".join(
            f'<figure><img alt="{_text(f"{kind} of {item.class_a} and {item.class_b}")}" '
            f'src="data:image/png;base64,{base64.b64encode(cell_png(item, kind)).decode()}">'
            f"<figcaption>{captions[kind]}</figcaption></figure>"
            for kind in KINDS
        )
        bar = f'<div class="bar" role="presentation"><span style="width:{100 * item.weight_a:.1f}%"></span></div>'
        rows.append(f'<div class="pair">{images}</div>{bar}')
    sigma = f"σ {items[0].sigma:g}" if items else ""
    return f"<h3>{_text(title)} <small>{sigma}</small></h3>{''.join(rows)}"


def _configuration(summary: dict[str, Any]) -> str:
    """The budget of each arm in words."""
    rows = []
    for about in summary["arms"].values():
        config = about["config"]
        samples = ""
        scored = about.get("scored", "test")
        if {"train_samples", f"{scored}_samples", "sample_shape", "classes", "augmentation"} <= about.keys():
            shape = " × ".join(map(str, about["sample_shape"]))
            samples = (
                f"{about['train_samples']:,} training and {about[f'{scored}_samples']:,} {scored} samples of {shape}, "
                f"{about['classes']} classes; augmentation: {about['augmentation']}. "
            )
        recipes = " Or: ".join(f"{recipe}." for recipe in about["recipes"])
        weights = f", {about['parameters']:,} weights" if "parameters" in about else ""
        text = f"{samples}Width {config['width']}{weights}, precision {config['precision']}. {recipes}"
        rows.append(f"<dt>{_text(about['title'])}</dt><dd>{_text(text)}</dd>")
    rows.append(f"<dt>Seeds</dt><dd>{', '.join(map(str, summary['seeds']))}</dd>")
    if packages := summary["environment"].get("packages"):
        versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
        python = summary["environment"].get("python", "?")
        rows.append(f"<dt>Versions</dt><dd>Python {_text(python)}, {_text(versions)}</dd>")
    return f"<dl>{''.join(rows)}</dl>"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
