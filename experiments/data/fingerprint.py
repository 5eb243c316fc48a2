"""What tells data from other data: labels to the bit, samples up to rounding, which differs between machines."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from experiments.data.base import DataSet

LABELS = ("train_labels", "test_labels", "held_labels", "train_parts", "test_parts")
SAMPLES = ("train", "test", "held")
BLOCKS = 64  # of samples, a number each
TOLERANCE = 1e-5  # of a block's mean size: float32 rounds a coordinate by 1e-7 of it


def fingerprint(data: DataSet) -> dict[str, Any]:
    """Plain values that are the same for the same data: classes and labels as one sum, and means of blocks of samples.

    A mean weighs every number by its place, so that samples, points and channels in another order give another one. A
    number that is changed by more than a few per mille of the mean size shows in sets of up to some thousand samples.

    Args:
        data: the data set as a run trains and tests on it, on any device.

    Returns:
        "labels", a text; and "samples", by name of the split its shape, and for each block its mean and mean size.
    """
    digest = hashlib.sha256(repr(data.classes).encode())
    for name in LABELS:
        labels: Tensor | None = getattr(data, name)
        if labels is not None:
            digest.update(f"{name} {tuple(labels.shape)}".encode())
            digest.update(labels.cpu().long().contiguous().numpy().tobytes())
    samples = {name: _blocks(tensor) for name in SAMPLES if (tensor := getattr(data, name)) is not None}
    return {"labels": digest.hexdigest(), "samples": samples}


def differs(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What of the data differs between two fingerprints, in words; None where nothing does."""
    for name in sorted({*before["samples"], *now["samples"]}):
        one, other = before["samples"].get(name), now["samples"].get(name)
        if one is None or other is None or one["shape"] != other["shape"]:
            return f"the {name} samples are {other and other['shape']}, and were {one and one['shape']}"
    if before["labels"] != now["labels"]:
        return "the labels or classes are others"
    for name, other in now["samples"].items():
        for (mean, size), (new_mean, new_size) in zip(before["samples"][name]["blocks"], other["blocks"], strict=True):
            if not abs(mean - new_mean) <= TOLERANCE * max(size, new_size):
                return f"the {name} samples are others"
    return None


def _blocks(samples: Tensor) -> dict[str, Any]:
    """The shape (n, ...) and BLOCKS pairs at most: the weighted mean, and the mean size."""
    flat = samples.reshape(len(samples), -1)
    place = _weights(flat.shape[1], math.sqrt(2)).to(samples.device)
    blocks = []
    for part in flat.chunk(BLOCKS):
        values = part.double()
        own = _weights(len(values), math.sqrt(3)).to(samples.device)
        blocks.append([float(own @ (values @ place)) / values.numel(), float(values.abs().mean())])
    return {"shape": list(samples.shape), "blocks": blocks}


def _weights(count: int, step: float) -> Tensor:
    """(count,) numbers from 1/2 to 3/2, each unlike its neighbours."""
    return (torch.arange(count, dtype=torch.float64) * step) % 1 + 0.5
