"""Point clouds for mixkit: point sets as a domain, paired by an optimal assignment."""

from mixkit_points.channels import Channels
from mixkit_points.domain import PointSet

__all__ = ["Channels", "PointSet"]
