"""What the playground shows: a pair, a method, its options and draws, as settings; and what comes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mixkit
from experiments.playground.saliency import KINDS, find_saliency
from experiments.playground.samples import SOURCES, load_pair
from mixkit.methods import PlanContext
from mixkit.methods.sagemix import SageMix
from mixkit.query import SAMPLERS, sharpen
from mixkit.registry import get_method

PAIR = torch.tensor([1, 0])  # the partners in a batch of two
LABELS = torch.tensor([0, 1])


@dataclass(frozen=True)
class Settings:
    """All that a mix depends on.

    Attributes:
        domain: "image" or "points".
        a: the name of a sample (`load_sample`).
        b: the name of the other.
        method: one of `mixkit.list_methods(domain)`.
        options: the options of `mixkit.create_mixer` that differ from their defaults.
        saliency: one of `KINDS[domain]`, for methods that need saliency.
        painted: the elements of a and of b that were painted, for "painted".
        queries: the queries of a and of b where they are chosen by hand, for SageMix. Default None: they are drawn.
        prior: pi, where the queries are chosen by hand.
        seed: of the draws.
        roots: the folders that hold data sets.
    """

    domain: str
    a: str
    b: str
    method: str = "sagemix"
    options: Mapping[str, Any] = field(default_factory=dict)
    saliency: str = ""
    painted: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    queries: tuple[int, int] | None = None
    prior: float = 0.5
    seed: int = 0
    roots: tuple[Path, ...] = ()

    @property
    def kind(self) -> str:
        """Where saliency comes from."""
        return self.saliency or KINDS[self.domain][0]

    @property
    def names(self) -> tuple[str, str]:
        """What a and b are called."""
        a, b = (
            name.partition("/")[2] if name.partition("/")[0] in SOURCES[self.domain] else Path(name).name
            for name in (self.a, self.b)
        )
        return (f"{a} (A)", f"{b} (B)") if a == b else (a, b)

    @property
    def by_hand(self) -> bool:
        """Whether the queries are chosen by hand."""
        return self.queries is not None and self.method == "sagemix"

    @property
    def made_with(self) -> dict[str, Any]:
        """The arguments of `mixkit.create_mixer` beside method, domain and saliency."""
        method = get_method(self.method)
        paired = {"partners": "previous"} if "partners" in method.needs or self.method == "sagemix" else {}
        inside = {"inside": True} if method.for_layers else {}
        return {"num_classes": 2, "p": 1.0, **paired, **inside, **self.options}

    @property
    def salient(self) -> bool:
        """Whether saliency is asked for."""
        return "saliency" in make_mixer(self, None).needs


@dataclass(frozen=True)
class Mixed:
    """What settings give.

    Attributes:
        batch: (2, C, H, W) or (2, N, 3), the samples.
        sample: (C, H, W) or (N, 3), the mixed one.
        own: (N,) lambda, how much of each element is of a.
        targets: (2,) the label weights of a and b.
        saliency: (2, N), or None where the method asks for none.
        queries: elements of a and of b, or None where the method has none.
        marks: the elements of the mixed sample that the queries became part of; () where there are none.
        plan: the plan of both samples, of which the first is shown.
        length_scale: the domain's, in the units of the coordinates.
    """

    batch: Tensor
    sample: Tensor
    own: Tensor
    targets: Tensor
    saliency: Tensor | None
    queries: tuple[int, int] | None
    marks: tuple[int, ...]
    plan: mixkit.MixPlan
    length_scale: float


def make_mixer(settings: Settings, saliency: Tensor | None) -> mixkit.Mixer:
    """The mixer of some settings, which finds the given saliency."""

    def found(batch: Tensor) -> Tensor:
        return batch.new_ones(()) if saliency is None else saliency

    return mixkit.create_mixer(settings.method, settings.domain, **settings.made_with, saliency=found)


def mix(settings: Settings) -> Mixed:
    """Mix the pair.

    Raises:
        ExperimentError: a sample that cannot be read.
        ValueError: an option's value that mixkit refuses.
        TypeError: an option's value of a wrong type.
    """
    batch = load_pair(settings.domain, settings.a, settings.b, settings.roots)
    saliency = None
    if settings.salient:
        saliency = find_saliency(settings.domain, batch, settings.kind, settings.painted)
    mixer = make_mixer(settings, saliency)
    elements = mixer.domain.elements(batch)
    queries = None
    if settings.by_hand:
        plan, queries = _by_hand(settings, mixer, elements)
    else:
        plan = mixer.plan(batch, LABELS, generator=torch.Generator().manual_seed(settings.seed))
        if isinstance(mixer.method, SageMix):
            queries = _drawn_queries(mixer.method, elements, saliency, settings.seed)
    mixed, targets = mixer.apply_plan(plan, batch, LABELS)
    size = elements.num_elements
    source, weight = plan.source[0].expand(-1, size), plan.weight[0].expand(-1, size)
    marks: tuple[int, ...] = ()
    if queries is not None:
        origins = torch.arange(size) if plan.index is None else plan.index[0, 1]
        marks = queries[0], int((origins == queries[1]).nonzero()[0, 0])
    assert elements.length_scale is not None
    own = (weight * (source == 0)).sum(0)
    return Mixed(batch, mixed[0], own, targets[0], saliency, queries, marks, plan, elements.length_scale)


def _by_hand(
    settings: Settings, mixer: mixkit.Mixer, elements: mixkit.ElementSet
) -> tuple[mixkit.MixPlan, tuple[int, int]]:
    """SageMix around given queries, at a given prior."""
    assert settings.queries is not None
    a, b = (min(max(int(query), 0), elements.num_elements - 1) for query in settings.queries)
    query = torch.tensor([a, b])
    sigma = settings.options.get("sigma") or elements.length_scale
    assert sigma is not None
    plan = mixkit.functional.sagemix(
        elements.coords,
        PAIR,
        mixer.domain.assign(elements.coords, elements.coords[PAIR]),
        query,
        query[PAIR],
        prior=torch.tensor([settings.prior, 1 - settings.prior]),
        sigma=sigma,
    )
    return plan, (a, b)


def _drawn_queries(method: SageMix, elements: mixkit.ElementSet, saliency: Tensor | None, seed: int) -> tuple[int, int]:
    """The queries that a mixer draws by a seed: the same draws once more, for a plan does not keep them."""
    context = PlanContext(generator=torch.Generator().manual_seed(seed), partner=PAIR)
    partner, _, uniform = method._draw(elements, context)
    if saliency is not None and method.sharpness != 1:
        saliency = sharpen(saliency, method.sharpness)
    query, partner_query = SAMPLERS[method.query](elements.coords, saliency, partner, uniform)
    return int(query[0]), int(partner_query[0])
