"""Mixup whose labels favour the rarer class: Remix."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mixkit.checks import check_assignment, check_not_negative, check_numbers, check_partner, check_share
from mixkit.functional.mixup import mixup
from mixkit.plan import MixPlan


def remix(
    partner: Tensor,
    ratio: Tensor,
    assignment: Tensor | None,
    counts: Tensor,
    *,
    kappa: float = 3.0,
    tau: float = 0.5,
) -> MixPlan:
    """Mixup in which the label is all the rarer class's where one is much rarer (Chou et al. 2020, Eq. 7).

    With n_a and n_b the sizes of the two classes, the sample's label weighs 0 where ``n_a / n_b >= kappa`` and its
    ratio is below ``tau``; 1 where ``n_a / n_b <= 1 / kappa`` and its partner's ratio is below ``tau``; else its ratio.

    Args:
        partner: (B,) long, the partner of each sample.
        ratio: (B,) or (1,), the weight of the sample itself, in [0, 1].
        assignment: (B, N) long, the partner's element that each element is paired with; None: the same.
        counts: (B,) >= 0, how many samples each sample's class has. 0: not known, which changes no label.
        kappa: from which quotient on a class counts as much rarer, >= 0. Default 3.
        tau: below which ratio the more frequent class may lose its label, in [0, 1]. Default 0.5.

    Returns:
        A plan with K = 2, term 0 the sample itself.

    Raises:
        TypeError: arguments of another type.
        ValueError: arguments of another shape, or out of range (read on the CPU only).

    Example:
        >>> counts = torch.tensor([900.0, 30.0])  # the first sample's class is the more frequent one
        >>> plan = remix(torch.tensor([1, 0]), torch.tensor([0.25]), None, counts)
        >>> plan.targets(torch.tensor([0, 1]), num_classes=2)
        tensor([[0.0000, 1.0000],
                [0.7500, 0.2500]])
    """
    size = check_partner(partner)
    check_assignment(assignment, size, None)
    check_numbers("counts", counts, ((size,),), 0, 1e30)
    kappa, tau = check_not_negative("kappa", kappa), check_share("tau", tau)
    plan = mixup(partner, ratio, assignment)
    own, other = counts.double(), counts.double()[partner]
    counted = (own > 0) & (other > 0)
    label = ratio.float().expand(size)
    loses = counted & (own >= kappa * other) & (label < tau)
    wins = counted & (own * kappa <= other) & (1 - label < tau)
    label = torch.where(loses, 0.0, torch.where(wins, 1.0, label))
    return replace(plan, label_weight=torch.stack([label, 1 - label], 1)[:, :, None])
