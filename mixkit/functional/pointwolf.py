"""A cloud warped smoothly around a few anchors: PointWOLF."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit.checks import check_coords, check_numbers, check_positive


def pointwolf(
    coords: Tensor, start: Tensor, angle: Tensor, scale: Tensor, shift: Tensor, axes: Tensor, sigma: float = 0.5
) -> Tensor:
    """Coordinates warped by local transforms around anchors, blended by a kernel (Kim et al., ICCV 2021, Eq. 1 to 5).

    Anchors are farthest points. Each turns the cloud about itself, scales and shifts it; a point goes to the mean of
    what the anchors make of it, weighed by a Gaussian of its distance from them, which is measured along some of the
    axes only. The cloud keeps its centre, and its largest distance from there.

    Args:
        coords: (B, N, 3), where the points are.
        start: (B,) in [0, 1), which point is the first anchor.
        angle: (B, M, 3), radians about the axes x, y, z, in this order, of each of M anchors.
        scale: (B, M, 3) > 0, along the axes.
        shift: (B, M, 3), in the units of the coordinates.
        axes: (B, 3) of 0 and 1, along which the distance from an anchor is measured.
        sigma: the kernel's width, > 0, in the units of the coordinates. Default 0.5.

    Returns:
        (B, N, 3) in the dtype of ``coords``, at least float32.

    Raises:
        TypeError: draws of another type.
        ValueError: draws of another shape, or out of range; coordinates that are not finite (all read on the CPU only).

    Example:
        >>> cloud, still = torch.randn(2, 64, 3), torch.zeros(2, 4, 3)  # four anchors that move nothing
        >>> warped = pointwolf(cloud, torch.rand(2), still, still + 1, still, axes=torch.ones(2, 3))
        >>> torch.allclose(warped, cloud, atol=1e-5)
        True
    """
    check_coords(coords)
    size, _, dim = coords.shape
    if dim != 3:
        raise ValueError(f"coords must be (B, N, 3), got {tuple(coords.shape)}")
    check_numbers("start", start, ((size,),), 0, 1)
    anchors = angle.shape[1] if isinstance(angle, Tensor) and angle.dim() == 3 else 1
    for name, numbers in (("angle", angle), ("scale", scale), ("shift", shift)):
        check_numbers(name, numbers, ((size, max(anchors, 1), 3),), -1e9, 1e9)
    check_numbers("axes", axes, ((size, 3),), 0, 1)
    sigma = min(max(check_positive("sigma", sigma), 1e-9), 1e9)
    places = coords.to(torch.promote_types(coords.dtype, torch.float32))
    centre = places.mean(1, keepdim=True)
    local = places - centre
    anchor = local.gather(1, _farthest(local, start, anchors)[:, :, None].expand(-1, -1, 3))  # (B, M, 3)
    away = local[:, None] - anchor[:, :, None]  # (B, M, N, 3)
    with torch.autocast(places.device.type, enabled=False):  # no product in half precision
        turned = away @ _rotation(angle.to(places.dtype)).mT
    moved = turned * scale[:, :, None].to(places.dtype) + (anchor + shift.to(places.dtype))[:, :, None]
    apart = (away * axes[:, None, None].to(places.dtype)).square().sum(3)
    near = torch.softmax(-apart / (2 * sigma**2), 1)
    warped = (near[..., None] * moved).sum(1)
    warped = warped - warped.mean(1, keepdim=True)
    before, now = (torch.linalg.vector_norm(each, dim=2).amax(1)[:, None, None] for each in (local, warped))
    return centre + torch.where(now > 0, warped * (before / now), local)


def _farthest(places: Tensor, start: Tensor, count: int) -> Tensor:
    """(B, M) long, points each of which is the farthest from those before it; the first by a number in [0, 1)."""
    size = places.shape[1]
    chosen = [(start * size).long().clamp_max(size - 1)]
    nearest = torch.full(places.shape[:2], torch.inf, dtype=places.dtype, device=places.device)
    for _ in range(count - 1):
        at = places.gather(1, chosen[-1][:, None, None].expand(-1, 1, 3))
        nearest = torch.minimum(nearest, (places - at).square().sum(2))
        chosen.append(nearest.argmax(1))
    return torch.stack(chosen, 1)


def _rotation(angle: Tensor) -> Tensor:
    """(..., 3, 3) the turn about x, then y, then z, of angles (..., 3)."""
    (sx, sy, sz), (cx, cy, cz) = angle.sin().unbind(-1), angle.cos().unbind(-1)
    rows = (
        (cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
        (sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
        (-sy, cy * sx, cy * cx),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
