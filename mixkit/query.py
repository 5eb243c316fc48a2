"""Where to look: the four ways SageMix draws a pair of query elements (Lee et al. 2022, Eq. 4, 5 and ablations).

Each is a function of one uniform number per draw, by inverse CDF, so that a seed means the same on every device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mixkit.elements import take_elements, take_samples

#: ``sampler(coords (B, N, D), saliency (B, N) or None, partner (B,), uniform (2, B))`` returns the queries (B,) and the
#: partners' queries (B,), which index the partner's elements in the partner's own order.
Sampler = Callable[[Tensor, Tensor | None, Tensor, Tensor], tuple[Tensor, Tensor]]


def uniform(coords: Tensor, saliency: Tensor | None, partner: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Both queries uniform over the elements; needs no saliency."""
    query = (uniform * coords.shape[1]).long().clamp_max(coords.shape[1] - 1)
    return query[0], query[1]


def maximum(coords: Tensor, saliency: Tensor | None, partner: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Both queries the most salient element; uniform where a sample's saliency is unusable."""
    weights = _weights(_given(saliency, coords))
    most = torch.where(weights.usable[:, 0], weights.relative.argmax(1), draw(weights.relative, uniform[0]))
    return most, most[partner]


def salient(coords: Tensor, saliency: Tensor | None, partner: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Both queries with probability proportional to saliency (Eq. 4 for both)."""
    relative = _weights(_given(saliency, coords)).relative
    return draw(relative, uniform[0]), draw(take_samples(relative, partner), uniform[1])


def sequential(coords: Tensor, saliency: Tensor | None, partner: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """The method: the query by saliency (Eq. 4), the partner's by saliency times distance from the query (Eq. 5)."""
    saliency = _given(saliency, coords)
    weights = _weights(saliency)
    query = draw(weights.relative, uniform[0])
    coords = coords.to(torch.promote_types(coords.dtype, torch.float32))
    query_place = take_elements(coords, query)[:, None]
    distance = torch.cdist(query_place, take_samples(coords, partner), compute_mode="donot_use_mm_for_euclid_dist")[
        :, 0
    ]
    # peaks divided out before the product, so that neither factor can overflow or underflow it
    product = take_samples(weights.scaled, partner) * _weights(distance).scaled
    return query, draw(_weights(product, fallback=take_samples(weights.relative, partner)).relative, uniform[1])


SAMPLERS: dict[str, Sampler] = {
    "uniform": uniform,
    "max": maximum,
    "saliency": salient,
    "sequential": sequential,
}


def sharpen(saliency: Tensor, sharpness: float) -> Tensor:
    """(B, N) saliency over its row's peak, to the power of ``sharpness``: above 1, draws keep closer to the peaks.

    A row without a positive finite peak becomes NaN, of which samplers make uniform draws.
    """
    weights = _weights(saliency)
    return torch.where(weights.usable, weights.scaled**sharpness, torch.nan)


def draw(weights: Tensor, uniform: Tensor) -> Tensor:
    """Draw one element of each row with probability proportional to its weight, by inverse CDF.

    Args:
        weights: (B, N) >= 0, each row with a positive finite sum.
        uniform: (B,) float32, numbers in [0, 1).

    Returns:
        (B,) long; an element of weight 0 is never drawn.
    """
    cdf = weights.cumsum(1, dtype=torch.float32 if weights.device.type == "mps" else torch.float64)
    # a float32 number below 1 times a float64 total stays below the total, so the first cdf above it exists
    place = torch.searchsorted(cdf, uniform.to(cdf.dtype)[:, None] * cdf[:, -1:], right=True)
    return place[:, 0].clamp_max(weights.shape[1] - 1)


class _Weights(NamedTuple):
    scaled: Tensor  # (B, N) float32, divided by the row's peak; whatever it was where that is not usable
    usable: Tensor  # (B, 1) some weight is positive and all are finite
    relative: Tensor  # (B, N) scaled where usable, else the fallback


def _weights(weights: Tensor, fallback: Tensor | float = 1.0) -> _Weights:
    """Weights over their row's peak; unusable rows become the fallback's, or uniform."""
    weights = weights.to(torch.promote_types(weights.dtype, torch.float32)).clamp_min(0)
    peak = weights.amax(1, keepdim=True)
    usable = torch.isfinite(peak) & (peak > 0)
    scaled = (weights / peak).float()
    return _Weights(scaled, usable, torch.where(usable, scaled, fallback))


def _given(saliency: Tensor | None, coords: Tensor) -> Tensor:
    if saliency is None:
        raise ValueError("this query needs saliency (B, N); query='uniform' does without")
    if saliency.shape != coords.shape[:2]:
        raise ValueError(f"saliency must be {tuple(coords.shape[:2])} as coords, got {tuple(saliency.shape)}")
    return saliency
