"""Pure functions of the grid methods: draws in, plan out. Nothing here is random.

Example:
    >>> swap, ratio = torch.tensor([1, 0]), torch.tensor([0.5])
    >>> puzzlemix(torch.rand(2, 64, 3), (8, 8), torch.rand(2, 64), swap, ratio, cells=4).weight.shape
    torch.Size([2, 2, 64])
"""

from mixkit_image.functional.comixup import comixup
from mixkit_image.functional.puzzlemix import puzzlemix

__all__ = ["comixup", "puzzlemix"]
