"""A mix as data for the browser: bytes in base 64, so that a scene is as small as its pictures."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.playground.mixing import Mixed


def make_scene(domain: str, names: tuple[str, str], mixed: Mixed) -> dict[str, Any]:
    """What `assets/view.js` draws: samples, lambda, saliency, queries, marks and targets, as JSON takes it."""
    return {
        "domain": domain,
        "names": list(names),
        **({"side": mixed.batch.shape[-1]} if domain == "image" else {}),
        "a": encode_sample(domain, mixed.batch[0]),
        "b": encode_sample(domain, mixed.batch[1]),
        "mixed": encode_sample(domain, mixed.sample),
        "own": encode_shares(mixed.own),
        "saliency": None if mixed.saliency is None else encode_saliency(mixed.saliency),
        "queries": None if mixed.queries is None else list(mixed.queries),
        "marks": list(mixed.marks),
        "targets": [round(float(share), 4) for share in mixed.targets],
    }


def encode_sample(domain: str, sample: Tensor) -> str:
    """An image (C, H, W) in [0, 1] as H x W x 3 bytes, a cloud (N, 3) as float32."""
    if domain == "points":
        return _base64(sample.numpy().astype("<f4"))
    pixels = sample.expand(3, -1, -1) if sample.shape[0] == 1 else sample[:3]
    return _base64((255 * pixels.permute(1, 2, 0).clamp(0, 1)).round().byte().numpy())


def encode_shares(shares: Tensor) -> str:
    """Numbers in [0, 1] as a byte each."""
    return _base64((255 * shares.clamp(0, 1)).round().byte().numpy())


def encode_saliency(saliency: Tensor) -> list[str]:
    """(2, N) over the peak of each row; the root of it, for the eye sees little of what is below a tenth."""
    peaks = saliency.amax(1, keepdim=True)
    return [encode_shares(row) for row in torch.where(peaks > 0, saliency / peaks, 0).sqrt()]


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
