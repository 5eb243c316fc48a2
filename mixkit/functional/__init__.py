"""Pure functions, one per method: its draws in, its plan out. Nothing here is random and nothing knows a domain.

Example:
    >>> coords = torch.rand(2, 100, 2)
    >>> plan = cutmix(coords, torch.tensor([1, 0]), None, centre=torch.full((1, 2), 0.5), half=torch.full((1, 2), 0.25))
    >>> plan.targets(torch.tensor([0, 1]), num_classes=2).shape
    torch.Size([2, 2])
"""

from mixkit.functional.attentivemix import attentivemix
from mixkit.functional.cutmix import cutmix, saliencymix
from mixkit.functional.fmix import fmix
from mixkit.functional.gridmix import gridmix
from mixkit.functional.guidedmixup import guidedmixup
from mixkit.functional.mixup import mixup, pointmixup
from mixkit.functional.pointcutmix import pointcutmix_k, pointcutmix_r
from mixkit.functional.pointwolf import pointwolf
from mixkit.functional.remix import remix
from mixkit.functional.resizemix import resizemix, resizemix_set
from mixkit.functional.rsmix import rsmix
from mixkit.functional.sagemix import sagemix
from mixkit.functional.saliencygrafting import saliencygrafting
from mixkit.functional.smmix import smmix
from mixkit.functional.smoothmix import smoothmix
from mixkit.functional.snapmix import snapmix

__all__ = [
    "attentivemix",
    "cutmix",
    "fmix",
    "gridmix",
    "guidedmixup",
    "mixup",
    "pointcutmix_k",
    "pointcutmix_r",
    "pointmixup",
    "pointwolf",
    "remix",
    "resizemix",
    "resizemix_set",
    "rsmix",
    "sagemix",
    "saliencygrafting",
    "saliencymix",
    "smmix",
    "smoothmix",
    "snapmix",
]
