"""C-Mixup: Mixup of samples whose labels are near, for regression."""

from __future__ import annotations

from mixkit.methods.mixup import Mixup
from mixkit.partner_rules import NearLabel
from mixkit.registry import register_method


@register_method("cmixup")
class CMixup(Mixup):
    """C-Mixup (Yao et al., NeurIPS 2022): Mixup with partners drawn by how near their labels are.

    Sample j is i's partner with a probability in proportion to ``exp(-|y_i - y_j|^2 / (2 sigma^2))``, within the batch
    and never i itself, unless the mixer's ``partners=`` says otherwise.

    Args:
        alpha: concentration of the Beta, > 0. Default 2.
        sigma: bandwidth > 0, in the units of the labels. Default None: half of the batch's standard deviation of the
            labels; the paper tunes it for each data set.
        per_sample: one ratio per sample instead of one per batch. Default False.
        fold: give the partner the smaller half. Default False.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("cmixup", domain="sequence")  # labels are numbers to be predicted
        >>> mixed, targets = mixer(torch.rand(4, 2, 50), torch.tensor([0.1, 0.2, 0.8, 0.9]))
        >>> mixed.shape, targets.shape
        (torch.Size([4, 2, 50]), torch.Size([4]))
    """

    def __init__(
        self, alpha: float = 2.0, sigma: float | None = None, per_sample: bool = False, fold: bool = False
    ) -> None:
        super().__init__(alpha, per_sample, fold)
        rule = NearLabel(sigma)
        self.partners, self.sigma = rule, rule.sigma
