"""Puzzle Mix's transport: moves an image's salient cells under its mask. Picks the way; the torch one is here."""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mixkit.checks import check_float, check_not_negative
from mixkit_image.solvers.threads import in_chunks


def transport(saliency: Tensor, covered: Tensor, t_eps: float = 0.8) -> Tensor:
    """Where each cell's content comes from, so that salient cells move under the mask if they need not go far.

    The cost of moving cell i to cell j is ``t_eps * |pos_i - pos_j|^2 / (side - 1)^2 - s_i * [covered_j]``. ``side``
    times, each source takes its cheapest target, each target keeps its cheapest claimant, and what the others claimed
    becomes 1 dearer for them (of equals the first). The last winners move. Other cells stay in place where source and
    target are both left over, and the rest are paired in order, which makes it a permutation (Kim et al. 2020).

    Args:
        saliency: (B, R, C) the cells' saliency, which sums to 1 in each image.
        covered: (B, R, C) bool, the cells in which the mask shows something of the image.
        t_eps: price of distance, >= 0. Default 0.8.

    Returns:
        (B, R * C) long: the source cell of each target cell, a permutation of each row.

    Raises:
        ValueError: shapes that differ, or a t_eps below 0 or not finite.
        TypeError: covered of another type.
    """
    check_float("saliency", saliency)
    if not isinstance(covered, Tensor) or covered.dtype != torch.bool:
        raise TypeError(f"covered must be a bool tensor, got {getattr(covered, 'dtype', type(covered).__name__)}")
    if saliency.dim() != 3 or saliency.shape != covered.shape:
        raise ValueError(
            f"saliency and covered must be (B, R, C) and alike, got {tuple(saliency.shape)} and {tuple(covered.shape)}"
        )
    check_not_negative("t_eps", t_eps)
    rows, columns = saliency.shape[1:]
    worth = torch.nan_to_num(saliency.detach().float(), 0.0, 0.0, 0.0).flatten(1)
    covered = covered.flatten(1)
    rounds = max(rows, columns)
    if saliency.device.type != "cpu":
        return transport_batched(worth, covered, price_of_distance(rows, columns, t_eps, saliency.device), rounds)
    from mixkit_image.solvers import transport_cpu  # its numba takes a while to import

    source = torch.empty(worth.shape, dtype=torch.long)
    order, distance = _nearest_first(rows, columns, t_eps)
    saliencies, covers = worth.contiguous().numpy(), covered.contiguous().numpy()

    def work(start: int, stop: int) -> None:
        chunk = slice(start, stop)
        transport_cpu.solve(saliencies[chunk], covers[chunk], order, distance, rounds, source.numpy()[chunk])

    in_chunks(work, len(worth))
    return source


def transport_batched(worth: Tensor, covered: Tensor, distance: Tensor, rounds: int) -> Tensor:
    """`transport` on any device: worth (B, T) float32, covered (B, T) bool, distance (T, T) float32, its rounds."""
    batch, cells = worth.shape
    number = torch.arange(cells, device=worth.device).expand(batch, cells)
    cost = torch.where(covered[:, None], distance - worth[:, :, None], distance)  # (B, source, target)
    for _ in range(rounds):
        price, claim = cost.min(2)
        cheapest = torch.full_like(price, torch.inf).scatter_reduce_(1, claim, price, "amin")
        among = torch.where(price == cheapest.gather(1, claim), number, cells)  # of equals the first
        winner = torch.full_like(number, cells).scatter_reduce_(1, claim, among, "amin")  # (B, target)
        lost = (winner.gather(1, claim) != number).to(cost.dtype)
        cost.scatter_add_(2, claim[:, :, None], lost[:, :, None])
    # winners, then cells that stay, then the rest in order; the last column is where nobody belongs
    source = F.pad(winner, (0, 1), value=cells)
    moved = torch.zeros_like(source, dtype=torch.bool).scatter_(1, source, True)[:, :cells]
    stays = (winner == cells) & ~moved
    winner = torch.where(stays, number, winner)
    free_source, free_target = ~moved & ~stays, winner == cells
    order = torch.where(free_source, free_source.cumsum(1) - 1, cells)  # the k-th free source
    kth = source.new_zeros(source.shape).scatter_(1, order, number)
    rest = kth.gather(1, (free_target.cumsum(1) - 1).clamp_min(0))
    return torch.where(free_target, rest, winner)


@functools.lru_cache(maxsize=8)
def price_of_distance(rows: int, columns: int, t_eps: float, device: torch.device | str = "cpu") -> Tensor:
    """(R * C, R * C) float32, what `transport` asks for the distance between two cells."""
    squared = _squared_distance(rows, columns)
    return (t_eps * squared.double() / max(max(rows, columns) - 1, 1) ** 2).float().to(device)


@functools.lru_cache(maxsize=8)
def _nearest_first(rows: int, columns: int, t_eps: float) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(R * C, R * C) each: the cells by distance from each cell, and the price of their distance."""
    order = _squared_distance(rows, columns).argsort(dim=1, stable=True)
    price = price_of_distance(rows, columns, t_eps).gather(1, order)
    return order.int().numpy(), price.numpy()


def _squared_distance(rows: int, columns: int) -> Tensor:
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    place = torch.stack([row.flatten(), column.flatten()], 1)
    return (place[:, None] - place).square().sum(2)
