"""SageMix: each element mixed at its own ratio, smooth around two query points."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mixkit.checks import (
    check_assignment,
    check_coords,
    check_index,
    check_numbers,
    check_partner,
    check_positive,
)
from mixkit.elements import same_in_all, take_elements, take_samples
from mixkit.plan import MixPlan


def sagemix(
    coords: Tensor,
    partner: Tensor,
    assignment: Tensor | None,
    query: Tensor,
    partner_query: Tensor,
    prior: Tensor,
    sigma: float,
    *,
    log_ratio: bool = False,
) -> MixPlan:
    """Shape-preserving mixing around two queries (Lee et al. 2022, Eq. 6, 8 and 9).

    ``lambda_i = pi w_a / (pi w_a + (1 - pi) w_b)`` with ``w = exp(-|p - query|^2 / (2 sigma^2))``, computed without a
    quotient of kernels that underflow: ``sigmoid(logit(pi) + (d_b^2 - d_a^2) / (2 sigma^2))``. A very large sigma makes
    it Mixup at ratio pi, a very small one a switch between the nearer queries.

    Args:
        coords: (B, N, D), where the elements are.
        partner: (B,) long, the partner of each sample.
        assignment: (B, N) long, the partner's element that each element is paired with; None: the same.
        query: (B,) long, the query element of the sample.
        partner_query: (B,) long, the query element of the partner, in the partner's own order.
        prior: (B,) pi, the weight of the sample itself before locality, in [0, 1].
        sigma: bandwidth > 0 in the units of the coordinates.
        log_ratio: ``prior`` is given as log(pi / (1 - pi)), which keeps what a pi near 1 cannot. Default False.

    Returns:
        A plan with K = 2, term 0 the sample itself, a weight per element.

    Raises:
        TypeError: draws of another type.
        ValueError: sigma <= 0, draws of another shape, or out of range; coordinates that are not
            finite (all read on the CPU only).

    Example:
        >>> line = torch.tensor([[[0.0], [1.0], [2.0]]]).expand(2, -1, -1)
        >>> swap, ends = torch.tensor([1, 0]), (torch.tensor([0, 0]), torch.tensor([2, 2]))
        >>> plan = sagemix(line, swap, None, *ends, prior=torch.full((2,), 0.5), sigma=1.0)
        >>> plan.weight[0, 0]  # near a's query at 0 it is a, near b's at 2 it is b
        tensor([0.8808, 0.5000, 0.1192])
    """
    check_positive("sigma", sigma)
    check_coords(coords)
    size, num_elements, _ = coords.shape
    check_partner(partner, size)
    check_assignment(assignment, size, num_elements)
    check_index("query", query, (size,), num_elements)
    check_index("partner_query", partner_query, (size,), num_elements)
    check_numbers("prior", prior, ((size,),), *((-math.inf, math.inf) if log_ratio else (0, 1)))
    if not log_ratio:  # in the prior's own precision: 1 - 1e-12 is a float64
        prior = torch.log(prior) - torch.log1p(-prior)
    coords = coords.to(torch.promote_types(coords.dtype, torch.float32))
    # bounds far beyond any use keep the factor finite in float32
    scale = 0.5 / min(max(float(sigma), 1e-15), 1e15) ** 2
    query_a, query_b = (
        take_elements(coords, query),
        take_elements(take_samples(coords, partner), partner_query),
    )  # (B, D)
    farther = _distance_difference(coords, partner, assignment, query_a, query_b)
    own = torch.sigmoid(prior.to(farther.dtype)[:, None] + farther * scale)
    return MixPlan.pair(partner, own.float(), assignment)


def _distance_difference(
    coords: Tensor, partner: Tensor, assignment: Tensor | None, query_a: Tensor, query_b: Tensor
) -> Tensor:
    """(B, N) d_b^2 - d_a^2, how much closer each element is to a's query than its pair is to b's."""
    if same_in_all(coords) and assignment is None:
        # as on a grid: |p - q_b|^2 - |p - q_a|^2 is linear in p
        apart, centre = query_a - query_b, (query_a + query_b) / 2
        terms = (((coords[0, :, d] - centre[:, d, None]) * apart[:, d, None]) for d in range(coords.shape[2]))
        return 2 * sum(terms, torch.zeros((), dtype=coords.dtype, device=coords.device))
    from_a = (coords - query_a[:, None]).square().sum(2)
    from_b = (take_samples(coords, partner) - query_b[:, None]).square().sum(2)
    return (from_b if assignment is None else from_b.gather(1, assignment)) - from_a
