"""SMMix: the partner's region of most saliency over the sample's region of least."""

from __future__ import annotations

import torch

from mixkit import draws, functional
from mixkit.checks import check_count, check_share
from mixkit.elements import ElementSet
from mixkit.methods.base import Method, PlanContext
from mixkit.plan import MixPlan
from mixkit.registry import register_method


@register_method("smmix", domains=("image", "sequence", "spectrogram", "volume", "video"))
class SMMix(Method):
    """SMMix's mixing of regions (Chen et al., ICCV 2023): where the sample matters least, what matters most of another.

    The grid is cut into patches; a box of so many of them along each axis, their number drawn uniformly between two
    shares once per batch, is moved from where the partner's saliency has its largest sum to where the sample's has its
    smallest. The paper's saliency is a vision transformer's own attention: `mixkit.AttentionMixer` with
    ``saliency="attention"``.

    Args:
        low: the smallest share of the patches along an axis, in [0, 1]. Default 0.25.
        high: the largest, >= low. Default 0.75.
        patches: along each axis, at least 1; fewer where the grid has fewer cells. Where they do not divide it, a patch
            has the whole cells of one such share, and there are as many of them as fit. Default 14.

    Example:
        >>> from mixkit import create_mixer
        >>> options = dict(num_classes=4, p=1.0, partners="previous", saliency="spectral_residual")
        >>> mixer = create_mixer("smmix", domain="image", **options)
        >>> plan = mixer.plan(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> plan.weight[:, 1].sum(1).unique().numel()  # boxes of one size
        1
    """

    needs = frozenset({"partners", "saliency"})
    moves = True

    def __init__(self, low: float = 0.25, high: float = 0.75, patches: int = 14) -> None:
        self.low, self.high = check_share("low", low), check_share("high", high)
        if self.low > self.high:
            raise ValueError(f"low must be at most high, got low={low}, high={high}")
        self.patches = check_count("patches", patches)

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`. Raises ValueError for elements without a grid, or without saliency."""
        if elements.grid is None or context.saliency is None:
            raise ValueError(f"SMMix needs elements on a grid and their saliency, got grid {elements.grid}")
        partner = context.partners(elements)
        drawn = float(draws.uniform((1,), context.generator, torch.device("cpu")))
        size, step = [], []
        for side in elements.grid:
            step.append(max(side // self.patches, 1))
            patches = side // step[-1]
            least, most = int(patches * self.low), int(patches * self.high)
            size.append(side if side == 1 else (least + int(drawn * (most - least + 1))) * step[-1])
        return functional.smmix(elements.grid, partner, context.saliency, size, step)
