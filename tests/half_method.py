"""A third party's method, whole: half of each sample, cut along a random axis, replaced by its partner's."""

from __future__ import annotations

import torch

import mixkit


class HalfMix(mixkit.Method):
    """Elements beyond the median of a random axis become the partner's. ``@register_method("half")`` would list it."""

    needs = frozenset({"partners", "assign"})
    moves = True

    def plan(self, elements: mixkit.ElementSet, context: mixkit.PlanContext) -> mixkit.MixPlan:
        partner = context.partners(elements)
        axis = int(torch.randint(elements.coords.shape[2], (), generator=context.generator))
        place = elements.coords[:, :, axis]
        weight = (place <= place.median(dim=1, keepdim=True).values).float()
        return mixkit.MixPlan.pair(partner, weight, context.assignment(elements, partner))
