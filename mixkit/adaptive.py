"""Mixing that follows what the model knows: samples it does not know yet are shown plainly."""

from __future__ import annotations

from torch import Tensor

from mixkit.schedule import Schedule, Setting


class Adaptive(Schedule):
    """Mixes each sample with a probability that grows with the model's confidence in the sample's own label.

    A sample of confidence c is mixed with probability min(c / threshold, 1), and is shown as it is otherwise. A model
    that still underfits its data trains almost plainly; one that has learnt them by heart trains on mixed samples only;
    between the two each sample is mixed once it is known. So one setting serves short and long runs, many data and few.

    The confidence comes out of the saliency pass, at no cost, or for a method without saliency out of a forward pass
    more, in eval mode. It is the model's own, so there is no state beside the model's: a run that goes on needs none,
    and processes that share a batch need not talk.

    Args:
        threshold: the confidence from which on a sample is always mixed, above 0. Near 0 every sample is mixed, as
            without a schedule; infinity mixes none. Default 0.5.
        total_steps: see `Schedule`; needed only where a setting is a function of the share.
        settings: see `Schedule`.

    Raises:
        TypeError: a setting that is neither a number nor a function.
        ValueError: a threshold that is not above 0, or total_steps below 1.

    Example:
        >>> import torch
        >>> Adaptive(threshold=0.5).chances(torch.tensor([0.0, 0.1, 0.5, 0.9]))
        tensor([0.0000, 0.2000, 1.0000, 1.0000])
    """

    measures = True

    def __init__(self, threshold: float = 0.5, total_steps: int | None = None, **settings: Setting) -> None:
        super().__init__(total_steps, **settings)
        if not threshold > 0:
            raise ValueError(f"threshold must be above 0, got {threshold}")
        self.threshold = threshold

    def chances(self, confidence: Tensor) -> Tensor:
        """(B,) the probability with which each sample is mixed, given the confidence (B,) in its own label."""
        return (confidence / self.threshold).clamp(0, 1)

    def extra_repr(self) -> str:
        """What ``print(schedule)`` says."""
        return ", ".join(filter(None, [f"threshold={self.threshold:g}", super().extra_repr()]))
