"""What cheap and remembered saliencies find: the exact saliency that their queries capture, along a short training.

A query drawn with probability proportional to c captures sum(c s) / sum(c) of the exact saliency s. Over the mean of s
it is 1 for uniform queries; `share` is how far it gets from there (0) to exact queries (1). "around" is the same for
the saliency around the query, weighted as SageMix weighs it there (a Gaussian of bandwidth sigma), and "spread" the
share of places that queries take: exp(entropy) / N, 1 for uniform queries. Measured as training would use it: on
augmented batches just before they are mixed, so that what is remembered is as old as it is in use.
"exact, last time" remembers the exact saliency of the batches measured before; with all of them measured, of the epoch
before.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor, nn

import mixkit
from experiments.base.console import make_console
from experiments.base.files import write_json
from experiments.base.machine import describe_environment
from experiments.commands.options import add_data_root, roots_of
from experiments.data import DATASETS, load_data
from experiments.data.base import DataSet
from experiments.models import DEFAULTS, create_model
from mixkit.query import sharpen

Candidate = Callable[[Tensor, Tensor, mixkit.Samples], Tensor]
"""(batch, labels, samples) to saliency (B, N)."""

SHARPNESSES = (3.0, 4.0)  # of the rows that have one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench quality`."""
    names = [f"{domain}/{name}" for domain, names in DATASETS.items() for name in names]
    parser.add_argument("--data", default="image/cifar100", choices=names, metavar="DATA", help=", ".join(names))
    parser.add_argument("--model", help="default: preact_resnet18 or pointnet")
    parser.add_argument("--width", type=int, default=16, help="of the model (default: 16)")
    parser.add_argument("--limit", type=int, default=2000, help="training samples (default: 2000)")
    parser.add_argument("--epochs", type=int, default=8, help="default: 8")
    parser.add_argument("--batch-size", type=int, default=50, help="default: 50")
    parser.add_argument("--measured", type=int, default=6, help="batches of an epoch (default: 6)")
    parser.add_argument("--lr", type=float, default=0.001, help="of AdamW, with a cosine schedule (default: 0.001)")
    parser.add_argument("--sigma", type=float, help="of SageMix (default: the domain's)")
    parser.add_argument("--seed", type=int, default=0)
    add_data_root(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")


def main(args: argparse.Namespace) -> int:
    """Train, measure, and print a table of the first, middle and last epoch."""
    domain, _, name = args.data.partition("/")
    torch.manual_seed(args.seed)
    data = load_data(domain, name, roots_of(args), limit=args.limit)
    model_name = args.model or DEFAULTS[domain]
    model = create_model(model_name, channels=data.channels, num_classes=len(data.classes), width=args.width)
    started = time.perf_counter()
    epochs = train_and_measure(model, data, args)
    title = f"{data.title}, {len(data.train)} samples, {model_name} of width {args.width}"
    console = make_console()
    console.print(_table(title, epochs))
    console.print(f"{time.perf_counter() - started:.0f} s")
    if args.json:
        arguments = {name: str(value) for name, value in vars(args).items() if name not in ("main", "json")}
        environment = describe_environment(torch.device("cpu"), "32")
        written = {"environment": environment, "arguments": arguments, "epochs": epochs}
        write_json(args.json, written)
    return 0


def train_and_measure(model: nn.Module, data: DataSet, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Train with SageMix by remembered saliency; per epoch, each candidate's figures and the training loss."""
    draw = torch.Generator().manual_seed(args.seed)
    elements = data.train[0, 0].numel() if data.domain == "image" else data.train.shape[1]
    bank = mixkit.SaliencyBank(len(data.train), elements)
    sigma = {} if args.sigma is None else {"sigma": args.sigma}
    mixer = mixkit.create_mixer("sagemix", data.domain, num_classes=len(data.classes), saliency=bank, **sigma)
    watching = {f"bank, {label}": bank for label, bank in _banks(len(data.train), elements).items()}
    last = mixkit.SaliencyBank(len(data.train), elements)
    candidates = _candidates(model, mixer.domain, {"bank": bank, **watching, "exact, last time": last})
    steps = len(data.train) // args.batch_size
    optimiser = torch.optim.AdamW(model.parameters(), args.lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.lr, total_steps=steps * args.epochs)
    epochs: list[dict[str, Any]] = []
    for epoch in range(1, args.epochs + 1):
        model.train()
        captures: dict[str, list[Tensor]] = {}
        losses = []
        for step, keys in enumerate(torch.randperm(len(data.train), generator=draw).split(args.batch_size)[:steps]):
            augmented = data.augment(data.train[keys], draw)
            batch, labels = data.prepare(augmented.batch), data.train_labels[keys]
            samples = mixkit.Samples(keys, augmented.index)
            if step < args.measured:
                exact = mixkit.GradientSaliency(model).find(batch, labels, mixer.domain)
                near = _around(exact, mixer.domain, batch, args.sigma)
                for name, candidate in {"exact": lambda *_: exact, **candidates}.items():  # noqa: B023
                    cheap = candidate(batch, labels, samples)
                    captures.setdefault(name, []).append(capture(cheap, exact, near))
                last.store(samples, exact)
            plan = mixer.plan(batch, labels, generator=draw, samples=samples)
            mixed, targets = mixer.apply_plan(plan, batch, labels)
            for other in (bank, *watching.values()):
                mixed = other.watch(mixed, plan, samples, mixer.domain)
            loss = F.cross_entropy(model(mixed), targets)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        epochs.append(_figures(captures, epoch, sum(losses) / len(losses)))
    return epochs


def capture(candidate: Tensor, exact: Tensor, near: Tensor) -> Tensor:
    """(B, 4): exact saliency at a query drawn by the candidate, and around it, over their means; spread; rank corr."""
    candidate, exact = candidate.double().clamp_min(0), exact.double()
    chance = candidate / candidate.sum(1, keepdim=True)
    uniform = torch.full_like(chance, 1 / chance.shape[1])
    chance = torch.where(torch.isfinite(chance).all(1, keepdim=True), chance, uniform)
    captured = (chance * exact).sum(1) / exact.mean(1)
    around = (chance * near).sum(1) / near.double().mean(1)
    spread = torch.special.entr(chance).sum(1).exp() / chance.shape[1]
    ranks = [part.argsort(1).argsort(1).double() for part in (candidate, exact)]
    ranks = [part - part.mean(1, keepdim=True) for part in ranks]
    correlation = (ranks[0] * ranks[1]).sum(1) / (ranks[0].norm(dim=1) * ranks[1].norm(dim=1))
    return torch.stack([captured, around, spread, correlation], 1)


def _around(saliency: Tensor, domain: mixkit.Domain, batch: Tensor, sigma: float | None) -> Tensor:
    """(B, N) the saliency within SageMix's reach of each element."""
    elements = domain.elements(batch)
    coords = elements.coords.float()
    reach = elements.length_scale if sigma is None else sigma
    assert reach is not None
    nearness = torch.exp(torch.cdist(coords, coords).square() / (-2 * reach**2))
    return (nearness @ saliency[..., None].to(nearness.dtype))[..., 0]


def _banks(num_samples: int, elements: int) -> dict[str, mixkit.SaliencyBank]:
    """Variants that learn from the same training."""
    return {
        "momentum 0": mixkit.SaliencyBank(num_samples, elements, momentum=0.0),
        "momentum 0.9": mixkit.SaliencyBank(num_samples, elements, momentum=0.9),
        "uint8": mixkit.SaliencyBank(num_samples, elements, dtype=torch.uint8),
    }


def _candidates(model: nn.Module, domain: mixkit.Domain, banks: dict[str, mixkit.SaliencyBank]) -> dict[str, Candidate]:
    """The saliencies to compare."""

    def remembered(bank: mixkit.SaliencyBank) -> Candidate:
        return lambda batch, labels, samples: bank.look_up(samples)

    def gradient(**options: Any) -> Candidate:
        saliency = mixkit.GradientSaliency(model, **options)
        return lambda batch, labels, samples: saliency.find(batch, labels, domain)

    candidates: dict[str, Candidate] = {name: remembered(bank) for name, bank in banks.items()}
    for resolution in (0.75, 0.5, 0.25):
        candidates[f"resolution {resolution}"] = gradient(resolution=resolution)
    candidates["resolution 0.5, bfloat16"] = gradient(resolution=0.5, autocast=torch.bfloat16)
    for name in [name for name in candidates if name == "bank" or name.startswith("resolution")]:
        for sharpness in SHARPNESSES:
            candidates[f"{name}, sharpness {sharpness:g}"] = _sharp(candidates[name], sharpness)
    candidates["bfloat16"] = gradient(autocast=torch.bfloat16)
    for name, function in domain.saliencies.items():
        candidates[name.replace("_", " ")] = _of_batch(function)
    for layer in getattr(model, "mixing_layers", ("input",))[1:3]:
        candidates[f"activation of {layer}"] = _activation(model, layer, domain)
    return candidates


def _sharp(candidate: Candidate, sharpness: float) -> Candidate:
    return lambda *inputs: sharpen(candidate(*inputs), sharpness)


def _of_batch(function: Callable[[Tensor], Tensor]) -> Candidate:
    return lambda batch, labels, samples: function(batch).flatten(1)


def _activation(model: nn.Module, layer: str, domain: mixkit.Domain) -> Candidate:
    """The energy of a layer's output in a forward pass, at the places of the input nearest to each of its elements."""

    def saliency(batch: Tensor, labels: Tensor, samples: mixkit.Samples) -> Tensor:
        outputs: list[Any] = []
        handle = model.get_submodule(layer).register_forward_hook(lambda module, args, output: outputs.append(output))
        try:
            with torch.no_grad(), mixkit.saliency.frozen(model):
                model(batch)
        finally:
            handle.remove()
        elements = domain.elements(batch)
        features = domain.feature_elements(outputs[0], elements)
        if features is None:
            return torch.ones(elements.coords.shape[:2])
        energy = features.values.float().square().sum(2)
        return energy.gather(1, torch.cdist(elements.coords.float(), features.coords.float()).argmin(2))

    return saliency


def _figures(captures: dict[str, list[Tensor]], epoch: int, loss: float) -> dict[str, Any]:
    means = {name: torch.cat(parts).nanmean(0).tolist() for name, parts in captures.items()}
    most = means["exact"][0]
    return {
        "epoch": epoch,
        "loss": loss,
        "candidates": {
            name: {
                "captured": captured,
                "share": (captured - 1) / (most - 1),
                "around": around,
                "spread": spread,
                "rank correlation": correlation,
            }
            for name, (captured, around, spread, correlation) in means.items()
        },
    }


def _table(title: str, epochs: list[dict[str, Any]]) -> Table:
    shown = Table(title=f"{title}: saliency captured (1 = uniform), share of exact in %", title_justify="left")
    shown.add_column("saliency", no_wrap=True)
    chosen = sorted({0, len(epochs) // 2, len(epochs) - 1})
    for place in chosen:
        shown.add_column(f"epoch {epochs[place]['epoch']} (loss {epochs[place]['loss']:.2f})", justify="right")
    for column in ("around", "spread", "rank corr."):
        shown.add_column(column, justify="right")
    for name in epochs[0]["candidates"]:
        rows = [epochs[place]["candidates"][name] for place in chosen]
        cells = (f"{row['captured']:.2f} ({100 * row['share']:.0f} %)" for row in rows)
        last = rows[-1]
        figures = f"{last['around']:.3f}", f"{last['spread']:.2f}", f"{last['rank correlation']:.2f}"
        shown.add_row(name, *cells, *figures)
    return shown
