"""Images for mixkit: the pixel grid as a domain, torchvision-style transforms, and saliency without a model."""

from mixkit_image import functional
from mixkit_image.domain import PixelGrid
from mixkit_image.methods import CoMixup, PuzzleMix
from mixkit_image.spectral import spectral_residual
from mixkit_image.timm import TimmMixup
from mixkit_image.transforms import MixTransform, Mixup, SageMix

__all__ = [
    "CoMixup",
    "MixTransform",
    "Mixup",
    "PixelGrid",
    "PuzzleMix",
    "SageMix",
    "TimmMixup",
    "functional",
    "spectral_residual",
]
