"""The methods that need a grid's neighbours: each draws what is random, then calls its pure function.

Example:
    >>> from mixkit import create_mixer
    >>> create_mixer(PuzzleMix(alpha=0.5), domain="image", num_classes=10, saliency="spectral_residual").method.alpha
    0.5
"""

from mixkit_image.methods.comixup import CoMixup
from mixkit_image.methods.puzzlemix import PuzzleMix

__all__ = ["CoMixup", "PuzzleMix"]
