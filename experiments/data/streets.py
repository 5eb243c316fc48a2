"""Streets as a spinning LiDAR scanner sees them, made up: every ray is traced, so that every label is exact."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

#: The classes of the points; a point's label is its class's place here.
CLASSES = ("road", "sidewalk", "building", "car", "person", "pole", "tree")

SENSOR_HEIGHT = 1.8  #: metres above the road
MAX_RANGE = 60.0  #: metres

_ROAD_HALF_WIDTH, _KERB = 5.0, 0.15
_REFLECTIVITY = {"road": 0.15, "sidewalk": 0.3, "building": 0.45, "car": 0.6, "person": 0.4, "pole": 0.75, "tree": 0.35}


class Scan(NamedTuple):
    """What one turn of the scanner sees."""

    points: np.ndarray
    """(n, 4) float32: x, y and z in metres from the sensor, z up, and the intensity in [0, 1]."""
    labels: np.ndarray
    """(n,) int64, places in `CLASSES`."""


class _Hits:
    """The nearest hit of each ray so far."""

    def __init__(self, directions: np.ndarray) -> None:
        self.directions = directions
        self.distance = np.full(len(directions), np.inf)
        self.label = np.full(len(directions), -1)
        self.incidence = np.ones(len(directions))

    def add(self, distance: np.ndarray, label: str, incidence: np.ndarray) -> None:
        """Take the hits that lie before those known; a distance of inf or below half a metre is none."""
        nearer = (distance > 0.5) & (distance < self.distance)
        self.distance[nearer] = distance[nearer]
        self.label[nearer] = CLASSES.index(label)
        self.incidence[nearer] = incidence[nearer]


def make_scan(seed: int, rings: int = 32, steps: int = 720) -> Scan:
    """One scan of a street of its own: the same seed gives the same scan.

    A road with sidewalks and buildings on both sides; cars on the road and parked along it, people, poles and trees.
    The scanner stands on the road. A ray returns with noise of 2 cm along it, and one in twenty not at all.

    Args:
        seed: the seed of everything that is drawn.
        rings: rays above one another, from 25 degrees below the horizon to 8 above.
        steps: rays around the vertical axis.

    Returns:
        Some 20,000 points at the default size; rays that meet nothing within `MAX_RANGE` return none.
    """
    random = np.random.default_rng(seed)
    inclination = np.radians(np.linspace(-25.0, 8.0, rings))[:, None]
    azimuth = (2 * np.pi * (np.arange(steps) + random.random()) / steps)[None]
    spread = np.broadcast_arrays(
        np.cos(inclination) * np.cos(azimuth), np.cos(inclination) * np.sin(azimuth), np.sin(inclination) + 0 * azimuth
    )
    hits = _Hits(np.stack(spread, 2).reshape(-1, 3))
    heading = random.uniform(0, 2 * np.pi)  # of the road
    _add_ground(hits, heading)
    for side in (-1, 1):
        _add_buildings(hits, random, heading, side)
        _add_street_furniture(hits, random, heading, side)
    _add_cars(hits, random, heading)
    seen = (hits.distance < MAX_RANGE) & (random.random(len(hits.distance)) > 0.05)
    distance = hits.distance[seen] + random.normal(0, 0.02, int(seen.sum()))
    label = hits.label[seen]
    reflectivity = np.array([_REFLECTIVITY[name] for name in CLASSES])[label]
    intensity = reflectivity * hits.incidence[seen] + random.normal(0, 0.03, len(label))
    points = np.concatenate([distance[:, None] * hits.directions[seen], np.clip(intensity, 0, 1)[:, None]], 1)
    return Scan(points.astype(np.float32), label.astype(np.int64))


# ---- what stands in a street


def _place(heading: float, along: float, across: float) -> np.ndarray:
    """(2,) where something is on the ground, so far along the road and across it from the sensor."""
    cosine, sine = np.cos(heading), np.sin(heading)
    return np.array([cosine * along - sine * across, sine * along + cosine * across])


def _add_ground(hits: _Hits, heading: float) -> None:
    down = hits.directions[:, 2]
    across_unit = np.array([-np.sin(heading), np.cos(heading)])
    with np.errstate(divide="ignore"):
        road = np.where(down < 0, -SENSOR_HEIGHT / down, np.inf)
        walk = np.where(down < 0, -(SENSOR_HEIGHT - _KERB) / down, np.inf)
    finite_road, finite_walk = (np.where(np.isfinite(each), each, 0) for each in (road, walk))
    across_road = np.abs(finite_road * (hits.directions[:, :2] @ across_unit))
    across_walk = np.abs(finite_walk * (hits.directions[:, :2] @ across_unit))
    hits.add(np.where(across_road < _ROAD_HALF_WIDTH, road, np.inf), "road", -down)
    hits.add(np.where(across_walk >= _ROAD_HALF_WIDTH, walk, np.inf), "sidewalk", -down)


def _add_buildings(hits: _Hits, random: np.random.Generator, heading: float, side: int) -> None:
    along = -70.0 + random.uniform(0, 10)
    while along < 70:
        length, depth, height = random.uniform(8, 22), random.uniform(6, 12), random.uniform(4, 15)
        front = random.uniform(9, 14)
        centre = _place(heading, along + length / 2, side * (front + depth / 2))
        _add_box(hits, centre, heading, (length, depth, height), -SENSOR_HEIGHT + height / 2, "building")
        along += length + random.choice([0.0, random.uniform(2, 9)])


def _add_street_furniture(hits: _Hits, random: np.random.Generator, heading: float, side: int) -> None:
    ground = -SENSOR_HEIGHT + _KERB
    for along in np.arange(-50, 50, random.uniform(14, 24)) + random.uniform(0, 8):
        centre = _place(heading, along, side * (_ROAD_HALF_WIDTH + 0.6))
        _add_cylinder(hits, centre, random.uniform(0.06, 0.15), (ground, ground + random.uniform(3, 7)), "pole")
    for along in random.uniform(-45, 45, random.integers(1, 5)):
        centre = _place(heading, along, side * random.uniform(6.5, 8.5))
        trunk, crown = random.uniform(1.5, 2.5), random.uniform(1.2, 2.2)
        _add_cylinder(hits, centre, random.uniform(0.12, 0.25), (ground, ground + trunk + 0.5), "tree")
        _add_ball(hits, random, np.array([*centre, ground + trunk + crown]), crown, "tree")
    for along in random.uniform(-25, 25, random.integers(1, 5)):
        centre = _place(heading, along, side * random.uniform(5.5, 9))
        height = random.uniform(1.5, 1.95)
        _add_cylinder(hits, centre, random.uniform(0.2, 0.3), (ground, ground + 0.82 * height), "person")
        _add_ball(hits, None, np.array([*centre, ground + 0.9 * height]), 0.13, "person")


def _add_cars(hits: _Hits, random: np.random.Generator, heading: float) -> None:
    for side in (-1, 1):
        along = -45.0 + random.uniform(0, 15)
        while along < 45:
            parked = random.random() < 0.6
            length, width, height = random.uniform(3.8, 4.9), random.uniform(1.65, 1.9), random.uniform(1.35, 1.75)
            across = side * (_ROAD_HALF_WIDTH - 1.1 if parked else 1.8)
            if parked or abs(along) > 8:  # none stands where the scanner does
                turn = heading + random.normal(0, 0.04)
                centre = _place(heading, along, across)
                _add_box(hits, centre, turn, (length, width, 0.55 * height), -SENSOR_HEIGHT + 0.45 * height, "car")
                size = (0.55 * length, 0.9 * width, 0.4 * height)
                _add_box(hits, centre, turn, size, -SENSOR_HEIGHT + 0.85 * height, "car")
            along += length + random.uniform(1, 14)


# ---- where rays from the origin meet shapes


def _add_box(
    hits: _Hits, centre: np.ndarray, heading: float, size: tuple[float, float, float], height: float, label: str
) -> None:
    """A box by its centre on the ground, heading, length, width and height, and the height of its centre."""
    turn = np.array([[np.cos(heading), np.sin(heading), 0], [-np.sin(heading), np.cos(heading), 0], [0, 0, 1]])
    directions, middle, half = hits.directions @ turn.T, turn @ np.array([*centre, height]), np.array(size) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (middle - half) / directions, (middle + half) / directions
    enter, leave = np.fmin(first, second), np.fmax(first, second)
    distance = enter.max(1)
    distance = np.where((distance <= leave.min(1)) & (distance > 0), distance, np.inf)
    hits.add(distance, label, np.abs(directions[np.arange(len(directions)), enter.argmax(1)]))


def _add_cylinder(hits: _Hits, centre: np.ndarray, radius: float, heights: tuple[float, float], label: str) -> None:
    """An upright cylinder by its centre on the ground, its radius, and where it begins and ends."""
    flat = hits.directions[:, :2]
    square = (flat**2).sum(1)
    along = flat @ centre
    inner = along**2 - square * (centre @ centre - radius**2)
    with np.errstate(invalid="ignore"):
        distance = (along - np.sqrt(inner)) / square
    height = distance * hits.directions[:, 2]
    distance = np.where((inner > 0) & (height >= heights[0]) & (height <= heights[1]), distance, np.inf)
    with np.errstate(invalid="ignore"):
        incidence = np.sqrt(np.clip(inner / square, 0, None)) / radius
    hits.add(distance, label, incidence)


def _add_ball(hits: _Hits, random: np.random.Generator | None, centre: np.ndarray, radius: float, label: str) -> None:
    """A ball; with a ``random`` it is a crown of leaves, some of which let rays pass or stand further in."""
    along = hits.directions @ centre
    inner = along**2 - (centre @ centre - radius**2)
    with np.errstate(invalid="ignore"):
        distance = along - np.sqrt(inner)
    hit = inner > 0
    if random is not None:
        distance = distance + random.exponential(0.3, len(distance))
        with np.errstate(invalid="ignore"):
            hit &= (random.random(len(distance)) < 0.85) & (distance < along + np.sqrt(np.clip(inner, 0, None)))
    with np.errstate(invalid="ignore"):
        incidence = np.sqrt(np.clip(inner, 0, None)) / radius
    hits.add(np.where(hit, distance, np.inf), label, incidence)
