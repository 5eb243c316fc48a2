"""The playground as a page without a server: tables of lambda over pi and sigma, and a script that draws them."""

from __future__ import annotations

import json
import math
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mixkit
from experiments.base.errors import ExperimentError
from experiments.playground.mixing import PAIR, Settings, make_mixer
from experiments.playground.saliency import find_saliency
from experiments.playground.samples import load_pair
from experiments.playground.scene import encode_saliency, encode_sample, encode_shares
from mixkit import functional, query

ASSETS = Path(__file__).parent / "assets"
PRIORS = tuple(round(0.1 * step, 1) for step in range(1, 10))
SCALES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)  # sigma, in length scales
SIDE = 80
PAIRS = {  # the samples, the unit of sigma, the saliency, and the seed of the queries
    "image": (Settings("image", "photographs/temple", "photographs/flower"), "pixels", "spectral residual", 7),
    "points": (Settings("points", "digits/3", "digits/8"), "radii of the cloud", "model", 16),
}
NEEDED = "the playground wants plotly, which is not installed: pip install 'mixkit[playground]' brings it."

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>mixkit playground</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="view.css">
</head>
<body class="mk-alone">
<h1>mixkit playground</h1>
<p>Two samples mixed at a prior &pi; and a bandwidth &sigma;. Clouds turn with the pointer. Crosses and diamonds are the
query points, of A in orange, of B in blue.</p>
<div class="mixkit-playground"></div>
<script src="plotly.min.js"></script>
<script src="playground.js"></script>
</body>
</html>
"""


def plotly_script() -> Path:
    """The script of plotly.js that comes with plotly.

    Raises:
        ExperimentError: plotly is not installed.
    """
    spec = find_spec("plotly")
    script = Path(spec.origin).parent / "package_data" / "plotly.min.js" if spec and spec.origin else None
    if script is None or not script.is_file():
        raise ExperimentError(NEEDED)
    return script


def write_page(folder: Path) -> Path:
    """Write index.html, and beside it what it loads: playground.js, view.css and plotly.min.js.

    Args:
        folder: made where it is not there.

    Returns:
        The path of index.html, which a browser opens from the file. Another page may load the other three alike, and
        has an element of the class ``mixkit-playground``.

    Raises:
        ExperimentError: plotly is not installed.
    """
    script = plotly_script()
    folder.mkdir(parents=True, exist_ok=True)
    pairs = json.dumps([make_table(domain) for domain in PAIRS], separators=(",", ":"), ensure_ascii=False)
    parts = [(ASSETS / "view.js").read_text(), f"window.mixkitPairs = {pairs};\n", (ASSETS / "page.js").read_text()]
    (folder / "playground.js").write_text("".join(parts), encoding="utf-8")
    shutil.copyfile(ASSETS / "view.css", folder / "view.css")
    shutil.copyfile(script, folder / "plotly.min.js")
    (folder / "index.html").write_text(PAGE, encoding="utf-8")
    return folder / "index.html"


def make_table(domain: str) -> dict[str, Any]:
    """A pair, its saliency, queries and pairing, and lambda of each method at each of `PRIORS` and `SCALES`."""
    settings, unit, kind, seed = PAIRS[domain]
    batch = load_pair(domain, settings.a, settings.b)
    if domain == "image":
        batch = torch.nn.functional.interpolate(batch, (SIDE, SIDE), mode="bilinear", antialias=True).clamp(0, 1)
    saliency = find_saliency(domain, batch, kind)
    mixer = make_mixer(settings, saliency)
    elements = mixer.domain.elements(batch)
    assert elements.length_scale is not None
    uniform = torch.rand(2, 2, generator=torch.Generator().manual_seed(seed))
    a, b = (int(one[0]) for one in query.sequential(elements.coords, saliency, PAIR, uniform))
    assignment = mixer.domain.assign(elements.coords, elements.coords[PAIR])
    sigmas = [_short(scale * elements.length_scale) for scale in SCALES]
    return {
        "domain": domain,
        "names": list(settings.names),
        **({"side": SIDE} if domain == "image" else {}),
        "elements": elements.num_elements,
        "unit": unit,
        "a": encode_sample(domain, batch[0]),
        "b": encode_sample(domain, batch[1]),
        "index": None if assignment is None else assignment[0].tolist(),
        "saliency": encode_saliency(saliency),
        "queries": [a, b],
        "priors": PRIORS,
        "start": SCALES.index(1.0),
        "methods": _methods(elements, assignment, torch.tensor([a, b]), sigmas),
    }


def _methods(
    elements: mixkit.ElementSet, assignment: Tensor | None, queries: Tensor, sigmas: list[float]
) -> dict[str, Any]:
    """What the page can choose: lambda as bytes, at each prior, and each sigma where there is one."""
    coords = elements.coords

    def sagemix(prior: float, sigma: float) -> mixkit.MixPlan:
        priors = torch.tensor([prior, 1 - prior])
        return functional.sagemix(coords, PAIR, assignment, queries, queries[PAIR], priors, sigma)

    def cut(prior: float) -> mixkit.MixPlan:
        if elements.grid is None:
            count = torch.tensor([round(prior * elements.num_elements)])
            middle = queries if assignment is None else (assignment == queries[1]).int().argmax(1)
            return functional.pointcutmix_k(coords, PAIR, assignment, middle, elements.num_elements - count)
        half = torch.tensor([[math.sqrt(1 - prior) * side / 2 for side in elements.grid]])
        centre = coords[0, queries[1]][None].clamp(half, torch.tensor([elements.grid]) - half)
        return functional.cutmix(coords, PAIR, None, centre, half)

    cutting = ("cutmix", "CutMix") if elements.grid else ("pointcutmix_k", "PointCutMix-K")
    mixup = ("mixup", "Mixup") if elements.grid else ("pointmixup", "PointMixup")
    return {
        "sagemix": {
            "title": "SageMix",
            "sigmas": sigmas,
            "own": [[encode_shares(sagemix(prior, sigma).weight[0, 0]) for sigma in sigmas] for prior in PRIORS],
        },
        mixup[0]: {"title": mixup[1], "own": [[encode_shares(torch.tensor([prior]))] for prior in PRIORS]},
        cutting[0]: {"title": cutting[1], "own": [[encode_shares(cut(prior).weight[0, 0])] for prior in PRIORS]},
    }


def _short(number: float) -> float:
    return float(f"{number:.2g}")
