"""`python -m experiments bench assignment`: `mixkit.assign` against SciPy, lapx, POT and torch-linear-assignment.

Solvers that work pair by pair are timed on a few pairs; ours solves the batch, with torch's number of threads, and its
time is divided by the batch. Each speed-up is a ratio of medians from one run. `--lidar` times ours alone (lidar.py),
`--unequal` sets of unequal sizes (unequal.py).
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from rich.table import Table
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

from experiments.base.console import make_console
from experiments.base.files import write_json
from experiments.bench.lidar import lidar_benchmark
from experiments.bench.timing import extra_memory
from experiments.bench.unequal import unequal_benchmark
from experiments.bench.workloads import modelnet_shape, synthetic_shape
from experiments.commands.options import add_data_root, roots_of
from experiments.data.base import find_first
from mixkit.assignment import assign

TOLERANCES = (0.05, 0.01, 0.001, 0.0)
SECONDS_PER_PEER = 60.0  # a peer that is slower than that on its pairs stops early


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    add_data_root(parser)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024, 2048, 4096], help="points per cloud")
    parser.add_argument("--batch", type=int, default=32, help="pairs per call")
    parser.add_argument("--repeats", type=int, default=5, help="calls per tolerance")
    parser.add_argument(
        "--peer-pairs", type=int, default=8, help="pairs that each other solver is timed on (2 at 4096)"
    )
    parser.add_argument("--lidar", action="store_true", help="time pairs of large LiDAR-like clouds one by one instead")
    parser.add_argument("--unequal", action="store_true", help="time sets of unequal sizes against SciPy instead")
    parser.add_argument("--quick", action="store_true", help="with --lidar: few pairs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the rows here as well")


def main(args: argparse.Namespace) -> int:
    """Run and print; returns 0."""
    console = make_console()
    rows: list[dict] = []
    if args.lidar:
        rows = lidar_benchmark(console, args.seed, args.quick)
        if args.json:
            write_json(args.json, rows)
        return 0
    sources: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {"synthetic": synthetic_shape}
    archive = find_first(roots_of(args), "modelnet10.npz")
    if archive is not None:
        points = np.load(archive)["points_train"].astype(np.float32)
        sources = {"modelnet10": lambda size, draw: modelnet_shape(points, size, draw), **sources}
    else:
        console.print("modelnet10.npz is absent: synthetic shapes only")
    if args.unequal:
        rows = unequal_benchmark(console, sources, args.batch, args.repeats, args.seed)
        if args.json:
            write_json(args.json, rows)
        return 0
    first = torch.randn(1, 100, 3, generator=torch.Generator().manual_seed(args.seed))
    start = time.perf_counter()
    assign(first, first.flip(1), tolerance=0)
    console.print(f"first call (compiles, or loads numba's cache): {time.perf_counter() - start:.1f} s")
    console.print(f"{torch.get_num_threads()} threads, batch {args.batch}, median of {args.repeats} calls")
    for name, shape in sources.items():
        for size in args.sizes:
            draw = np.random.default_rng(args.seed)
            a, b = (torch.from_numpy(np.stack([shape(size, draw) for _ in range(args.batch)])) for _ in range(2))
            rows += compare(name, a, b, args.repeats, args.peer_pairs if size < 4096 else min(2, args.peer_pairs))
            console.print(table([row for row in rows if row["data"] == name and row["points"] == size]))
    if args.json:
        write_json(args.json, rows)
    return 0


def peers() -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """The other solvers that are installed: coordinates (N, 3) of a pair in, column of each row (N,) out."""
    solvers: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "scipy": lambda a, b: linear_sum_assignment(cdist(a, b))[1]
    }
    lap, ot, tla = (_import(name) for name in ("lap", "ot", "torch_linear_assignment"))
    if lap:
        solvers["lapx lapjvc"] = lambda a, b: lap.lapjvc(cdist(a, b), return_cost=False)[1]
    if ot:
        solvers["POT emd"] = lambda a, b: ot.emd([], [], cdist(a, b), numItermax=10**7).argmax(1)
    if tla:
        solvers["torch-linear-assignment"] = lambda a, b: tla.batch_linear_assignment(
            torch.from_numpy(cdist(a, b))[None]
        )[0].numpy()
    return solvers


def _import(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def compare(data: str, a: Tensor, b: Tensor, repeats: int, peer_pairs: int) -> list[dict]:
    """One row per solver; gaps are against SciPy's optimum where it was timed, else against ours at tolerance 0."""
    batch, size, _ = a.shape
    optimum = assign(a, b, tolerance=0).cost
    rows: list[dict] = []

    def report(solver: str, seconds: list[float], index: Tensor) -> dict:
        pairs = len(index)
        rows.append(
            {
                "data": data,
                "points": size,
                "solver": solver,
                "pairs": pairs,
                "ms_per_pair": 1e3 * statistics.median(seconds),
                "true_gap": (cost(a[:pairs], b[:pairs], index) / optimum[:pairs] - 1).max().item(),
                "unique_targets": sum(len(targets.unique()) for targets in index) / index.numel(),
            }
        )
        rows[-1]["speed_up"] = rows[0]["ms_per_pair"] / rows[-1]["ms_per_pair"]
        return rows[-1]

    for name, solver in peers().items():
        seconds: list[float] = []
        indices: list[np.ndarray] = []
        while len(seconds) < min(peer_pairs, batch) and sum(seconds) < SECONDS_PER_PEER:
            pair = (a[len(seconds)].numpy(), b[len(seconds)].numpy())
            start = time.perf_counter()
            indices.append(solver(*pair))
            seconds.append(time.perf_counter() - start)
        index = torch.from_numpy(np.stack(indices).astype(np.int64))
        if name == "scipy":
            optimum[: len(index)] = cost(a[: len(index)], b[: len(index)], index)
        report(name, seconds, index)
    for tolerance in TOLERANCES:
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            match = assign(a, b, tolerance=tolerance)
            seconds.append((time.perf_counter() - start) / batch)
        row = report(f"mixkit {tolerance:g}", seconds, match.index)
        row["certified_gap"] = match.gap.max().item()
        row["extra_memory_mb"] = extra_memory(partial(assign, a, b, tolerance=tolerance))
    return rows


def cost(a: Tensor, b: Tensor, index: Tensor) -> Tensor:
    """(B,) float64 sum of distances."""
    return (a.double() - b.double().gather(1, index[..., None].expand_as(b))).norm(dim=-1).sum(1)


def table(rows: list[dict]) -> Table:
    """The rows of one data set and size."""
    shown = Table(title=f"{rows[0]['data']}, {rows[0]['points']} points")
    for column in ("solver", "pairs", "ms/pair", "x SciPy", "true gap", "certified", "unique", "MB"):
        shown.add_column(column, justify="left" if column == "solver" else "right", no_wrap=True)
    for entry in rows:
        certified, memory = entry.get("certified_gap"), entry.get("extra_memory_mb")
        shown.add_row(
            entry["solver"],
            str(entry["pairs"]),
            f"{entry['ms_per_pair']:.2f}",
            f"{entry['speed_up']:.1f}",
            f"{entry['true_gap']:.1e}",
            "" if certified is None else f"{certified:.1e}",
            f"{entry['unique_targets']:.3f}",
            "" if memory is None else f"{memory:.0f}",
        )
    return shown


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    raise SystemExit(main(parser.parse_args()))
