"""Co-Mixup: groups of inputs made into as many outputs, salient, smooth and unlike each other."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit import MixPlan
from mixkit.checks import check_count, check_index, check_not_negative, check_number, check_numbers
from mixkit_image.functional.cells import cell_of_pixel, cell_saliency, check_grid, check_saliency, usable_saliency
from mixkit_image.solvers.groups import MAX_COLUMNS, solve_groups


def comixup(
    saliency: Tensor,
    grid: tuple[int, int],
    log_prior: Tensor,
    initial: Tensor,
    *,
    cells: int = 4,
    group: int = 20,
    beta: float = 0.32,
    gamma: float = 1.0,
    eta: float = 0.05,
    tau: float = 0.83,
    omega: float = 0.001,
    sweeps: int = 4,
) -> MixPlan:
    """Saliency guided joint mixup with supermodular diversity (Kim et al. 2021).

    Consecutive samples form groups of m = ``group``, the last one of what is left. Each group's m inputs give m
    outputs of cells, each cell an input or half of two, found by sweeps that lower the group's objective.

    Args:
        saliency: (B, N) >= 0; an image where it is all zero or not all finite counts as equally salient everywhere.
        grid: (H, W), N = H * W in row-major order.
        log_prior: (B,) log of each input's share in its group, ``d ~ Dirichlet(alpha)`` over the group.
        initial: (B, cells) long, the input of its group that each cell of each output starts from, counted from 0.
            The number of cells is that of `cell_shape`.
        cells: cells along each side, at most 8; an image with a shorter side has one cell per pixel there.
        group: m.
        beta: weight of smoothness, divided by the number of cells.
        gamma: weight of diversity, divided by the number of cells.
        eta: weight of the prior, divided by the number of cells.
        tau: share of an output from which on an input that the others use counts as used enough.
        omega: share of the distance between the inputs' salient places in the compatibility.
        sweeps: at most so many.

    Returns:
        A plan with K = 2 and a source per element: the input twice at weights 1 and 0, or two inputs at 1/2 each.

    Raises:
        TypeError: draws of another type.
        ValueError: draws of another shape, or out of range (read on the CPU only); options too.

    Example:
        >>> saliency, prior = torch.rand(4, 64), torch.full((4,), 0.25).log()
        >>> plan = comixup(saliency, (8, 8), prior, torch.randint(4, (4, 16)), cells=4, group=4)
        >>> plan.apply(torch.rand(4, 64, 3)).shape
        torch.Size([4, 64, 3])
    """
    check_grid(grid)
    rows, columns = cell_shape(grid, cells)
    size, number = check_saliency(saliency, grid), rows * columns
    check_count("group", group)
    check_count("sweeps", sweeps, 0)
    check_number("tau", tau)
    for name, option in {"beta": beta, "gamma": gamma, "eta": eta}.items():
        check_not_negative(name, option)
    if not 0 <= check_number("omega", omega) <= 1:
        raise ValueError(f"omega must lie in [0, 1], got {omega}")
    check_numbers("log_prior", log_prior, ((size,),), -1e6, 1e6)
    members = min(group, size)
    check_index("initial", initial, (size, number), members)
    if size % members:  # the last group is smaller
        check_index("initial", initial[size // members * members :], (size % members, number), size % members)
    unary = -cell_saliency(saliency, grid, rows, columns).flatten(1) - (eta / number) * log_prior.float()[:, None]
    place = salient_places(saliency, grid)
    weights = (beta / number, gamma / number, tau * number)
    labellings = []
    full = size // group * group
    for start, stop, members in ((0, full, group), (full, size, size - full)):
        if start < stop:
            parts = [t[start:stop].unflatten(0, (-1, members)) for t in (unary, place, initial)]
            pairs = solve_groups(parts[0], compatibility(parts[1], omega), (rows, columns), weights, parts[2], sweeps)
            first = torch.arange(start, stop, members, device=saliency.device)[:, None, None, None]
            labellings.append((pairs + first).flatten(0, 1))
    pairs = torch.cat(labellings).mT  # (B, 2, cells)
    share = torch.where(pairs[:, 0] == pairs[:, 1], 1.0, 0.5)
    at = cell_of_pixel(grid, rows, columns, saliency.device)
    weight = torch.stack([share, 1 - share], 1)
    return MixPlan(pairs.index_select(2, at), None, weight.index_select(2, at))


def cell_shape(grid: tuple[int, int], cells: int) -> tuple[int, int]:
    """Rows and columns of cells on an image; ValueError for cells out of 1 to 8."""
    check_count("cells", cells, 1, MAX_COLUMNS)
    return min(cells, grid[0]), min(cells, grid[1])


def salient_places(saliency: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, 2) the row and column of each image's most salient window of a quarter of its sides; of equals the first."""
    height, width = (max(size // 4, 1) for size in grid)
    maps = usable_saliency(saliency).unflatten(1, grid)
    maps = maps.to(torch.float32 if maps.device.type == "mps" else torch.float64)  # differences of sums need digits
    sums = torch.nn.functional.pad(maps, (1, 0, 1, 0)).cumsum(1).cumsum(2)
    tall = sums[:, height:] - sums[:, :-height]
    windows = tall[:, :, width:] - tall[:, :, :-width]
    best = windows.flatten(1).argmax(1)
    return torch.stack([best // windows.shape[2], best % windows.shape[2]], 1)


def compatibility(place: Tensor, omega: float) -> Tensor:
    """(G, m, m) A = (1 - omega) I + omega m D / sum(D), D the L1 distances between places (G, m, 2)."""
    members = place.shape[1]
    distance = (place[:, :, None] - place[:, None]).abs().sum(3).float()
    total = distance.sum((1, 2), keepdim=True)
    own = torch.eye(members, device=place.device)
    return (1 - omega) * own + omega * members * distance / torch.where(total > 0, total, 1.0)
