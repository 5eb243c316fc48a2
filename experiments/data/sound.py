"""Sound as waveforms and log-mel spectrograms: how they are made, shifted, corrupted; no data set in particular."""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.data.base import Augmented, pixel_index

RATE = 8000  # Hz
HOP, WINDOW = 128, 256  # samples between frames, and of a frame: 16 and 32 ms
BANDS = 32
FLOOR = 1e-3  # of a band's energy, beside 1 of a waveform of unit RMS: what is softer is silence
MOST_SHIFT = 1 / 8  # of the length


def decode_mulaw(stored: Tensor) -> Tensor:
    """8-bit mu-law bytes to float32 in [-1, 1]: ``sign(y) (256^|y| - 1) / 255`` with ``y = byte / 127.5 - 1``."""
    y = stored.float() / 127.5 - 1
    return y.sign() * (256 ** y.abs() - 1) / 255


def fit_length(wave: Tensor, length: int) -> Tensor:
    """A waveform (n,) in the middle of ``length`` samples: silence around a shorter one, a longer one cut at its ends.

    It is scaled to an RMS of 1 before silence is added; silence alone stays silence.
    """
    start = max(0, (len(wave) - length) // 2)
    kept = wave[start : start + length]
    kept = kept / kept.square().mean().sqrt().clamp_min(1e-6)
    fitted = kept.new_zeros(length)
    fitted[(length - len(kept)) // 2 :][: len(kept)] = kept
    return fitted


def mel_filters(bands: int, bins: int, rate: int) -> Tensor:
    """(bands, bins) triangles with corners at equal steps of the mel scale, 2595 log10(1 + f / 700), to rate / 2."""
    highest = 2595 * torch.log10(torch.tensor(1 + rate / 2 / 700))
    corners = 700 * (10 ** (torch.linspace(0, float(highest), bands + 2) / 2595) - 1)
    frequency = torch.linspace(0, rate / 2, bins)
    low, middle, high = (corners[k : k + bands, None] for k in range(3))
    return torch.minimum((frequency - low) / (middle - low), (high - frequency) / (high - middle)).clamp_min(0)


def log_mel(waves: Tensor) -> Tensor:
    """Log-mel spectrograms of waveforms of `RATE`: (n, 1, L) to (n, 1, BANDS, L // HOP), the lowest band first.

    The natural logarithm of the energy plus `FLOOR`, of which log FLOOR is taken, so that silence is 0.
    """
    spectrum = torch.stft(
        waves[:, 0],
        WINDOW,
        HOP,
        window=torch.hann_window(WINDOW),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )[:, :, : waves.shape[2] // HOP]
    energy = mel_filters(BANDS, WINDOW // 2 + 1, RATE) @ (spectrum.abs().square() / WINDOW)
    return (torch.log(energy + FLOOR) - torch.log(torch.tensor(FLOOR)))[:, None]


def shift_in_time(samples: Tensor, generator: torch.Generator, *, most: float = MOST_SHIFT) -> Augmented:
    """Move each sample in time by up to a share of its length; what comes in is silence, 0.

    Args:
        samples: (B, C, T) waveforms or (B, C, F, T) spectrograms.
        generator: CPU generator of all draws.
        most: the largest shift, a share of T. Default 1/8.
    """
    length = samples.shape[-1]
    reach = int(most * length)
    offsets = torch.randint(-reach, reach + 1, (len(samples), 1), generator=generator).to(samples.device)
    steps = torch.arange(length, device=samples.device) + offsets  # (B, T) where each step comes from
    outside = (steps < 0) | (steps >= length)
    shape = (len(samples), *[1] * (samples.dim() - 2), length)
    moved = samples.gather(-1, steps.clamp(0, length - 1).view(shape).expand_as(samples))
    moved = moved.masked_fill(outside.view(shape), 0)
    height = 1 if samples.dim() == 3 else samples.shape[2]
    rows = torch.arange(height, device=samples.device).expand(len(samples), -1)
    return Augmented(moved, pixel_index(rows, steps, height, length))


# ---- corruptions of samples as a model reads them


def add_sound_noise(samples: Tensor, generator: torch.Generator, *, sigma: float) -> Tensor:
    """Add normal noise, of deviation ``sigma`` beside the 1 of what is not silent, to waveforms or spectrograms."""
    return samples + sigma * torch.randn(samples.shape, generator=generator).to(samples)


def late(samples: Tensor, generator: torch.Generator, *, share: float) -> Tensor:
    """Move each sample in time by a share of its length, half of them to and half of them fro; 0 comes in."""
    step = round(share * samples.shape[-1])
    back = torch.rand(len(samples), generator=generator) < 0.5
    moved = torch.zeros_like(samples)
    moved[back, ..., step:] = samples[back, ..., : samples.shape[-1] - step]
    moved[~back, ..., : samples.shape[-1] - step] = samples[~back, ..., step:]
    return moved


def silence_span(samples: Tensor, generator: torch.Generator, *, share: float, axis: int = -1) -> Tensor:
    """Set a span of each sample, at a random place along an axis, to 0; of a spectrogram axis -2 has frequencies."""
    size = samples.shape[axis]
    span = round(share * size)
    start = torch.randint(0, size - span + 1, (len(samples),), generator=generator).to(samples.device)
    place = torch.arange(size, device=samples.device) - start[:, None]
    shape = [1] * samples.dim()
    shape[0], shape[axis] = len(samples), size
    return samples.masked_fill(((place >= 0) & (place < span)).view(shape), 0)


def louder(samples: Tensor, generator: torch.Generator, *, factor: float) -> Tensor:
    """Scale each sample by one factor."""
    return samples * factor
