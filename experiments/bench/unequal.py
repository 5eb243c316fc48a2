"""`python -m experiments bench assignment --unequal`: `mixkit.assign` on sets of unequal sizes against SciPy.

SciPy's time is that of the distances in float64 and of its rectangular assignment, one pair after the other; ours is
that of the batch, divided by its pairs. Both are seconds of the CPU, of all threads together, which other processes
disturb less than those of the clock; the two take turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from mixkit.assignment import assign

TOLERANCES = (0.05, 0.01, 0.001, 0.0)
SIZES = ((1024, 1000), (1024, 700), (1024, 300))
WARM = 80  # points of a first call, which compiles or loads numba's cache

Shape = Callable[[int, np.random.Generator], np.ndarray]


def unequal_benchmark(console: Console, sources: dict[str, Shape], batch: int, repeats: int, seed: int) -> list[dict]:
    """All rows, each pair of sizes printed as a table when it is done."""
    rows: list[dict] = []
    console.print(
        f"{torch.get_num_threads()} threads, batch {batch}, ours the median of {repeats} calls, SciPy of pairs"
    )
    for name, shape in sources.items():
        for sizes in SIZES:
            draw = np.random.default_rng(seed)
            a, b = (torch.from_numpy(np.stack([shape(size, draw) for _ in range(batch)])) for size in sizes)
            rows += unequal_rows(a, b, repeats)
            for row in rows[-len(TOLERANCES) :]:
                row["data"] = name
            console.print(unequal_table(rows[-len(TOLERANCES) :]))
    return rows


def unequal_rows(a: torch.Tensor, b: torch.Tensor, repeats: int) -> list[dict]:
    """One row per tolerance, for a (B, N, 3) and b (B, M, 3): times, their ratio, and the gaps, certified and true."""
    for tolerance in TOLERANCES:
        assign(a[:1, :WARM], b[:1, : WARM + 1], tolerance=tolerance)
        assign(a[:1], b[:1], tolerance=tolerance)
    optimum, theirs = [], []
    ours: dict[float, list[float]] = {tolerance: [] for tolerance in TOLERANCES}
    matches = {}
    for pair in range(len(a)):
        x, y = (coords[pair].double().numpy() for coords in (a, b))
        start = time.process_time()
        distance = cdist(x, y)
        matched = linear_sum_assignment(distance)
        theirs.append(time.process_time() - start)
        optimum.append(distance[matched].sum())
        if pair < repeats:
            for tolerance, seconds in ours.items():
                start = time.process_time()
                matches[tolerance] = assign(a, b, tolerance=tolerance)
                seconds.append((time.process_time() - start) / len(a))
    rows = []
    for tolerance, seconds in ours.items():
        gap = (matches[tolerance].cost / torch.tensor(optimum) - 1).max().item()
        mine, scipy = statistics.median(seconds), statistics.median(theirs)
        rows.append({"points": (a.shape[1], b.shape[1]), "tolerance": tolerance, "scipy_ms": 1e3 * scipy})
        rows[-1] |= {"ms_per_pair": 1e3 * mine, "speed_up": scipy / mine, "true_gap": gap}
        rows[-1]["certified_gap"] = matches[tolerance].gap.max().item()
    return rows


def unequal_table(rows: list[dict]) -> Table:
    """The rows of one data set and pair of sizes."""
    size, other = rows[0]["points"]
    shown = Table(title=f"{rows[0]['data']}, {size} points with {other}, SciPy {rows[0]['scipy_ms']:.1f} ms")
    for column in ("tolerance", "ms/pair", "x SciPy", "true gap", "certified"):
        shown.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        times = (f"{row['tolerance']:g}", f"{row['ms_per_pair']:.2f}", f"{row['speed_up']:.1f}")
        shown.add_row(*times, f"{row['true_gap']:.1e}", f"{row['certified_gap']:.1e}")
    return shown
