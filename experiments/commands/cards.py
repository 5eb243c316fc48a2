"""`python -m experiments cards`: the pictures of the method cards in docs/methods, one per method, from real samples.

Images are scikit-learn's two sample photographs, point sets two of its digits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

import mixkit
from experiments.data.digits import load_digit_points
from experiments.report.drawing import sheet_png
from experiments.report.gallery import photographs
from experiments.report.pairs import share_of_a
from experiments.report.sheets import Cell, Sheet

SIDE = 128
DIGITS = (3, 8)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `cards`."""
    parser.description = __doc__
    parser.add_argument(
        "--output", type=Path, default=Path("docs/methods"), metavar="DIR", help="default: docs/methods"
    )
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="default: every method of images or point sets")


def main(args: argparse.Namespace) -> int:
    """Draw the pictures; returns the exit code."""
    args.output.mkdir(parents=True, exist_ok=True)
    batches = {"image": photographs(SIDE), "points": clouds()}
    for method in args.methods or mixkit.list_methods():
        served = [domain for domain in batches if method in mixkit.list_methods(domain)]
        if served:
            draw(method, {domain: batches[domain] for domain in served}, args.output / f"{method}.png")
    return 0


def clouds(count: int = 700) -> Tensor:
    """(2, count, 3): two digits as points drawn from their ink."""
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
        inside=True,
        saliency="spectral_residual" if domain == "image" else _far_from_the_middle,
    )
    # of many draws the one that mixes most evenly: in some the samples do not even meet
    plans = [mixer.plan(batch, labels, generator=torch.Generator().manual_seed(seed)) for seed in range(200)]
    plan = min(plans, key=lambda plan: abs(float(plan.sample_weights[0, 0]) - 0.5))
    mixed, _ = mixer.apply_plan(plan, batch, labels)
    return share_of_a(plan, mixer.domain.elements(batch).num_elements), mixed[0], plan.sample_weights[0]


def draw(method: str, batches: dict[str, Tensor], path: Path) -> None:
    """One row per domain: a, b, the weight of a, the mixed sample."""
    rows = tuple((_row(method, domain, batch),) for domain, batch in batches.items())
    path.write_bytes(sheet_png(Sheet(method, method, "", ("a", "b", "weight of a", "mixed"), rows, palette=True)))


def _row(method: str, domain: str, batch: Tensor) -> tuple[Cell, ...]:
    """Both samples, the weight of a at each element, and what the method makes of them."""
    weight, mixed, share = mix(method, domain, batch)
    label = ((f"label: {share[0]:.2f} a + {share[1]:.2f} b", ""),)
    if domain == "image":
        a, b, picture = (sample.permute(1, 2, 0).clamp(0, 1).numpy() for sample in (*batch, mixed))
        shares = Cell(domain, "", weight.reshape(SIDE, SIDE).numpy(), "own", lines=label)
        return Cell(domain, "", a), Cell(domain, "", b), shares, Cell(domain, "", picture)
    samples = ((batch[0], torch.ones_like(weight)), (batch[1], 0 * weight), (batch[0], weight), (mixed, weight))
    lines = ((), (), label, ())
    return tuple(
        Cell(domain, "digits", points.numpy(), "own", strength.numpy(), lines=below)
        for (points, strength), below in zip(samples, lines, strict=True)
    )


def _far_from_the_middle(points: Tensor) -> Tensor:
    """A stand-in for a model's saliency, so that the pictures need no training: distance from the centre."""
    return points.norm(dim=2)
