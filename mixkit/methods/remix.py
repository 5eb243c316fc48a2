"""Remix: Mixup for classes of very different sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mixkit import functional
from mixkit.checks import check_not_negative, check_share
from mixkit.elements import ElementSet
from mixkit.methods.base import PlanContext
from mixkit.methods.mixup import Mixup
from mixkit.plan import MixPlan
from mixkit.ragged import RaggedPlan, RaggedSet
from mixkit.ragged import functional as ragged
from mixkit.registry import register_method


@register_method("remix")
class Remix(Mixup):
    """Remix (Chou, Chang, Pan, Wei and Juan, ECCV workshops 2020): Mixup whose label favours the rarer class.

    Where one class has ``kappa`` times the samples of the other, and its share of the mix is below ``tau``, the label
    is the rarer class's alone.

    Args:
        alpha: concentration of the Beta, > 0. Default 1.
        kappa: from which quotient of class sizes on, >= 0. Default 3.
        tau: below which share of the mix, in [0, 1]. Default 0.5.
        counts: the number of samples of each class in the data set, (K,). Default None: those of each batch, which
            tell only the most frequent classes from the rest.
        per_sample: one ratio per sample instead of one per batch. Default False.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("remix", domain="image", num_classes=2, counts=[900, 30])
        >>> mixed, targets = mixer(torch.rand(4, 3, 8, 8), torch.tensor([0, 0, 0, 1]))
        >>> mixed.shape, targets.shape
        (torch.Size([4, 3, 8, 8]), torch.Size([4, 2]))
    """

    needs = frozenset({"partners", "assign", "classes"})

    def __init__(
        self,
        alpha: float = 1.0,
        kappa: float = 3.0,
        tau: float = 0.5,
        counts: Sequence[float] | None = None,
        per_sample: bool = False,
    ) -> None:
        super().__init__(alpha, per_sample)
        self.kappa, self.tau = check_not_negative("kappa", kappa), check_share("tau", tau)
        if counts is not None and (isinstance(counts, str) or not hasattr(counts, "__len__") or not len(counts)):
            raise TypeError(f"counts must be one number for each class, got {counts!r}")
        self.counts = None if counts is None else tuple(check_not_negative("counts", float(each)) for each in counts)

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`."""
        partner = context.partners(elements)
        ratio = self._ratio(elements, context)
        assignment = context.assignment(elements, partner)
        counts = self._counts(context)
        return functional.remix(partner, ratio, assignment, counts, kappa=self.kappa, tau=self.tau)

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`."""
        partner = context.partners(elements)
        ratio = self._ratio(elements, context)
        pairing = context.pairing(elements, partner)
        of_one = functional.remix(partner, ratio, None, self._counts(context), kappa=self.kappa, tau=self.tau)
        assert of_one.label_weight is not None
        return ragged.labelled(ragged.mixup(pairing, ratio), of_one.label_weight[:, :, 0])

    def _counts(self, context: PlanContext) -> Tensor:
        """(B,) how many samples each sample's class has, 0 where it has no class."""
        classes = context.classes
        if classes is None:
            raise ValueError("Remix needs the classes of the samples")
        if self.counts is None:
            return (classes == classes[:, None]).sum(1).float().masked_fill(classes < 0, 0)
        counts = torch.tensor([*self.counts, 0.0]).to(classes.device)  # last for those of no class
        if classes.device.type == "cpu" and int(classes.max()) >= len(self.counts):
            raise ValueError(f"counts has {len(self.counts)} classes, and the labels have class {int(classes.max())}")
        return counts[classes.clamp_min(-1)]
