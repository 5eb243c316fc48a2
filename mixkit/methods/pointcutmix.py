"""PointCutMix: a share of the points replaced by their partners, at random or around a centre."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit import draws, functional
from mixkit.checks import check_concentration
from mixkit.elements import ElementSet
from mixkit.methods.base import Method, PlanContext
from mixkit.plan import MixPlan
from mixkit.query import uniform as uniform_query
from mixkit.ragged import Pairing, RaggedPlan, RaggedSet
from mixkit.ragged import functional as ragged
from mixkit.ragged.queries import draw_queries
from mixkit.registry import register_method


@register_method("pointcutmix_r")
class PointCutMixR(Method):
    """PointCutMix-R (Zhang et al. 2022): ``max(1, floor(lambda N))`` random elements become their partners.

    Args:
        alpha: ``lambda ~ Beta(alpha, alpha)``, one per sample, > 0. Default 1.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("pointcutmix_r", domain="points", num_classes=4, p=1.0)
        >>> plan = mixer.plan(torch.rand(4, 32, 3), torch.arange(4))
        >>> plan.weight.shape, plan.index.shape  # which point of the partner comes in the place of each
        (torch.Size([4, 2, 32]), torch.Size([4, 2, 32]))
    """

    p = 0.5
    needs = frozenset({"partners", "assign"})
    moves = True

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = check_concentration("alpha", alpha)

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`."""
        size, device = elements.num_samples, elements.coords.device
        partner = context.partners(elements)
        share = torch.sigmoid(draws.beta_log_ratio(self.alpha, size, context.generator, device))
        count = (share * elements.num_elements).long().clamp_min(1)
        return self._replace(elements, partner, count, context)

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`; the share is one of the elements of the mix."""
        size, device = elements.num_samples, elements.coords.device
        partner = context.partners(elements)
        share = torch.sigmoid(draws.beta_log_ratio(self.alpha, size, context.generator, device))
        pairing = context.pairing(elements, partner)
        count = (share * pairing.offsets.diff()).long().clamp_min(1)
        return ragged.pointcutmix(pairing, self._keys(pairing, partner, context), count)

    def _keys(self, pairing: Pairing, partner: Tensor, context: PlanContext) -> Tensor:
        """(L',) the order in which elements are replaced."""
        return draws.uniform(pairing.own.shape, context.generator, pairing.own.device)

    def _replace(self, elements: ElementSet, partner: Tensor, count: Tensor, context: PlanContext) -> MixPlan:
        keys = draws.uniform((elements.num_samples, elements.num_elements), context.generator, elements.coords.device)
        return functional.pointcutmix_r(partner, context.assignment(elements, partner), keys, count)


@register_method("pointcutmix_k")
class PointCutMixK(PointCutMixR):
    """PointCutMix-K (Zhang et al. 2022): the elements nearest to a random one become their partners.

    Args:
        alpha: ``lambda ~ Beta(alpha, alpha)``, one per sample, > 0. Default 1.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("pointcutmix_k", domain="points", num_classes=4, p=1.0)
        >>> plan = mixer.plan(torch.rand(4, 32, 3), torch.arange(4))
        >>> plan.weight.shape, plan.index.shape
        (torch.Size([4, 2, 32]), torch.Size([4, 2, 32]))
    """

    def _replace(self, elements: ElementSet, partner: Tensor, count: Tensor, context: PlanContext) -> MixPlan:
        uniform = draws.uniform((2, elements.num_samples), context.generator, elements.coords.device)
        centre, _ = uniform_query(elements.coords, None, partner, uniform)
        assignment = context.assignment(elements, partner)
        return functional.pointcutmix_k(elements.coords, partner, assignment, centre, count)

    def _keys(self, pairing: Pairing, partner: Tensor, context: PlanContext) -> Tensor:
        elements = pairing.elements
        uniform = draws.uniform((2, elements.num_samples), context.generator, elements.coords.device)
        centre, _ = draw_queries("uniform", elements, None, partner, uniform)
        coords = elements.positions
        return (coords[pairing.own] - coords[centre][pairing.sample]).square().sum(1)
