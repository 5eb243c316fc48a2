"""`python -m experiments bench assignment --lidar`: how far the slowest pair of large clouds is from the median.

The clouds are like those of a spinning scanner. Each pair is one call, timed in seconds of the CPU, which other
processes disturb less than those of the clock.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from experiments.data.lidar import lidar_cloud
from mixkit.assignment import assign

TOLERANCES = (0.05, 0.02, 0.01, 0.005)
PAIRS = {16384: (60, 4), 50000: (10, 1)}  # by points: pairs, and pairs of a quick run
WARM = 1024  # points of a first call, which compiles or loads numba's cache


def lidar_benchmark(console: Console, seed: int, quick: bool) -> list[dict]:
    """All rows, each size printed as a table when it is done."""
    rows: list[dict] = []
    for size, pairs in PAIRS.items():
        rows += lidar_rows(size, pairs[quick], seed)
        console.print(lidar_table([row for row in rows if row["points"] == size]))
    return rows


def lidar_rows(size: int, pairs: int, seed: int, tolerances: tuple[float, ...] = TOLERANCES) -> list[dict]:
    """One row per tolerance: median and maximum of the seconds of `pairs` pairs, and which pair took the most."""
    draws = [[np.random.default_rng([seed, pair, side]) for pair in range(pairs)] for side in range(2)]
    a, b = (torch.from_numpy(np.stack([lidar_cloud(size, draw) for draw in side])) for side in draws)
    for tolerance in (*tolerances, 0.0):
        assign(a[:1, :WARM], b[:1, :WARM], tolerance=tolerance)
    rows = []
    for tolerance in tolerances:
        seconds, gap = [], 0.0
        for pair in range(pairs):
            start = time.process_time()
            match = assign(a[pair, None], b[pair, None], tolerance=tolerance)
            seconds.append(time.process_time() - start)
            gap = max(gap, match.gap.item())
        median, most = statistics.median(seconds), max(seconds)
        rows.append({"points": size, "pairs": pairs, "tolerance": tolerance, "median_s": median, "max_s": most})
        rows[-1] |= {"ratio": most / median, "slowest_pair": seconds.index(most), "certified_gap": gap}
    return rows


def lidar_table(rows: list[dict]) -> Table:
    """The rows of one size."""
    shown = Table(title=f"LiDAR-like pairs, {rows[0]['points']} points, {rows[0]['pairs']} pairs, CPU seconds per pair")
    for column in ("tolerance", "median", "max", "max / median", "slowest pair", "certified"):
        shown.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        times = (f"{row['median_s']:.3f}", f"{row['max_s']:.3f}", f"{row['ratio']:.2f}", str(row["slowest_pair"]))
        shown.add_row(f"{row['tolerance']:g}", *times, f"{row['certified_gap']:.1e}")
    return shown
