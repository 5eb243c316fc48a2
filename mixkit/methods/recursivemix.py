"""RecursiveMix: the batch before, mixed as it was, made smaller and pasted into this one."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit import draws
from mixkit.checks import check_flag, check_share
from mixkit.methods.base import PlanContext
from mixkit.methods.resizemix import ResizeMix
from mixkit.registry import register_method

_HOST = torch.device("cpu")


@register_method("recursivemix")
class RecursiveMix(ResizeMix):
    """RecursiveMix (Yang et al., NeurIPS 2022): ResizeMix with the batch before, as it was mixed, as the partner.

    So an image holds smaller and smaller ones of the batches before, and its label theirs. The box has an area of
    ``U(0, alpha)`` of the set's. The paper's second loss, on what the model says of the box, is the user's to add.

    Where there is no batch before, such as at first or after one of another shape, partners are in the batch itself.

    Args:
        alpha: the largest share of the area, in [0, 1]. Default 0.5.
        per_sample: a box per sample instead of one per batch. Default False, as the authors do.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("recursivemix", domain="image", num_classes=4, p=1.0)
        >>> first, _ = mixer(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> second, targets = mixer(torch.rand(4, 3, 8, 8), torch.arange(4))  # with the first, as it was mixed
        >>> second.shape, targets.shape
        (torch.Size([4, 3, 8, 8]), torch.Size([4, 4]))
    """

    partners = "previous_batch"

    def __init__(self, alpha: float = 0.5, per_sample: bool = False) -> None:
        self.alpha = check_share("alpha", alpha)
        self.per_sample = check_flag("per_sample", per_sample)

    def _tau(self, boxes: int, axes: int, context: PlanContext) -> Tensor:
        area: Tensor = self.alpha * draws.uniform((boxes, 1), context.generator, _HOST)
        return area ** (1 / axes)
