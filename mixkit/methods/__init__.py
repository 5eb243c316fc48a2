"""The methods: each draws what is random, then calls its pure function in `mixkit.functional`.

Example:
    >>> from mixkit import create_mixer
    >>> create_mixer(CutMix(alpha=0.5), domain="image", num_classes=10).method
    CutMix(alpha=0.5, per_sample=False, bands=False)
"""

from mixkit.methods.attentivemix import AttentiveMix
from mixkit.methods.base import Method, PlanContext
from mixkit.methods.cmixup import CMixup
from mixkit.methods.cutmix import CutMix, SaliencyMix
from mixkit.methods.fmix import FMix
from mixkit.methods.gridmix import GridMix
from mixkit.methods.guidedmixup import GuidedMixup
from mixkit.methods.mixup import ManifoldMixup, Mixup, PointMixup
from mixkit.methods.pointcutmix import PointCutMixK, PointCutMixR
from mixkit.methods.recursivemix import RecursiveMix
from mixkit.methods.remix import Remix
from mixkit.methods.resizemix import ResizeMix
from mixkit.methods.rsmix import RSMix
from mixkit.methods.sagemix import SageMix
from mixkit.methods.saliencygrafting import SaliencyGrafting
from mixkit.methods.smmix import SMMix
from mixkit.methods.smoothmix import SmoothMix
from mixkit.methods.snapmix import SnapMix
from mixkit.methods.wolfmix import WOLFMix

__all__ = [
    "AttentiveMix",
    "CMixup",
    "CutMix",
    "FMix",
    "GridMix",
    "GuidedMixup",
    "ManifoldMixup",
    "Method",
    "Mixup",
    "PlanContext",
    "PointCutMixK",
    "PointCutMixR",
    "PointMixup",
    "RSMix",
    "RecursiveMix",
    "Remix",
    "ResizeMix",
    "SMMix",
    "SageMix",
    "SaliencyGrafting",
    "SaliencyMix",
    "SmoothMix",
    "SnapMix",
    "WOLFMix",
]
