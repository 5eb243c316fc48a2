"""Mixing that follows what the model knows: samples it does not know yet are shown plainly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mixkit.checks import LARGEST_OPTION, check_positive, check_share
from mixkit.schedule import Schedule, Setting, off_at_end


class _Mean:
    """A running mean of numbers on whatever device, read once in a while: adding waits for no device."""

    def __init__(self, value: float = 0.0, count: int = 0) -> None:
        self.total: Tensor | float = value * count
        self.count = count

    def add(self, number: Tensor) -> None:
        self.total = self.total + number
        self.count += 1

    @property
    def value(self) -> float:
        return float(self.total) / max(self.count, 1)


class Adaptive(Schedule):
    """Mixes each sample with a probability that grows with the model's confidence in the sample's own label.

    A sample of confidence c is mixed with probability min(c / threshold, 1), and is shown as it is otherwise. A model
    that still underfits its data trains almost plainly; one that has learnt them by heart trains on mixed samples only;
    between the two each sample is mixed once it is known.

    What a model underfits it may still learn, mixed, if there is time left. So with ``epochs`` the threshold starts low
    in long runs, and halves for each ``patience`` epochs that are still to come: threshold * 2 ** (-left / patience).
    Five epochs are then almost plain, a hundred are mixed nearly from the start.

    Confidence alone does not tell knowledge from memory. Samples that are not trained on do: after each epoch set
    ``schedule.held_out`` to the model's mean confidence h in their labels (`label_confidence`). From then on a batch is
    mixed with probability min(overfit / margin, 1), where ``overfit`` is (t - h) / (1 - h) and t the mean confidence in
    the training samples, as the mixer met them since: of what the model lacks with strangers, the share that it does
    not lack with what it trains on. StyleGAN2-ADA compares the two for augmentation (Karras et al. 2020, arXiv
    2006.06676, section 3). A network that is no surer of its training samples than of others is not mixed, at hardly
    more than the plain step's cost: the first batch after each report is measured, the others as they are mixed.

    The confidence comes out of the saliency pass, at no cost, or for a method without saliency out of a forward pass
    more, in eval mode. Processes that share a batch need not talk: each goes by the confidence in its own part.

    Args:
        threshold: the confidence from which on a sample is always mixed, above 0. Near 0 every sample is mixed, as
            without a schedule; infinity mixes none. Default 0.5.
        epochs: how often the run shows each sample, above 0; the share of the run must be known then (`Schedule`).
            Default None: the threshold stays.
        patience: epochs, above 0. Default 20, about as many as a network needs to learn its samples by heart.
        margin: the overfit from which on every batch is mixed, above 0, once ``held_out`` is set. Default 0.1.
        total_steps: see `Schedule`.
        settings: see `Schedule`.

    Raises:
        TypeError: a setting that is neither a number nor a function.
        ValueError: a threshold, epochs, patience or margin that is not above 0, or total_steps below 1.

    Example:
        >>> import torch
        >>> Adaptive(threshold=0.5).chances(torch.tensor([0.0, 0.1, 0.5, 0.9]))
        tensor([0.0000, 0.2000, 1.0000, 1.0000])
        >>> schedule = Adaptive(threshold=0.5, epochs=80)
        >>> schedule.share = 0.5  # 40 epochs left
        >>> schedule.current_threshold
        0.125
        >>> schedule.held_out = 0.3  # nothing was measured of the training samples yet
        >>> schedule.overfit
        0.0
    """

    measures = True

    def __init__(
        self,
        threshold: float = 0.5,
        *,
        epochs: float | None = None,
        patience: float = 20.0,
        margin: float = 0.1,
        total_steps: int | None = None,
        **settings: Setting,
    ) -> None:
        super().__init__(total_steps, **settings)
        self.threshold = check_positive("threshold", threshold)
        self.epochs = None if epochs is None else check_positive("epochs", epochs, limit=LARGEST_OPTION)
        self.patience = check_positive("patience", patience)
        self.margin = check_positive("margin", margin)
        self._held_out: float | None = None
        self._trained = _Mean()  # confidence in the training samples since the last report, or the one before
        self._reported = False  # and nothing was measured since
        self.overfit: float | None = None  #: in [0, 1], 0 where nothing was measured; None: no held-out confidence

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

    @property
    def held_out(self) -> float | None:
        """The mean confidence in [0, 1] in the labels of samples that are not trained on; set it after each epoch."""
        return self._held_out

    @held_out.setter
    def held_out(self, confidence: float | Tensor) -> None:
        self._held_out = check_share("held_out", float(confidence))
        lead = self._trained.value - self._held_out if self._trained.count else 0.0
        self.overfit = min(max(lead, 0.0) / max(1 - self._held_out, 1e-6), 1.0)
        self._reported = True

    def at(self, share: float) -> dict[str, float]:
        """See `Schedule.at`; the p of a batch to be measured is 1, and `draw_spared` spares it by the true p."""
        values = super().at(share)
        if self.overfit is None:
            return values
        return {**values, "p": 1.0 if self._reported else values.get("p", 1.0) * min(self.overfit / self.margin, 1.0)}

    def chances(self, confidence: Tensor) -> Tensor:
        """(B,) the probability with which each sample is mixed, given the confidence (B,) in its own label."""
        least = torch.finfo(confidence.dtype).tiny  # a threshold that is 0 in this dtype would make NaN of confidence 0
        return (confidence / max(self.current_threshold, least)).clamp(0, 1)

    def draw_spared(self, confidence: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See `Schedule.draw_spared`; the confidence counts as that in the training samples."""
        first, self._reported = self._reported, False
        if first:
            self._trained = _Mean()
        self._trained.add(confidence.mean())
        spared = super().draw_spared(confidence, generator)
        p = self.at(self.share or 0.0)["p"] if first else 1.0
        if p < 1 and torch.rand((), generator=generator) >= p:
            self.mixed, spared = torch.zeros(()), torch.ones_like(spared)
        return spared

    def get_extra_state(self) -> dict[str, Any]:
        """See `Schedule.get_extra_state`; what was measured and told as well."""
        measured = (self._held_out, self.overfit, self._reported, self._trained.value, self._trained.count)
        return {**super().get_extra_state(), "measured": measured}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `get_extra_state`; a state without measures has none."""
        super().set_extra_state(state)
        self._held_out, self.overfit, self._reported, *trained = state.get("measured", (None, None, False, 0.0, 0))
        self._trained = _Mean(*trained)

    def extra_repr(self) -> str:
        """What ``print(schedule)`` says."""
        words = [f"threshold={self.threshold:g}"]
        if self.epochs is not None:
            words.append(f"epochs={self.epochs:g}, patience={self.patience:g}")
        return ", ".join(filter(None, [*words, super().extra_repr()]))


def steady(epochs: float, *, total_steps: int | None = None, p: Setting = off_at_end, **settings: Setting) -> Adaptive:
    """The recommended schedule: adaptive with a known end, and plain epochs in the last 15 % of the run.

    What it is made of are the defaults of `Adaptive` and of `off_at_end`; a run of five epochs is almost plain, one of
    two hundred is mixed nearly all the time, and either ends on the samples as they are. Where there are samples that
    are not trained on, set its ``held_out`` after each epoch: it then mixes only as far as the network overfits.

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
    return Adaptive(0.5, epochs=epochs, patience=20.0, margin=0.1, total_steps=total_steps, p=p, **settings)
