"""Puzzle Mix: saliency-guided masks and transport."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from mixkit import ElementSet, MixPlan, draws, register_method
from mixkit.checks import check_concentration, check_count, check_flag, check_not_negative, check_positive
from mixkit.methods.base import Method, PlanContext
from mixkit.registry import options_for
from mixkit_image import functional
from mixkit_image.functional.cells import per_channel
from mixkit_image.methods.grid import image_grid

_SIDES = (2, 4, 8, 16)


@register_method("puzzlemix", domains=("image", "spectrogram"))
class PuzzleMix(Method):
    """Puzzle Mix (Kim, Choo and Song, ICML 2020): a mask of n x n cells by graph cut, n drawn per batch, and transport.

    n is uniform among those of 2, 4, 8 and 16 that divide both sides of the image; where none does, among those not
    larger than the shorter side, with cells that differ by a pixel.

    Args:
        alpha: ``lambda ~ Beta(alpha, alpha)``, one per batch, > 0. Default 1.
        beta: weight of the mask's smoothness, >= 0. Default 1.2.
        gamma: weight of the data's in it, >= 0. Default 0.5.
        eta: weight of the prior, >= 0. Default 0.2.
        transport: move salient blocks under the mask. Default True.
        t_eps: price of a block's way, >= 0. Default 0.8.
        block: side in pixels of the blocks that move, at most; never more than a mask cell's. Default: an eighth of the
            image's shorter side, which is the paper's 4 on CIFAR.
        std: the standard deviations by which the images were normalised, one per channel, which bring differences of
            pixels back to those of pixels in [0, 1] (of the means they do not depend). Default: none.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("puzzlemix", domain="image", num_classes=4, saliency="spectral_residual")
        >>> plan = mixer.plan(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> plan.weight.shape
        torch.Size([4, 2, 64])
    """

    needs = frozenset({"partners", "saliency"})

    #: The paper's weight of the clean pass's loss (the authors' clean_lam); the mixer's business.
    clean_weight: ClassVar[float] = 0.0

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 1.2,
        gamma: float = 0.5,
        eta: float = 0.2,
        transport: bool = True,
        t_eps: float = 0.8,
        block: int | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        self.alpha = check_concentration("alpha", alpha)
        self.beta = check_not_negative("beta", beta)
        self.gamma = check_not_negative("gamma", gamma)
        self.eta = check_not_negative("eta", eta)
        self.transport = check_flag("transport", transport)
        self.t_eps = check_not_negative("t_eps", t_eps)
        self.block = None if block is None else check_count("block", block)
        self.std = per_channel("std", std, check_positive)

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`. Raises ValueError for elements without a grid (H, W), or without saliency."""
        grid = image_grid(elements, self)
        if context.saliency is None:
            raise ValueError("PuzzleMix needs saliency (B, N)")
        device = elements.coords.device
        partner = context.partners(elements)
        sides = cells_per_side(grid)
        # a draw on the CPU, so reading it waits for no device
        cells = sides[int(torch.randint(len(sides), (), generator=context.generator))]
        ratio = torch.sigmoid(draws.beta_log_ratio(self.alpha, 1, context.generator, device))
        options = options_for(functional.puzzlemix, self)
        return functional.puzzlemix(elements.values, grid, context.saliency, partner, ratio, cells, **options)


def cells_per_side(grid: tuple[int, int]) -> list[int]:
    """The n that may be drawn: 2, 4, 8, 16 where they divide both sides, else where they fit, else 1."""
    dividing = [n for n in _SIDES if not any(size % n for size in grid)]
    return dividing or [n for n in _SIDES if n <= min(grid)] or [1]
