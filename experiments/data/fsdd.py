"""Free Spoken Digit Dataset (Jackson et al.): digits spoken by six people, as waveforms or log-mel spectrograms."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments.base.errors import ExperimentError
from experiments.data.arrays import read_npz
from experiments.data.base import DataSet, as_float, find_first, names_of
from experiments.data.sound import RATE, decode_mulaw, fit_length, log_mel, shift_in_time

FILE = "fsdd.npz"
SAMPLE = Path(__file__).parent / "samples"  #: a tenth of it, which comes with the code; its README says whose it is
ARRAYS = ("audio_mulaw", "offsets", "labels", "test", "rate")
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LENGTH = 4096  # samples, about half a second: three recordings in four are shorter
MEAN, STD = 3.03, 2.95  # of the training recordings' log-mel spectrograms


def centre(spectrograms: Tensor) -> Tensor:
    """Spectrograms as stored to float32 with about zero mean and unit variance."""
    return (spectrograms.float() - MEAN) / STD


def load_fsdd(roots: Sequence[Path], *, spectrogram: bool = False, sample: bool = False) -> DataSet:
    """The official split: recordings 0 to 4 of each speaker and digit are tested on, the others trained on.

    Args:
        roots: folders, the first of which that holds `fsdd.npz` is read.
        spectrogram: log-mel spectrograms (1, 32, 32), frequency by time, instead of waveforms (1, 4096). Default False.
        sample: the tenth that comes with the code, instead of a file of ``roots``. Default False.

    Returns:
        2,700 training and 300 test recordings at 8 kHz (of the sample 180 of each) in the middle of 0.512 s, those that
        are longer cut; waveforms of an RMS of 1 where they sound.

    Raises:
        ExperimentError: the file is absent or damaged.
    """
    path = find_first([SAMPLE] if sample else roots, FILE)
    if path is None:
        raise ExperimentError(
            f"{FILE} is not in {names_of(roots)}: it holds audio_mulaw (8-bit, 8 kHz), offsets, labels, test and rate, "
            "made from https://github.com/Jakobovski/free-spoken-digit-dataset; put it there or name its folder with "
            "--data-root, or take fsdd-sample, which comes with the code."
        )
    arrays = _read(path)
    offsets = arrays["offsets"].astype(np.int64)
    sound = decode_mulaw(torch.from_numpy(arrays["audio_mulaw"]))
    pieces = [sound[start:end] for start, end in itertools.pairwise(offsets)]
    samples = torch.stack([fit_length(piece, LENGTH) for piece in pieces])[:, None]
    if spectrogram:
        samples = log_mel(samples)
    labels, test = torch.from_numpy(arrays["labels"].astype(np.int64)), torch.from_numpy(arrays["test"])
    return DataSet(
        name="fsdd-sample" if sample else "fsdd",
        title="spoken digits (sample)" if sample else "spoken digits",
        domain="spectrogram" if spectrogram else "sequence",
        classes=CLASSES,
        train=samples[~test].half(),
        train_labels=labels[~test],
        test=samples[test].half(),
        test_labels=labels[test],
        augment=shift_in_time,
        augmentation="shift in time by up to an eighth",
        prepare=centre if spectrogram else as_float,
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    """The wanted arrays, checked against each other."""
    arrays = read_npz(path, ARRAYS)
    sound, offsets, labels, test = (arrays[name] for name in ARRAYS[:4])
    count = len(labels) if labels.ndim == 1 else -1
    kinds = {"audio_mulaw": "u", "offsets": "iu", "labels": "iu", "test": "b", "rate": "iu"}
    strange = [f"{name} of {arrays[name].dtype}" for name, kind in kinds.items() if arrays[name].dtype.kind not in kind]
    shapes = sound.ndim == 1 and offsets.shape == (count + 1,) and test.shape == (count,) and arrays["rate"].shape == ()
    if strange or not shapes or sound.dtype != np.uint8:
        contents = ", ".join(strange) or ", ".join(f"{name} {arrays[name].shape}" for name in ARRAYS)
        raise ExperimentError(f"{path} is not the expected file: {contents}.")
    sound_offsets = (int(offsets[0]), int(offsets[-1])) == (0, len(sound)) and bool(
        (np.diff(offsets.astype(np.int64)) > 0).all()
    )
    if (
        not sound_offsets
        or int(arrays["rate"]) != RATE
        or not (labels < len(CLASSES)).all()
        or test.all()
        or not test.any()
    ):
        raise ExperimentError(f"{path} is damaged: offsets, labels, test or rate hold impossible values.")
    return arrays
