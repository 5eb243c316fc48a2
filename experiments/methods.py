"""The rows of a comparison: method names with options, read from the command line and made into mixers."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

import mixkit
from experiments.errors import ExperimentError

VANILLA = "vanilla"
DEFAULT_METHODS = (
    "image/mixup",
    "image/sagemix",
    "points/pointmixup",
    "points/sagemix:sigma=2.0",  # the paper's value for PointNet
    "points/sagemix:sigma=0.3",  # the domain's own
)
MIXING_SEED = 1_000_003  # keeps the mixer's draws apart from those of the data order


@dataclass(frozen=True)
class MethodSpec:
    """One row: a method's name and the options that differ from its defaults."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How tables and curves call the row."""
        options = ", ".join(
            f"{key} {value:g}" if _is_number(value) else f"{key} {value}" for key, value in self.options.items()
        )
        return f"{self.name} ({options.replace('sigma', 'σ').replace('theta', 'θ')})" if options else self.name


def parse_methods(texts: Sequence[str], domains: Sequence[str]) -> dict[str, list[MethodSpec]]:
    """Read ``[domain/]name[:option=value,...]`` into the rows of each domain, vanilla first.

    A method without a domain runs in every one of `domains` that it serves; "all" stands for the default rows and
    every other method of each domain.

    Raises:
        ExperimentError: unknown method, domain or option, or a text that is not of this form.
    """
    rows = {domain: [MethodSpec(VANILLA)] for domain in domains}
    served = {domain: {VANILLA, *mixkit.list_methods(domain=domain)} for domain in mixkit.list_domains()}
    for text in _every_method(domains) if list(texts) == ["all"] else texts:
        where, _, rest = text.rpartition("/")
        name, _, options = rest.partition(":")
        if where and where not in served:
            raise ExperimentError(f"--methods {text}: unknown domain {where!r}; there are {', '.join(served)}.")
        candidates = [where] if where else list(served)
        if not any(name in served[domain] for domain in candidates):
            known = sorted(set().union(*(served[domain] for domain in candidates)))
            raise ExperimentError(f"--methods {text}: unknown method {name!r}; there are {', '.join(known)}.")
        spec = MethodSpec(name, _parse_options(text, options))
        for domain in domains:
            if domain in candidates and name in served[domain] and spec not in rows[domain]:
                _check(text, spec, domain)
                rows[domain].append(spec)
    return rows


class RowMixer:
    """A row's mixer, with draws of its own; the model's saliency runs at the fabric's precision, as training does."""

    def __init__(self, mixer: mixkit.Mixer, fabric: Fabric, seed: int) -> None:
        self._mixer = mixer
        self._fabric = fabric
        self._generator = torch.Generator().manual_seed(MIXING_SEED + seed)

    def __call__(self, batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The mixed batch and its targets (B, num_classes)."""
        with self._fabric.autocast():
            mixed, targets = self._mixer(batch, labels, generator=self._generator)
        return mixed, targets

    @property
    def clean_loss(self) -> Tensor:
        """What the method adds to the loss of the last batch."""
        return self._mixer.clean_loss


def make_mixer(
    spec: MethodSpec, domain: str, *, num_classes: int, model: nn.Module, fabric: Fabric, seed: int
) -> RowMixer | None:
    """The row's mixer, its draws seeded by `seed`; None for vanilla."""
    if spec.name == VANILLA:
        return None
    mixer = mixkit.create_mixer(spec.name, domain=domain, num_classes=num_classes, model=model, **spec.options)
    return RowMixer(mixer, fabric, seed)


def _every_method(domains: Sequence[str]) -> list[str]:
    default = [text for text in DEFAULT_METHODS if text.split("/")[0] in domains]
    there = {text.split(":")[0] for text in default}
    every = [f"{domain}/{name}" for domain in domains for name in mixkit.list_methods(domain=domain)]
    # at the input Manifold Mixup is Mixup with another alpha, so it is no row of its own here
    return default + [text for text in every if text not in there and not text.endswith("/manifold_mixup")]


def _parse_options(text: str, options: str) -> dict[str, Any]:
    parsed: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        key, equals, value = option.partition("=")
        if not equals or not key.isidentifier():
            raise ExperimentError(f"--methods {text}: options are written name:option=value, got {option!r}.")
        try:
            parsed[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parsed[key] = value
    return parsed


def _check(text: str, spec: MethodSpec, domain: str) -> None:
    """Options are refused before anything is trained."""
    if spec.name == VANILLA:
        if spec.options:
            raise ExperimentError(f"--methods {text}: vanilla has no options.")
        return
    try:
        mixkit.create_mixer(spec.name, domain=domain, num_classes=2, model=nn.Identity(), **spec.options)
    except (TypeError, ValueError) as error:
        raise ExperimentError(f"--methods {text}: {error}.") from error


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
