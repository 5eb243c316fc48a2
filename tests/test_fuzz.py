"""Thousands of random calls of the public face: each gives a finite, right result, or our own word on what is wrong."""

from __future__ import annotations

import math
import random
import warnings
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mixkit
from mixkit.registry import accepted, get_method
from tests.refusals import is_our_own

CALLS_EACH = 250  # of a test
#: Values that an option may be given besides its default: in range, at the edge, and outside any sense.
NUMBERS = [0, 1, 2, 3, 0.2, 0.5, 1.0, 2.0, 50.0, 1e-9, 1e9, 1e300, -1, -0.5, math.nan, math.inf, -math.inf]
WORDS = [True, False, None, "auto", "sphere", ""]
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
FLOATS = [torch.float32] * 6 + [torch.float64, torch.bfloat16, torch.float16]
ODD = [torch.uint8, torch.int64, torch.bool, torch.complex64]


class Call:
    """One random call: everything about it follows from its number."""

    def __init__(self, number: int) -> None:
        self.random = random.Random(number)
        self.generator = torch.Generator().manual_seed(number)
        self.domain = self.random.choice(["image", "points"])
        self.method = self.random.choice(mixkit.list_methods(domain=self.domain))
        self.told: list[str] = []

    def rarely(self, chance: float = 0.1) -> bool:
        return self.random.random() < chance

    def values(self, *shape: int) -> Tensor:
        """Numbers in [0, 1) or around 0, of some dtype; rarely constant, enormous, or with holes."""
        draw = torch.rand if self.random.random() < 0.5 else torch.randn
        values = draw(shape, generator=self.generator)
        if self.rarely(0.05) and values.numel():
            hole = self.random.choice([math.nan, math.inf, -math.inf, 3e38, 1e19, 1e-40])
            values.flatten()[int(torch.randint(values.numel(), (), generator=self.generator))] = hole
        if self.rarely(0.05):
            values = torch.full_like(values, self.random.choice([0.0, 1.0, 1e30]))
        dtype = self.random.choice(ODD) if self.rarely(0.05) else self.random.choice(FLOATS)
        values = (values.nan_to_num(0, 1, -1).abs() * 3).to(dtype) if dtype in ODD else values.to(dtype)
        if self.rarely(0.1) and values.dim() > 1:
            values = values.transpose(0, 1).contiguous().transpose(0, 1)
        return values

    def batch(self) -> Tensor:
        size = self.random.choice([1, 2, 2, 3, 4, 5, 5, 6]) if not self.rarely(0.03) else 0
        side = self.random.choice([1, 2, 3, 4, 5, 8, 12])
        if self.domain == "points":
            count = self.random.choice([1, 2, 3, 5, 16, 33, 64]) if not self.rarely(0.03) else 0
            return self.values(size, count, self.random.choice([3, 3, 3, 6, 4]) if not self.rarely(0.03) else 2)
        if self.rarely(0.05):
            return self.values(*[side] * self.random.choice([1, 2, 3, 5]))
        other = side if self.random.random() < 0.7 else self.random.choice([1, 2, 4, 7, 8])
        return self.values(size, self.random.choice([1, 3, 3, 2]) if not self.rarely(0.03) else 0, side, other)

    def labels(self, batch: Tensor, classes: Any) -> Any:
        """Labels of every kind, sometimes wrong ones."""
        size = len(batch) if batch.dim() else 1
        many = classes if isinstance(classes, int) and 0 < classes < 100 else 4
        grid = tuple(batch.shape[2:]) if self.domain == "image" else tuple(batch.shape[1:2])
        kind = self.random.choice(
            ["classes"] * 12
            + ["soft", "soft", "multi", "elements", "elements", "dense", "regression", "column"]
            + (["pair", "dict", "list", "numpy"] + (["wrong", "none"] if self.rarely(0.3) else []))
        )
        self.told.append(f"labels {kind}")
        draw = torch.randint(many, (size,), generator=self.generator)
        if kind == "classes":
            dtype = self.random.choice([torch.int64] * 9 + [torch.int32, torch.uint8, torch.int8, torch.uint16])
            return (draw - int(self.rarely(0.02)) + many * int(self.rarely(0.02))).to(dtype)
        if kind == "soft":
            return torch.rand(size, many, generator=self.generator).softmax(1)
        if kind == "multi":
            hot = torch.rand(size, many, generator=self.generator) < 0.4
            return hot.to(self.random.choice([torch.bool, torch.int64, torch.float32]))
        if kind == "elements":
            return torch.randint(many, (size, *grid), generator=self.generator)
        if kind == "dense":
            return torch.rand((size, *([self.random.choice([1, many])] if self.rarely(0.5) else []), *grid))
        if kind == "regression":
            return torch.randn((size, *[self.random.choice([1, 2, 3])] * self.random.choice([0, 1, 2])))
        if kind == "column":
            return draw[:, None]
        if kind == "pair":
            return draw, torch.randn(size, 2)
        if kind == "dict":
            return {"class": draw, "value": torch.randn(size)}
        if kind == "list":
            return draw.tolist()
        if kind == "numpy":
            return draw.numpy()
        if kind == "none":
            return None
        return self.random.choice(
            [
                torch.randint(many, (size + 1,)),
                torch.full((size,), math.nan),
                "cat",
                torch.zeros(()),
                draw.to(torch.complex64),
            ]
        )

    def options(self) -> dict[str, Any]:
        """Some of the method's options, at values of any sense."""
        options = {}
        for name, parameter in accepted(get_method(self.method, self.domain)).items():
            if self.rarely(0.05):
                words = any(word in str(parameter.annotation) for word in ("str", "bool", "None"))
                options[name] = self.random.choice(WORDS if words and self.rarely(0.5) else NUMBERS)
        for name, values in {"p": NUMBERS, "clean_weight": NUMBERS, "ignore_index": [0, -1, 255, 0.5]}.items():
            if self.rarely(0.02):
                options[name] = self.random.choice(values)
        return options

    def saliency(self, batch: Tensor) -> Any:
        """None, or a tensor of saliency, sometimes of no sense."""
        if self.random.random() < 0.7 or batch.dim() < 3:
            return None
        shape = (len(batch), *batch.shape[2:]) if self.domain == "image" else tuple(batch.shape[:2])
        found = torch.rand(shape, generator=self.generator)
        if self.rarely(0.2):
            found = self.random.choice([found * 0, found - 2, found * math.nan, found[..., :-1], [1.0], torch.ones(())])
        return found

    def model(self) -> nn.Module | None:
        """A model that takes any batch of the domain, or none."""
        if self.rarely():
            return None
        return Pooled(self.random.choice([4, 4, 4, 1, 3]))

    def run(self) -> Outcome:
        """Make the call, and draw the same plan once more."""
        classes = self.random.choice([None, 1, 3, 0, -1, 2.5, "4"]) if self.rarely(0.15) else 4
        options, model = self.options(), self.model()
        batch = self.batch()
        labels = self.labels(batch, classes)
        self.told += [f"{self.method} on {self.domain}", f"batch {tuple(batch.shape)} {batch.dtype}"]
        self.told += [f"num_classes {classes!r}", f"options {options}", f"model {model is not None}"]
        mixer = mixkit.create_mixer(self.method, self.domain, num_classes=classes, model=model, **options, inside=True)
        if self.rarely(0.1):
            mixer.eval()
        saliency, drawn = self.saliency(batch), self.generator.get_state()
        mixed, targets = mixer(batch, labels, saliency=saliency, generator=self.generator)
        self.generator.set_state(drawn)
        plan = None
        if mixer.training and self.method not in (
            "rsmix",
            "resizemix",
            "recursivemix",
            "wolfmix",
        ):  # whose coordinates are moved
            plan = mixer.plan(batch, labels, saliency=saliency, generator=self.generator)
        return Outcome(batch, labels, mixed, targets, plan, "ignore_index" in options, self.method != "snapmix")


@dataclass(frozen=True)
class Outcome:
    """What went into a call and what came out; ``ignores`` says that some labels may not count, ``sums`` that
    the label weights sum to 1."""

    batch: Tensor
    labels: Any
    mixed: Tensor
    targets: Any
    plan: mixkit.MixPlan | None
    ignores: bool
    sums: bool


class Pooled(nn.Module):
    """Logits from the mean of all elements' channels, however many there are."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, batch: Tensor) -> Tensor:
        pooled = batch.flatten(1).square().mean(1, keepdim=True)
        return pooled * torch.linspace(-1, 1, self.classes, dtype=batch.dtype, device=batch.device)


def complain(call: Call) -> str | None:
    """What is wrong with the outcome of a call; None where all is well."""
    try:
        outcome = call.run()
    except (TypeError, ValueError) as error:
        return None if is_our_own(error.__traceback__) else f"{type(error).__name__} that is not ours: {error}"
    except Exception as error:  # whatever else comes out is the defect that is looked for
        return f"{type(error).__name__}: {error}"
    batch, mixed = outcome.batch, outcome.mixed
    if mixed.shape[1:] != batch.shape[1:] or mixed.dtype != batch.dtype:
        return f"mixed is {tuple(mixed.shape)} {mixed.dtype}"
    if batch.is_floating_point() and batch.isfinite().all():
        if not mixed.isfinite().all():
            return "a finite batch became one that is not"
        if outcome.plan is not None:
            error = (mixed.double() - looped(outcome.plan, batch, call.domain)).abs()
            if error.numel() and error.max() > TOLERANCE[batch.dtype] * batch.abs().max():
                return f"the mixed batch is not what its plan says, by {error.max():g} of {batch.abs().max():g}"
    return complain_of_targets(outcome)


def looped(plan: mixkit.MixPlan, batch: Tensor, domain: str) -> Tensor:
    """A batch mixed by a plan, term by term, in float64."""
    values = batch.double().flatten(2).mT if domain == "image" else batch.double()  # (B, N, C)
    count = values.shape[1]
    source = plan.source.expand(-1, -1, count)
    index = torch.arange(count).expand_as(source) if plan.index is None else plan.index
    weight = plan.weight.double().expand(-1, -1, count)
    mixed = sum(weight[:, k, :, None] * values[source[:, k], index[:, k]] for k in range(plan.num_terms))
    return mixed.mT.reshape(len(mixed), *batch.shape[1:]) if domain == "image" else mixed


def complain_of_targets(outcome: Outcome) -> str | None:
    """Targets of classes are distributions; those of other finite labels stay finite."""
    labels, targets = outcome.labels, outcome.targets
    if isinstance(targets, dict):
        pairs = [(labels[name], targets[name]) for name in targets]
    elif isinstance(targets, tuple):
        pairs = list(zip(labels, targets, strict=True))
    else:
        pairs = [(labels, targets)]
    for label, target in pairs:
        if not isinstance(target, Tensor) or not target.is_floating_point():
            return f"targets are {target!r}"
        label = torch.as_tensor(label)
        if (not label.is_floating_point() or label.isfinite().all()) and not target.isfinite().all():
            return "targets are not finite"
        distributions = label.dim() == 1 and not label.is_floating_point() and not outcome.ignores and outcome.sums
        if distributions and not torch.allclose(target.sum(1), torch.ones_like(target[:, 0]), atol=1e-4):
            return f"targets sum to {target.sum(1)}"
    return None


def fuzz(first: int, count: int) -> list[str]:
    """What is wrong with calls of these numbers."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(first, first + count):
            call = Call(number)
            if (wrong := complain(call)) is not None:
                found.append(f"call {number}: {wrong} ({'; '.join(call.told)})")
    return found


def test_random_calls() -> None:
    assert not fuzz(0, CALLS_EACH)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(CALLS_EACH, 5000, CALLS_EACH))
def test_more_random_calls(first: int) -> None:
    assert not fuzz(first, CALLS_EACH)
