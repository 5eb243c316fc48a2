"""Pure functions, one per method: its draws in, its plan out. Nothing here is random and nothing knows a domain."""

from mixkit.functional.cutmix import cutmix, saliencymix
from mixkit.functional.guidedmixup import guidedmixup
from mixkit.functional.mixup import mixup, pointmixup
from mixkit.functional.pointcutmix import pointcutmix_k, pointcutmix_r
from mixkit.functional.rsmix import rsmix
from mixkit.functional.sagemix import sagemix

__all__ = [
    "cutmix",
    "guidedmixup",
    "mixup",
    "pointcutmix_k",
    "pointcutmix_r",
    "pointmixup",
    "rsmix",
    "sagemix",
    "saliencymix",
]
