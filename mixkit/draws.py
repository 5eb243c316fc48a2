"""Random draws. All come from one CPU generator, so that the same seed gives the same plan on every device."""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor

from mixkit.checks import check_count


def partners(num_samples: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """(B,) a random permutation: the partner of each sample, sometimes itself."""
    return torch.randperm(num_samples, generator=generator).to(device, non_blocking=True)


def uniform(shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Uniform numbers in [0, 1), float32."""
    return torch.rand(shape, generator=generator).to(device, non_blocking=True)


def beta_log_ratio(alpha: float, num: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """(num,) float32 draws of log(x / (1 - x)) for x ~ Beta(alpha, alpha).

    The log-ratio keeps what rounding loses: 2 % of Beta(0.2, 0.2) draws are 1 in float32, their log-ratio is finite.
    Drawn by inverse CDF from one float64 uniform number each, x and 1 - x both to full relative precision.
    """
    from scipy.special import betaincinv  # SciPy and numba are imported when first used, so that mixkit starts quickly

    probability = torch.rand(num, generator=generator, dtype=torch.float64).numpy()
    with np.errstate(divide="ignore"):  # log 0 = -inf is the limit of a very small alpha: a hard 0 or 1
        log_ratio = np.log(betaincinv(alpha, alpha, probability)) - np.log(betaincinv(alpha, alpha, 1 - probability))
    return torch.from_numpy(log_ratio).float().to(device, non_blocking=True)


def rank_generator(seed: int, rank: int | None = None) -> torch.Generator:
    """A CPU generator seeded by a seed and this process's rank, so that ranks with one seed draw differently.

    A mixer draws from torch's global generator, and where every rank has the same seed, as after Lightning's
    ``seed_everything``, every rank draws the same partners and ratios. Ranks that share a batch, as in tensor
    parallelism, must; those that have batches of their own had better not: give the mixer such a generator.

    Args:
        seed: the same in all processes.
        rank: Default None: that of `torch.distributed`, once its process group is there; before, what the launcher's
            environment variable RANK says; else 0.

    Example:
        >>> import mixkit
        >>> mixer = mixkit.create_mixer("mixup", domain="points", num_classes=4)
        >>> generator = mixkit.rank_generator(seed=1)
        >>> mixed, targets = mixer(torch.randn(4, 9, 3), torch.arange(4), generator=generator)
    """
    if rank is None:
        dist = torch.distributed
        initialised = dist.is_available() and dist.is_initialized()
        rank = dist.get_rank() if initialised else int(os.environ.get("RANK", "0"))
    seed, rank = check_count("seed", seed, 0), check_count("rank", rank, 0)
    words = np.random.SeedSequence([seed, rank]).generate_state(2)
    return torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))


def check_generator(generator: torch.Generator | None) -> None:
    """Raise ValueError for a generator of another device than the CPU, TypeError for what is none."""
    if generator is not None and not hasattr(generator, "device"):
        raise TypeError(f"generator must be a torch.Generator, got {generator!r}")
    if generator is not None and generator.device.type != "cpu":
        raise ValueError(
            f"generator must be a CPU generator, so that every device draws the same; got {generator.device}"
        )
