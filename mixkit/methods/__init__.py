"""The methods: each draws what is random, then calls its pure function in `mixkit.functional`."""

from mixkit.methods.base import Method, PlanContext
from mixkit.methods.cutmix import CutMix, SaliencyMix
from mixkit.methods.guidedmixup import GuidedMixup
from mixkit.methods.mixup import ManifoldMixup, Mixup, PointMixup
from mixkit.methods.pointcutmix import PointCutMixK, PointCutMixR
from mixkit.methods.rsmix import RSMix
from mixkit.methods.sagemix import SageMix

__all__ = [
    "CutMix",
    "GuidedMixup",
    "ManifoldMixup",
    "Method",
    "Mixup",
    "PlanContext",
    "PointCutMixK",
    "PointCutMixR",
    "PointMixup",
    "RSMix",
    "SageMix",
    "SaliencyMix",
]
