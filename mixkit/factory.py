"""Making a mixer from names and options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from mixkit.domain import Domain
from mixkit.label_tree import NumClasses
from mixkit.methods.base import Method, Partners
from mixkit.mixer import Mixer
from mixkit.registry import accepted, get_domain, get_method, name_of
from mixkit.saliency import GradientSaliency, Loss
from mixkit.schedule import Schedule, make_schedule
from mixkit.source import Saliency, as_source
from mixkit.weighing import check_labels_by, needed_for


def create_mixer(
    method: str | Method,
    domain: str | Domain,
    *,
    num_classes: NumClasses = None,
    model: nn.Module | None = None,
    saliency: str | Saliency | None = None,
    loss: Loss | None = None,
    forward: Callable[..., Any] | None = None,
    p: float | None = None,
    ignore_index: Any = None,
    clean_weight: float | None = None,
    schedule: str | Schedule | None = None,
    total_steps: int | None = None,
    partners: Partners | None = None,
    labels_by: str | None = None,
    inside: bool = False,
    **options: Any,
) -> Mixer:
    """Make a mixer by name: ``create_mixer("sagemix", domain="image", num_classes=100, model=model)``.

    Args:
        method: a name of `list_methods`, or a method.
        domain: a name of `list_domains`, or a domain.
        num_classes: see `Mixer`.
        model: the model whose gradient is the saliency; held unregistered. Ignored by methods without saliency, so
            that a comparison changes one word.
        saliency: instead of a model: a name of the domain's ``saliencies``, a function of the batch -> (B, N), or a
            `SaliencySource`: a `GradientSaliency` with options, or a `SaliencyBank`, which may want a model as well.
        loss: the loss of the model's saliency, ``loss(output, labels)``. Default None: chosen by the labels and the
            output, without smoothing (`GradientSaliency`).
        forward: how the model is run for it, ``forward(model, batch)`` (`GradientSaliency`). Default None.
        p: probability that a batch is mixed. Default: the method's.
        ignore_index: see `Mixer`.
        clean_weight: see `Mixer`.
        schedule: a name of `list_schedules`, or a `Schedule`. Default None: the same settings all the time.
        total_steps: batches in the whole run, of a schedule given by name (`Schedule`).
        partners: whom each sample is mixed with, a rule's name or a function (`Mixer`). Default: the method's.
        labels_by: what a sample's label weighs by, "weight", "saliency" or "own_saliency" (`Mixer`). Default: the
            method's.
        inside: see `Mixer`.
        options: the method's own (``theta=0.2``) and the domain's (``layout="bcn"``).

    Raises:
        ValueError: an unknown name, a value that an option does not take, or what `Mixer` refuses.
        TypeError: an option that neither the method nor the domain has.

    Example:
        >>> import torch
        >>> mixer = create_mixer("pointmixup", domain="points", num_classes=10)
        >>> mixed, targets = mixer(torch.randn(8, 128, 3), torch.arange(8))
        >>> mixed.shape, targets.shape
        (torch.Size([8, 128, 3]), torch.Size([8, 10]))
    """
    for name, value_given, cls in (("method", method, Method), ("domain", domain, Domain)):
        if not isinstance(value_given, (str, cls)):
            raise TypeError(f"{name} must be a name or a {cls.__name__}, got {value_given!r}")
    domain_class = get_domain(domain) if isinstance(domain, str) else type(domain)
    method_class = get_method(method, name_of(domain_class)) if isinstance(method, str) else type(method)
    domain_options = accepted(domain_class) if isinstance(domain, str) else {}
    method_options = accepted(method_class) if isinstance(method, str) else {}
    if unknown := [name for name in options if name not in domain_options and name not in method_options]:
        raise TypeError(
            f"unexpected option {', '.join(map(repr, unknown))}; "
            f"the method takes: {', '.join(method_options) or 'none'}; "
            f"the domain takes: {', '.join(domain_options) or 'none'}"
        )
    if isinstance(domain, str):
        domain = domain_class(**{name: value for name, value in options.items() if name in domain_options})
    if isinstance(method, str):
        chosen = {name: value for name, value in options.items() if name in method_options}
        method = method_class(**{**domain.method_defaults.get(method, {}), **chosen})
    if isinstance(saliency, str):
        if saliency not in domain.saliencies:
            available = ", ".join(domain.saliencies) or "none"
            raise ValueError(f"unknown saliency {saliency!r}; {type(domain).__name__} has: {available}")
        saliency = domain.saliencies[saliency]
    schedule = make_schedule(schedule, total_steps)
    source, by_model = as_source(saliency), None
    measures = schedule is not None and schedule.measures
    needed = "saliency" in method.needs | needed_for(check_labels_by(labels_by))
    if model is not None and (source is not None or needed or measures):
        by_model = GradientSaliency(model, loss, forward=forward)
        if source is not None:
            source = source.with_model(by_model)
        elif needed:
            source = by_model
    return Mixer(
        method,
        domain,
        num_classes=num_classes,
        saliency=source,
        p=p,
        ignore_index=ignore_index,
        clean_weight=clean_weight,
        schedule=schedule,
        partners=partners,
        labels_by=labels_by,
        model=by_model,
        inside=inside,
    )
