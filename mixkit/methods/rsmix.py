"""RSMix: a rigid subset of one cloud inside another."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit import draws, functional
from mixkit.checks import check_concentration, check_flag
from mixkit.elements import ElementSet
from mixkit.methods.base import Method, PlanContext
from mixkit.plan import MixPlan
from mixkit.query import uniform as uniform_query
from mixkit.ragged import RaggedPlan, RaggedSet
from mixkit.ragged import functional as ragged
from mixkit.ragged.queries import draw_queries
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

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("rsmix", domain="points", num_classes=4, p=1.0)
        >>> plan = mixer.plan(torch.rand(4, 32, 3), torch.arange(4))
        >>> plan.shift.shape  # the partner's ball moves to the sample's
        torch.Size([4, 2, 3])
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
        radius = self._radius(elements, context)
        centre, partner_centre = uniform_query(
            elements.coords, None, partner, draws.uniform((2, size), context.generator, device)
        )
        keys = draws.uniform((size, elements.num_elements), context.generator, device)
        return functional.rsmix(elements.coords, partner, centre, partner_centre, radius, keys, knn=self.knn)

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`."""
        size, device = elements.num_samples, elements.coords.device
        partner = context.partners(elements)
        radius = self._radius(elements, context)
        uniform = draws.uniform((2, size), context.generator, device)
        queries = draw_queries("uniform", elements, None, partner, uniform)
        keys = draws.uniform((int(elements.lengths[partner].sum()),), context.generator, device)
        pairing = context.pairing(elements, partner, matched=False)
        return ragged.rsmix(pairing, partner, *queries, radius, keys, knn=self.knn)

    def _radius(self, elements: ElementSet | RaggedSet, context: PlanContext) -> Tensor:
        """(1,) of the balls, in the units of the coordinates; with ``knn``, the share of half the elements."""
        share = torch.sigmoid(draws.beta_log_ratio(self.beta, 1, context.generator, elements.coords.device))
        if self.knn or elements.length_scale is None:
            return share
        return share * (elements.length_scale / _LENGTH_SCALE)
