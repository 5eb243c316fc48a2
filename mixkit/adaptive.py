"""Mixing that follows what the model knows: samples it does not know yet are shown plainly."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit.checks import LARGEST_OPTION, check_positive
from mixkit.schedule import Schedule, Setting, off_at_end


class Adaptive(Schedule):
    """Mixes each sample with a probability that grows with the model's confidence in the sample's own label.

    A sample of confidence c is mixed with probability min(c / threshold, 1), and is shown as it is otherwise. A model
    that still underfits its data trains almost plainly; one that has learnt them by heart trains on mixed samples only;
    between the two each sample is mixed once it is known.

    What a model underfits it may still learn, mixed, if there is time left. So with ``epochs`` the threshold starts low
    in long runs, and halves for each ``patience`` epochs that are still to come: threshold * 2 ** (-left / patience).
    Five epochs are then almost plain, a hundred are mixed nearly from the start.

    The confidence comes out of the saliency pass, at no cost, or for a method without saliency out of a forward pass
    more, in eval mode. It is the model's own, so there is no state beside the model's and the share of the run, and
    processes that share a batch need not talk.

    Args:
        threshold: the confidence from which on a sample is always mixed, above 0. Near 0 every sample is mixed, as
            without a schedule; infinity mixes none. Default 0.5.
        epochs: how often the run shows each sample, above 0; the share of the run must be known then (`Schedule`).
            Default None: the threshold stays.
        patience: epochs, above 0. Default 20, about as many as a network needs to learn its samples by heart.
        total_steps: see `Schedule`.
        settings: see `Schedule`.

    Raises:
        TypeError: a setting that is neither a number nor a function.
        ValueError: a threshold, epochs or patience that is not above 0, or total_steps below 1.

    Example:
        >>> import torch
        >>> Adaptive(threshold=0.5).chances(torch.tensor([0.0, 0.1, 0.5, 0.9]))
        tensor([0.0000, 0.2000, 1.0000, 1.0000])
        >>> schedule = Adaptive(threshold=0.5, epochs=80)
        >>> schedule.share = 0.5  # 40 epochs left
        >>> schedule.current_threshold
        0.125
    """

    measures = True

    def __init__(
        self,
        threshold: float = 0.5,
        *,
        epochs: float | None = None,
        patience: float = 20.0,
        total_steps: int | None = None,
        **settings: Setting,
    ) -> None:
        super().__init__(total_steps, **settings)
        self.threshold = check_positive("threshold", threshold)
        self.epochs = None if epochs is None else check_positive("epochs", epochs, limit=LARGEST_OPTION)
        self.patience = check_positive("patience", patience)

    @property
    def needs_share(self) -> bool:
        """Whether anything depends on how much of the run is done."""
        return self.epochs is not None or super().needs_share

    @property
    def current_threshold(self) -> float:
        """The threshold at this share of the run."""
        if self.epochs is None:
            return self.threshold
        return self.threshold * 2 ** (-self.epochs * (1 - (self.share or 0.0)) / self.patience)

    def chances(self, confidence: Tensor) -> Tensor:
        """(B,) the probability with which each sample is mixed, given the confidence (B,) in its own label."""
        least = torch.finfo(confidence.dtype).tiny  # a threshold that is 0 in this dtype would make NaN of confidence 0
        return (confidence / max(self.current_threshold, least)).clamp(0, 1)

    def extra_repr(self) -> str:
        """What ``print(schedule)`` says."""
        words = [f"threshold={self.threshold:g}"]
        if self.epochs is not None:
            words.append(f"epochs={self.epochs:g}, patience={self.patience:g}")
        return ", ".join(filter(None, [*words, super().extra_repr()]))


def steady(epochs: float, *, total_steps: int | None = None, p: Setting = off_at_end, **settings: Setting) -> Adaptive:
    """The recommended schedule: adaptive with a known end, and plain epochs in the last 15 % of the run.

    What it is made of are the defaults of `Adaptive` and of `off_at_end`; a run of five epochs is almost plain, one of
    two hundred is mixed nearly all the time, and either ends on the samples as they are.

    Args:
        epochs: how often the run shows each sample, above 0.
        total_steps: see `Schedule`.
        p: see `Schedule`. Default: `off_at_end`, the plain epochs at the end.
        settings: see `Schedule`.

    Raises:
        TypeError: as `Adaptive`.
        ValueError: as `Adaptive`.

    Example:
        >>> steady(epochs=80, total_steps=1600)
        Adaptive(threshold=0.5, epochs=80, patience=20, p=off_at_end, total_steps=1600)
    """
    return Adaptive(0.5, epochs=epochs, patience=20.0, total_steps=total_steps, p=p, **settings)
