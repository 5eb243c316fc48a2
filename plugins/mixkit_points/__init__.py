"""Point clouds for mixkit: point sets as a domain, paired by an optimal assignment; and whole scenes."""

from mixkit_points import scenes
from mixkit_points.channels import Channels
from mixkit_points.domain import PointSet
from mixkit_points.scenes import Scene

__all__ = ["Channels", "PointSet", "Scene", "scenes"]
