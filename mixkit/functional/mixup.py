"""One ratio per sample: Mixup and PointMixup."""

from __future__ import annotations

from torch import Tensor

from mixkit.checks import check_assignment, check_numbers, check_partner
from mixkit.plan import MixPlan


def mixup(partner: Tensor, ratio: Tensor, assignment: Tensor | None = None) -> MixPlan:
    """Every element of a sample mixed at the same ratio: ``ratio * a + (1 - ratio) * b`` (Zhang et al. 2018).

    With the optimal assignment between two clouds it is PointMixup (Chen et al. 2020), hence the second name.

    Args:
        partner: (B,) long, the partner of each sample.
        ratio: (B,) or (1,), the weight of the sample itself, in [0, 1].
        assignment: (B, N) long, the partner's element that each element is paired with. Default None: the same.

    Returns:
        A plan with K = 2, term 0 the sample itself.

    Raises:
        TypeError: draws of another type.
        ValueError: draws of another shape, or out of range (read on the CPU only).

    Example:
        >>> plan = mixup(partner=torch.tensor([1, 0]), ratio=torch.tensor([0.75]))
        >>> plan.apply(torch.tensor([[[0.0]], [[4.0]]])).flatten()
        tensor([1., 3.])
    """
    size = check_partner(partner)
    check_numbers("ratio", ratio, ((size,), (1,)), 0, 1)
    check_assignment(assignment, size, None)
    return MixPlan.pair(partner, ratio.float()[:, None], assignment)


pointmixup = mixup
