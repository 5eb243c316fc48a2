"""Mixing that follows what the model knows: samples it does not know yet are shown plainly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from mixkit.checks import LARGEST_OPTION, check_positive
from mixkit.schedule import Schedule, Setting, off_at_end, settings_at
from mixkit.settings import check_settings


class Adaptive(Schedule):
    """Mixes each sample with a probability that grows with the model's confidence in the sample's own label.

    A sample of confidence c is mixed with probability min(c / threshold, 1), and is shown as it is otherwise. A model
    that still underfits its data trains almost plainly; one that has learnt them by heart trains on mixed samples only;
    between the two each sample is mixed once it is known.

    What a model underfits it may still learn, mixed, if there is time left. So with ``epochs`` the threshold starts low
    in long runs, and halves for each ``patience`` epochs that are still to come: threshold * 2 ** (-left / patience).
    Five epochs are then almost plain, a hundred are mixed nearly from the start.

    Confidence alone does not tell knowledge from memory. Samples that are not trained on do: `tell` the schedule now
    and then how sure the model is of some samples of either kind. From then on a batch is mixed with probability
    min(overfit / margin, 1), so that a network that is no surer of its training samples than of others trains plainly,
    at the plain step's cost. One that overfits far is mixed harder: from an overfit of ``full`` on no sample is spared,
    and the settings are those of ``when_overfit``. With ``epochs`` a long run need not wait until it is seen: overfit
    counts double for each ``patience`` still to come after the first. With two or more to come a network is presumed to
    overfit altogether, with one and a half no more; but where two have gone by and the schedule was told of none, its
    batches are mixed as if it did, and samples are spared and settings chosen as if it did not.

    The confidence in the samples of a batch comes out of the saliency pass, at no cost, or for a method without
    saliency out of a forward pass more, in eval mode. Processes that share a batch need not talk.

    Args:
        threshold: the confidence from which on a sample is always mixed, above 0. Near 0 every sample is mixed, as
            without a schedule; infinity mixes none. Default 0.5.
        epochs: how often the run shows each sample, above 0; the share of the run must be known then (`Schedule`).
            Default None: the threshold stays.
        patience: epochs, above 0. Default 20, about as many as a network needs to learn its samples by heart.
        margin: the overfit from which on every batch is mixed, above 0, once `tell` was called. Default 0.1.
        full: the overfit from which on the settings are those of ``when_overfit``, above 0. Default 0.25.
        when_overfit: settings of a network that overfits: each moves from its value in ``settings`` to this one,
            linearly as overfit goes from 0 to ``full``. ``{"theta": 8.0}`` brings the prior of SageMix near 1/2.
            Default None: they stay.
        total_steps: see `Schedule`.
        settings: see `Schedule`.

    Raises:
        TypeError: a setting that is neither a number nor a function.
        ValueError: a threshold, epochs, patience, margin or full that is not above 0, total_steps below 1, or a setting
            of ``when_overfit`` that ``settings`` has not, other than p.

    Example:
        >>> import torch
        >>> Adaptive(threshold=0.5).chances(torch.tensor([0.0, 0.1, 0.5, 0.9]))
        tensor([0.0000, 0.2000, 1.0000, 1.0000])
        >>> schedule = Adaptive(threshold=0.5, epochs=80)
        >>> schedule.share = 0.5  # 40 epochs left
        >>> schedule.current_threshold
        0.125
        >>> sure, unsure = torch.full((100,), 0.8), torch.full((100,), 0.3)
        >>> schedule.tell(sure, unsure)
        >>> round(schedule.overfit, 2)  # 0.5 of the 0.7 that are lacking with others
        0.71
    """

    measures = True

    def __init__(
        self,
        threshold: float = 0.5,
        *,
        epochs: float | None = None,
        patience: float = 20.0,
        margin: float = 0.1,
        full: float = 0.25,
        when_overfit: Mapping[str, Setting] | None = None,
        total_steps: int | None = None,
        **settings: Setting,
    ) -> None:
        super().__init__(total_steps, **settings)
        self.when_overfit = Schedule(None, **(when_overfit or {})).settings
        if missing := sorted(self.when_overfit.keys() - {"p", *settings}):
            name = missing[0]
            raise ValueError(f"when_overfit gives {name} at its end: give {name}= too, from which it sets out")
        self.threshold = check_positive("threshold", threshold)
        self.epochs = None if epochs is None else check_positive("epochs", epochs, limit=LARGEST_OPTION)
        self.patience = check_positive("patience", patience)
        self.margin = check_positive("margin", margin)
        self.full = check_positive("full", full)
        self.overfit: float | None = None  #: in [0, 1], as `tell` has found it; None where nothing was told

    @property
    def needs_share(self) -> bool:
        """Whether anything depends on how much of the run is done."""
        return self.epochs is not None or super().needs_share or any(map(callable, self.when_overfit.values()))

    @property
    def current_threshold(self) -> float:
        """The threshold at this share of the run."""
        return self.threshold * 2 ** -self._patiences_left(self.share or 0.0)

    def tell(self, trained: Tensor, held_out: Tensor) -> None:
        """Say how sure the model is of training samples and of others, at the same weights, as after each epoch.

        ``overfit`` is then (t - h) / (1 - h) with the means t and h of the two: of what the model lacks with others,
        the share that it does not lack with what it trains on. Chance is taken off t - h first, two standard errors
        of it, so that some hundreds of samples of either kind serve best. StyleGAN2-ADA compares the two for
        augmentation (Karras et al. 2020, arXiv 2006.06676, section 3).

        Args:
            trained: (n,) confidences in the labels of training samples, augmented as in training, n >= 2, in eval mode
                (`mixkit.label_confidence`).
            held_out: (m,) likewise of samples that are not trained on, m >= 2.

        Raises:
            TypeError: no tensors.
            ValueError: of other shapes, or a confidence that is not in [0, 1].
        """
        t, t_error = _mean_and_error("trained", trained)
        h, h_error = _mean_and_error("held_out", held_out)
        lead = t - h - 2 * (t_error + h_error) ** 0.5
        self.overfit = max(lead, 0.0) / (1 - h) if h < 1 else 0.0

    def at(self, share: float) -> dict[str, float]:
        """See `Schedule.at`; they follow ``overfit``."""
        return super().at(share) if self.overfit is None else self._at(share, self.overfit)

    def ends(self) -> Iterator[tuple[float, dict[str, float]]]:
        """See `Schedule.ends`; for a network that overfits altogether as well."""
        if self.when_overfit:
            for share in (1.0, 0.0):
                yield share, check_settings(self._at(share, 1.0), share)
        yield from super().ends()

    def _at(self, share: float, overfit: float) -> dict[str, float]:
        """The settings at a share of the run of a network that overfits so far."""
        values = {"p": 1.0, **super().at(share)}
        way = self._way_to_full(share, overfit)
        for name, end in settings_at(self.when_overfit, share).items():
            values[name] = (1 - way) * values[name] + way * end
        values["p"] *= max(self._seen(self.margin, share, overfit), self._presumed(share))
        return values

    def _way_to_full(self, share: float, overfit: float) -> float:
        """How far the network counts as one that overfits altogether, in [0, 1]."""
        seen = self._seen(self.full, share, overfit)
        shown = 0.0 if self.epochs is None else self.epochs * share / self.patience
        return max(seen, self._presumed(share)) if shown < 2 or overfit > 0 else seen

    def _seen(self, limit: float, share: float, overfit: float) -> float:
        """How much of the way to a limit an overfit has come, in [0, 1]; it counts more, the more epochs are left."""
        return min(overfit / limit * 2 ** min(max(self._patiences_left(share) - 1, 0.0), 100.0), 1.0)

    def _presumed(self, share: float) -> float:
        """How much overfitting is presumed, in [0, 1], as long as there is time left for it to come."""
        return min(max(2 * (self._patiences_left(share) - 1.5), 0.0), 1.0)

    def _patiences_left(self, share: float) -> float:
        """How many times ``patience`` the run still goes on; 0 where its length is not known."""
        return 0.0 if self.epochs is None else self.epochs * (1 - share) / self.patience

    def chances(self, confidence: Tensor) -> Tensor:
        """(B,) the probability with which each sample is mixed, given the confidence (B,) in its own label."""
        least = torch.finfo(confidence.dtype).tiny  # a threshold that is 0 in this dtype would make NaN of confidence 0
        chances = (confidence / max(self.current_threshold, least)).clamp(0, 1)
        if self.overfit is None:
            return chances
        return chances.lerp(torch.ones_like(chances), self._way_to_full(self.share or 0.0, self.overfit))

    def get_extra_state(self) -> dict[str, Any]:
        """See `Schedule.get_extra_state`; ``overfit`` too."""
        return {**super().get_extra_state(), "overfit": self.overfit}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `get_extra_state`."""
        super().set_extra_state(state)
        self.overfit = state.get("overfit")

    def extra_repr(self) -> str:
        """What ``print(schedule)`` says."""
        words = [f"threshold={self.threshold:g}"]
        if self.epochs is not None:
            words.append(f"epochs={self.epochs:g}, patience={self.patience:g}")
        if self.overfit is not None:
            words.append(f"margin={self.margin:g}, overfit={self.overfit:.3g}")
            if self.when_overfit:
                words.append(f"full={self.full:g}, when_overfit={self.when_overfit}")
        return ", ".join(filter(None, [*words, super().extra_repr()]))


def steady(
    epochs: float,
    *,
    margin: float = 0.1,
    full: float = 0.25,
    when_overfit: Mapping[str, Setting] | None = None,
    total_steps: int | None = None,
    p: Setting = off_at_end,
    **settings: Setting,
) -> Adaptive:
    """The recommended schedule: adaptive with a known end, and plain epochs in the last 15 % of the run.

    What it is made of are the defaults of `Adaptive` and of `off_at_end`; a run of five epochs is almost plain, one of
    two hundred is mixed nearly all the time, and either ends on the samples as they are. Where there are samples that
    are not trained on, tell it of them (`Adaptive.tell`): it then mixes only as far as the network overfits, and to the
    end a network that overfits far.

    Args:
        epochs: how often the run shows each sample, above 0.
        margin: see `Adaptive`.
        full: see `Adaptive`.
        when_overfit: see `Adaptive`. Its p is 1, the plain epochs' end, unless it says otherwise.
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
    return Adaptive(
        0.5,
        epochs=epochs,
        patience=20.0,
        margin=margin,
        full=full,
        when_overfit={"p": 1.0, **(when_overfit or {})},
        total_steps=total_steps,
        p=p,
        **settings,
    )


def _mean_and_error(name: str, confidence: Tensor) -> tuple[float, float]:
    """The mean of confidences (n,), and the square of its standard error."""
    if not isinstance(confidence, Tensor):
        raise TypeError(f"{name} must be a tensor (n,) of confidences, got {type(confidence).__name__}")
    if confidence.dim() != 1 or len(confidence) < 2:
        raise ValueError(f"{name} must be confidences (n,) of at least 2 samples, got {tuple(confidence.shape)}")
    numbers = confidence.detach().float()
    if not bool(((numbers >= 0) & (numbers <= 1)).all()):  # NaN is neither
        low, high = numbers.min(), numbers.max()
        raise ValueError(f"{name} must be confidences in [0, 1], got numbers from {low:g} to {high:g}")
    variance, mean = torch.var_mean(numbers)
    return float(mean), float(variance) / len(numbers)
