"""The methods that need a grid's neighbours: each draws what is random, then calls its pure function."""

from mixkit_image.methods.comixup import CoMixup
from mixkit_image.methods.puzzlemix import PuzzleMix

__all__ = ["CoMixup", "PuzzleMix"]
