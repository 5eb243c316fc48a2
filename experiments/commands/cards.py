"""`python -m experiments cards`: the pictures of the method cards in docs/methods, one per method, from real samples.

Images are scikit-learn's two sample photographs, point sets two of its digits.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import mixkit

SIDE = 128
DIGITS = (3, 8)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `cards`."""
    parser.description = __doc__
    parser.add_argument(
        "--output", type=Path, default=Path("docs/methods"), metavar="DIR", help="default: docs/methods"
    )
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="default: every method")


def main(args: argparse.Namespace) -> int:
    """Draw the pictures; returns the exit code."""
    args.output.mkdir(parents=True, exist_ok=True)
    batches = {"image": photographs(), "points": clouds()}
    for method in args.methods or mixkit.list_methods():
        served = [domain for domain in batches if method in mixkit.list_methods(domain)]
        draw(method, {domain: batches[domain] for domain in served}, args.output / f"{method}.png")
    return 0


def photographs() -> Tensor:
    """(2, 3, SIDE, SIDE) in [0, 1]: scikit-learn's temple and flower, cut square."""
    from sklearn.datasets import load_sample_images

    images = [torch.tensor(image).permute(2, 0, 1).float() / 255 for image in load_sample_images().images]
    cut = [image[:, : min(image.shape[1:]), 60 : 60 + min(image.shape[1:])] for image in images]
    return torch.stack([F.interpolate(image[None], (SIDE, SIDE), mode="bilinear", antialias=True)[0] for image in cut])


def clouds(count: int = 700) -> Tensor:
    """(2, count, 3): two digits as points drawn from their ink."""
    from experiments.data.digits import load_digit_points

    data = load_digit_points(count=count)
    first = [int((data.test_labels == digit).nonzero()[0, 0]) for digit in DIGITS]
    return data.test[first]


def mix(method: str, domain: str, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The weight of sample a at each element, where the other term is b's; the mixed sample; and its sources (2,)."""
    labels = torch.arange(2)
    mixer = mixkit.create_mixer(
        method,
        domain,
        num_classes=2,
        p=1.0,
        saliency="spectral_residual" if domain == "image" else _far_from_the_middle,
    )
    # of many draws the one that mixes most evenly: in some the samples do not even meet
    plans = [mixer.plan(batch, labels, generator=torch.Generator().manual_seed(seed)) for seed in range(200)]
    plan = min(plans, key=lambda plan: abs(float(plan.sample_weights[0, 0]) - 0.5))
    mixed, _ = mixer.apply_plan(plan, batch, labels)
    source = plan.source[0].expand(-1, mixer.domain.elements(batch).num_elements)
    weight = (plan.weight[0].expand_as(source) * (source == 0)).sum(0)
    return weight, mixed[0], plan.sample_weights[0]


def draw(method: str, batches: dict[str, Tensor], path: Path) -> None:
    """One row per domain: a, b, the weight of a, the mixed sample."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure
    from PIL import Image

    from experiments.report.figures import BLUE, LAMBDA_MAP, ORANGE

    figure = Figure(figsize=(8, 2.15 * len(batches) + 0.25), dpi=100, facecolor="white", layout="constrained")
    grid = figure.subplots(len(batches), 4, squeeze=False)
    for row, (domain, batch) in zip(grid, batches.items(), strict=True):
        weight, mixed, share = mix(method, domain, batch)
        samples = (batch[0], batch[1], None, mixed)
        for axes, sample, colour in zip(row, samples, (BLUE, ORANGE, None, None), strict=True):
            axes.set_axis_off()
            if domain == "image":
                picture = weight.reshape(SIDE, SIDE) if sample is None else sample.permute(1, 2, 0).clamp(0, 1)
                axes.imshow(picture, cmap=LAMBDA_MAP if sample is None else None, vmin=0, vmax=1)
                continue
            points = batch[0] if sample is None else sample
            colours = {"color": colour} if colour else {"c": weight, "cmap": LAMBDA_MAP, "vmin": 0, "vmax": 1}
            axes.scatter(points[:, 0], points[:, 1], s=5, linewidths=0, **colours)
            reach = max(1.05, float(mixed[:, :2].abs().max()) + 0.05)
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", facecolor="#10141b")
            axes.set_axis_on()
            axes.set(xticks=[], yticks=[])
        row[2].text(
            0.5, -0.03, f"label: {share[0]:.2f} a + {share[1]:.2f} b", transform=row[2].transAxes, ha="center", va="top"
        )
    for axes, title in zip(grid[0], ("a", "b", "weight of a", "mixed"), strict=True):
        axes.set_title(title, fontsize=11, fontweight="bold")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    # a palette makes the file a third of the size, and nobody sees it
    Image.open(buffer).convert("RGB").quantize(192, dither=Image.Dither.NONE).save(path, optimize=True)


def _far_from_the_middle(points: Tensor) -> Tensor:
    """A stand-in for a model's saliency, so that the pictures need no training: distance from the centre."""
    return points.norm(dim=2)
