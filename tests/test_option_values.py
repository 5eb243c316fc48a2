"""Numbers that options take: what is out of any sense, or no number, is a sentence of ours that names the option."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

import mixkit
from mixkit import Adaptive, SaliencyBank, Schedule, create_mixer, rank_generator
from mixkit.schedule import off_at_end, warmup
from mixkit_image import MixTransform, TimmMixup
from tests.refusals import is_our_own

MODEL = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 3))


def sage(**options: Any) -> mixkit.Mixer:
    return create_mixer("sagemix", "image", num_classes=3, model=MODEL, **options)


def scheduled(function: Callable[..., float], **option: float) -> mixkit.Mixer:
    return sage(schedule=Schedule(10, p=functools.partial(function, **option)))


MAKERS: dict[str, Callable[[Any], Any]] = {
    "p": lambda value: sage(p=value),
    "p of a transform": lambda value: MixTransform("cutmix", num_classes=3, p=value),
    "clean_weight": lambda value: sage(clean_weight=value),
    "total_steps": lambda value: sage(schedule="mwh", total_steps=value),
    "share": lambda value: setattr(Schedule(10), "share", value),
    "p of a schedule": lambda value: sage(schedule=Schedule(10, p=lambda share: value)),
    "clean_weight of a schedule": lambda value: sage(schedule=Schedule(10, clean_weight=value)),
    "theta of a schedule": lambda value: sage(schedule=Schedule(10, theta=value)),
    "last": lambda value: scheduled(off_at_end, last=value),
    "first": lambda value: scheduled(warmup, first=value),
    "threshold": Adaptive,
    "epochs": lambda value: Adaptive(epochs=value),
    "patience": lambda value: Adaptive(epochs=3, patience=value),
    "num_samples": SaliencyBank,
    "num_elements": lambda value: SaliencyBank(3, value),
    "momentum": lambda value: SaliencyBank(3, momentum=value),
    "refresh_every": lambda value: SaliencyBank(3, refresh_every=value),
    "resolution": lambda value: mixkit.GradientSaliency(MODEL, resolution=value),
    "min_score": lambda value: MixTransform("cutmix", num_classes=3, min_score=value),
    "prob": lambda value: TimmMixup(mixup_alpha=1.0, prob=value),
    "switch_prob": lambda value: TimmMixup(mixup_alpha=1.0, switch_prob=value),
    "label_smoothing": lambda value: TimmMixup(["cutmix"], label_smoothing=value),
    "mixup_alpha": lambda value: TimmMixup(mixup_alpha=value),
    "cutmix_alpha": lambda value: TimmMixup(cutmix_alpha=value),
    "cutmix_minmax": lambda value: TimmMixup(cutmix_minmax=(value, 0.5)),
    "mixup_off_epoch": lambda value: TimmMixup(mixup_alpha=1.0, mixup_off_epoch=value),
    "radius": lambda value: create_mixer("mixup", "points", num_classes=3, radius=value),
    "tolerance": lambda value: create_mixer("mixup", "points", num_classes=3, tolerance=value),
    "tolerance of assign": lambda value: mixkit.assign(torch.ones(1, 4, 3), torch.rand(1, 4, 3), tolerance=value),
    "seed": rank_generator,
    "rank": lambda value: rank_generator(1, value),
}
NONE_MEANS_DEFAULT = {
    *("p", "p of a transform", "clean_weight", "total_steps", "num_elements", "refresh_every", "mixup_alpha"),
    *("cutmix_alpha", "rank", "epochs"),
}
UNBOUNDED = {"threshold", "patience"}  # infinity has a meaning
NO_FLOATS = {"seed", "rank"}  # any whole number


@pytest.mark.parametrize("name", MAKERS)
def test_values_out_of_any_sense_are_refused_by_name(name: str) -> None:
    wrong: list[Any] = [math.nan, -1, True, "0.5", [0.5], torch.tensor(0.5), -math.inf, -(10**400)]
    wrong += [] if name in UNBOUNDED else [math.inf]
    wrong += [] if name in UNBOUNDED | NO_FLOATS | {"total_steps", "mixup_off_epoch"} else [10**400]
    wrong += [] if name in NONE_MEANS_DEFAULT else [None]
    for value in wrong:
        with pytest.raises((ValueError, TypeError), match=name.partition(" ")[0]) as caught:
            MAKERS[name](value)
        assert is_our_own(caught.tb), (value, caught.value)


@pytest.mark.parametrize("name", MAKERS)
def test_values_in_range_are_taken(name: str) -> None:
    whole = {
        *("total_steps", "num_samples", "num_elements", "refresh_every", "mixup_off_epoch"),
        *NO_FLOATS,
    }
    for value in (1, 3) if name in whole else (0.25, 0.5):
        MAKERS[name](value)
    if name in NONE_MEANS_DEFAULT and not name.endswith("_alpha"):
        MAKERS[name](None)
