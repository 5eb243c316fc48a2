"""Query elements of samples of different sizes: the samplers of `mixkit.query`, on samples filled up to the longest."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit.query import SAMPLERS
from mixkit.ragged.elements import RaggedSet
from mixkit.ragged.packed import Packed


def draw_queries(
    name: str, elements: RaggedSet, saliency: Tensor | None, partner: Tensor, uniform: Tensor
) -> tuple[Tensor, Tensor]:
    """The rows of the queries of each sample and of its partner, (B,) long each.

    Args:
        name: the name of a sampler in `mixkit.query.SAMPLERS`.
        elements: the samples.
        saliency: (L,) >= 0; None where the sampler does without.
        partner: (B,) long.
        uniform: (2, B) numbers in [0, 1).
    """
    starts, lengths = elements.offsets[:-1], elements.lengths
    if name == "uniform":
        query = (uniform * torch.stack([lengths, lengths[partner]])).long()
        return starts + query[0].minimum(lengths - 1), starts[partner] + query[1].minimum(lengths[partner] - 1)
    padded, _mask = Packed(elements.positions, elements.offsets).padded()
    if saliency is None:
        raise ValueError(f"query={name!r} needs saliency (L,); query='uniform' does without")
    rows, usable = _usable(saliency, elements)
    if name == "max":  # of samples that are salient nowhere any element is as good: one is drawn
        drawn = starts + (uniform[0] * lengths).long().minimum(lengths - 1)
        rows[drawn[~usable]] = 2
    weights = Packed(rows, elements.offsets).padded()[0]
    query, partner_query = SAMPLERS[name](padded, weights, partner, uniform)
    return starts + query, starts[partner] + partner_query


def sharpen_rows(saliency: Tensor, elements: RaggedSet, sharpness: float) -> Tensor:
    """(L,) saliency over its sample's peak, to the power of ``sharpness``: `mixkit.query.sharpen`."""
    rows, usable = _usable(saliency, elements)
    peak = torch.segment_reduce(rows, "max", lengths=elements.lengths, axis=0)
    return torch.where(usable[elements.sample], (rows / peak[elements.sample]) ** sharpness, torch.nan)


def _usable(saliency: Tensor, elements: RaggedSet) -> tuple[Tensor, Tensor]:
    """(L,) the saliency, 1 throughout samples without a positive finite peak, so that no padding is drawn from.

    And (B,) bool which samples have such a peak.
    """
    if saliency.shape != elements.coords.shape[:1]:
        raise ValueError(
            f"saliency must be {tuple(elements.coords.shape[:1])}, one for each element, got {tuple(saliency.shape)}"
        )
    rows = saliency.to(torch.promote_types(saliency.dtype, torch.float32)).clamp_min(0)
    peak = torch.segment_reduce(rows, "max", lengths=elements.lengths, axis=0)
    usable = torch.isfinite(peak) & (peak > 0)
    return torch.where(usable[elements.sample], rows, 1.0), usable
