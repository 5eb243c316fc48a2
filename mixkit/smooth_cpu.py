"""The mean over a set's elements weighed by a Gaussian of their distance, compiled: all pairs, each seen once."""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor

from mixkit.threads import in_threads
from mixkit.warm import announce

announce("GuidedMixup's smoothing of point sets")


def blur(share: Tensor, scaled: Tensor) -> Tensor:
    """(B, N) float32 the mean of share (B, N) around each element of scaled (B, N, D), coordinates over sigma."""
    shares = share.detach().numpy().astype(np.float32, order="C")
    axes = scaled.detach().mT.numpy().astype(np.float32, order="C")
    smoothed = np.empty_like(shares)

    def work(sample: int) -> None:
        smoothed[sample] = blur_set(shares[sample], axes[sample])

    in_threads(work, len(shares))
    return torch.from_numpy(smoothed)


# What is not finite stays so: no flag that assumes otherwise.
@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def blur_set(share: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """(N,) the mean of share (N,) weighed by ``exp(-|p - q|^2 / 2)``, of axes (D, N); float32.

    The exponential is a polynomial of a 32nd of the exponent, squared five times, which vectorises where a call of exp
    does not. An exponent ends at -30: what is farther weighs 1e-13 of the element itself.
    """
    dim, size = axes.shape
    one = np.float32(1)
    total, weight = share.copy(), np.ones(size, np.float32)  # each element itself first
    away = np.empty(size, np.float32)
    for i in range(size):
        count = size - i - 1
        to = away[:count]
        to[:] = 0
        for d in range(dim):
            here, others = axes[d, i], axes[d, i + 1 :]
            for j in range(count):
                step = others[j] - here
                to[j] += step * step
        own, share_of = share[i], share[i + 1 :]
        totals, weights = total[i + 1 :], weight[i + 1 :]
        total_here = weight_here = np.float32(0)
        for j in range(count):
            x = np.float32(-1 / 64) * min(to[j], np.float32(60))
            near = np.float32(1 / 5040) * x + np.float32(1 / 720)
            near = near * x + np.float32(1 / 120)
            near = near * x + np.float32(1 / 24)
            near = near * x + np.float32(1 / 6)
            near = near * x + np.float32(1 / 2)
            near = near * x + one
            near = near * x + one
            near *= near
            near *= near
            near *= near
            near *= near
            near *= near
            totals[j] += near * own
            weights[j] += near
            total_here += near * share_of[j]
            weight_here += near
        total[i] += total_here
        weight[i] += weight_here
    return total / weight
