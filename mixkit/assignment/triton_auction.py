"""The assignment of point clouds on a GPU: prepares the arrays of `triton_kernel` and launches it once for a batch.

Input checks, centring, the float64 certificate and exact finishing live in the public `mixkit.assign`; devices without
Triton are served by `torch_auction`. docs/notes/assignment-gpu.md explains the algorithm.
"""

from __future__ import annotations

import torch
import triton

from mixkit.assignment import torch_auction
from mixkit.assignment.triton_kernel import auction

MAX_POINTS = 16384
"""Larger clouds go to `torch_auction`: the path search keeps one value per target in the registers of its program."""
PAD = 256  # targets are padded to a multiple of this, at an infinite price
FLOOR = 1e-6  # the least epsilon: a few float32 steps of the prices of clouds of about unit size


def solve(coords_a: torch.Tensor, coords_b: torch.Tensor, tolerance: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Match the rows of two batches of point clouds at a total L2 distance within `tolerance` of the least.

    Args:
        coords_a: (B, N, D) float32, centred and scaled to about unit size, on a CUDA device (any under
            TRITON_INTERPRET=1).
        coords_b: (B, N, D), likewise.
        tolerance: relative gap at which to stop, by the kernel's own certificate; 0 goes down to the least
            epsilon that float32 supports.

    Returns:
        index (B, N) long, always a bijection: row i of a is matched with row index[b, i] of b.
        price (B, N) float32 of b's rows, from which the caller certifies the gap.
    """
    index, price, _ = solve_counted(coords_a, coords_b, tolerance)
    return index, price


def solve_counted(
    coords_a: torch.Tensor, coords_b: torch.Tensor, tolerance: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Like `solve`, and what each pair took (None where the kernel was not needed).

    That is (B, 5) int32: phases, rounds of bids, bids, steps of the path searches, and rows that these scanned.
    """
    batch, n, dims = coords_a.shape
    if n > MAX_POINTS:
        return (*torch_auction.solve(coords_a, coords_b, tolerance), None)
    if n < 2 or batch == 0:
        index = torch.zeros(batch, n, dtype=torch.long, device=coords_a.device)
        return index, torch.zeros(batch, n, device=coords_a.device), None
    stride = -(-n // PAD) * PAD
    rows, targets = (_by_dimension(torch_auction.tame(coords), stride) for coords in (coords_a, coords_b))
    price = torch.empty(batch, stride, device=rows.device)
    match = torch.empty(batch, stride, dtype=torch.int32, device=rows.device)
    integers = torch.empty(batch, 4, stride, dtype=torch.int32, device=rows.device)
    floats = torch.empty(batch, 2, stride, device=rows.device)
    counts = torch.empty(batch, 5, dtype=torch.int32, device=rows.device)
    block = triton.next_power_of_2(stride)
    with torch.cuda.device_of(rows):
        auction[(batch,)](
            rows, targets, price, match, integers, floats, counts, float(tolerance), FLOOR, 2 * dims**0.5, n, stride,
            BLOCK=block, D=dims, num_warps=8 if block <= 4096 else 16, enable_fp_fusion=True,
        )  # fmt: skip
    return match[:, :n].long(), price[:, :n].contiguous(), counts


def _by_dimension(coords: torch.Tensor, stride: int) -> torch.Tensor:
    """(B, N, D) -> (B, D, stride) float32: neighbouring threads read neighbouring words; the padding is zeros."""
    out = coords.new_zeros(coords.shape[0], coords.shape[2], stride, dtype=torch.float32)
    out[:, :, : coords.shape[1]] = coords.transpose(1, 2)
    return out
