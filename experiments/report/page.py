"""The report page: one HTML file with everything inside, nothing fetched, light or dark as the reader's system is."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.console import HEADINGS, NOTE
from experiments.environment import describe_device
from experiments.report.figures import KINDS, accuracy_curves, accuracy_limits, cell_png, label_text
from experiments.report.gallery import PRIOR, GalleryItem
from experiments.report.style import CSS
from experiments.results import RunResult, cells, curves_of


def make_page(
    summary: dict[str, Any], results: Sequence[RunResult], galleries: Mapping[str, Sequence[GalleryItem]]
) -> str:
    """The whole page.

    Args:
        summary: as written to summary.json.
        results: the runs, for the curves.
        galleries: pairs by domain.
    """
    domains = summary["config"]["domains"]
    title = "One engine, two domains" if len(domains) > 1 else next(iter(domains.values()))["title"]
    charts = "".join(_chart(domain, about["title"], results) for domain, about in domains.items())
    gallery = "".join(_gallery(domains[domain]["title"], items) for domain, items in galleries.items())
    details = json.dumps(
        {"config": summary["config"], "environment": summary["environment"]}, indent=2, ensure_ascii=False
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_text(summary["name"])} · mixkit</title>
<link rel="icon" href="data:,">
<style>{CSS}</style>
</head>
<body>
<main>
<header>
<p class="kicker">mixkit · compare · {_text(summary["started"][:10])}</p>
<h1>{_text(title)}</h1>
<p class="lead">{_lead(summary)}</p>
</header>
<section>
<h2>Results</h2>
{_table(summary)}
<p class="note">{_text(NOTE)}</p>
</section>
<section>
<h2>Accuracy by epoch</h2>
<div class="charts">{charts}</div>
</section>
<section>
<h2>How SageMix mixes</h2>
<p>Each row takes two test samples, <span class="a">a</span> and <span class="b">b</span>. The gradient of the trained
model's loss says which elements matter; from it a query is drawn in each sample (★). Every element then
gets its own share λ of a, large near a's query and small near b's (here with prior {PRIOR:g}). The label is
shared out by the mean of λ.</p>
{gallery}
</section>
<section>
<h2>Configuration</h2>
{_configuration(summary)}
<details><summary>Everything, as JSON</summary><pre>{_text(details)}</pre></details>
</section>
</main>
</body>
</html>
"""


def _lead(summary: dict[str, Any]) -> str:
    """What was trained, on what, for how long."""
    config = summary["config"]
    parts = [
        f"{about['model']} ({about['parameters'] / 1e6:.2g} million weights) on {about['train_samples']:,} "
        f"{'images' if domain == 'image' else 'point sets'} of {about['data_title']} "
        f"for {about['recipe']['epochs']} epochs"
        for domain, about in config["domains"].items()
    ]
    seeds = len(config["seeds"])
    runs = "one run a row" if seeds == 1 else f"{seeds} seeds a row, mean ± standard deviation"
    return _text(
        f"{', and '.join(parts)}. Within a domain every method starts from the same weights, sees the same data in the "
        f"same order and has the same budget ({runs}). All in {_duration(summary['seconds'])} on "
        f"{describe_device(summary['environment'])}. A budget this short says little about which method wins in the "
        "long run: like every regulariser, mixing tends to pay off late."
    )


def _table(summary: dict[str, Any]) -> str:
    head = "".join(f"<th>{_text(heading)}</th>" for heading in HEADINGS)
    columns = len(HEADINGS) + 1
    body = []
    for domain, about in summary["config"]["domains"].items():
        rows = [row for row in summary["rows"] if row["domain"] == domain]
        body.append(f'<tbody><tr><th colspan="{columns}" scope="rowgroup">{_text(about["title"])}</th></tr>')
        for i, row in enumerate(rows):
            swatch = f'<i style="background:var(--series-{i % 8})"></i>'
            figures = "".join(f"<td>{_text(cell.replace('±', ' ± '))}</td>" for cell in cells(row))
            body.append(f'<tr><th scope="row">{swatch}{_text(row["method"])}</th>{figures}</tr>')
            body += [
                f'<tr><td class="stopped" colspan="{columns}">seed {_text(seed)} stopped: {_text(why)}</td></tr>'
                for seed, why in row["stopped"].items()
            ]
        body.append("</tbody>")
    return f'<div class="wide"><table><thead><tr><th></th>{head}</tr></thead>{"".join(body)}</table></div>'


def _chart(domain: str, title: str, results: Sequence[RunResult]) -> str:
    curves = curves_of(results, domain)
    if not curves:
        return ""
    low, _ = accuracy_limits(list(curves.values()))
    cut = any(values.min() < low for values in curves.values())
    note = f" The axis starts at {low:.0f} %; early epochs below it are cut off." if cut else ""
    return f"<figure>{accuracy_curves(curves, domain)}<figcaption>{_text(title)}.{note}</figcaption></figure>"


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
    """The budget of each domain in words."""
    config, rows = summary["config"], []
    for about in config["domains"].values():
        shape = " × ".join(map(str, about["sample_shape"]))
        rows.append(
            f"<dt>{_text(about['title'])}</dt><dd>{about['train_samples']:,} training and "
            f"{about['test_samples']:,} test samples of {shape}, {about['classes']} classes; "
            f"augmentation: {_text(about['augmentation'])}. "
            f"Width {about['recipe']['width']}, {about['parameters']:,} weights. {_text(about['recipe_in_words'])}; "
            f"{_text(about['loss'])}.</dd>"
        )
    seeds = ", ".join(map(str, config["seeds"]))
    packages = summary["environment"]["packages"]
    versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    rows.append(f"<dt>Seeds, precision</dt><dd>{seeds}; {_text(config['precision'])}</dd>")
    rows.append(f"<dt>Versions</dt><dd>Python {_text(summary['environment']['python'])}, {_text(versions)}</dd>")
    return f"<dl>{''.join(rows)}</dl>"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _text(text: object) -> str:
    return html.escape(str(text))
