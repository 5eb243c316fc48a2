"""What the paper's figures show: real samples mixed by every method, and along pi and sigma; no drawing here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import mixkit
from experiments.base.errors import ExperimentError
from experiments.data.base import DataSet
from mixkit import ElementSet, MixPlan, functional
from mixkit import query as queries
from mixkit.methods import PlanContext

RATIO = 0.5  # of every method and the prior of SageMix where it is not swept: both samples alike
RADIUS = 0.5  # of RSMix's ball, the mean of its Beta(1, 1)
PRIORS = (0.1, 0.3, 0.5, 0.7, 0.9)
SIGMAS = (0.1, 0.3, 0.5, 1.0, 2.0)  # where the length scale is 0.3, as of point sets; elsewhere in proportion
CELLS = 4  # of Puzzle Mix's and Co-Mixup's masks along each side
CANDIDATES = 1000  # test samples that pairs are chosen from
PAIR = torch.tensor([1, 0])  # the partners in a batch of two


@dataclass(frozen=True)
class Pair:
    """Two test samples of different classes, a and b, with all that mixing them needs.

    Attributes:
        data: the data set they are from.
        places: their places among its test samples.
        batch: (2, C, H, W) or (2, N, D), as the model reads them.
        labels: (2,) classes.
        elements: the elements of the batch.
        saliency: (2, N), the gradient of the model's loss at the true classes.
        query: element of a, drawn by saliency, and element of b, drawn by saliency and distance.
        assignment: (2, N), or None for the same places.
        scale: the domain's length scale, which is SageMix's default sigma.
        draws: (2, N) uniform numbers for what the other methods draw.
    """

    data: DataSet
    places: tuple[int, int]
    batch: Tensor
    labels: Tensor
    elements: ElementSet
    saliency: Tensor
    query: tuple[int, int]
    assignment: Tensor | None
    scale: float
    draws: Tensor

    @property
    def classes(self) -> tuple[str, str]:
        """Their names."""
        a, b = (self.data.classes[int(label)].replace("_", " ") for label in self.labels)
        return a, b

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The bandwidths of the sweep, in the units of the coordinates."""
        return tuple(sigma * self.scale / 0.3 for sigma in SIGMAS)


@dataclass(frozen=True)
class Mix:
    """A pair mixed by one plan; all of it is read from the plan.

    Attributes:
        plan: the plan of both samples; what is shown is its first output.
        sample: (C, H, W) or (N, D), mixed.
        own: (N,) how much of each element comes from a.
        share: label weight of a.
        marks: the elements that the queries of a and b became part of; () where the method has none.
    """

    plan: MixPlan
    sample: Tensor
    own: Tensor
    share: float
    marks: tuple[int, ...] = ()


def draw_pairs(data: DataSet, model: nn.Module, count: int, seed: int, candidates: int = CANDIDATES) -> list[Pair]:
    """Random pairs of test samples of different classes, of those that the model gets right where there are enough.

    Args:
        data: on the CPU, as the model is.
        model: its gradient is the saliency.
        count: how many, at most half the number of classes.
        seed: the seed of the choice of samples and of all draws.
        candidates: how many test samples, drawn at random, they are chosen from. Default 1,000.

    Raises:
        ExperimentError: fewer than two classes among the test samples.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = _one_per_class(data, model, 2 * count, generator, candidates)
    if len(chosen) < 2:
        raise ExperimentError(f"{data.title} has test samples of one class only: there is no pair to draw.")
    count = len(chosen) // 2
    return [_make_pair(data, model, (chosen[i], chosen[count + i]), generator) for i in range(count)]


def sagemix(pair: Pair, prior: float = RATIO, sigma: float | None = None) -> Mix:
    """The pair mixed by SageMix at a prior and a bandwidth, which is the length scale unless given."""
    query = torch.tensor(pair.query)
    coords = pair.elements.coords
    plan = functional.sagemix(
        coords, PAIR, pair.assignment, query, query[PAIR], torch.full((2,), prior), sigma or pair.scale
    )
    return apply(pair, plan, marks=True)


def mixup(pair: Pair) -> Mix:
    """Mixup; of point sets, with their assignment, PointMixup."""
    return apply(pair, functional.mixup(PAIR, torch.tensor([RATIO]), pair.assignment))


def rsmix(pair: Pair) -> Mix:
    """RSMix with balls of `RADIUS`."""
    centre = _centres(pair)
    radius = torch.tensor([RADIUS])
    return apply(pair, functional.rsmix(pair.elements.coords, PAIR, centre, centre[PAIR], radius, pair.draws))


def pointcutmix_r(pair: Pair) -> Mix:
    """PointCutMix-R: random points."""
    return apply(pair, functional.pointcutmix_r(PAIR, pair.assignment, pair.draws, _half(pair)))


def pointcutmix_k(pair: Pair) -> Mix:
    """PointCutMix-K: the points nearest to a random one."""
    coords = pair.elements.coords
    return apply(pair, functional.pointcutmix_k(coords, PAIR, pair.assignment, _centres(pair), _half(pair)))


def cutmix(pair: Pair) -> Mix:
    """CutMix: a box of half the image around a random pixel, clipped."""
    height, width = _grid(pair)
    centre = torch.tensor([[int(pair.draws[0, 0] * width), int(pair.draws[0, 1] * height)]])
    return _box(pair, centre)


def saliencymix(pair: Pair) -> Mix:
    """SaliencyMix: the box around the most salient pixel of b."""
    most = pair.saliency[PAIR].argmax(1)
    return _box(pair, pair.elements.coords[0][most])


def puzzlemix(pair: Pair) -> Mix:
    """Puzzle Mix with a mask of `CELLS` cells a side, and transport."""
    from mixkit_image.functional import puzzlemix

    grid, data = _grid(pair), pair.data
    zero = torch.zeros(1, data.channels, 1, 1)
    # a tenth of a deviation, which no clipping of pixels can reach
    std = 10 * (data.restore(zero + 0.1) - data.restore(zero)).flatten()
    ratio = torch.tensor([RATIO])
    return apply(pair, puzzlemix(pair.elements.values, grid, pair.saliency, PAIR, ratio, CELLS, std=std))


def comixup(pair: Pair) -> Mix:
    """Co-Mixup of the pair alone: its two inputs give two outputs; the more even of them is shown."""
    from mixkit_image.functional import comixup

    initial = (2 * pair.draws[:, : CELLS**2]).long()
    plan = comixup(pair.saliency, _grid(pair), torch.full((2,), RATIO).log(), initial, cells=CELLS, group=2)
    return apply(pair, plan, output=int((plan.sample_weights[:, 0] - RATIO).abs().argmin()))


METHODS: dict[str, dict[str, Callable[[Pair], Mix]]] = {
    "points": {
        "PointMixup": mixup,
        "RSMix": rsmix,
        "PointCutMix-R": pointcutmix_r,
        "PointCutMix-K": pointcutmix_k,
        "SageMix": sagemix,
    },
    "image": {
        "Mixup": mixup,
        "CutMix": cutmix,
        "SaliencyMix": saliencymix,
        "Puzzle Mix": puzzlemix,
        "Co-Mixup": comixup,
        "SageMix": sagemix,
    },
}
"""The methods that are compared in each domain, by their titles."""


def apply(pair: Pair, plan: MixPlan, *, output: int = 0, marks: bool = False) -> Mix:
    """What a plan makes of the pair, by the mixer that trains models too."""
    mixer = mixkit.create_mixer("mixup", domain=pair.data.domain, num_classes=len(pair.data.classes))
    mixed, targets = mixer.apply_plan(plan, pair.batch, pair.labels)
    size = pair.elements.num_elements
    marked: tuple[int, ...] = ()
    if marks:
        origins = torch.arange(size) if plan.index is None else plan.index[output, 1]
        marked = pair.query[0], int((origins == pair.query[1]).nonzero()[0, 0])
    return Mix(plan, mixed[output], share_of_a(plan, size, output), float(targets[output, pair.labels[0]]), marked)


def share_of_a(plan: MixPlan, size: int, output: int = 0) -> Tensor:
    """(size,) how much of each element of an output is of sample 0, which is called a."""
    source = plan.source[output].expand(-1, size)
    return (plan.weight[output].expand(-1, size) * (source == 0)).sum(0)


def _make_pair(data: DataSet, model: nn.Module, places: tuple[int, int], generator: torch.Generator) -> Pair:
    chosen = torch.tensor(places)
    batch, labels = data.prepare(data.test[chosen]), data.test_labels[chosen]
    domain = mixkit.create_mixer("mixup", domain=data.domain, num_classes=len(data.classes)).domain
    elements = domain.elements(batch)
    assert elements.length_scale is not None
    saliency = mixkit.GradientSaliency(model).find(batch, labels, domain)
    uniform = torch.rand(2, 2, generator=generator)
    query, partner_query = queries.sequential(elements.coords, saliency, PAIR, uniform)
    return Pair(
        data,
        places,
        batch,
        labels,
        elements,
        saliency,
        (int(query[0]), int(partner_query[0])),
        PlanContext(assign=domain.assign).assignment(elements, PAIR),
        elements.length_scale,
        torch.rand(2, elements.num_elements, generator=generator),
    )


@torch.no_grad()
def _one_per_class(
    data: DataSet, model: nn.Module, count: int, generator: torch.Generator, candidates: int
) -> list[int]:
    """Places of `count` random test samples, no two of one class; fewer where there are not so many classes."""
    shuffled = torch.randperm(len(data.test), generator=generator)[:candidates]
    labels = data.test_labels[shuffled]
    predicted = torch.cat([model(data.prepare(data.test[part])).argmax(1) for part in shuffled.split(100)])
    right = predicted == labels
    first = [int((labels == label).nonzero()[0, 0]) for label in labels.unique()]
    first_right = [int((right & (labels == label)).nonzero()[0, 0]) for label in labels[right].unique()]
    places = first_right if len(first_right) >= count else first
    order = torch.randperm(len(places), generator=generator)[: min(count, len(places) // 2 * 2)]
    return [int(shuffled[places[i]]) for i in order]


def _box(pair: Pair, centre: Tensor) -> Mix:
    """A box of half the image around whole pixels (1 or 2, 2), as the mixers' draw it."""
    height, width = _grid(pair)
    half = (torch.tensor([[width, height]]) * (1 - RATIO) ** 0.5 / 2).floor()
    return apply(pair, functional.cutmix(pair.elements.coords, PAIR, None, centre - 0.5, half))


def _centres(pair: Pair) -> Tensor:
    """(2,) a random element of each sample."""
    return (pair.draws[:, 0] * pair.elements.num_elements).long()


def _half(pair: Pair) -> Tensor:
    """(1,) half the number of elements."""
    return torch.tensor([int(pair.elements.num_elements * (1 - RATIO))])


def _grid(pair: Pair) -> tuple[int, int]:
    """(H, W) of an image."""
    assert pair.elements.grid is not None
    return pair.elements.grid[0], pair.elements.grid[1]
