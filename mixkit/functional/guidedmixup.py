"""Each element mixed in proportion to the saliency of both samples there: GuidedMixup."""

from __future__ import annotations

from torch import Tensor

from mixkit.checks import LARGEST_OPTION, check_assignment, check_partner, check_rows
from mixkit.elements import take_samples
from mixkit.plan import MixPlan


def guidedmixup(partner: Tensor, saliency: Tensor, assignment: Tensor | None = None) -> MixPlan:
    """``lambda_i = s_a / (s_a + s_b)``, the saliency of the element and of its pair (Kang and Kim, AAAI 2023, Eq. 4).

    Args:
        partner: (B,) long, the partner of each sample.
        saliency: (B, N) >= 0, smoothed and divided by each sample's total (`mixkit.smooth.smooth`).
        assignment: (B, N) long, the partner's element that each element is paired with. Default None: the same.

    Returns:
        A plan with K = 2, term 0 the sample itself, a weight per element; 1/2 where neither is salient.

    Raises:
        TypeError: arguments of another type.
        ValueError: arguments of another shape, or out of range (read on the CPU only).

    Example:
        >>> saliency = torch.tensor([[0.6, 0.4], [0.2, 0.8]])
        >>> guidedmixup(torch.tensor([1, 0]), saliency).weight[:, 0]
        tensor([[0.7500, 0.3333],
                [0.2500, 0.6667]])
    """
    size = check_partner(partner)
    num_elements = check_rows("saliency", saliency, size, 0, LARGEST_OPTION)
    check_assignment(assignment, size, num_elements)
    own = saliency.float()
    other = take_samples(own, partner)
    if assignment is not None:
        other = other.gather(1, assignment)
    total = own + other
    return MixPlan.pair(partner, (own / total).masked_fill(total == 0, 0.5), assignment)
