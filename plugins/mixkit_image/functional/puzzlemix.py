"""Puzzle Mix: a mask with levels 0, 1/2 and 1 by graph cut, and both images' salient cells moved under it."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mixkit import MixPlan
from mixkit.checks import (
    check_count,
    check_flag,
    check_not_negative,
    check_numbers,
    check_partner,
    check_positive,
)
from mixkit_image.functional.cells import (
    cell_corners,
    cell_means,
    cell_of_pixel,
    cell_saliency,
    check_grid,
    check_saliency,
    per_channel,
)
from mixkit_image.solvers.mask import solve_mask
from mixkit_image.solvers.transport import transport as solve_transport

_POOL = 4  # pixels: the side of the patches whose difference is the data's smoothness
_PRIOR_FLOOR = 1e-8  # under the logarithm of the prior


def puzzlemix(
    values: Tensor,
    grid: tuple[int, int],
    saliency: Tensor,
    partner: Tensor,
    ratio: Tensor,
    cells: int,
    *,
    beta: float = 1.2,
    gamma: float = 0.5,
    eta: float = 0.2,
    transport: bool = True,
    t_eps: float = 0.8,
    block: int | None = None,
    std: Sequence[float] | Tensor | None = None,
) -> MixPlan:
    """Exploit saliency and local statistics for optimal mixup (Kim, Choo and Song 2020).

    The mask minimises the saliency that is lost, less smooth the less its neighbours' pixels differ, with a binomial
    prior around ``ratio``; it is the exact minimum on a CPU, within 0.1 % elsewhere. Then each image is rearranged so
    that its salient blocks come to lie where the mask shows it. ``x = mask * T_a(a) + (1 - mask) * T_b(b)``.

    Args:
        values: (B, N, C) the pixels, N = H * W in row-major order.
        grid: (H, W), any sides.
        saliency: (B, N) >= 0; an image where it is all zero or not all finite counts as equally salient everywhere.
        partner: (B,) long, the partner b of each sample a.
        ratio: (B,) or (1,) lambda, the prior weight of the sample itself, in [0, 1].
        cells: n, cells of the mask along each side, 1 to the shorter side; they need not divide it.
        beta: weight of the mask's smoothness, >= 0; ``beta / (16 n)`` is that of a border between cells.
        gamma: weight of the data's in it, >= 0.
        eta: weight of the prior, >= 0.
        transport: whether blocks move.
        t_eps: price of a block's way.
        block: side in pixels of the largest block that moves, never more than a cell's. Default: an eighth of the
            shorter side, the paper's 4 on CIFAR.
        std: (C,) the standard deviations by which pixels in [0, 1] were divided. Default: none.

    Returns:
        A plan with K = 2: term 0 the sample itself at the mask's level, term 1 its partner; both with their elements
        re-indexed, unless ``transport`` is off.

    Raises:
        TypeError: draws of another type.
        ValueError: draws of another shape, or out of range (read on the CPU only); options too.

    Example:
        >>> pixels, saliency = torch.rand(2, 64, 3), torch.rand(2, 64)
        >>> plan = puzzlemix(pixels, (8, 8), saliency, torch.tensor([1, 0]), torch.tensor([0.5]), cells=4)
        >>> plan.apply(pixels).shape
        torch.Size([2, 64, 3])
    """
    _check(values, grid, saliency, partner, ratio, cells)
    for name, option in {"beta": beta, "gamma": gamma, "eta": eta, "t_eps": t_eps}.items():
        check_not_negative(name, option)
    check_flag("transport", transport)
    if block is not None:
        check_count("block", block)
    std = per_channel("std", std, check_positive)
    if std is not None and len(std) not in (1, values.shape[2]):
        raise ValueError(f"std must have one number for each of {values.shape[2]} channels, got {len(std)}")
    images = values.detach().mT.unflatten(2, grid)
    unary, down, right = mask_problem(images, saliency, partner, ratio, cells, beta=beta, gamma=gamma, eta=eta, std=std)
    label = solve_mask(unary, down, right).flatten(1)  # (B, n * n)
    mask = (label.float() / 2).index_select(1, cell_of_pixel(grid, cells, cells, values.device))
    if not transport:
        return MixPlan.pair(partner, mask)
    block = max(min(grid) // 8, 1) if block is None else block
    # as many blocks to a cell as make them no larger than asked for, yet each has a pixel
    rows, columns = (cells * min(-(-size // (cells * block)), size // cells) for size in grid)
    inside = cell_of_pixel((rows, columns), cells, cells, values.device)
    level = label.index_select(1, inside)  # (B, blocks)
    worth = cell_saliency(saliency, grid, rows, columns)
    source = solve_transport(
        torch.cat([worth, worth.index_select(0, partner)]),
        torch.cat([level > 0, level < 2]).unflatten(1, (rows, columns)),
        t_eps,
    )
    index = pixel_index(source, grid, rows, columns).unflatten(0, (2, -1)).transpose(0, 1)
    own = torch.arange(len(partner), device=partner.device)
    return MixPlan(torch.stack([own, partner], 1)[:, :, None], index, torch.stack([mask, 1 - mask], 1))


def mask_problem(
    images: Tensor,
    saliency: Tensor,
    partner: Tensor,
    ratio: Tensor,
    cells: int,
    *,
    beta: float,
    gamma: float,
    eta: float,
    std: Sequence[float] | Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The energy of a mask of n x n cells: unaries (B, 3, n, n) of levels 0, 1/2, 1, and the weights of its borders.

    ``images`` are (B, C, H, W); the rest as for `puzzlemix`. All three results are float32, down (B, n - 1, n) and
    right (B, n, n - 1), as `solve_mask` takes them.
    """
    grid = (images.shape[2], images.shape[3])
    lost = cell_saliency(saliency, grid, cells, cells)
    with_b, with_a = lost, lost.index_select(0, partner)  # what the cell loses where it shows b, where it shows a
    patches = tuple(max(size // cells // _POOL, 1) for size in grid)  # per cell
    pooled = cell_means(images, cells * patches[0], cells * patches[1])
    if std is not None:
        pooled = pooled * _per_channel(tuple(float(s) for s in std), images.device)[:, None, None]
    smooth = beta / (16 * cells)
    weights = []
    for axis in (1, 2):
        aa, bb, ab, ba = _borders(pooled, partner, cells, patches, axis) * (smooth * gamma)
        with_a = with_a + _per_cell((ab + aa) / 2, (ba + aa) / 2, axis)
        with_b = with_b + _per_cell((ba + bb) / 2, (ab + bb) / 2, axis)
        weights.append(((ab + ba - aa - bb) / 2 + smooth).clamp_min(0))
    ratio = ratio.float()
    prior = torch.stack([(1 - ratio).square(), 2 * ratio * (1 - ratio), ratio.square()], 1)
    penalty = -(eta / cells**2) * torch.log(prior + _PRIOR_FLOOR)
    unary = torch.stack([with_b, (with_a + with_b) / 2, with_a], 1) + penalty[:, :, None, None]
    return unary, weights[0], weights[1]


def pixel_index(source: Tensor, grid: tuple[int, int], rows: int, columns: int) -> Tensor:
    """(B, N) long: the pixel that each pixel reads, given the source block of each block, (B, rows * columns).

    Between blocks of different sizes, which exist where the grid does not divide the image, a pixel reads the one at
    the same relative place.
    """
    block = cell_of_pixel(grid, rows, columns, source.device)  # (N,)
    corner, side = cell_corners(grid, rows, columns, source.device)  # (2, blocks) each
    number = torch.arange(block.shape[0], device=source.device)
    if grid[0] % rows == 0 and grid[1] % columns == 0:
        place = corner[0] * grid[1] + corner[1]
        return number + (place[source] - place).index_select(1, block)
    start = corner.index_select(1, block)
    offset = torch.stack([number // grid[1], number % grid[1]]) - start
    read = source.index_select(1, block)
    row, column = (corner[d][read] + offset[d] * side[d][read] // side[d].index_select(0, block) for d in range(2))
    return row * grid[1] + column


def _borders(pooled: Tensor, partner: Tensor, cells: int, patches: tuple[int, ...], axis: int) -> Tensor:
    """(4, B, ...) the mean absolute difference across each border between cells, for aa, bb, ab and ba.

    ``axis`` 1: between cells above each other, (B, n - 1, n); 2: side by side, (B, n, n - 1).
    """
    per_cell = patches[axis - 1]
    dim = axis + 1
    pooled = pooled.unflatten(dim, (cells, per_cell))
    first, second = pooled.select(dim + 1, per_cell - 1), pooled.select(dim + 1, 0)
    first, second = first.narrow(dim, 0, cells - 1), second.narrow(dim, 1, cells - 1)
    first_b, second_b = first.index_select(0, partner), second.index_select(0, partner)
    across = []
    for one, other in ((first, second), (first, second_b), (first_b, second)):
        patch = (one - other).abs_().mean(1)  # (B, ...) still by patch along the border
        along = 3 - axis
        across.append(patch.unflatten(along, (cells, patches[along - 1])).mean(along + 1))
    own, ab, ba = across
    return torch.stack([own, own.index_select(0, partner), ab, ba])


def _per_cell(first: Tensor, second: Tensor, axis: int) -> Tensor:
    """(B, n, n) what all borders add to each cell: ``first`` to the cell above or left of a border, ``second`` to the
    one below or right of it.
    """
    before, after = ((0, 0, 0, 1), (0, 0, 1, 0)) if axis == 1 else ((0, 1), (1, 0))
    return F.pad(first, before) + F.pad(second, after)


@functools.lru_cache(maxsize=8)
def _per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)


def _check(values: Tensor, grid: tuple[int, int], saliency: Tensor, partner: Tensor, ratio: Tensor, cells: int) -> None:
    check_grid(grid)
    size = check_saliency(saliency, grid)
    if not isinstance(values, Tensor) or values.is_complex():
        got = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise TypeError(f"values must be a tensor of real numbers, got {got}")
    if values.dim() != 3 or values.shape[:2] != saliency.shape or not values.shape[2]:
        raise ValueError(f"values must be (B, N, C) for saliency {tuple(saliency.shape)}, got {tuple(values.shape)}")
    check_partner(partner, size)
    check_numbers("ratio", ratio, ((size,), (1,)), 0, 1)
    check_count("cells", cells, 1, min(grid))
