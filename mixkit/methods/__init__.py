"""The methods: each draws what is random, then calls its pure function in `mixkit.functional`."""

from mixkit.methods.base import Method
from mixkit.methods.mixup import Mixup, PointMixup
from mixkit.methods.sagemix import SageMix

__all__ = ["Method", "Mixup", "PointMixup", "SageMix"]
