"""Training samples that are held out, to score on or to fit a temperature; which ones depends on the labels alone."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from experiments.base.errors import ExperimentError
from experiments.data.base import SMALLEST_TEST_SET, DataSet, balanced_subset

MOST_LEFT_OUT = 1000  # how many left-out samples a temperature is fitted on at most
LEAST_LEFT_OUT = 100  # and at least: fewer say little of a confidence


class Division(NamedTuple):
    """Indices of training samples, each sorted, none in two of them: to train on, to score on, to fit a temperature."""

    train: Tensor
    validation: Tensor
    calibration: Tensor


def divide(data: DataSet, limit: int | None = None, validation: float = 0, calibration: float | None = None) -> DataSet:
    """Limit a data set and hold training samples out.

    Args:
        data: all of it.
        limit: training samples, None for all; the test samples are limited to max(limit, 1000).
        validation: samples that take the place of the test samples, see `divide_training`.
        calibration: samples to fit a temperature on, see `divide_training`.

    Returns:
        The data set whose `test` are the validation samples if there are any (`scored` says so), and whose `held` are
        those to fit a temperature on, both as test samples are stored.

    Raises:
        ExperimentError: more samples to hold out than there are.
    """
    division = divide_training(data.train_labels, limit, validation, calibration)
    test = balanced_subset(data.test_labels, len(data.test) if limit is None else max(limit, SMALLEST_TEST_SET))
    whole = limit is None and len(division.train) == len(data.train)
    divided = data if whole else data.pick(division.train, test)
    if len(division.validation):
        place = division.validation
        divided = replace(
            divided,
            test=data.as_test(data.train[place]),
            test_labels=data.train_labels[place],
            test_parts=None if data.train_parts is None else data.train_parts[place],
            scored="validation",
        )
    if len(division.calibration):
        place = division.calibration
        divided = replace(divided, held=data.as_test(data.train[place]), held_labels=data.train_labels[place])
    return divided


def divide_training(
    labels: Tensor, limit: int | None = None, validation: float = 0, calibration: float | None = None
) -> Division:
    """Which training samples train and which are held out; the same ones every time, whatever the run's seed.

    Samples are held out in turn from every class. They are taken from those that `limit` leaves out where these make
    the classes equal (to one sample), so that the run trains on the same samples as without holding out; else they are
    cut from those that the limit keeps, at most half of each class.

    Args:
        labels: (n,) classes of all training samples.
        limit: samples to train on, class-balanced; None for all.
        validation: below 1 a share of the samples that the limit keeps, from 1 on a number; 0 for none.
        calibration: alike, and disjoint from the validation samples. None: up to 1,000 of those that the limit leaves
            out, if they are 100 at least; none is cut from the training samples for it.

    Raises:
        ExperimentError: more than half of the training samples of the classes, or a share that is not even one sample.
    """
    train = balanced_subset(labels, len(labels) if limit is None else limit)
    left = _without(torch.arange(len(labels)), train)
    kept = len(train)
    held = []
    for name, amount in (("validation", validation), ("calibration", calibration)):
        if amount is None:
            most = MOST_LEFT_OUT if len(left) >= LEAST_LEFT_OUT else 0
            held.append(left[balanced_subset(labels[left], most)])
            continue
        count = round(amount * kept) if amount < 1 else int(amount)
        if amount and not count:
            raise ExperimentError(f"{name} = {amount:g} of {kept} training samples is not even one: raise it.")
        chosen = left[balanced_subset(labels[left], count)]
        if len(chosen) == count and _even(labels[chosen], labels[train]):
            left = _without(left, chosen)
        else:
            chosen = _cut(labels, train, count, name)
            train = _without(train, chosen)
        held.append(chosen)
    return Division(train, *held)


def _cut(labels: Tensor, train: Tensor, count: int, name: str) -> Tensor:
    """`count` of the training samples, in turn from every class, at most half of each."""
    shuffled = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))]
    members = [shuffled[labels[shuffled] == label] for label in labels[train].unique()]
    halves = torch.cat([own[: len(own) // 2] for own in members])
    if count > len(halves):
        raise ExperimentError(
            f"{name}: {count} of {len(train)} training samples cannot be held out, as at least half of each class is "
            f"to train on: {len(halves)} at most."
        )
    return halves[balanced_subset(labels[halves], count)].sort().values


def _even(chosen: Tensor, train: Tensor) -> bool:
    """Whether the classes that are trained have as many of the chosen samples each, to one."""
    counts = torch.bincount(chosen, minlength=int(train.max()) + 1)[train.unique()]
    return len(chosen) == 0 or bool(counts.max() - counts.min() <= 1)


def _without(some: Tensor, others: Tensor) -> Tensor:
    """The indices of `some` that are not among `others`."""
    return some[~torch.isin(some, others)]
