"""Mixing methods as runs name them, ``name[:option=value,...]``: read, and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

import mixkit
from experiments.base import grammar
from experiments.base.errors import ExperimentError
from experiments.run.limits import read_method
from mixkit.registry import accepted, get_domain, get_method, unknown

VANILLA = "vanilla"
SPACES = ("input", "feature")
THRESHOLD = 0.5  # of `mixkit.Adaptive`, unless given
TOLD = "told"
STRONG = 8.0  # theta where the model overfits: the prior is near 1/2
OF_RUNS = ("adaptive", "steady", TOLD)  # schedules that are made for a run's number of epochs
# options of every method, beside its own and its domain's
SHARED: dict[str, Any] = {
    "space": str, "saliency": str, "resolution": float, "adaptive": float | None, "p": float, "clean_weight": float,
    "schedule": str,
}  # fmt: skip
SYMBOLS = {"sigma": "σ", "theta": "θ", "alpha": "α", "beta": "β"}


@dataclass(frozen=True)
class ScheduleSpec:
    """A schedule by its name, as long as it is not known how long the run is.

    Attributes:
        name: one of `mixkit.list_schedules`, or "adaptive" (`mixkit.Adaptive`), "steady" (`mixkit.steady`), or "told":
            steady, told before epochs how far the model overfits, by samples that the run has held out.
        threshold: the threshold of the adaptive one.
        theta: the method's own, of its prior Beta(theta, theta), which the one that is told raises where the model
            overfits; None for a method without.
    """

    name: str
    threshold: float = THRESHOLD
    theta: float | None = None

    @property
    def label(self) -> str:
        """How tables call it."""
        if self.name == "adaptive" and self.threshold != THRESHOLD:
            return f"adaptive {self.threshold:g}"
        if self.name == TOLD:
            return "steady, told"
        return self.name if self.name in OF_RUNS else f"schedule {self.name}"

    def make(self, epochs: int) -> Any:
        """What `mixkit.create_mixer` takes, for a run of so many epochs."""
        if self.name == "adaptive":
            return mixkit.Adaptive(self.threshold, epochs=epochs)
        if self.name == TOLD and self.theta is not None:
            return mixkit.steady(epochs, theta=self.theta, when_overfit={"theta": max(self.theta, STRONG)})
        return mixkit.steady(epochs) if self.name in OF_RUNS else self.name


@dataclass(frozen=True)
class MethodSpec:
    """A method's name and the options that differ from its defaults; the other attributes are options of the run.

    Attributes:
        name: one of `mixkit.list_methods`, or "vanilla".
        options: the options of `mixkit.create_mixer` that the text gives.
        space: "input", or "feature" for mixing at one of the model's own `mixing_layers`.
        bank: remember the saliency of each sample instead of computing it (`mixkit.SaliencyBank`).
        resolution: the resolution of the saliency pass (`mixkit.GradientSaliency`).
        schedule: the schedule of the probability of mixing and of the options; None for none.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    space: str = "input"
    bank: bool = False
    resolution: float = 1.0
    schedule: ScheduleSpec | None = None

    @property
    def label(self) -> str:
        """How tables and curves call the row."""
        words = [
            f"{SYMBOLS.get(key, key)} {value:g}" if _is_number(value) else f"{SYMBOLS.get(key, key)} {value}"
            for key, value in self.options.items()
        ]
        words += ["feature space"] if self.space == "feature" and self.name != "manifold_mixup" else []
        words += ["bank"] if self.bank else []
        words += [f"resolution {self.resolution:g}"] if self.resolution != 1 else []
        words += [] if self.schedule is None else [self.schedule.label]
        return f"{self.name} ({', '.join(words)})" if words else self.name


def parse_method(text: str, domain: str) -> MethodSpec:
    """Read ``name[:option=value,...]`` and check it.

    Raises:
        ExperimentError: unknown method or option, or a text that is not of this form.
    """
    name, texts = read_method(text)
    served = [VANILLA, *mixkit.list_methods(domain=domain)]
    if name not in served:
        raise ExperimentError(f"--method {text}: unknown method {name!r} for {domain}; there are {', '.join(served)}.")
    if name == VANILLA:
        if texts:
            raise ExperimentError(f"--method {text}: vanilla has no options.")
        return MethodSpec(name)
    options = _typed(text, texts, name, domain)
    space = options.pop("space", "feature" if name == "manifold_mixup" else "input")
    saliency = options.pop("saliency", None)
    resolution = options.pop("resolution", 1.0)
    adaptive, schedule = options.pop("adaptive", None), options.pop("schedule", None)
    if space not in SPACES:
        raise ExperimentError(f"--method {text}: space is one of {', '.join(SPACES)}, not {space!r}.")
    if saliency == "bank" and space == "feature":
        raise ExperimentError(f"--method {text}: a saliency bank serves mixing at the input only.")
    if adaptive is not None and not adaptive > 0:
        raise ExperimentError(f"--method {text}: adaptive is a threshold above 0, not {adaptive!r}.")
    if adaptive is not None and schedule is not None:
        raise ExperimentError(f"--method {text}: adaptive is a schedule itself, so it takes no schedule beside it.")
    if saliency is not None and resolution != 1:
        raise ExperimentError(f"--method {text}: resolution is that of the gradient, not of saliency={saliency}.")
    if saliency not in (None, "bank"):
        options["saliency"] = saliency
    more = {} if schedule is None or schedule in OF_RUNS else {"schedule": schedule}
    try:
        mixkit.GradientSaliency(nn.Identity(), resolution=resolution)
        inside = space == "feature"
        mixer = mixkit.create_mixer(name, domain, num_classes=2, model=nn.Identity(), inside=inside, **options, **more)
        _try_assignment(options)
    except (TypeError, ValueError) as error:
        raise ExperimentError(f"--method {text}: {error}.") from error
    named = None if schedule is None else ScheduleSpec(schedule, theta=getattr(mixer.method, "theta", None))
    named = named if adaptive is None else ScheduleSpec("adaptive", adaptive)
    spec = MethodSpec(name, options, space, saliency == "bank", resolution, named)
    own = "saliency" in mixer.method.needs and not mixer.clean_weight
    if spec.bank and not own:
        raise ExperimentError(f"--method {text}: {name} has no saliency of its own to remember, or trains on its pass.")
    if resolution != 1 and (not own or space == "feature"):
        raise ExperimentError(f"--method {text}: {name} makes no saliency pass of its own, or not at the input.")
    return spec


def split_methods(texts: Sequence[str], domains: Sequence[str]) -> dict[str, list[str]]:
    """``[domain/]name[:options]`` of several domains, as the methods of each; "all" stands for every method.

    A method without a domain runs in every domain of `domains` that it serves; vanilla is always the first.

    Raises:
        ExperimentError: as `parse_method`, or an unknown domain.
    """
    rows: dict[str, dict[str, str]] = {domain: {VANILLA: VANILLA} for domain in domains}  # text to method
    known_domains = mixkit.list_domains()
    for text in texts:
        where, slash, name = read_method(text)[0].rpartition("/")
        method = text[len(where + slash) :]
        if slash and where not in known_domains:
            raise ExperimentError(f"--methods {text}: unknown domain {where!r}; there are {', '.join(known_domains)}.")
        chosen = [where] if where else list(domains)
        if method == "all":
            for domain in chosen:
                every = mixkit.list_methods(domain=domain)
                rows[domain].update({one: one for one in every if one not in rows[domain].values()})
            continue
        served = [d for d in chosen if name in (VANILLA, *mixkit.list_methods(domain=d))]
        for domain in served or chosen:
            if domain in rows:
                rows[domain][method] = parse_method(method, domain).name
    return {domain: list(methods) for domain, methods in rows.items()}


def _typed(text: str, options: Mapping[str, str], name: str, domain: str) -> dict[str, Any]:
    """The options in a method's text, each of the type that it has in the signature of the method or of the domain."""
    classes = (get_domain(domain), get_method(name))
    hints = {option: grammar.hints_of(cls)[option] for cls in classes for option in accepted(cls)}
    hints = {**hints, **SHARED}
    try:
        if strange := [option for option in options if option not in hints]:
            raise ValueError(unknown("option", strange[0], list(hints)))
        return {option: grammar.read(option, value, hints[option]) for option, value in options.items()}
    except ValueError as error:
        raise ExperimentError(f"--method {text}: {error}.") from error


def _try_assignment(options: dict[str, Any]) -> None:
    """Pair two clouds of two points by these options: they are used at the first batch only, and had to fail there."""
    chosen = {name: options[name] for name in ("solver", "tolerance") if name in options}
    if chosen and chosen.get("solver") != "identity":
        points = torch.eye(2, 3)[None]
        mixkit.assign(points, points, **{"tolerance": 0.05, **chosen})


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
