"""RSMix: a rigid subset of one cloud inside another."""

from __future__ import annotations

import torch

from mixkit import draws, functional
from mixkit.checks import check_concentration, check_flag
from mixkit.elements import ElementSet
from mixkit.methods.base import Method, PlanContext
from mixkit.plan import MixPlan
from mixkit.query import uniform as uniform_query
from mixkit.registry import register_method

_LENGTH_SCALE = 0.3  # of the unit sphere, for which the paper's radius is


@register_method("rsmix", domains=("points",))
class RSMix(Method):
    """RSMix (Lee et al., CVPR 2021): a ball of the partner, moved whole into the place of a ball of the sample.

    The radius is Beta(beta, beta) of the radius of the clouds, one for the batch; the centres are random points. The
    clouds' radius is 10/3 of their length scale (`ElementSet.length_scale`): 1 in the unit sphere, and what the points
    domain is given as ``radius``.

    Args:
        beta: concentration of the Beta, > 0. Default 1.
        knn: a ball is the nearest ``ceil(r * (N // 2))`` points, r the Beta's draw, instead of those within the radius,
            so that as many different points are added as the label says. Default False, the paper's: where the
            partner's ball holds fewer points than are erased, they are repeated.
    """

    p = 0.5
    needs = frozenset({"partners"})

    def __init__(self, beta: float = 1.0, knn: bool = False) -> None:
        self.beta = check_concentration("beta", beta)
        self.knn = check_flag("knn", knn)

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`."""
        size, device = elements.num_samples, elements.coords.device
        partner = context.partners(elements)
        radius = torch.sigmoid(draws.beta_log_ratio(self.beta, 1, context.generator, device))
        if not self.knn and elements.length_scale is not None:
            radius = radius * (elements.length_scale / _LENGTH_SCALE)
        centre, partner_centre = uniform_query(
            elements.coords, None, partner, draws.uniform((2, size), context.generator, device)
        )
        keys = draws.uniform((size, elements.num_elements), context.generator, device)
        return functional.rsmix(elements.coords, partner, centre, partner_centre, radius, keys, knn=self.knn)
