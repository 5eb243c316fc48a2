"""Images and other grids for mixkit: domains, torchvision-style transforms, and saliency without a model.

Each method that mixes images is a transform here by its class's name; the methods of images themselves are in
`mixkit_image.methods`. Transforms are imported when first asked for, as torchvision, which they need, takes a while.
"""

import importlib
from typing import TYPE_CHECKING, Any

from mixkit_image import functional, methods
from mixkit_image.domain import PixelGrid
from mixkit_image.grids import SequenceGrid, SpectrogramGrid, VideoGrid, VolumeGrid
from mixkit_image.spectral import spectral_residual

if TYPE_CHECKING:
    from mixkit_image.boxes import mix_boxes
    from mixkit_image.named_transforms import (
        AttentiveMix,
        CMixup,
        CoMixup,
        CutMix,
        FMix,
        GridMix,
        GuidedMixup,
        Mixup,
        PointCutMixK,
        PointCutMixR,
        PointMixup,
        PuzzleMix,
        RecursiveMix,
        Remix,
        ResizeMix,
        SageMix,
        SaliencyGrafting,
        SaliencyMix,
        SMMix,
        SmoothMix,
        SnapMix,
    )
    from mixkit_image.timm import TimmMixup
    from mixkit_image.timm_collate import TimmFastCollate as TimmFastCollate
    from mixkit_image.transforms import MixTransform

__all__ = [
    "AttentiveMix",
    "CMixup",
    "CoMixup",
    "CutMix",
    "FMix",
    "GridMix",
    "GuidedMixup",
    "MixTransform",
    "Mixup",
    "PixelGrid",
    "PointCutMixK",
    "PointCutMixR",
    "PointMixup",
    "PuzzleMix",
    "RecursiveMix",
    "Remix",
    "ResizeMix",
    "SMMix",
    "SageMix",
    "SaliencyGrafting",
    "SaliencyMix",
    "SequenceGrid",
    "SmoothMix",
    "SnapMix",
    "SpectrogramGrid",
    "TimmMixup",
    "VideoGrid",
    "VolumeGrid",
    "functional",
    "methods",
    "mix_boxes",
    "spectral_residual",
]

# where names are that are imported when first used; those of `__all__` that stand neither here nor above are transforms
# of one method each. TimmFastCollate needs timm, so that it is not among what `import *` brings
_LATER = {
    "MixTransform": "transforms",
    "TimmFastCollate": "timm_collate",
    "TimmMixup": "timm",
    "mix_boxes": "boxes",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER and name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LATER.get(name, 'named_transforms')}"), name)
    globals()[name] = value  # the next time this function is not called
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_LATER})
