"""Co-Mixup: groups of images mixed together."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mixkit import ElementSet, MixPlan, register_method
from mixkit.checks import check_concentration, check_count, check_not_negative, check_number
from mixkit.methods.base import Method, PlanContext
from mixkit.registry import options_for
from mixkit_image import functional
from mixkit_image.functional.comixup import cell_shape
from mixkit_image.methods.grid import image_grid
from mixkit_image.solvers.groups import MAX_COLUMNS


@register_method("comixup", domains=("image", "spectrogram"))
class CoMixup(Method):
    """Co-Mixup (Kim, Choo, Jeong and Song, ICLR 2021): m inputs give m outputs that are salient and diverse.

    Args:
        cells: cells along each side of the image, 1 to 8. Default 4.
        group: m, the inputs that are mixed together, >= 1; a batch's last group may be smaller. Default 20.
        beta: weight of smoothness, >= 0. Default 0.32.
        gamma: weight of diversity, >= 0. Default 1.
        eta: weight of the prior, >= 0. Default 0.05.
        tau: from which share of an output on an input counts as used enough by the others, >= 0. Default 0.83.
        alpha: the prior over a group's inputs is Dirichlet(alpha), > 0. Default 2.
        omega: share of the distance between salient places in the compatibility, in [0, 1]. Default 0.001.
        sweeps: at most so many passes over a group's outputs, >= 1. Default 4.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("comixup", domain="image", num_classes=4, saliency="spectral_residual")
        >>> plan = mixer.plan(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> plan.source.shape  # each cell is of a sample of its own, or half of two
        torch.Size([4, 2, 64])
    """

    needs = frozenset({"saliency"})

    #: The paper's weight of the clean pass's loss; the mixer's business.
    clean_weight: ClassVar[float] = 1.0

    def __init__(
        self,
        cells: int = 4,
        group: int = 20,
        beta: float = 0.32,
        gamma: float = 1.0,
        eta: float = 0.05,
        tau: float = 0.83,
        alpha: float = 2.0,
        omega: float = 0.001,
        sweeps: int = 4,
    ) -> None:
        if not 0 <= check_number("omega", omega) <= 1:
            raise ValueError(f"omega must lie in [0, 1], got {omega}")
        self.cells = check_count("cells", cells, 1, MAX_COLUMNS)
        self.group = check_count("group", group)
        self.beta = check_not_negative("beta", beta)
        self.gamma = check_not_negative("gamma", gamma)
        self.eta = check_not_negative("eta", eta)
        self.tau = check_not_negative("tau", tau)
        self.alpha = check_concentration("alpha", alpha)
        self.omega = float(omega)
        self.sweeps = check_count("sweeps", sweeps)

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """See `Method.plan`. Raises ValueError for elements without a grid (H, W), or without saliency."""
        grid = image_grid(elements, self)
        if context.saliency is None:
            raise ValueError("CoMixup needs saliency (B, N)")
        size, device = elements.num_samples, elements.coords.device
        members = torch.tensor([min(self.group, size - i // self.group * self.group) for i in range(size)])
        rows, columns = cell_shape(grid, self.cells)
        log_prior = log_dirichlet(self.alpha, members, context.generator)
        uniform = torch.rand(size, rows * columns, generator=context.generator, dtype=torch.float64)
        initial = (uniform * members[:, None]).long()
        log_prior, initial = (draw.to(device, non_blocking=True) for draw in (log_prior, initial))
        options = options_for(functional.comixup, self)
        return functional.comixup(context.saliency, grid, log_prior, initial, **options)


def log_dirichlet(alpha: float, members: Tensor, generator: torch.Generator | None) -> Tensor:
    """(B,) float32 log d, ``d ~ Dirichlet(alpha)`` over each group of consecutive samples.

    Gamma draws by inverse CDF in float64, one uniform number each, divided by their group's sum.

    Args:
        alpha: concentration, > 0.
        members: (B,) long, the size of the group that each sample belongs to, on the CPU.
        generator: CPU generator.
    """
    from scipy.special import gammaincinv  # SciPy is imported when first used

    probability = torch.rand(len(members), generator=generator, dtype=torch.float64).numpy()
    draws = np.maximum(gammaincinv(alpha, probability), np.finfo(np.float64).tiny)  # a very small alpha underflows
    group = torch.arange(len(members)) // members[0]
    total = torch.zeros(int(group[-1]) + 1, dtype=torch.float64).index_add_(0, group, torch.from_numpy(draws))
    return (torch.from_numpy(np.log(draws)) - total[group].log()).float()
