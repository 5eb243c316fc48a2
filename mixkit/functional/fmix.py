"""The elements where a field is highest stay, the others are replaced: FMix."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit.checks import check_assignment, check_numbers, check_partner, check_rows
from mixkit.plan import MixPlan


def fmix(partner: Tensor, assignment: Tensor | None, field: Tensor, count: Tensor) -> MixPlan:
    """Keep the ``count`` elements where a field is highest, and replace the others (Harris et al. 2020, Eq. 3).

    With a random field of low frequencies (`mixkit.fields`) it is FMix.

    Args:
        partner: (B,) long, the partner of each sample.
        assignment: (B, N) long, the partner's element that each element is paired with; None: the same.
        field: (B, N) or (1, N), one for all; of equal values the first element comes first.
        count: (B,) or (1,) long, how many elements stay, 0 to N.

    Returns:
        A plan with K = 2, term 0 the sample itself, weights 0 and 1.

    Raises:
        TypeError: draws of another type.
        ValueError: draws of another shape, or out of range (read on the CPU only).

    Example:
        >>> plan = fmix(torch.tensor([1, 0]), None, torch.tensor([[0.1, 0.9, 0.4]]), torch.tensor([2]))
        >>> plan.weight[0, 0]
        tensor([0., 1., 1.])
    """
    size = check_partner(partner)
    num_elements = check_rows("field", field, size, shared=True)
    check_assignment(assignment, size, num_elements)
    check_numbers("count", count, ((size,), (1,)), 0, num_elements, integer=True)
    rank = field.argsort(dim=1, descending=True, stable=True).argsort(1)
    return MixPlan.pair(partner, (rank < count[:, None]).to(torch.float32), assignment)
