"""LiDAR-like clouds depend on their seed alone and look like a scan; their benchmark finds the slowest pair."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.bench import lidar as bench
from experiments.data.lidar import FARTHEST, HEIGHT, HIGHEST, LOWEST, NEAREST, lidar_cloud


def test_a_cloud_depends_on_its_seed_alone() -> None:
    cloud = lidar_cloud(2000, np.random.default_rng(3))
    assert cloud.shape == (2000, 3)
    assert cloud.dtype == np.float32
    assert np.array_equal(cloud, lidar_cloud(2000, np.random.default_rng(3)))
    assert not np.array_equal(cloud, lidar_cloud(2000, np.random.default_rng(4)))
    assert lidar_cloud(1, np.random.default_rng(3)).shape == (1, 3)


def test_a_cloud_is_what_a_scanner_over_the_ground_sees() -> None:
    cloud = lidar_cloud(4000, np.random.default_rng(5)).astype(np.float64)
    reach = np.linalg.norm(cloud, axis=1)
    assert reach.min() > NEAREST
    assert reach.max() < FARTHEST
    elevation = np.arcsin(cloud[:, 2] / reach)
    assert elevation.min() > LOWEST - 1e-4
    assert elevation.max() < HIGHEST + 1e-4
    assert (np.abs(cloud[:, 2] + HEIGHT) < 0.1).mean() > 0.3, "ground"
    assert (cloud[:, 2] > 0.1 - HEIGHT).mean() > 0.1, "what stands on it"
    assert cloud[:, 2].min() > -HEIGHT - 0.2
    assert (reach < 15).mean() > 0.3, "the density falls with the range"


def test_the_rows_name_the_slowest_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(np.cumsum([0, 1, 0, 5, 0, 2] * 2).tolist())  # seconds before and after each of three pairs
    monkeypatch.setattr(bench.time, "process_time", lambda: next(ticks))
    rows = bench.lidar_rows(128, 3, seed=0, tolerances=(0.05, 0.01))
    for row, tolerance in zip(rows, (0.05, 0.01), strict=True):
        assert (row["points"], row["pairs"], row["tolerance"]) == (128, 3, tolerance)
        assert (row["median_s"], row["max_s"], row["ratio"], row["slowest_pair"]) == (2, 5, 2.5, 1)
        assert 0 <= row["certified_gap"] <= tolerance
    assert bench.lidar_table(rows).row_count == 2
