"""What the fast ways of the point models buy: a training step in plain torch over the same step by them.

Float32, forward and backward, in turns within one run; memory is what the forward pass keeps for the backward pass.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor, nn

from experiments.base.console import make_console
from experiments.base.files import write_json
from experiments.base.machine import describe_environment
from experiments.bench.timing import interleaved_medians
from experiments.models import create_model, fast

#: Batch size and points of each model.
WORKLOADS = {
    "pointnet": (32, 1024),
    "pointnet2_ssg": (8, 1024),
    "pointnet2_msg": (8, 1024),
    "dgcnn": (8, 1024),
    "pointnet2_partseg": (4, 2048),
    "dgcnn_partseg": (2, 2048),
}
NUM_CLASSES = 40
NUM_CATEGORIES = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench models`."""
    parser.add_argument("--models", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS), help="default: all")
    parser.add_argument("--width", type=int, default=64, help="of the first layer (default: 64)")
    parser.add_argument("--repeats", type=int, default=5, help="timings of each (default: 5)")
    parser.add_argument("--threads", type=int, help="default: torch's")
    parser.add_argument("--device", default="cpu", help="default: cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")


def main(args: argparse.Namespace) -> int:
    """Run the benchmark and print one table."""
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    results = {name: measure(name, args.width, args.repeats, device) for name in args.models}
    table = Table(title=f"a training step, width {args.width}, {torch.get_num_threads()} threads", title_justify="left")
    for heading in ("model", "batch", "plain, ms", "fast, ms", "plain / fast", "kept, plain, MB", "kept, fast, MB"):
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    for name, figures in results.items():
        size, points = WORKLOADS[name]
        times = (
            f"{figures['plain_ms']:.0f}",
            f"{figures['fast_ms']:.0f}",
            f"{figures['plain_ms'] / figures['fast_ms']:.2f}",
        )
        table.add_row(name, f"{size} x {points}", *times, f"{figures['plain_mb']:.0f}", f"{figures['fast_mb']:.0f}")
    make_console().print(table)
    if args.json:
        write_json(args.json, {"environment": describe_environment(device, "32"), "results": results})
    return 0


def measure(name: str, width: int, repeats: int, device: torch.device) -> dict[str, float]:
    """Milliseconds of a step by each way, and megabytes (10**6 bytes) that its forward pass keeps."""
    size, count = WORKLOADS[name]
    model = create_model(name, channels=3, num_classes=NUM_CLASSES, width=width).to(device)
    points = torch.rand(size, count, 3, device=device)
    parts = "partseg" in name
    labels = torch.randint(NUM_CLASSES, (size, count) if parts else (size,), device=device)
    inputs = [points, torch.eye(NUM_CATEGORIES, device=device)[:size]] if parts else [points]

    def step(on: bool) -> Callable[[], None]:
        def run() -> None:
            with fast.use(on):
                F.cross_entropy(model(*inputs), labels).backward()

        return run

    seconds = interleaved_medians({"plain": step(False), "fast": step(True)}, repeats=repeats, warmup=1)
    figures = {f"{way}_ms": 1e3 * taken for way, taken in seconds.items()}
    for way, on in (("plain", False), ("fast", True)):
        with fast.use(on):
            figures[f"{way}_mb"] = kept_bytes(model, inputs) / 1e6
    return figures


def kept_bytes(model: nn.Module, inputs: list[Tensor]) -> int:
    """Bytes that a forward pass in training mode keeps for its backward pass, parameters left out."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = model(*inputs)  # holds what was kept: no address comes twice
    del logits
    return sum(kept.values())
