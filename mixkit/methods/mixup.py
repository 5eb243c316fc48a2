"""Mixup and PointMixup: one ratio per sample, or per batch."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit import draws, functional
from mixkit.checks import check_concentration, check_flag
from mixkit.elements import ElementSet
from mixkit.methods.base import Method, PlanContext
from mixkit.plan import MixPlan
from mixkit.ragged import RaggedPlan, RaggedSet
from mixkit.ragged import functional as ragged
from mixkit.registry import register_method


@register_method("mixup")
class Mixup(Method):
    """Mixup (Zhang et al. 2018): ``lambda ~ Beta(alpha, alpha)``, one for the batch as in the authors' code.

    Args:
        alpha: concentration of the Beta, > 0. Default 1.
        per_sample: one ratio per sample instead of one per batch. Default False.
        fold: give the partner the smaller half, ``max(lambda, 1 - lambda)`` to the sample itself. Default False.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("mixup", domain="image", num_classes=4, alpha=0.2)
        >>> plan = mixer.plan(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> plan.weight.shape  # two terms, one number for each pair
        torch.Size([4, 2, 1])
    """

    needs = frozenset({"partners", "assign"})

    def __init__(self, alpha: float = 1.0, per_sample: bool = False, fold: bool = False) -> None:
        self.alpha = check_concentration("alpha", alpha)
        self.per_sample = check_flag("per_sample", per_sample)
        self.fold = check_flag("fold", fold)

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`."""
        partner = context.partners(elements)
        return functional.mixup(partner, self._ratio(elements, context), context.assignment(elements, partner))

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`."""
        partner = context.partners(elements)
        ratio = self._ratio(elements, context)
        return ragged.mixup(context.pairing(elements, partner), ratio)

    def _ratio(self, elements: ElementSet | RaggedSet, context: PlanContext) -> Tensor:
        """(B,) or (1,) the weight of each sample itself."""
        size = elements.num_samples if self.per_sample else 1
        log_ratio = draws.beta_log_ratio(self.alpha, size, context.generator, elements.coords.device)
        return torch.sigmoid(log_ratio.abs() if self.fold else log_ratio)


@register_method("pointmixup")
class PointMixup(Mixup):
    """PointMixup (Chen et al. 2020): Mixup of optimally assigned points, a folded ratio per sample.

    The partner gets ``0.5 - |Beta(alpha, alpha) - 0.5|``, at most a half.

    Args:
        alpha: concentration of the Beta, > 0. Default 0.4, the paper's for the input.
        per_sample: one ratio per sample rather than per batch. Default True.
        fold: as the authors do; False leaves the ratio a plain Beta. Default True.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("pointmixup", domain="points", num_classes=4)
        >>> plan = mixer.plan(torch.rand(4, 32, 3), torch.arange(4))
        >>> plan.weight.shape, bool((plan.weight[:, 0] >= 0.5).all())
        (torch.Size([4, 2, 1]), True)
    """

    def __init__(self, alpha: float = 0.4, per_sample: bool = True, fold: bool = True) -> None:
        super().__init__(alpha, per_sample, fold)


@register_method("manifold_mixup")
class ManifoldMixup(Mixup):
    """Manifold Mixup (Verma et al. 2019): Mixup with Beta(2, 2), made for a `mixkit.ManifoldMixer`.

    Args:
        alpha: concentration of the Beta, > 0. Default 2.
        per_sample: one ratio per sample instead of one per batch. Default False.
        fold: give the partner the smaller half. Default False.

    Example:
        >>> from mixkit import ManifoldMixer
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 4))
        >>> mixer = ManifoldMixer(model, ["input", "1"], "manifold_mixup", domain="points", num_classes=4)
        >>> logits, targets = mixer(torch.rand(4, 16, 3), torch.arange(4))
        >>> logits.shape, targets.shape
        (torch.Size([4, 4]), torch.Size([4, 4]))
    """

    for_layers = True

    def __init__(self, alpha: float = 2.0, per_sample: bool = False, fold: bool = False) -> None:
        super().__init__(alpha, per_sample, fold)
