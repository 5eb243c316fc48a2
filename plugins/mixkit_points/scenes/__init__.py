"""Scenes for mixkit: LiDAR scans and rooms with labels of their points, and the methods that mix them."""

from mixkit_points.scenes import functional
from mixkit_points.scenes.boxes import mix_boxes
from mixkit_points.scenes.domain import Scene
from mixkit_points.scenes.methods import LaserMix, Mix3D, PolarMix, SageMixScene

__all__ = ["LaserMix", "Mix3D", "PolarMix", "SageMixScene", "Scene", "functional", "mix_boxes"]
