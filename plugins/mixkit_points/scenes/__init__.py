"""Scenes for mixkit: LiDAR scans and rooms with labels of their points, and the methods that mix them.

Example:
    >>> import mixkit
    >>> scans = [torch.randn(50, 4), torch.randn(70, 4)]
    >>> mixer = mixkit.create_mixer("polarmix", domain="scene", num_classes=3, partners="previous")
    >>> mixed, targets = mixer(scans, [torch.randint(3, (50,)), torch.randint(3, (70,))])
    >>> len(mixed), mixed[0].shape[1], targets[0].shape[1]
    (2, 4, 3)
"""

from mixkit_points.scenes import functional
from mixkit_points.scenes.boxes import mix_boxes
from mixkit_points.scenes.domain import Scene
from mixkit_points.scenes.methods import LaserMix, Mix3D, PolarMix, SageMixScene

__all__ = ["LaserMix", "Mix3D", "PolarMix", "SageMixScene", "Scene", "functional", "mix_boxes"]
