"""FMix: a mask of any shape, cut out of a random field of low frequencies."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit import draws, functional
from mixkit.checks import check_concentration, check_flag, check_not_negative
from mixkit.elements import ElementSet
from mixkit.fields import frame, grid_waves, set_waves, wave_coefficients
from mixkit.methods.base import Method, PlanContext
from mixkit.plan import MixPlan
from mixkit.ragged import RaggedPlan, RaggedSet
from mixkit.ragged import functional as ragged
from mixkit.registry import register_method


@register_method("fmix")
class FMix(Method):
    """FMix (Harris et al. 2020): the share lambda of the elements where a field of low frequencies is highest stays.

    ``lambda ~ Beta(alpha, alpha)``. On a grid the field is noise whose spectrum falls off as ``1 / f ** decay``; on
    sets without one it is a sum of such waves over the coordinates, up to three along the longest side of each sample.

    Args:
        alpha: concentration of the Beta, > 0. Default 1.
        decay: how fast the spectrum falls off, >= 0 and at most 50; the larger, the larger the parts. Default 3.
        per_sample: a field and a ratio per sample instead of one per batch. Default False, as the authors do.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("fmix", domain="image", num_classes=4, p=1.0)
        >>> plan = mixer.plan(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> plan.weight.unique()
        tensor([0., 1.])
    """

    needs = frozenset({"partners", "assign"})
    moves = True

    def __init__(self, alpha: float = 1.0, decay: float = 3.0, per_sample: bool = False) -> None:
        self.alpha = check_concentration("alpha", alpha)
        self.decay = check_not_negative("decay", decay)
        if self.decay > 50:
            raise ValueError(f"decay must be at most 50, got {decay}")
        self.per_sample = check_flag("per_sample", per_sample)

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`."""
        fields = elements.num_samples if self.per_sample else 1
        partner, share = context.partners(elements), self._share(fields, elements.coords.device, context)
        if elements.grid is not None:
            field = grid_waves(fields, elements.grid, self.decay, context.generator)
            field = field.to(elements.coords.device, non_blocking=True)
        else:
            low, sides = frame(elements)
            waves = wave_coefficients(fields, elements.coords.shape[2], self.decay, context.generator)
            field = set_waves((elements.coords.to(low.dtype) - low[:, None]) / _longest(sides)[:, None], waves)
        count = (share * elements.num_elements).round().long()
        return functional.fmix(partner, context.assignment(elements, partner), field, count)

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`."""
        fields = elements.num_samples if self.per_sample else 1
        partner, share = context.partners(elements), self._share(fields, elements.coords.device, context)
        waves = wave_coefficients(fields, elements.coords.shape[1], self.decay, context.generator)
        pairing = context.pairing(elements, partner)
        low, sides = ragged.frame(elements)
        sample = pairing.sample
        places = (elements.positions[pairing.own] - low[sample]) / _longest(sides)[sample]
        lengths = pairing.offsets.diff()
        parts = enumerate(places.split(lengths.tolist()))
        field = torch.cat([set_waves(part[None], waves[min(k, fields - 1)][None])[0] for k, part in parts])
        replaced = lengths - (share * lengths).round().long()
        return ragged.pointcutmix(pairing, field, replaced)

    def _share(self, fields: int, device: torch.device, context: PlanContext) -> Tensor:
        """(fields,) the share of the elements that stay."""
        return torch.sigmoid(draws.beta_log_ratio(self.alpha, fields, context.generator, device))


def _longest(sides: Tensor) -> Tensor:
    """(B, 1) the longest side; 1 where all points are equal."""
    longest = sides.amax(1, keepdim=True)
    return torch.where(longest > 0, longest, 1)
