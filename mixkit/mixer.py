"""The mixer: a batch and its labels in, the mixed batch and its targets out. And the factory that makes one by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from mixkit import draws
from mixkit.domain import Domain
from mixkit.elements import ElementSet
from mixkit.labels import check_labels, map_labels
from mixkit.methods.base import Method
from mixkit.plan import MixPlan
from mixkit.registry import get_domain, get_method
from mixkit.saliency import GradientSaliency, cross_entropy

#: Saliency that needs no model: ``function(batch) -> (B, N)``; or a `GradientSaliency`.
Saliency = Callable[[Tensor], Tensor] | GradientSaliency


class Mixer(nn.Module):
    """Mixes batches of one domain by one method. `create_mixer` makes one by name.

    ``mixed, targets = mixer(batch, labels)``. It has no parameters, changes none of its inputs, and in eval mode
    returns the batch itself, with its labels as soft targets.

    Labels are integer classes (B,); floating-point soft labels (B, num_classes) or, without ``num_classes``, regression
    targets (B, ...); integer classes per element, (B, N) or (B, H, W), whose targets are (B, num_classes, N) or
    (B, num_classes, H, W); or a tuple or dict of these, and then so are the targets.

    Args:
        method: draws the plans.
        domain: turns a batch into elements and back.
        num_classes: needed for integer labels; one number, or a tuple or dict as the labels are.
        saliency: a `GradientSaliency`, or a function of the batch alone; needed if ``method.needs`` says so.
        p: probability that a batch is mixed at all. Default: the method's, which is 1 unless its paper says otherwise.
        ignore_index: per-element label that does not count (`MixPlan.element_targets`). Default None.
        clean_weight: above 0, the saliency pass is a training pass too, in the model's own mode, and `clean_loss` is
            this weight times its loss. Default: the method's, which is 0 unless its paper says otherwise.

    Raises:
        ValueError: p outside [0, 1], a method that needs a saliency and has none, or a clean_weight without a model.
    """

    def __init__(
        self,
        method: Method,
        domain: Domain,
        *,
        num_classes: Any = None,
        saliency: Saliency | None = None,
        p: float | None = None,
        ignore_index: int | None = None,
        clean_weight: float | None = None,
    ) -> None:
        super().__init__()
        self.method = method
        self.domain = domain
        self.num_classes = num_classes
        self.p = method.p if p is None else p
        self.ignore_index = ignore_index
        # without a model there is no clean pass to weigh; asking for it all the same is an error
        has_model = isinstance(saliency, GradientSaliency)
        self.clean_weight = (method.clean_weight if has_model else 0.0) if clean_weight is None else clean_weight
        self._clean_loss: Tensor | None = None
        self._saliency = (saliency,)  # in a tuple, so that nn.Module does not register a saliency that is a module
        if not 0 <= self.p <= 1:
            raise ValueError(f"p must lie in [0, 1], got {p}")
        if self.clean_weight < 0 or (self.clean_weight and not has_model):
            raise ValueError(f"clean_weight must be >= 0, and above 0 needs model=, got {clean_weight}")
        if "saliency" in method.needs and saliency is None:
            raise ValueError(
                f"{type(method).__name__} needs saliency: give model=, or saliency= a function of the batch"
                + (f" or one of {', '.join(domain.saliencies)}" if domain.saliencies else "")
            )

    @property
    def clean_loss(self) -> Tensor:
        """What the last mixed batch adds to the loss: clean_weight times the loss of its clean pass, else 0."""
        return torch.zeros(()) if self._clean_loss is None else self._clean_loss

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave the last batch's graph behind."""
        return {**self.__dict__, "_clean_loss": None}

    @property
    def saliency(self) -> Saliency | None:
        """Where the saliency comes from, or None."""
        return self._saliency[0]

    def forward(
        self, batch: Tensor, labels: Any, *, saliency: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Any]:
        """Mix a batch.

        Args:
            batch: a batch of the mixer's domain.
            labels: see the class.
            saliency: (B, N) or (B, H, W) where it is known already. Default None: computed if the method needs it.
            generator: CPU generator of all draws. Default: torch's global one.

        Returns:
            The mixed batch in the dtype and layout of ``batch``, and its targets, never less than float32.

        Raises:
            TypeError, ValueError: a batch or labels of the wrong kind; the message says what came and what was wanted.
        """
        if self.training:
            plan = self.plan(batch, labels, saliency=saliency, generator=generator)
            return self.apply(plan, batch, labels)
        self.check(batch, labels)
        return batch, self.targets(MixPlan.identity(len(batch), batch.device), labels)

    def plan(
        self, batch: Tensor, labels: Any, *, saliency: Tensor | None = None, generator: torch.Generator | None = None
    ) -> MixPlan:
        """Draw a plan without applying it; arguments as for `forward`."""
        draws.check_generator(generator)
        elements = self.check(batch, labels)
        if self.skips(generator):
            return MixPlan.identity(elements.num_samples, batch.device)
        saliency = self.find_saliency(batch, labels) if saliency is None else saliency.detach().flatten(1)
        return self.draw(elements, saliency, generator)

    def apply(self, plan: MixPlan, batch: Tensor | None = None, labels: Any = None) -> Any:  # type: ignore[override]
        """Apply a plan already drawn. Returns the mixed batch and its targets, as `forward`.

        (``nn.Module.apply(function)`` of a model that holds a mixer still works: a function is not a plan.)
        """
        if not isinstance(plan, MixPlan):
            return super().apply(plan)
        if batch is None:
            raise TypeError("apply takes a plan, a batch and its labels; got a plan alone")
        elements = self.check(batch, labels)
        values = plan.apply(elements.values)
        # the places of a grid stay where they are
        coords = (
            elements.coords[:1].expand(len(values), -1, -1) if elements.grid else plan.apply_coords(elements.coords)
        )
        mixed = ElementSet(coords, values, elements.grid)
        return self.domain.batch(mixed, like=batch), self.targets(plan, labels)

    # ---- the steps, for whoever mixes elsewhere than at the input

    def check(self, batch: Tensor, labels: Any) -> ElementSet:
        """The elements of a batch, once it and its labels are found to be what the mixer takes."""
        elements = self.domain.elements(batch)
        check_labels(labels, self.num_classes, elements.num_samples, elements.num_elements, self.ignore_index)
        return elements

    def skips(self, generator: torch.Generator | None = None) -> bool:
        """Draw whether this batch stays unmixed, which happens with probability 1 - p."""
        self._clean_loss = None
        return self.p < 1 and bool(torch.rand((), generator=generator) >= self.p)

    def find_saliency(self, batch: Tensor, labels: Any) -> Tensor | None:
        """(B, N) the saliency of a batch, or None if the method needs none."""
        saliency = self.saliency
        if "saliency" not in self.method.needs:
            return None
        if isinstance(saliency, GradientSaliency):
            if not self.clean_weight:
                return saliency(batch, labels, self.domain)
            found, loss = saliency.with_loss(batch, labels, self.domain)
            self._clean_loss = self.clean_weight * loss
            return found
        if saliency is None:
            raise ValueError(f"{type(self.method).__name__} needs saliency: make the mixer with model= or saliency=")
        with torch.no_grad():
            return saliency(batch).flatten(1)

    @torch.no_grad()
    def draw(
        self,
        elements: ElementSet,
        saliency: Tensor | None,
        generator: torch.Generator | None = None,
        length_scale: float | None = None,
    ) -> MixPlan:
        """Let the method draw a plan for a set of elements; ``length_scale`` is the domain's unless given."""
        if saliency is not None and saliency.shape != elements.coords.shape[:2]:
            wanted = tuple(elements.coords.shape[:2])
            raise ValueError(f"saliency must be {wanted}, one number per element, got {tuple(saliency.shape)}")
        assign = self.domain.assign if "assign" in self.method.needs else None
        scale = self.domain.length_scale(elements) if length_scale is None else length_scale
        elements = replace(elements, length_scale=scale)
        return self.method.plan(elements, saliency=saliency, assign=assign, generator=generator)

    def targets(self, plan: MixPlan, labels: Any) -> Any:
        """The targets of a batch mixed by a plan; in the structure of its labels."""

        def mix(labels: Tensor, num_classes: int | None) -> Tensor:
            if labels.dim() > 1 and not labels.is_floating_point():
                return plan.element_targets(labels, num_classes, self.ignore_index)
            return plan.targets(labels, num_classes)

        return map_labels(mix, labels, self.num_classes)

    def collate(self, samples: list[Any]) -> tuple[Tensor, Any]:
        """For ``DataLoader(..., collate_fn=mixer.collate)``: collates samples ``(input, label)``, then mixes the batch.

        Raises:
            ValueError: the saliency needs a model; mix after the loader then.
        """
        if isinstance(self.saliency, GradientSaliency):
            raise ValueError(
                "a mixer with a model's saliency cannot run in the loader: call it after the loader instead"
            )
        batch, *labels = default_collate(samples)
        return self(batch, labels[0] if len(labels) == 1 else tuple(labels))

    def extra_repr(self) -> str:
        """What ``print(mixer)`` says."""
        options = ", ".join(f"{k}={v!r}" for k, v in vars(self.method).items() if k != "needs")
        saliency = getattr(self.saliency, "__name__", type(self.saliency).__name__) if self.saliency else None
        return (
            f"{type(self.method).__name__}({options}), domain={type(self.domain).__name__}, "
            f"num_classes={self.num_classes}, saliency={saliency}, p={self.p}"
        )


def create_mixer(
    method: str | Method,
    domain: str | Domain,
    *,
    num_classes: Any = None,
    model: nn.Module | None = None,
    saliency: str | Saliency | None = None,
    loss: Callable[[Any, Any], Tensor] = cross_entropy,
    p: float | None = None,
    ignore_index: int | None = None,
    clean_weight: float | None = None,
    **options: Any,
) -> Mixer:
    """Make a mixer by name: ``create_mixer("sagemix", domain="image", num_classes=100, model=model)``.

    Args:
        method: a name of `list_methods`, or a method.
        domain: a name of `list_domains`, or a domain.
        num_classes: see `Mixer`.
        model: the model whose gradient is the saliency; held unregistered. Ignored by methods without saliency, so
            that a comparison changes one word.
        saliency: instead of a model: a name of the domain's ``saliencies``, or a function of the batch -> (B, N).
        loss: the loss of the model's saliency, ``loss(output, labels)``. Default: cross entropy without smoothing.
        p: probability that a batch is mixed. Default: the method's.
        ignore_index: see `Mixer`.
        clean_weight: see `Mixer`.
        options: the method's own (``theta=0.2``) and the domain's (``layout="bcn"``).

    Raises:
        ValueError: an unknown name, or a value that an option does not take.
        TypeError: an option that neither the method nor the domain has.
    """
    domain_class = get_domain(domain) if isinstance(domain, str) else type(domain)
    method_class = (
        get_method(method, domain if isinstance(domain, str) else None) if isinstance(method, str) else type(method)
    )
    ours = _accepted(domain_class) if isinstance(domain, str) else {}
    theirs = _accepted(method_class) if isinstance(method, str) else {}
    if unknown := [name for name in options if name not in ours and name not in theirs]:
        raise TypeError(
            f"unexpected option {', '.join(map(repr, unknown))}; the method takes: {', '.join(theirs) or 'none'}; "
            f"the domain takes: {', '.join(ours) or 'none'}"
        )
    if isinstance(domain, str):
        domain = domain_class(**{name: value for name, value in options.items() if name in ours})
    if isinstance(method, str):
        chosen = {name: value for name, value in options.items() if name in theirs}
        method = method_class(**{**domain.method_defaults.get(method, {}), **chosen})
    if isinstance(saliency, str):
        if saliency not in domain.saliencies:
            there = ", ".join(domain.saliencies) or "none"
            raise ValueError(f"unknown saliency {saliency!r}; {type(domain).__name__} has: {there}")
        saliency = domain.saliencies[saliency]
    if saliency is None and model is not None and "saliency" in method.needs:
        saliency = GradientSaliency(model, loss)
    return Mixer(
        method,
        domain,
        num_classes=num_classes,
        saliency=saliency,
        p=p,
        ignore_index=ignore_index,
        clean_weight=clean_weight,
    )


def _accepted(cls: type) -> dict[str, inspect.Parameter]:
    """The options that a class's constructor takes by name."""
    parameters = inspect.signature(cls).parameters
    return {n: q for n, q in parameters.items() if q.kind in (q.POSITIONAL_OR_KEYWORD, q.KEYWORD_ONLY)}
