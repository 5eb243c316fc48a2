"""Point clouds that the benchmarks work on: real shapes as training augments them, and synthetic ones like them."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree


def modelnet_shape(points: np.ndarray, size: int, draw: np.random.Generator) -> np.ndarray:
    """A training shape, augmented as in training, (size, 3); beyond its own points, points between near neighbours."""
    shape = points[draw.integers(len(points))]
    if size <= len(shape):
        shape = shape[draw.permutation(len(shape))[:size]]
    else:
        _, near = cKDTree(shape).query(shape, 6)
        corners = near[draw.integers(len(shape), size=size)][np.arange(size)[:, None], draw.integers(0, 6, (size, 3))]
        shape = np.einsum("nk,nkd->nd", draw.dirichlet([1, 1, 1], size), shape[corners])
    return (shape * draw.uniform(2 / 3, 3 / 2, 3) + draw.uniform(-0.2, 0.2, 3)).astype(np.float32)


def synthetic_shape(size: int, draw: np.random.Generator) -> np.ndarray:
    """The surface of a random box, ellipsoid or torus, (size, 3), inside the unit sphere."""
    kind = draw.integers(3)
    normal = draw.normal(size=(size, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    if kind == 0:
        shape = normal / np.abs(normal).max(1, keepdims=True)
    elif kind == 1:
        shape = normal
    else:
        ring = normal[:, :2] / np.linalg.norm(normal[:, :2], axis=1, keepdims=True)
        angle = draw.uniform(0, 2 * np.pi, size)
        shape = np.c_[ring * (1 + 0.4 * np.cos(angle))[:, None], 0.4 * np.sin(angle)]
    shape = shape * draw.uniform(0.3, 1, 3)
    return (shape / np.linalg.norm(shape, axis=1).max() + draw.uniform(-0.2, 0.2, 3)).astype(np.float32)
