"""What both grid methods ask of their elements."""

from __future__ import annotations

from mixkit import ElementSet
from mixkit.methods.base import Method


def image_grid(elements: ElementSet, method: Method) -> tuple[int, int]:
    """(H, W) of the elements, or ValueError."""
    if elements.grid is None or len(elements.grid) != 2:
        raise ValueError(
            f"{type(method).__name__} needs elements on a grid (H, W), got elements with grid {elements.grid}"
        )
    return elements.grid[0], elements.grid[1]
