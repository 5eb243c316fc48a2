"""Clouds like those of a spinning LiDAR: rings over ground, boxes and poles, made by ray casting from a seed alone.

Their density falls with the square of the range, half of the points lie on one plane, and two scenes have their far
surfaces in different places: what makes an assignment between two of them hard.
"""

from __future__ import annotations

import numpy as np

RINGS = 64
LOWEST, HIGHEST = np.radians(-24.8), np.radians(2.0)  # elevation of the beams
HEIGHT = 1.73  # of the scanner over the ground, metres
NEAREST, FARTHEST = 1.5, 100.0  # what the scanner sees, metres
NOISE = 0.02  # standard deviation of the range, metres


def lidar_cloud(size: int, draw: np.random.Generator) -> np.ndarray:
    """`size` returns of one turn of the scanner in a scene of its own, (size, 3) float32 in metres, in random order.

    Args:
        size: points, from 1 to any number: the scanner turns more slowly for more.
        draw: scene, noise, and which returns are kept.
    """
    turns = max(512, 2 * size // RINGS)  # rays of a ring: about 3 of 4 come back
    while True:
        points = _scan(draw, turns)
        if len(points) >= size:
            return points[draw.permutation(len(points))[:size]].astype(np.float32)
        turns *= 2


def _scan(draw: np.random.Generator, turns: int) -> np.ndarray:
    """The returns (M, 3) of a scan over a new scene."""
    elevation = np.linspace(LOWEST, HIGHEST, RINGS)[:, None]
    azimuth = np.arange(turns)[None] * (2 * np.pi / turns) + draw.uniform(0, 2 * np.pi)
    rays = np.stack(
        np.broadcast_arrays(
            np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)
        ),
        axis=-1,
    ).reshape(-1, 3)
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(rays[:, 2] < 0, -HEIGHT / rays[:, 2], np.inf)
        for _ in range(draw.integers(15, 40)):
            reach = np.minimum(reach, _box(rays, draw))
        for _ in range(draw.integers(10, 30)):
            reach = np.minimum(reach, _pole(rays, draw))
    reach = reach + NOISE * draw.standard_normal(len(reach))
    back = (reach > NEAREST) & (reach < FARTHEST)
    return rays[back] * reach[back, None]


def _place(draw: np.random.Generator, nearest: float) -> np.ndarray:
    """Where something stands (2,), metres from the scanner."""
    angle, apart = draw.uniform(0, 2 * np.pi), draw.uniform(nearest, 60)
    return np.array([apart * np.cos(angle), apart * np.sin(angle)])


def _box(rays: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Ranges (R,) at which rays (R, 3) enter a car or a house that stands on the ground; infinite where they miss."""
    house = draw.random() < 0.3
    half = np.array(
        [draw.uniform(4, 15), draw.uniform(3, 8)] if house else [draw.uniform(1.5, 3), draw.uniform(0.7, 1)]
    )
    centre = _place(draw, float(np.hypot(*half)) + 2)
    tall = draw.uniform(3, 12) if house else draw.uniform(1.3, 2.5)
    turn = draw.uniform(0, np.pi)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    inside = np.c_[rays[:, :2] @ axes.T, rays[:, 2]]
    middle = np.array([*(axes @ centre), tall / 2 - HEIGHT])
    extent = np.array([*half, tall / 2])
    one, other = (middle - extent) / inside, (middle + extent) / inside
    enters, leaves = np.minimum(one, other).max(1), np.maximum(one, other).min(1)
    return np.where((enters <= leaves) & (enters > 0), enters, np.inf)


def _pole(rays: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Ranges (R,) at which rays (R, 3) meet an upright cylinder, a pole or a trunk; infinite where they miss."""
    radius, tall = draw.uniform(0.05, 0.4), draw.uniform(2, 9)
    centre = _place(draw, 2.5)
    square, along = (rays[:, :2] ** 2).sum(1), rays[:, :2] @ centre
    root = along**2 - square * (centre @ centre - radius**2)
    meets = (along - np.sqrt(root)) / square  # NaN where the ray misses
    return np.where((root >= 0) & (meets > 0) & (meets * rays[:, 2] < tall - HEIGHT), meets, np.inf)
