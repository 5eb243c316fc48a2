"""The domain of point sets: batches (B, N, 3 + extra channels)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mixkit import Domain, ElementSet, MixPlan, assign, register_domain
from mixkit.arrays import concatenate
from mixkit.channels import ambiguous
from mixkit.checks import LARGEST_COORDINATE, check_count, check_not_negative, check_positive
from mixkit.domain import describe
from mixkit.ragged import Packed, Pairing, RaggedPlan, RaggedSet, check_size, pair_up
from mixkit.ragged.matching import match
from mixkit.ragged.pairing import Size
from mixkit_points.channels import Channels


@register_domain("points")
class PointSet(Domain):
    """Point clouds, floating point, any N: coordinates first, then further channels such as normals.

    Two clouds are paired by the assignment of least total distance, and coordinates are mixed as any other channel.
    Channels are plain values, such as colours, unless ``channels`` says otherwise.

    Args:
        layout: "bnc" for (B, N, C), the default; "bcn" for (B, C, N), as convolutional point networks take it.
        num_coords: D, how many of the channels are coordinates. Default 3.
        radius: the radius of the sphere that the clouds are scaled to, in their units; the length scale is 0.3 of it.
            Default 1.
        solver: see `mixkit.assign`; "identity" pairs points in their order: the naive variant. Default "auto".
        tolerance: an assignment's cost may exceed the least possible by this, relatively. Default 0.05.
        assign_options: further options of `mixkit.assign`.
        channels: which channels are copies of coordinates, unit vectors or ids. Default None: none.
        size: how many points a mix of clouds of different sizes has: "own" for as many as the cloud itself, the
            default; "mean" and "larger" of the cloud and its partner; or a number (`mixkit.ragged.pair_up`).

    Raises:
        TypeError: an option of another type.
        ValueError: an unknown layout or size, num_coords or radius <= 0, a tolerance below 0.

    Example:
        >>> import mixkit
        >>> mixer = mixkit.create_mixer("pointmixup", domain="points", num_classes=3, layout="bcn", tolerance=0.01)
        >>> mixer(torch.randn(4, 6, 64), torch.tensor([0, 1, 2, 0]))[0].shape  # coordinates and normals, channels first
        torch.Size([4, 6, 64])
    """

    def __init__(
        self,
        layout: str = "bnc",
        num_coords: int = 3,
        radius: float = 1.0,
        solver: str = "auto",
        tolerance: float = 0.05,
        assign_options: Mapping[str, Any] | None = None,
        channels: Channels | None = None,
        size: Size = "own",
    ) -> None:
        if layout not in ("bnc", "bcn"):
            raise ValueError(f"layout must be 'bnc' or 'bcn', got {layout!r}")
        if channels is not None and not isinstance(channels, Channels):
            raise TypeError(f"channels must be mixkit_points.Channels, got {channels!r}")
        self.layout = layout
        self.num_coords = check_count("num_coords", num_coords)
        self.radius = check_positive("radius", radius, limit=LARGEST_COORDINATE)
        self.solver = solver
        self.tolerance = check_not_negative("tolerance", tolerance)
        self.assign_options = dict(assign_options or {})
        self.channels = channels
        self.size = check_size(size)

    def elements(self, batch: Tensor) -> ElementSet:
        """See `Domain.elements`."""
        wanted = "(B, N, C)" if self.layout == "bnc" else "(B, C, N)"
        if not isinstance(batch, Tensor) or batch.dim() != 3:
            got = tuple(batch.shape) if isinstance(batch, Tensor) else type(batch).__name__
            raise ValueError(f"point clouds must be {wanted} for layout={self.layout!r}, got {got}")
        if not batch.is_floating_point():
            raise TypeError(f"point clouds must be floating point to be mixed, got {batch.dtype}")
        points = batch if self.layout == "bnc" else batch.mT
        if points.shape[2] < self.num_coords or not points.numel():
            raise ValueError(
                f"point clouds must be {wanted} with B, N >= 1 and C >= {self.num_coords}, got {tuple(batch.shape)}"
            )
        if points.shape[1] <= 16 and points.shape[2] >= 64:
            warnings.warn(
                f"a batch {tuple(batch.shape)} in layout={self.layout!r} means clouds of {points.shape[1]} points with "
                f"{points.shape[2]} channels each; is it the other layout?",
                stacklevel=2,
            )
        coords, values = points[:, :, : self.num_coords], points[:, :, self.num_coords :]
        return ElementSet(coords, values, length_scale=0.3 * self.radius)

    def ragged_elements(self, packed: Packed) -> RaggedSet:
        """See `Domain.ragged_elements`."""
        rows = packed.rows
        if not rows.is_floating_point():
            raise TypeError(f"point clouds must be floating point to be mixed, got {rows.dtype}")
        if rows.shape[1] < self.num_coords:
            raise ValueError(f"point clouds must be (n_i, C) with C >= {self.num_coords}, got C = {rows.shape[1]}")
        if self.layout != "bnc":
            raise ValueError("clouds of different sizes are (n_i, C) each: layout must be 'bnc', got 'bcn'")
        if self.channels is not None:
            self.channels.check(self.num_coords, rows.shape[1])
        coords, values = rows[:, : self.num_coords], rows[:, self.num_coords :]
        return RaggedSet(coords, values, packed.offsets, length_scale=0.3 * self.radius)

    def pair(
        self, elements: RaggedSet, partner: Tensor, generator: torch.Generator | None = None, matched: bool = True
    ) -> Pairing:
        """See `Domain.pair`."""

        def matching(a: Packed, b: Packed) -> Tensor:
            return match(a, b, tolerance=self.tolerance, solver=self.solver, options=self.assign_options)

        way = matching if matched and self.solver != "identity" else None
        return pair_up(elements, partner, self.size, way, generator)

    def mix_ragged(self, plan: RaggedPlan, elements: RaggedSet) -> Tensor:
        """See `Domain.mix_ragged`."""
        if self.channels is None:
            return super().mix_ragged(plan, elements)
        coords = plan.apply_coords(elements.coords, finite=True)
        return concatenate([coords, self.channels.mix_ragged(plan, elements)], 1)

    def batch(self, elements: ElementSet, like: Tensor) -> Tensor:
        """See `Domain.batch`."""
        points = concatenate([elements.coords, elements.values.to(elements.coords.dtype)], 2)
        return points if self.layout == "bnc" else points.mT.contiguous()

    def mix(self, plan: MixPlan, elements: ElementSet, like: Tensor) -> Tensor:
        """See `Domain.mix`; channels are mixed as their kinds want it."""
        if self.channels is None:
            return super().mix(plan, elements, like)
        self.channels.check(self.num_coords, self.num_coords + elements.values.shape[2])
        coords = plan.apply_coords(elements.coords, finite=True)
        return self.batch(ElementSet(coords, self.channels.mix(plan, elements)), like)

    def assign(self, coords_a: Tensor, coords_b: Tensor) -> Tensor | None:
        """(B, N) the point of b that each point of a is paired with, at the least total distance within `tolerance`."""
        if self.solver == "identity":
            return None
        return assign(coords_a, coords_b, tolerance=self.tolerance, solver=self.solver, **self.assign_options).index

    def feature_elements(
        self, activation: Any, elements: ElementSet, channels_last: bool | None = None
    ) -> ElementSet | None:
        """Per-point features (B, C, N) or (B, N, C), or a set abstraction's (coordinates, features), as points.

        Features alone belong to the input's points. A tuple of coordinates (B, S, 3) or (B, 3, S) and features
        (B, C, S) or (B, S, C) is a set of its own, whose assignment is computed anew. A vector (B, C), or a set of one
        point, is mixed by the ratio of the sample.
        """
        if isinstance(activation, (tuple, list)) and len(activation) == 2:
            coords, values = activation
            if not isinstance(values, Tensor) or values.dim() != 3:
                return super().feature_elements(activation, elements)
            if coords is None or 1 in values.shape[1:]:
                return None
            points = self._coords_of(coords)
            values = self._by_point(values, points.shape[1], channels_last)
            return ElementSet(points, values, length_scale=elements.length_scale)
        if not isinstance(activation, Tensor) or activation.dim() != 3:
            return super().feature_elements(activation, elements)
        size = elements.num_elements
        if 1 in activation.shape[1:] and size > 1:  # one point with C channels, or one channel
            if size not in activation.shape[1:]:
                return None
            if channels_last is None:
                raise ambiguous(activation, "(B, C, n)", "(B, n, C)")
            if channels_last != (activation.shape[2] == 1):
                return None
        values = self._by_point(activation, size, channels_last)
        return ElementSet(elements.coords, values, length_scale=elements.length_scale)

    def mix_feature(
        self, plan: MixPlan, activation: Any, features: ElementSet | None, channels_last: bool | None = None
    ) -> Any:
        """See `Domain.mix_feature`: coordinates, where a layer returns them, are mixed with the features."""
        if isinstance(activation, (tuple, list)):
            coords, values = activation
            mixed = self.mix_feature(plan, values, features, channels_last)
            if coords is not None:
                points = self._coords_of(coords)
                moved = plan.pooled().apply(points) if features is None else plan.apply_coords(points)
                coords = moved if points is coords else moved.mT.contiguous()
            return type(activation)([coords, mixed])
        if features is None:
            return super().mix_feature(plan, activation, features)
        values = self._by_point(activation, features.num_elements, channels_last)
        mixed = plan.apply(values)
        return mixed if values is activation else mixed.mT.contiguous()

    def _coords_of(self, tensor: Tensor) -> Tensor:
        """(B, points, D) the view of a layer's coordinates; where both sides fit, their channels come last."""
        if not isinstance(tensor, Tensor) or tensor.dim() != 3 or self.num_coords not in tensor.shape[1:]:
            raise ValueError(f"{describe(tensor)} does not have {self.num_coords} coordinates on one of its sides")
        return tensor if tensor.shape[2] == self.num_coords else tensor.mT

    def _by_point(self, tensor: Tensor, size: int, channels_last: bool | None) -> Tensor:
        """(B, points, channels): the view in which ``size`` counts the points."""
        if tensor.dim() != 3 or size not in tensor.shape[1:]:
            raise ValueError(f"{describe(tensor)} does not have {size} points on one of its sides")
        if tensor.shape[1] == tensor.shape[2] and channels_last is None:
            raise ambiguous(tensor, "(B, C, n)", "(B, n, C)")
        return tensor if tensor.shape[1] == size and (tensor.shape[2] != size or channels_last) else tensor.mT
