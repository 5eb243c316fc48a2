"""What both grid methods check of their arguments."""

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


def check_not_negative(name: str, value: float) -> float:
    """Return ``value`` as a float, or raise ValueError if it is below 0."""
    if not value >= 0:
        raise ValueError(f"{name} must be >= 0, got {value}")
    return float(value)
