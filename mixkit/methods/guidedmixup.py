"""GuidedMixup: partners that are salient elsewhere, mixed by the saliency of both."""

from __future__ import annotations

from torch import Tensor

from mixkit import functional
from mixkit.checks import check_not_negative
from mixkit.elements import ElementSet
from mixkit.methods.base import Method, PlanContext
from mixkit.partner_rules import FarSaliency
from mixkit.plan import MixPlan
from mixkit.ragged import RaggedPlan, RaggedSet
from mixkit.ragged import functional as ragged
from mixkit.registry import register_method
from mixkit.smooth import smooth, smooth_rows


@register_method("guidedmixup")
class GuidedMixup(Method):
    """GuidedMixup (Kang and Kim, AAAI 2023): where a sample is salient it shows, where its partner is, that one does.

    Nothing is drawn: partners are those that are salient elsewhere, by a greedy cover of the batch, unless the mixer's
    ``partners=`` says otherwise.

    Args:
        blur: standard deviation of the Gaussian that smooths saliency, in cells of a grid or the units of coordinates,
            >= 0. Default None: 3 cells, as the paper has it (7 x 7); on sets without a grid 3/8 of the length scale.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("guidedmixup", domain="image", num_classes=4, p=1.0, saliency="spectral_residual")
        >>> plan = mixer.plan(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> plan.weight.shape  # a weight for each pixel
        torch.Size([4, 2, 64])
    """

    needs = frozenset({"partners", "assign", "saliency"})

    def __init__(self, blur: float | None = None) -> None:
        self.blur = None if blur is None else check_not_negative("blur", blur)
        self.partners = FarSaliency(self.blur)

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`."""
        partner = context.partners(elements)
        saliency = smooth(_given(context), elements, self.blur)
        return functional.guidedmixup(partner, saliency, context.assignment(elements, partner))

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`."""
        partner = context.partners(elements)
        saliency = smooth_rows(_given(context), elements, self.blur)
        return ragged.guidedmixup(context.pairing(elements, partner), saliency)


def _given(context: PlanContext) -> Tensor:
    if context.saliency is None:
        raise ValueError("GuidedMixup needs saliency (B, N)")
    return context.saliency
