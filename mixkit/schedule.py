"""How much to mix as training goes on: settings of a mixer as functions of the share of the run that is done."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from mixkit import draws
from mixkit.checks import check_share
from mixkit.registry import unknown
from mixkit.settings import check_settings, is_number

#: A number, or a function of the share of the run in [0, 1] that gives one.
Setting = float | Callable[[float], float]


class Schedule(nn.Module):
    """Settings of a mixer that change with the share of the run that is done: 0 at its first batch, 1 at its end.

    Before each training batch the mixer takes the settings of that moment. They depend on the share alone, so a run of
    three epochs is mixed as one of three hundred is. A mixer tries both ends when it is made, so that what is wrong
    there is known before the run. The share is known in one of two ways:

    - ``total_steps`` is given, and the schedule counts the batches that the mixer sees in training mode, in this
      process; each plan that is drawn in training mode counts as one. Beyond ``total_steps`` the share stays 1.
    - Whoever knows better sets ``schedule.share = x`` before a batch, as `mixkit.lightning.ScheduleCallback` does; with
      ``total_steps`` it is counted on from there.

    Where the run is travels in ``state_dict()``. A worker process of a loader has a copy that would count its own
    batches only, so a mixer with a schedule refuses to mix there: mix after the loader, or with ``num_workers=0``.

    Args:
        total_steps: batches in the whole run, ``epochs * len(loader)``, in one process; >= 1. Default None: the share
            is set from outside.
        settings: a number or a function of the share, each:

            - ``p``: the share of the mixer's own ``p`` that is left, in [0, 1]. As that is 1 for most methods, this is
              the probability that a batch is mixed.
            - ``clean_weight``: takes the place of the mixer's own, >= 0.
            - any numeric option of the method by its name: ``theta``, ``sigma``, ``alpha``.

    Raises:
        TypeError: a setting that is neither a number nor a function.
        ValueError: total_steps below 1.

    Example:
        >>> schedule = Schedule(total_steps=100, p=linear, theta=lambda share: 0.2 + 0.8 * share)
        >>> schedule
        Schedule(p=linear, theta=<lambda>, total_steps=100)
        >>> schedule.at(0.25)
        {'p': 0.75, 'theta': 0.4}
        >>> schedule.share = 0.5
        >>> schedule.count()
        >>> schedule.share
        0.51
    """

    #: Whether `chances` asks for the model's confidence, for which a mixer needs a model.
    measures: bool = False

    def __init__(self, total_steps: int | None = None, **settings: Setting) -> None:
        super().__init__()
        if total_steps is not None and (
            not isinstance(total_steps, Integral) or isinstance(total_steps, bool) or total_steps < 1
        ):
            raise ValueError(f"total_steps must be a whole number of batches, at least 1, got {total_steps!r}")
        for name, setting in settings.items():
            if not callable(setting) and not is_number(setting):
                raise TypeError(f"{name} must be a number or a function of the share of the run, got {setting!r}")
        self.total_steps = total_steps
        self.settings = settings
        self._start: float | None = None  # the share that was set last
        self._counted = 0  # batches since then
        self.mixed: Tensor | None = None  #: () the share of the last batch's samples that was mixed, where measured

    @property
    def needs_share(self) -> bool:
        """Whether anything depends on how much of the run is done."""
        return any(callable(setting) for setting in self.settings.values())

    @property
    def share(self) -> float | None:
        """How much of the run is done, in [0, 1]; None where nobody knows. It can be set."""
        if self.total_steps is None:
            return self._start
        return min((self._start or 0.0) + self._counted / self.total_steps, 1.0)

    @share.setter
    def share(self, share: float) -> None:
        self._start, self._counted = _checked_share(share), 0

    def count(self) -> None:
        """Count a training batch; the mixer calls it."""
        self._counted += 1

    def at(self, share: float) -> dict[str, float]:
        """The settings at a share of the run in [0, 1], by name.

        A subclass may override it, and read whatever state it has.

        Raises:
            TypeError: a setting that is no number.
            ValueError: a share or a setting out of range; the message names the setting, the share and the value.
        """
        return settings_at(self.settings, _checked_share(share))

    def ends(self) -> Iterator[tuple[float, dict[str, float]]]:
        """The shares and settings that a mixer tries when it is made: of the run's end, and last of its beginning.

        Raises:
            TypeError: as `at`.
            ValueError: as `at`.
        """
        for share in (1.0, 0.0):
            yield share, check_settings(self.at(share), share)

    def now(self) -> dict[str, float]:
        """The settings of the batch to come.

        Raises:
            TypeError: as `at`.
            ValueError: as `at`; or the share is not known, or this is a worker of a loader.
        """
        if get_worker_info() is not None:
            raise ValueError(
                "a mixer with a schedule cannot run in a loader's worker, whose copy counts only its own batches: "
                "call it after the loader, or set num_workers=0"
            )
        share = self.share
        if share is None and not self.needs_share:
            share = 0.0
        if share is None:
            raise ValueError(
                "the schedule does not know how much of the run is done: give total_steps= (epochs * len(loader)), "
                "or set mixer.schedule.share before each batch"
            )
        return check_settings(self.at(share), share)

    def chances(self, confidence: Tensor) -> Tensor:
        """The probability with which each sample of a batch is mixed, once the batch is.

        Here it is 1. A schedule that measures, and says so by ``measures = True``, overrides it.

        Args:
            confidence: (B,) the probability that the model gives to each sample's own label before it is mixed.

        Returns:
            (B,) in [0, 1].
        """
        return torch.ones_like(confidence)

    def draw_spared(self, confidence: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(B,) bool which samples stay unmixed: each is mixed with the probability that `chances` gives it."""
        mixed = draws.uniform(confidence.shape, generator, confidence.device) < self.chances(confidence)
        self.mixed = mixed.float().mean()
        return ~mixed

    def get_extra_state(self) -> dict[str, Any]:
        """What ``state_dict()`` holds: the share that was set last, and how many batches were counted since."""
        return {"start": self._start, "counted": self._counted}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `get_extra_state`."""
        self._start, self._counted = state["start"], state["counted"]

    def extra_repr(self) -> str:
        """What ``print(schedule)`` says."""
        words = [f"{name}={_describe(setting)}" for name, setting in self.settings.items()]
        return ", ".join(words if self.total_steps is None else [*words, f"total_steps={self.total_steps}"])


# ---- ready ones: how much is mixed at a share of the run


def constant(share: float) -> float:
    """Every batch is mixed."""
    return 1.0


def mwh(share: float) -> float:
    """Mixup without Hesitation (Yu, Wang and Wu 2021): all, from 60 % of the run half, in the last 10 % 1 down to 0.

    In the paper the half is every second batch, in its code every second epoch; here each batch is mixed with
    probability 1/2, which needs no count and is as many on average, in a run of three epochs too.
    """
    return 1.0 if share < 0.6 else 0.5 if share < 0.9 else (1 - share) / (1 - 0.9)


def linear(share: float) -> float:
    """The probability falls linearly from 1 to 0."""
    return 1.0 - share


def off_at_end(share: float, last: float = 0.15) -> float:
    """Every batch is mixed, and none in the last share of the run, in [0, 1]."""
    return 1.0 if share < 1 - check_share("last", last) else 0.0


def warmup(share: float, first: float = 0.15) -> float:
    """The probability rises linearly from 0 to 1 over the first share of the run, in [0, 1]."""
    return 1.0 if share >= check_share("first", first) else share / first


def _adaptive(total_steps: int | None) -> Schedule:
    from mixkit.adaptive import Adaptive  # which is made of this module's class

    return Adaptive(total_steps=total_steps)


_ready: dict[str, Callable[..., Schedule]] = {
    **{
        function.__name__: functools.partial(Schedule, p=function)
        for function in (constant, mwh, linear, off_at_end, warmup)
    },
    "adaptive": _adaptive,
}


def list_schedules() -> list[str]:
    """The names of the ready schedules, sorted: ``create_mixer(..., schedule=name, total_steps=...)``.

    Example:
        >>> list_schedules()
        ['adaptive', 'constant', 'linear', 'mwh', 'off_at_end', 'warmup']
    """
    return sorted(_ready)


def make_schedule(schedule: str | Schedule | None, total_steps: int | None = None) -> Schedule | None:
    """A schedule by its name, or the one that is given, or None.

    Args:
        schedule: a name of `list_schedules`, a `Schedule`, or None.
        total_steps: see `Schedule`; goes with a name.

    Raises:
        TypeError: neither a name nor a schedule.
        ValueError: an unknown name; total_steps without a name.
    """
    if isinstance(schedule, str):
        if schedule == "steady":
            raise ValueError("'steady' depends on the number of epochs: give schedule=mixkit.steady(epochs=...)")
        if schedule not in _ready:
            raise ValueError(unknown("schedule", schedule, list(_ready)))
        return _ready[schedule](total_steps)
    if schedule is not None and not isinstance(schedule, Schedule):
        raise TypeError(f"schedule must be a name or a Schedule, got {schedule!r}")
    if total_steps is not None:
        wanted = "a schedule, by name" if schedule is None else "a schedule's name; a Schedule takes its own"
        raise ValueError(f"total_steps={total_steps} goes with {wanted}")
    return schedule


def settings_at(settings: Mapping[str, Setting], share: float) -> dict[str, float]:
    """The values of settings at a share of the run, found to be in range, as `Schedule.at`."""
    values = {name: setting(share) if callable(setting) else setting for name, setting in settings.items()}
    return check_settings(values, share)


def _checked_share(share: float) -> float:
    if not is_number(share) or not 0 <= share <= 1:
        raise ValueError(f"the share of the run must be a number in [0, 1], got {share!r}")
    return float(share)


def _describe(setting: Setting | functools.partial[float]) -> str:
    if isinstance(setting, functools.partial):
        arguments = ", ".join(f"{name}={value!r}" for name, value in setting.keywords.items())
        return f"{_describe(setting.func)}({arguments})"
    return getattr(setting, "__name__", type(setting).__name__) if callable(setting) else repr(setting)
