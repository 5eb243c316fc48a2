"""Pure functions of the grid methods: draws in, plan out. Nothing here is random."""

from mixkit_image.functional.comixup import comixup
from mixkit_image.functional.puzzlemix import puzzlemix

__all__ = ["comixup", "puzzlemix"]
