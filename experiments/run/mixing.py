"""Mixing methods as runs name them: ``name[:option=value,...]``, read, checked, and made into something that mixes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import mixkit
from experiments.base import grammar
from experiments.base.clock import now
from experiments.base.errors import ExperimentError
from mixkit.registry import accepted, get_domain, get_method, unknown

VANILLA = "vanilla"
SPACES = ("input", "feature")
THRESHOLD = 0.5  # of `mixkit.Adaptive`, unless given
# options of every method, beside its own and its domain's
SHARED: dict[str, Any] = {
    "space": str, "saliency": str, "resolution": float, "adaptive": float | None, "p": float, "clean_weight": float,
    "schedule": str,
}  # fmt: skip
SYMBOLS = {"sigma": "σ", "theta": "θ", "alpha": "α", "beta": "β"}


@dataclass(frozen=True)
class MethodSpec:
    """A method's name and the options that differ from its defaults; the other attributes are options of the run.

    Attributes:
        name: of `mixkit.list_methods`, or "vanilla".
        options: of `mixkit.create_mixer`.
        space: "input", or "feature" for mixing at one of the model's own `mixing_layers`.
        bank: remember the saliency of each sample instead of computing it (`mixkit.SaliencyBank`).
        resolution: of the saliency pass (`mixkit.GradientSaliency`).
        adaptive: the threshold of `mixkit.Adaptive`, which knows how long the run is; None for no such schedule.
        steady: whether the schedule is `mixkit.steady`.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    space: str = "input"
    bank: bool = False
    resolution: float = 1.0
    adaptive: float | None = None
    steady: bool = False

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
        if self.adaptive is not None:
            words.append("adaptive" if self.adaptive == THRESHOLD else f"adaptive {self.adaptive:g}")
        words += ["steady"] if self.steady else []
        return f"{self.name} ({', '.join(words)})" if words else self.name


def parse_method(text: str, domain: str) -> MethodSpec:
    """Read ``name[:option=value,...]`` and check it.

    Raises:
        ExperimentError: unknown method or option, or a text that is not of this form.
    """
    name, _, rest = text.partition(":")
    served = [VANILLA, *mixkit.list_methods(domain=domain)]
    if name not in served:
        raise ExperimentError(f"--method {text}: unknown method {name!r} for {domain}; there are {', '.join(served)}.")
    if name == VANILLA:
        if rest:
            raise ExperimentError(f"--method {text}: vanilla has no options.")
        return MethodSpec(name)
    options = _parse_options(text, rest, name, domain)
    space = options.pop("space", "feature" if name == "manifold_mixup" else "input")
    saliency = options.pop("saliency", None)
    resolution = options.pop("resolution", 1.0)
    adaptive = options.pop("adaptive", None)
    if options.get("schedule") == "adaptive" and adaptive is None:
        adaptive = THRESHOLD
        del options["schedule"]
    if steady := options.get("schedule") == "steady":
        del options["schedule"]
    if space not in SPACES:
        raise ExperimentError(f"--method {text}: space is one of {', '.join(SPACES)}, not {space!r}.")
    if saliency == "bank" and space == "feature":
        raise ExperimentError(f"--method {text}: a saliency bank serves mixing at the input only.")
    if adaptive is not None and not adaptive > 0:
        raise ExperimentError(f"--method {text}: adaptive is a threshold above 0, not {adaptive!r}.")
    if adaptive is not None and (steady or "schedule" in options):
        raise ExperimentError(f"--method {text}: adaptive is a schedule itself, so it takes no schedule beside it.")
    if saliency is not None and resolution != 1:
        raise ExperimentError(f"--method {text}: resolution is that of the gradient, not of saliency={saliency}.")
    if saliency not in (None, "bank"):
        options["saliency"] = saliency
    spec = MethodSpec(name, options, space, saliency == "bank", resolution, adaptive, steady)
    try:
        mixkit.GradientSaliency(nn.Identity(), resolution=resolution)
        mixer = mixkit.create_mixer(name, domain=domain, num_classes=2, model=nn.Identity(), **options)
        _try_assignment(options)
    except (TypeError, ValueError) as error:
        raise ExperimentError(f"--method {text}: {error}.") from error
    own = "saliency" in mixer.method.needs and not mixer.clean_weight
    if spec.bank and not own:
        raise ExperimentError(f"--method {text}: {name} has no saliency of its own to remember, or trains on its pass.")
    if resolution != 1 and (not own or space == "feature"):
        raise ExperimentError(f"--method {text}: {name} makes no saliency pass of its own, or not at the input.")
    return spec


class Mixing:
    """A run's mixer with draws of its own; the model's saliency runs at the precision of training.

    Args:
        spec: the method.
        domain: "image" or "points".
        num_classes: as for `mixkit.create_mixer`.
        model: the model itself: its gradient is the saliency, its layers are mixed in feature space.
        through: what feature space runs the model through, DistributedDataParallel for one. Default: the model.
        autocast: makes the context of training's precision.
        num_samples: of the training set, for the bank.
        num_elements: of a stored sample, for the bank.
        device: of the batches, where the bank is kept.
        epochs: of the run.
        options: more of `mixkit.create_mixer`'s.
    """

    def __init__(
        self,
        spec: MethodSpec,
        domain: str,
        *,
        num_classes: Any,
        model: nn.Module,
        through: nn.Module | None = None,
        autocast: Callable[[], AbstractContextManager[Any]],
        num_samples: int,
        num_elements: int,
        device: torch.device | str = "cpu",
        epochs: int,
        **options: Any,
    ) -> None:
        self.inside = spec.space == "feature"
        self.generator = torch.Generator()
        self.seconds = 0.0  # that the last batch took to mix, its saliency and assignment included
        self._autocast = autocast
        self.bank: Any = None
        options = {**options, **spec.options}
        if spec.bank:
            options["saliency"] = self.bank = mixkit.SaliencyBank(num_samples, num_elements=num_elements, device=device)
        if spec.adaptive is not None:
            options["schedule"] = mixkit.Adaptive(spec.adaptive, epochs=epochs)
        if spec.steady:
            options["schedule"] = mixkit.steady(epochs)
        if spec.resolution != 1:
            loss = options.get("loss")
            options["saliency"] = mixkit.GradientSaliency(model, loss, resolution=spec.resolution)
        if self.inside:
            layers = getattr(model, "mixing_layers", ("input",))
            self._manifold = mixkit.ManifoldMixer(
                through or model, layers, spec.name, domain, num_classes=num_classes, **options
            )
            self.mixer = self._manifold.mixer
        else:
            self.mixer = mixkit.create_mixer(spec.name, domain=domain, num_classes=num_classes, model=model, **options)

    @property
    def separable(self) -> bool:
        """Whether all that it costs is the call of `mix`: not where it mixes or learns in the model's own passes."""
        return not (self.inside or self.bank is not None or self.mixer.clean_weight)

    @property
    def share(self) -> float | None:
        """How much of the run is done, in [0, 1], as the method's schedule was told; None without a schedule."""
        return None if self.mixer.schedule is None else self.mixer.schedule.share

    @share.setter
    def share(self, share: float) -> None:
        if self.mixer.schedule is not None:
            self.mixer.schedule.share = share

    def mix(self, batch: Tensor, labels: Any, keys: Tensor, index: Tensor | None) -> tuple[Tensor, Any]:
        """The mixed batch and its targets; see `tasks.Batch` for keys and index."""
        samples = None if self.bank is None else mixkit.Samples(keys, index)
        started = now(batch.device)
        with self._autocast():
            mixed = self.mixer(batch, labels, generator=self.generator, samples=samples)
        self.seconds = now(batch.device) - started
        return mixed

    def run(self, batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The model's output with one of its layers mixed, and the targets."""
        with self._autocast():
            return self._manifold(batch, labels, generator=self.generator)

    @property
    def mixed(self) -> Tensor | None:
        """() the share of the last batch's samples that was mixed, where the method's schedule measures it."""
        schedule = self.mixer.schedule
        return schedule.mixed if schedule is not None and schedule.measures else None

    @property
    def clean_loss(self) -> Tensor:
        """What the method adds to the loss of the last batch."""
        return self.mixer.clean_loss


def split_methods(texts: Sequence[str], domains: Sequence[str]) -> dict[str, list[str]]:
    """``[domain/]name[:options]`` of several domains, as the methods of each; "all" stands for every method.

    A method without a domain runs in every domain of `domains` that it serves; vanilla is always the first.

    Raises:
        ExperimentError: as `parse_method`, or an unknown domain.
    """
    rows: dict[str, list[str]] = {domain: [VANILLA] for domain in domains}
    known = mixkit.list_domains()
    for text in texts:
        where, _, rest = text.partition(":")[0].rpartition("/")
        name = text[len(where) + 1 :] if where else text
        if where and where not in known:
            raise ExperimentError(f"--methods {text}: unknown domain {where!r}; there are {', '.join(known)}.")
        chosen = [where] if where else list(domains)
        served = [d for d in chosen if rest == VANILLA or rest in mixkit.list_methods(domain=d)]
        if rest == "all":
            for domain in chosen:
                there = {row.partition(":")[0] for row in rows[domain]}
                rows[domain] += [one for one in mixkit.list_methods(domain=domain) if one not in there]
            continue
        for domain in served or chosen:
            if domain in rows:
                parse_method(name, domain)
                rows[domain] += [name] if name not in rows[domain] else []
    return rows


def _parse_options(text: str, options: str, name: str, domain: str) -> dict[str, Any]:
    """The options in a method's text, each of the type that it has in the signature of the method or of the domain."""
    parsed: dict[str, Any] = {}
    classes = (get_domain(domain), get_method(name))
    hints = {option: grammar.hints_of(cls)[option] for cls in classes for option in accepted(cls)}
    hints = {**hints, **SHARED}
    for option in grammar.split(options):
        key, equals, value = option.partition("=")
        if not equals or not key.isidentifier():
            raise ExperimentError(f"--method {text}: options are written name:option=value, got {option!r}.")
        if key in parsed:
            raise ExperimentError(f"--method {text}: {key} is given twice.")
        try:
            if key not in hints:
                raise ValueError(unknown("option", key, list(hints)))
            parsed[key] = grammar.read(key, value, hints[key])
        except ValueError as error:
            raise ExperimentError(f"--method {text}: {error}.") from error
    return parsed


def _try_assignment(options: dict[str, Any]) -> None:
    """Pair two clouds of two points by these options: they are used at the first batch only, and had to fail there."""
    chosen = {name: options[name] for name in ("solver", "tolerance") if name in options}
    if chosen and chosen.get("solver") != "identity":
        points = torch.eye(2, 3)[None]
        mixkit.assign(points, points, **{"tolerance": 0.05, **chosen})


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
