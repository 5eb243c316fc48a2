"""Who is near whom: k nearest neighbours, balls, farthest point sampling, interpolation. What is done with the
neighbours' features is in `layers`.

Plain torch, or compiled loops on the CPU where `fast` is on; both are deterministic. Nothing here is differentiated but
the values that `interpolate` takes, and distances are float32 or more, under autocast too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.models import fast
from experiments.models.fast import neighbours as compiled
from experiments.models.layers import gather

CHUNK = 2**24  # scores held at once: 64 MiB of float32


@torch.no_grad()
def nearest(points: Tensor, k: int, queries: Tensor | None = None) -> Tensor:
    """The k nearest points of each query, nearest first.

    Args:
        points: (B, N, C), coordinates or features.
        k: how many; all N where there are fewer.
        queries: (B, S, C). Default: the points themselves, each of which is then its own first neighbour.

    Returns:
        Indices (B, S, min(k, N)) long.
    """
    own = queries is None
    points, queries = _full(points), _full(points if queries is None else queries)
    device, batch, rows, columns = points.device, len(points), queries.shape[1], points.shape[1]
    index = torch.empty(batch, rows, min(k, columns), dtype=torch.long, device=device)
    # Among the neighbours of one query, |q - p|^2 orders as |p|^2 / 2 - q p does: one matrix product.
    half = points.square().sum(2).mul(-0.5)[:, None]
    quick = _compiled(points)
    step = torch.get_num_threads() if quick else max(1, CHUNK // (rows * columns))
    for start in range(0, batch, step):
        some = slice(start, start + step)
        with torch.autocast(device.type, enabled=False):
            scores = torch.baddbmm(half[some], queries[some], points[some].mT)
        if own:
            scores.diagonal(dim1=1, dim2=2).fill_(torch.inf)
        if quick:
            compiled.largest(scores, index[some])
        else:
            index[some] = scores.topk(index.shape[2], dim=2).indices
    return index


@torch.no_grad()
def farthest_points(coords: Tensor, count: int, start: Tensor | None = None) -> Tensor:
    """Farthest point sampling: each next point is the farthest from those taken, the first of them at a tie.

    Args:
        coords: (B, N, 3).
        count: how many; beyond N, or beyond the points that differ, some come again.
        start: (B,) long, the first point of each sample. Default: index 0.

    Returns:
        Indices (B, count) long.
    """
    coords = _full(coords)
    index = torch.zeros(len(coords), count, dtype=torch.long, device=coords.device)
    first = index[:, 0] if start is None else start.to(coords.device)
    if _compiled(coords):
        return compiled.farthest_points(coords, first, index)
    distance = torch.full(coords.shape[:2], torch.inf, device=coords.device, dtype=coords.dtype)
    current = first[:, None]
    for place in range(count):
        index[:, place] = current[:, 0]
        taken = coords.gather(1, current[:, :, None].expand(-1, -1, 3))
        distance = torch.minimum(distance, (coords - taken).square().sum(2))
        current = distance.argmax(1, keepdim=True)
    return index


@torch.no_grad()
def ball_query(coords: Tensor, centres: Tensor, radius: float, count: int) -> Tensor:
    """Up to ``count`` points nearer than the radius to each centre: the first in the points' order.

    Where there are fewer, the first fills up; where there is none, point 0 does.

    Args:
        coords: (B, N, 3).
        centres: (B, S, 3).
        radius: the ball's radius in the coordinates' units.
        count: points per ball.

    Returns:
        Indices (B, S, count) long.
    """
    coords, centres = _full(coords), _full(centres)
    if _compiled(coords):
        return compiled.ball_query(coords, centres, radius, count)
    size = coords.shape[1]
    gaps = sum((centres[:, :, None, axis] - coords[:, None, :, axis]).square() for axis in range(3))
    places = torch.where(torch.as_tensor(gaps) < radius * radius, torch.arange(size, device=coords.device), size)
    index = places.topk(min(count, size), dim=2, largest=False, sorted=True).values
    index = torch.cat([index, index.new_full((*index.shape[:2], count - index.shape[2]), size)], 2)
    first = index[:, :, :1]
    return torch.where(index < size, index, torch.where(first < size, first, 0))


def interpolate(coords: Tensor, sources: Tensor, values: Tensor, k: int = 3) -> Tensor:
    """Values at the points: the mean of the k nearest sources, weighted by the inverse of the squared distance.

    The weights are constants to the gradient, as in PointNet++ (Qi et al. 2017, arXiv 1706.02413, equation 2).

    Args:
        coords: (B, N, 3), where to.
        sources: (B, S, 3), where from.
        values: (B, S, C).
        k: sources per point; all S where there are fewer.

    Returns:
        (B, N, C) in the dtype of the values.
    """
    with torch.no_grad():
        coords, sources = _full(coords), _full(sources)
        index = nearest(sources, k, coords)
        places = sources.gather(1, index.flatten(1)[:, :, None].expand(-1, -1, 3)).unflatten(1, index.shape[1:])
        weight = 1 / ((coords[:, :, None] - places).square().sum(3) + 1e-8)
        weight = (weight / weight.sum(2, keepdim=True)).to(values.dtype)
    return (gather(values, index) * weight[..., None]).sum(2)


def _compiled(tensor: Tensor) -> bool:
    return fast.is_on() and tensor.device.type == "cpu"


def _full(tensor: Tensor) -> Tensor:
    """Detached, contiguous, in float32 or more."""
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32)).contiguous()
