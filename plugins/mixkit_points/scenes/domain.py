"""The domain of scenes: LiDAR scans and rooms, of tens of thousands of points each, with labels of the points."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mixkit import Domain, ElementSet, register_domain
from mixkit.arrays import concatenate
from mixkit.checks import LARGEST_COORDINATE, check_positive
from mixkit.ragged import Packed, Pairing, RaggedPlan, RaggedSet
from mixkit_points.channels import Channels


@register_domain("scene")
class Scene(Domain):
    """Scenes of any numbers of points: x, y and z in metres, z up, then further channels such as the intensity.

    They come in any form of samples of different sizes (`mixkit.ragged.open_form`). LaserMix and PolarMix take the
    sensor to be at the origin.

    Args:
        radius: how far the surroundings of a query reach on the ground, in metres; SageMix's region. Default 8.
        channels: which channels are copies of coordinates, unit vectors or ids. Default None: none.

    Raises:
        TypeError: a radius that is no number, or channels of another type.
        ValueError: a radius <= 0.

    Example:
        >>> import mixkit
        >>> mixer = mixkit.create_mixer("mix3d", domain="scene", num_classes=3, ignore_index=255)
        >>> scans = [torch.randn(50, 4), torch.randn(70, 4)]
        >>> labels = [torch.randint(3, (50,)), torch.full((70,), 255)]
        >>> mixed, targets = mixer(scans, labels)
        >>> mixed[0].shape[0] == targets[0].shape[0], targets[0].shape[1]
        (True, 3)
    """

    def __init__(self, radius: float = 8.0, channels: Channels | None = None) -> None:
        self.radius = check_positive("radius", radius, limit=LARGEST_COORDINATE)
        if channels is not None and not isinstance(channels, Channels):
            raise TypeError(f"channels must be mixkit_points.Channels, got {channels!r}")
        self.channels = channels

    pairs: ClassVar = False

    stacked: ClassVar = False

    def elements(self, batch: Tensor) -> ElementSet:
        """Scenes of one size are no batch of this domain."""
        got = f"a tensor {tuple(batch.shape)}" if isinstance(batch, Tensor) else type(batch).__name__
        raise TypeError(f"scenes must be a list of (n_i, C), or packed with their offsets, got {got}")

    def batch(self, elements: ElementSet, like: Tensor) -> Tensor:
        """See `elements`."""
        raise TypeError("scenes are mixed in the form in which they come")

    def ragged_elements(self, packed: Packed) -> RaggedSet:
        """See `Domain.ragged_elements`."""
        rows = packed.rows
        if not rows.is_floating_point():
            raise TypeError(f"scenes must be floating point, got {rows.dtype}")
        if rows.shape[1] < 3:
            raise ValueError(f"scenes must be (n_i, C) with x, y and z first, got C = {rows.shape[1]}")
        if self.channels is not None:
            self.channels.check(3, rows.shape[1])
        return RaggedSet(rows[:, :3], rows[:, 3:], packed.offsets, length_scale=self.radius)

    def pair(
        self, elements: RaggedSet, partner: Tensor, generator: torch.Generator | None = None, matched: bool = True
    ) -> Pairing:
        """Scenes have no pairing of all points: TypeError."""
        raise TypeError(
            "this method pairs the points of whole samples, which says nothing of scenes; "
            "those for scenes are mix3d, lasermix, polarmix and sagemix_scene"
        )

    def mix_ragged(self, plan: RaggedPlan, elements: RaggedSet) -> Tensor:
        """See `Domain.mix_ragged`."""
        if self.channels is None:
            return super().mix_ragged(plan, elements)
        coords = plan.apply_coords(elements.coords, finite=True)
        return concatenate([coords, self.channels.mix_ragged(plan, elements)], 1)
