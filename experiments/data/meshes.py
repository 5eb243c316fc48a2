"""Triangle meshes in the OFF format: reading them, and drawing points from their surface; no data set in particular."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.base.errors import ExperimentError
from experiments.data.arrays import FARTHEST


class Mesh(NamedTuple):
    """Vertices (V, 3) float64, and triangles (F, 3) of their numbers."""

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]


def read_off(path: Path) -> Mesh:
    """Read an OFF file; polygons become fans of triangles.

    Some of ModelNet's files lack the line break after the word OFF, as in ``OFF490 518 0``: they are read as well.

    Raises:
        ExperimentError: the file cannot be read, is no OFF file, breaks off, or names vertices that it has not.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path} cannot be read as an OFF file ({error}).") from error
    words = " ".join(line.partition("#")[0] for line in lines).split()
    if not words or not words[0].startswith("OFF"):
        raise ExperimentError(f"{path} is no OFF file: it begins with {' '.join(words[:1])[:20]!r}, not with OFF.")
    words[:1] = [words[0][3:]] if words[0] != "OFF" else []
    try:
        num_vertices, num_faces = int(words[0]), int(words[1])
        end = 3 + 3 * num_vertices
        if num_vertices < 1 or num_faces < 1 or len(words) < end + 4 * num_faces:
            raise ValueError("it breaks off, or has no faces")
        vertices = np.array(words[3:end], dtype=np.float64).reshape(num_vertices, 3)
        triangles = _triangles(words[end:], num_faces)
    except (ValueError, IndexError, OverflowError) as error:
        raise ExperimentError(f"{path} is damaged: {error}.") from error
    if not (np.abs(vertices) <= FARTHEST).all() or triangles.min() < 0 or triangles.max() >= num_vertices:
        raise ExperimentError(
            f"{path} is damaged: it has infinite coordinates, or ones that are as good as that, or faces of vertices "
            "that are not there."
        )
    return Mesh(vertices, triangles)


def _triangles(words: list[str], num_faces: int) -> NDArray[np.int64]:
    """The faces "n v1 ... vn" as triangles (F, 3)."""
    if len(words) == 4 * num_faces:  # triangles only, as nearly always
        table = np.array(words, dtype=np.int64).reshape(num_faces, 4)
        if (table[:, 0] == 3).all():
            return table[:, 1:]
    corners: list[tuple[int, int, int]] = []
    place = 0
    for _ in range(num_faces):
        size = int(words[place])
        if size < 3:
            raise ValueError(f"a face has {size} corners")
        face = [int(word) for word in words[place + 1 : place + 1 + size]]
        if len(face) < size:
            raise ValueError("it breaks off within its faces")
        corners += [(face[0], face[k], face[k + 1]) for k in range(1, size - 1)]
        place += 1 + size
    return np.array(corners, dtype=np.int64)


def draw_points(mesh: Mesh, count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Points (count, 3) drawn uniformly from the surface: a triangle by its area, a place within it uniformly.

    Raises:
        ExperimentError: the mesh has no area.
    """
    first, second, third = (mesh.vertices[mesh.triangles[:, corner]] for corner in range(3))
    cumulative = np.linalg.norm(np.cross(second - first, third - first), axis=1).cumsum()
    if not 0 < cumulative[-1] < np.inf:
        raise ExperimentError("a mesh without area has no surface to draw points from.")
    chosen = np.searchsorted(cumulative, generator.random(count) * cumulative[-1], side="right")
    chosen = chosen.clip(max=len(cumulative) - 1)
    along, across = np.sqrt(generator.random((count, 1))), generator.random((count, 1))
    return (1 - along) * first[chosen] + along * (1 - across) * second[chosen] + along * across * third[chosen]
