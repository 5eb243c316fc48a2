"""Attentive CutMix: the partner's most salient cells, where they are."""

from __future__ import annotations

import torch

from mixkit import functional
from mixkit.checks import check_count, check_share
from mixkit.elements import ElementSet
from mixkit.fields import number_cells
from mixkit.functional.attentivemix import salient_cells
from mixkit.methods.base import Method, PlanContext
from mixkit.plan import MixPlan
from mixkit.ragged import RaggedPlan, RaggedSet
from mixkit.registry import register_method


@register_method("attentivemix")
class AttentiveMix(Method):
    """Attentive CutMix (Walawalkar, Shen, Liu and Savvides, ICASSP 2020): the partner's most salient cells, in place.

    The box around each sample has ``cells`` cells along each axis; those of the partner's whose mean saliency is the
    largest are pasted. Nothing is drawn but the partners. The authors' saliency is a pretrained network's last feature
    map.

    Args:
        cells: along each axis, 1 to 1000. Default 7.
        share: the part of the cells that hold elements that is pasted, in [0, 1]; at least one. Default 6 / 49.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("attentivemix", domain="image", num_classes=4, p=1.0, saliency="spectral_residual")
        >>> plan = mixer.plan(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> plan.weight.unique()
        tensor([0., 1.])
    """

    needs = frozenset({"partners", "assign", "saliency"})
    moves = True

    def __init__(self, cells: int = 7, share: float = 6 / 49) -> None:
        self.cells = check_count("cells", cells, 1, 1000)
        self.share = check_share("share", share)

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`."""
        if context.saliency is None:
            raise ValueError("AttentiveMix needs saliency (B, N)")
        partner = context.partners(elements)
        assignment = context.assignment(elements, partner)
        return functional.attentivemix(
            partner, assignment, context.saliency, number_cells(elements, self.cells), self.share
        )

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`."""
        if context.saliency is None:
            raise ValueError("AttentiveMix needs saliency (L,)")
        partner, sizes = context.partners(elements), elements.lengths.tolist()
        chosen = []
        for saliency, part in zip(context.saliency.split(sizes), elements.positions.split(sizes), strict=True):
            cell = number_cells(ElementSet(part[None], part[None, :, :0]), self.cells)
            chosen.append(salient_cells(saliency[None], cell, self.share)[0])
        pairing = context.pairing(elements, partner)
        return pairing.plan(~torch.cat(chosen)[pairing.other])
