"""RSMix: a rigid subset of one cloud inside another."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit import draws, functional
from mixkit.elements import ElementSet
from mixkit.methods.base import Assign, Method, check_concentration
from mixkit.plan import MixPlan
from mixkit.query import uniform as uniform_query
from mixkit.registry import register_method


@register_method("rsmix", domains=("points",))
class RSMix(Method):
    """RSMix (Lee et al., CVPR 2021): a ball of the partner, moved whole into the place of a ball of the sample.

    The radius is Beta(beta, beta) in the units of the coordinates, for clouds in the unit sphere, one for the batch;
    the centres are random points.

    Args:
        beta: concentration of the Beta, > 0. Default 1.
        knn: erase the nearest ``ceil(radius * (N // 2))`` points instead of those within the radius. Default False.
    """

    p = 0.5

    def __init__(self, beta: float = 1.0, knn: bool = False) -> None:
        self.beta = check_concentration("beta", beta)
        self.knn = knn

    def plan(
        self,
        elements: ElementSet,
        *,
        saliency: Tensor | None = None,
        assign: Assign | None = None,
        generator: torch.Generator | None = None,
    ) -> MixPlan:
        """See `Method.plan`."""
        size, device = elements.num_samples, elements.coords.device
        partner = draws.partners(size, generator, device)
        radius = torch.sigmoid(draws.beta_log_ratio(self.beta, 1, generator, device))
        centre, partner_centre = uniform_query(
            elements.coords, None, partner, draws.uniform((2, size), generator, device)
        )
        keys = draws.uniform((size, elements.num_elements), generator, device)
        return functional.rsmix(elements.coords, partner, centre, partner_centre, radius, keys, knn=self.knn)
