"""SageMix: saliency-guided, shape-preserving mixing."""

from __future__ import annotations

from torch import Tensor

from mixkit import draws, functional
from mixkit.checks import check_concentration, check_positive
from mixkit.elements import ElementSet
from mixkit.methods.base import Method, PlanContext
from mixkit.plan import MixPlan
from mixkit.query import SAMPLERS, sharpen
from mixkit.ragged import RaggedPlan, RaggedSet
from mixkit.ragged import functional as ragged
from mixkit.ragged.queries import draw_queries, sharpen_rows
from mixkit.registry import register_method


@register_method("sagemix")
class SageMix(Method):
    """SageMix (Lee et al., NeurIPS 2022): two query elements by saliency, each element mixed by its distance from them.

    Args:
        theta: the prior is Beta(theta, theta), > 0. Default 0.2, the paper's for points; the image domain's is 0.3.
        sigma: bandwidth > 0 in the units of the coordinates. Default None: the domain's length scale
            (a quarter of the shorter side of an image, 0.3 in the unit sphere; PointNet's paper value is 2.0).
        query: how the queries are drawn, "sequential" (the method) or its ablations "saliency", "max" and "uniform".
        sharpness: > 0; queries are drawn in proportion to saliency to this power. Default 1, the paper's. Cheap and
            remembered saliencies are smoother than the exact one: 3 or 4 gives their queries its contrast back.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("sagemix", domain="image", num_classes=4, saliency="spectral_residual")
        >>> plan = mixer.plan(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> plan.weight.shape  # a weight for each pixel
        torch.Size([4, 2, 64])
    """

    def __init__(
        self, theta: float = 0.2, sigma: float | None = None, query: str = "sequential", sharpness: float = 1.0
    ) -> None:
        self.theta = check_concentration("theta", theta)
        self.sigma = None if sigma is None else check_positive("sigma", sigma)
        if not isinstance(query, str) or query not in SAMPLERS:
            raise ValueError(f"query must be one of {', '.join(SAMPLERS)}, got {query!r}")
        self.query = query
        self.sharpness = check_positive("sharpness", sharpness)
        if sharpness != 1 and query in ("max", "uniform"):
            raise ValueError(f"query={query!r} draws nothing by saliency, so sharpness must be 1, got {sharpness}")
        self.needs = frozenset({"partners", "assign"} | (set() if query == "uniform" else {"saliency"}))

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`."""
        sigma = self._bandwidth(elements)
        partner, prior, uniform = self._draw(elements, context)
        saliency = context.saliency
        if saliency is not None and self.sharpness != 1:
            saliency = sharpen(saliency, self.sharpness)
        query, partner_query = SAMPLERS[self.query](elements.coords, saliency, partner, uniform)
        assignment = context.assignment(elements, partner)
        return functional.sagemix(
            elements.coords, partner, assignment, query, partner_query, prior, sigma, log_ratio=True
        )

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`."""
        sigma = self._bandwidth(elements)
        partner, prior, uniform = self._draw(elements, context)
        saliency = context.saliency
        if saliency is not None and self.sharpness != 1:
            saliency = sharpen_rows(saliency, elements, self.sharpness)
        queries = draw_queries(self.query, elements, saliency, partner, uniform)
        return ragged.sagemix(context.pairing(elements, partner), *queries, prior, sigma)

    def _draw(self, elements: ElementSet | RaggedSet, context: PlanContext) -> tuple[Tensor, Tensor, Tensor]:
        """The partners (B,), the priors' log ratios (B,), and what the queries are drawn by (2, B)."""
        size, device = elements.num_samples, elements.coords.device
        partner = context.partners(elements)
        prior = draws.beta_log_ratio(self.theta, size, context.generator, device)
        return partner, prior, draws.uniform((2, size), context.generator, device)

    def _bandwidth(self, elements: ElementSet | RaggedSet) -> float:
        sigma = elements.length_scale if self.sigma is None else self.sigma
        if sigma is None:
            raise ValueError("sigma is needed: give sigma=, or elements with a length_scale")
        return sigma
