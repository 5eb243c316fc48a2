"""SnapMix: boxes of two sizes, and labels by the importance that they show."""

from __future__ import annotations

import torch

from mixkit import draws, functional
from mixkit.checks import check_concentration, check_flag
from mixkit.elements import ElementSet
from mixkit.methods.base import Method, PlanContext
from mixkit.methods.resizemix import random_box
from mixkit.plan import MixPlan
from mixkit.registry import register_method

_HOST = torch.device("cpu")


@register_method("snapmix", domains=("image", "sequence", "spectrogram", "volume", "video"))
class SnapMix(Method):
    """SnapMix (Huang, Wang and Tao, AAAI 2021): a box of the partner, resized to another box of the sample.

    Each box has a share ``1 - lambda`` of the grid, with a lambda ~ Beta(alpha, alpha) and a centre of its own, and is
    clipped. The sample's label weighs the share of its importance that is left, the partner's the share of its
    importance that is pasted; they need not sum to 1. Importance is the mixer's saliency: the authors' is a class
    activation map.

    Args:
        alpha: concentration of the Beta, > 0. Default 5.
        per_sample: two boxes per sample instead of two per batch. Default False, as the authors do.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("snapmix", domain="image", num_classes=4, p=1.0, saliency="spectral_residual")
        >>> plan = mixer.plan(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> plan.weight.shape  # the sample, and the four pixels of its partner that a resized one reads
        torch.Size([4, 5, 64])
    """

    needs = frozenset({"partners", "saliency"})

    def __init__(self, alpha: float = 5.0, per_sample: bool = False) -> None:
        self.alpha = check_concentration("alpha", alpha)
        self.per_sample = check_flag("per_sample", per_sample)

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`. Raises ValueError for elements without a grid, or without saliency."""
        if elements.grid is None or context.saliency is None:
            raise ValueError(f"SnapMix needs elements on a grid and their saliency, got grid {elements.grid}")
        boxes = elements.num_samples if self.per_sample else 1
        partner, long = context.partners(elements), max(sum(side > 1 for side in elements.grid), 1)
        drawn: list[torch.Tensor] = []
        for _ in range(2):
            share = torch.sigmoid(-draws.beta_log_ratio(self.alpha, boxes, context.generator, _HOST)) ** (1 / long)
            drawn += random_box(elements.grid, share[:, None], context)
        start, size, partner_start, partner_size = (each.to(elements.coords.device) for each in drawn)
        return functional.snapmix(elements.grid, partner, start, size, partner_start, partner_size, context.saliency)
