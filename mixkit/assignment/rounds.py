"""The auction that SageMix, PointMixup and PointCutMix stop early, for reproduction only: it is **not** a bijection.

`mixkit.assign` uses it for `solver="auction_rounds"` alone; what certifies a bijection is beside this module.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

CELLS = 1 << 22  # distances held at once: 16 MB of float32, beside a few temporaries of that shape
CHECK = 10  # rounds between two looks at the counts on an accelerator


def auction_rounds(coords_a: Tensor, coords_b: Tensor, *, eps: float = 0.005, iterations: int = 500) -> Tensor:
    """Targets of the auction that the published point-cloud mixing code runs (its "EMD" extension), stopped early.

    The cost is the Euclidean distance itself, not its square, in the unit of the coordinates as they come: `eps` is
    absolute, so pass the clouds as the authors do, neither centred nor scaled anew. Prices start at zero, eps is fixed.
    In each round all unassigned rows of a bid, at once, on the target where distance + price is least, and offer to
    raise its price by the lead over the second best plus eps; the largest raise wins the target and evicts its holder.
    In the last round nobody is evicted: every row still unassigned takes the target of its bid, so several rows may
    share one target while others stay unused.

    Where two raises are equal the lowest row wins (in the published code, any of those within 1e-6).

    Args:
        coords_a: (B, N, D) floats, any strides and device; computed in float32.
        coords_b: (B, N, D), likewise.
        eps: least raise of a bid, > 0, in the unit of the coordinates; the authors' 0.005.
        iterations: rounds, >= 1; the authors' 500.

    Returns:
        (B, N) long: row i of a goes to row index[b, i] of b; in general not a bijection.

    Raises:
        ValueError: shapes that are not one (B, N, D), eps that is not a positive number, iterations below 1.
    """
    if coords_a.ndim != 3 or coords_a.shape != coords_b.shape or 0 in coords_a.shape:
        got = f"{tuple(coords_a.shape)} and {tuple(coords_b.shape)}"
        raise ValueError(f"coords_a and coords_b must be of one shape (B, N, D) with B, N, D >= 1, got {got}")
    if not (math.isfinite(eps) and eps > 0):
        raise ValueError(f"eps must be a finite number > 0, got {eps}")
    if iterations < 1:
        raise ValueError(f"iterations must be >= 1, got {iterations}")
    a, b = coords_a.detach().float(), coords_b.detach().float()
    batch, n, dims = a.shape
    # Column n of these three takes the writes that must have no effect.
    match = torch.full((batch, n + 1), -1, dtype=torch.long, device=a.device)
    owner, price = match.clone(), torch.zeros(batch, n + 1, device=a.device)
    check = 1 if a.device.type == "cpu" else CHECK
    width = n
    for iteration in range(iterations):
        if iteration % check == 0:  # rows never become more: a target once taken stays taken
            width = int((match[:, :n] < 0).sum(1).max())
            if width == 0:
                break
        row = (match[:, :n] >= 0).int().argsort(dim=1, stable=True)[:, :width]  # (B, W) unassigned rows first, in order
        valid = match.gather(1, row) < 0
        target, lead = _bids(a.gather(1, row[..., None].expand(-1, -1, dims)), b, price[:, :n])
        if iteration == iterations - 1:
            return match.scatter(1, torch.where(valid, row, n), target)[:, :n]
        claim = torch.where(valid, target, n)
        largest = torch.zeros_like(price).scatter_reduce_(1, claim, lead + eps, "amax")
        best = valid & (lead + eps == largest.gather(1, claim))
        first = torch.full_like(owner, n).scatter_reduce_(1, torch.where(best, target, n), row, "amin")
        won = best & (row == first.gather(1, claim))
        held = owner.gather(1, target)
        match.scatter_(1, torch.where(won & (held >= 0), held, n), torch.full_like(held, -1))
        match.scatter_(1, torch.where(won, row, n), target)
        owner.scatter_(1, torch.where(won, target, n), row)
        price.scatter_(1, torch.where(won, target, n), price.gather(1, target) + lead + eps)
    return match[:, :n].clone()


def _bids(rows: Tensor, targets: Tensor, price: Tensor) -> tuple[Tensor, Tensor]:
    """Best target (B, W) of each row (the lowest of equals) and its lead over the second best, some rows at a time."""
    n = targets.shape[1]
    columns = torch.arange(n, device=rows.device)
    best, lead = [], []
    for part in rows.split(max(1, CELLS // (targets.shape[0] * n)), 1):
        value = torch.cdist(part, targets, compute_mode="donot_use_mm_for_euclid_dist") + price[:, None]
        least = value.amin(2)
        target = torch.where(value == least[..., None], columns, n).amin(2)
        best.append(target)
        lead.append(value.scatter_(2, target[..., None], torch.inf).amin(2) - least)
    return torch.cat(best, 1), torch.cat(lead, 1)
