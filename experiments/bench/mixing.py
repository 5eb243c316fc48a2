"""What mixing a batch costs, saliency and assignment given, beside torchvision's v2.MixUp in the same run.

The floor is memory: two reads and one write of the batch, at the speed of a plain copy. Bytes moved are counted, not
reckoned: `experiments.bench.timing.bytes_moved` adds up what each operation of PyTorch reads and writes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor
from torchvision.transforms import v2

import mixkit
from experiments.base.console import make_console
from experiments.base.files import write_json
from experiments.base.machine import describe_environment
from experiments.bench.timing import bytes_moved, interleaved_medians
from experiments.models import DEFAULTS, create_model
from mixkit.partner_rules import FarSaliency
from mixkit.registry import get_domain
from mixkit_points import PointSet

WORKLOADS = {
    "100 x 3 x 32 x 32": ("image", (100, 3, 32, 32)),
    "32 x 3 x 224 x 224": ("image", (32, 3, 224, 224)),
    "32 x 1024 points": ("points", (32, 1024, 3)),
}
NUM_CLASSES = 100
ENOUGH = 2.0  # seconds in which a method is timed, in three repeats at least
STEP_NUMBERS = 500_000  # of the samples that the training step is timed on: more of 224 x 224 take gigabytes
EPILOG = """Times are of a whole call, `mixer(batch, labels)`: checks, draws, plan, mixed batch and targets; a method
that has been timed for 2 seconds in three repeats or more is not timed again. The training step is timed on three
samples of 224 x 224, and multiplied.
"MB moved" and "moved / floor" are of applying a plan already drawn (for torchvision, of the whole call): for every
operation that PyTorch runs, the bytes of the tensors it reads and writes. Views move nothing, what an expanded tensor
repeats counts once, and what is read twice counts twice. The floor is two reads and one write of the batch: 1.00 would
take one pass that gathers and mixes at once; a gather and a mix, two passes, make 5 / 3 = 1.67."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench mixing`."""
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="default: every method of each domain")
    parser.add_argument("--repeats", type=int, default=15, help="timings of each method (default: 15)")
    parser.add_argument("--device", default="cpu", help="default: cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.epilog = EPILOG


def main(args: argparse.Namespace) -> int:
    """Run the benchmark and print one table per workload."""
    console = make_console()
    device = torch.device(args.device)
    results = {
        name: measure(domain, shape, args.methods, args.repeats, device) for name, (domain, shape) in WORKLOADS.items()
    }
    for name, rows in results.items():
        console.print(_table(name, rows))
    pairing = 1e3 * measure_pairing(args.repeats, device)
    console.print(f"GuidedMixup's pairing of 128 images of 32 x 32, their saliency given: {pairing:.2f} ms.")
    console.print("MB moved: read and written by apply, counted over its operations; the floor is 3 x the batch.")
    if args.json:
        environment = describe_environment(device, "32")
        written = {"environment": environment, "results": results, "ms of GuidedMixup's pairing of 128": pairing}
        write_json(args.json, written)
    return 0


def measure(
    domain: str, shape: tuple[int, ...], methods: list[str] | None, repeats: int, device: torch.device
) -> dict[str, dict[str, float | None]]:
    """Milliseconds per batch of each method, its ratios to v2.MixUp, the memory floor and a step, and bytes moved."""
    batch = torch.randn(shape).to(device)
    labels = torch.randint(NUM_CLASSES, shape[:1]).to(device)
    images = batch if domain == "image" else batch[:, None]  # v2.MixUp knows images only: one channel of N x 3
    torchvision, cutmix = v2.MixUp(num_classes=NUM_CLASSES), v2.CutMix(num_classes=NUM_CLASSES)
    target = torch.empty_like(batch)
    work: dict[str, Callable[[], object]] = {
        "v2.MixUp": lambda: torchvision(images, labels),
        "v2.CutMix": lambda: cutmix(images, labels),
        "copy": lambda: target.copy_(batch),
    }
    moved = {name: bytes_moved(work[name]) for name in ("v2.MixUp", "v2.CutMix")}
    for method in methods or mixkit.list_methods(domain):
        if method in mixkit.list_methods(domain):
            work[method], apply = _mixing(method, domain, batch, labels)
            moved[method] = bytes_moved(apply)
    medians = interleaved_medians(work, repeats=repeats, enough=ENOUGH)
    work.clear()
    few = max(min(shape[0], STEP_NUMBERS // batch[0].numel()), 2)
    step = {"training step": _step(domain, (few, *shape[1:]), labels[:few])}
    medians |= {name: took * shape[0] / few for name, took in interleaved_medians(step, repeats=3, warmup=1).items()}
    floor = medians.pop("copy") * 1.5  # a copy is one read and one write
    return {
        name: {
            "ms": 1e3 * seconds,
            "to v2.MixUp": seconds / medians["v2.MixUp"],
            "to the floor": seconds / floor,
            "% of a step": 100 * seconds / medians["training step"],
            "MB moved": moved[name] / 1e6 if name in moved else None,
            "moved / floor": moved[name] / (3 * batch.nbytes) if name in moved else None,
        }
        for name, seconds in medians.items()
    }


def measure_pairing(repeats: int, device: torch.device) -> float:
    """Seconds that GuidedMixup takes to choose the partners of 128 images of 32 x 32, of given saliency."""
    elements = get_domain("image")().elements(torch.zeros(128, 3, 32, 32, device=device))
    saliency, choose = torch.rand(128, 1024, device=device), FarSaliency()
    return interleaved_medians({"pairing": lambda: choose(elements, saliency)}, repeats=repeats)["pairing"]


def _mixing(
    method: str, domain: str, batch: Tensor, labels: Tensor
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Plan and apply, with the saliency given and the assignment known; and the application of a plan alone."""
    size = (len(batch), batch[0, 0].numel() if domain == "image" else batch.shape[1])
    saliency = torch.rand(size, device=batch.device)
    of_domain = _PairedPoints(saliency.argsort(1)) if domain == "points" else domain
    mixer = mixkit.create_mixer(method, of_domain, num_classes=NUM_CLASSES, saliency=_no_saliency, p=1.0, inside=True)
    plan = mixer.plan(batch, labels, saliency=saliency)
    return lambda: mixer(batch, labels, saliency=saliency), lambda: mixer.apply_plan(plan, batch, labels)


class _PairedPoints(PointSet):
    """Points whose assignment is known."""

    def __init__(self, assignment: Tensor) -> None:
        super().__init__()
        self.assignment = assignment

    def assign(self, coords_a: Tensor, coords_b: Tensor) -> Tensor:
        return self.assignment


def _no_saliency(batch: Tensor) -> Tensor:
    raise AssertionError("the saliency is given")


def _step(domain: str, shape: tuple[int, ...], labels: Tensor) -> Callable[[], object]:
    """A vanilla training step of PreActResNet18 or PointNet, in float32."""
    channels = shape[1] if domain == "image" else shape[2]
    model = create_model(DEFAULTS[domain], channels=channels, num_classes=NUM_CLASSES, width=64).to(labels.device)
    optimiser = torch.optim.SGD(model.parameters(), 0.01)
    batch = torch.randn(shape, device=labels.device)

    def step() -> None:
        optimiser.zero_grad()
        F.cross_entropy(model(batch), labels).backward()
        optimiser.step()

    return step


def _table(name: str, rows: dict[str, dict[str, float | None]]) -> Table:
    table = Table(title=f"mixing {name}, medians, {torch.get_num_threads()} threads", title_justify="left")
    table.add_column("method", no_wrap=True, min_width=14)
    for column in next(iter(rows.values())):
        table.add_column(column, justify="right")
    for method, row in rows.items():
        table.add_row(method, *("" if value is None else f"{value:.2f}" for value in row.values()))
    return table
