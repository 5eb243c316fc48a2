"""What the gallery shows: a few real pairs mixed by SageMix, with every quantity in between; no drawing here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

import mixkit
from experiments.data.base import DataSet
from mixkit import query as queries

PRIOR = 0.5  # both samples alike, so that the pictures show what locality does


@dataclass(frozen=True)
class GalleryItem:
    """One pair of samples a and b, and how SageMix mixes them.

    Attributes:
        domain, data: "image" or "points", and the data set's name.
        sample_a, sample_b, mixed: images (H, W, C) in [0, 1], or points (N, 3).
        saliency_a, saliency_b: (H, W) or (N,), each divided by its maximum.
        query_a, query_b: the query elements' indices, each in its own sample.
        own: lambda, the weight of a at each element of a, (H, W) or (N,).
        class_a, class_b: names of the classes.
        weight_a: label weight of a, the mean of `own`.
        sigma: the bandwidth.
    """

    domain: str
    data: str
    sample_a: np.ndarray
    sample_b: np.ndarray
    mixed: np.ndarray
    saliency_a: np.ndarray
    saliency_b: np.ndarray
    query_a: int
    query_b: int
    own: np.ndarray
    class_a: str
    class_b: str
    weight_a: float
    sigma: float


def make_gallery(data: DataSet, model: nn.Module, *, pairs: int = 3, seed: int = 0) -> list[GalleryItem]:
    """Mix pairs of test samples of different classes at prior 1/2 with the domain's sigma.

    Args:
        data: the samples are drawn from its test set; at least two classes.
        model: its gradient is the saliency.
        pairs: how many, at most half the number of classes.
        seed: of the choice of samples and of the query draws.
    """
    generator = torch.Generator().manual_seed(seed)
    pairs = min(pairs, len(data.classes) // 2)
    device = next(model.parameters()).device
    chosen = _one_per_class(data.test_labels.cpu(), 2 * pairs, generator)
    batch = data.prepare(data.test[chosen]).to(device)
    labels = data.test_labels[chosen].to(device)
    partner = torch.arange(2 * pairs, device=device).roll(pairs)

    mixer = mixkit.create_mixer("sagemix", domain=data.domain, num_classes=len(data.classes), model=model)
    domain = mixer.domain
    elements = domain.elements(batch)
    saliency = mixkit.GradientSaliency(model).find(batch, labels, domain)
    uniform = torch.rand(2, 2 * pairs, generator=generator).to(device)
    query, partner_query = queries.sequential(elements.coords, saliency, partner, uniform)
    assignment = domain.assign(elements.coords, elements.coords[partner])
    sigma = elements.length_scale
    assert sigma is not None
    prior = torch.full((2 * pairs,), PRIOR, device=device)
    plan = mixkit.functional.sagemix(elements.coords, partner, assignment, query, partner_query, prior, sigma)
    mixed, _ = mixer.apply_plan(plan, batch, labels)

    def picture(samples: Tensor, i: int) -> np.ndarray:
        sample = data.restore(samples[i]).permute(1, 2, 0) if data.domain == "image" else samples[i, :, :3]
        return sample.detach().float().cpu().numpy()

    def per_element(values: Tensor) -> np.ndarray:
        array = values.detach().float().cpu().numpy()
        return array.reshape(elements.grid) if elements.grid else array

    peak = saliency.amax(dim=1, keepdim=True).clamp_min(torch.finfo(saliency.dtype).tiny)
    return [
        GalleryItem(
            domain=data.domain,
            data=data.name,
            sample_a=picture(batch, i),
            sample_b=picture(batch, pairs + i),
            mixed=picture(mixed, i),
            saliency_a=per_element((saliency / peak)[i]),
            saliency_b=per_element((saliency / peak)[pairs + i]),
            query_a=int(query[i]),
            query_b=int(partner_query[i]),
            own=per_element(plan.weight[i, 0]),
            class_a=data.classes[int(labels[i])],
            class_b=data.classes[int(labels[pairs + i])],
            weight_a=float(plan.weight[i, 0].mean()),
            sigma=sigma,
        )
        for i in range(pairs)
    ]


def _one_per_class(labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices of `count` random samples, no two of one class."""
    shuffled = torch.randperm(len(labels), generator=generator)
    present = labels.unique()
    classes = present[torch.randperm(len(present), generator=generator)[:count]]
    return torch.stack([shuffled[(labels[shuffled] == one).nonzero()[0, 0]] for one in classes])
