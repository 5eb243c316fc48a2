"""Mixing inside a model: the output of one of its layers is mixed on the way through, in one forward pass."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from mixkit import draws
from mixkit.channels import word_for
from mixkit.domain import Domain
from mixkit.elements import ElementSet
from mixkit.factory import create_mixer
from mixkit.label_tree import listed
from mixkit.partners import PREVIOUS_BATCH
from mixkit.plan import MixPlan
from mixkit.running import MixerOfModel, run_model, unwrap
from mixkit.untraced import untraced
from mixkit.watch import checked_saliency


class ManifoldMixer(MixerOfModel):
    """Mixes at one layer of a model, drawn anew for each batch (Manifold Mixup; SageMix's feature space, appendix B.2).

    ``logits, targets = manifold(batch, labels)`` runs the model once, with a forward hook on the drawn layer that is
    removed whatever happens. What the layer's output is, a feature map, tokens, points or a vector, is the domain's to
    say (`Domain.feature_elements`). In eval mode, its own or the model's, nothing is mixed. Labels per element need
    layers with the input's elements, unless the method draws one weight per sample and pairs the same positions.

    The model is held unregistered, as a mixer holds it. DistributedDataParallel, autocast and compiled submodules work;
    a model compiled as a whole skips hooks, and so does a layer inside a checkpointed region when it is computed
    again: both are refused.

    Args:
        model: ``model(batch)`` gives the logits.
        layers: names as in ``model.named_modules()``, and "input". One is drawn per batch, uniformly.
        method: a name of `list_methods`, or a method. Default "sagemix".
        domain: a name of `list_domains`, or a domain. Default "image".
        saliency_at: "input", the saliency of the input, pooled to the layer's elements; or "layer", the gradient at the
            layer itself. Default "input".
        channels_last: whether the channels of an activation come last, for all layers or as a dict for some by name. It
            is asked where the sides leave that open, as in (B, 96, 96, 96). Default None: the layer's module says, by
            what its norms and convolutions take (`mixkit.channels.channels_last`); where it does not, that is an error.
        forward: how the model is run, ``forward(model, batch)`` or ``forward(model, batch, labels)``, where it takes
            more than the batch; the labels are those that came, not the targets. Default None: ``model(batch)``.
        options: `create_mixer`'s: num_classes, saliency, loss, p, ignore_index, schedule, total_steps, the
            method's and the domain's.

    Raises:
        ValueError: no layers, a layer that the model has not, a model compiled as a whole, a `SaliencyBank`, or the
            batch before as partners.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))
        >>> manifold = ManifoldMixer(model, ["input", "1"], "cutmix", "image", num_classes=5)
        >>> logits, targets = manifold(torch.randn(4, 3, 8, 8), torch.arange(4))
        >>> logits.shape, targets.shape
        (torch.Size([4, 5]), torch.Size([4, 5]))
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str],
        method: Any = "sagemix",
        domain: Any = "image",
        *,
        saliency_at: str = "input",
        channels_last: bool | Mapping[str, bool] | None = None,
        forward: Callable[..., Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, forward)
        if isinstance(layers, str) or not layers:
            raise ValueError(f"layers must be a list of at least one layer's name, got {layers!r}")
        if saliency_at not in ("input", "layer"):
            raise ValueError(f"saliency_at must be 'input' or 'layer', got {saliency_at!r}")
        modules = dict(unwrap(model).named_modules())
        if missing := [name for name in layers if name != "input" and (name not in modules or not name)]:
            raise ValueError(f"the model has no layer {missing[0]!r}; its children: {', '.join(_children(model))}")
        self.layers = list(layers)
        self.saliency_at = saliency_at
        self.channels_last = channels_last
        if isinstance(channels_last, Mapping) and (unused := [name for name in channels_last if name not in layers]):
            raise ValueError(f"channels_last names {unused[0]!r}, which is none of the layers: {', '.join(layers)}")
        self.mixer = create_mixer(method, domain, model=model, forward=forward, inside=True, **options)
        if self.mixer.partners == PREVIOUS_BATCH:
            raise ValueError("a Mixer remembers the batch before, a ManifoldMixer does not: give partners='random'")
        if self.mixer.saliency is not None and self.mixer.saliency.learns:
            raise ValueError("a SaliencyBank learns from the mixed input, so it serves a Mixer, not a ManifoldMixer")

    @untraced
    def forward(
        self, batch: Tensor, labels: Any, *, generator: torch.Generator | None = None, samples: Any = None
    ) -> tuple[Any, Any]:
        """Run the model, mixing at one of the layers.

        Args:
            batch: a batch of the domain.
            labels: labels as `Mixer` takes them.
            generator: CPU generator of all draws, the layer's included. Default: torch's global one.
            samples: see `Mixer`; a source of saliency may ask for them. Default None.

        Returns:
            The model's output, and the targets.

        Raises:
            ValueError: labels per element, and a layer whose elements are other than the input's; or an activation that
                the domain cannot read, or can with its channels first or last.
            RuntimeError: the layer did not run, so that nothing was mixed, or it runs inside a checkpointed region.
        """
        draws.check_generator(generator)
        mixer = self.mixer
        elements, read = mixer.read(batch, labels)
        mixing = self.training and unwrap(self.model).training
        if mixing:
            samples = mixer.read_samples(samples, elements)
        else:
            mixer.forget_clean_loss()
        if not mixing or not mixer.begin_batch(generator):
            return self._run(batch, read), mixer.targets(MixPlan.identity(len(batch), batch.device), read)
        name = self.layers[int(torch.randint(len(self.layers), (), generator=generator))]
        if name == "input":
            saliency = mixer.find_saliency(batch, read, elements, samples)
            plan = mixer.draw(elements, saliency, generator, read, samples)
            plan = plan.keep(mixer.draw_spared(batch, read, generator))
            return self._run(mixer.domain.mix(plan, elements, batch), read), mixer.targets(plan, read)
        layer = unwrap(self.model).get_submodule(name)
        last = word_for(self.channels_last, name, layer)
        saliency = self._saliency(batch, read, layer, elements, last, samples)
        spared = mixer.draw_spared(batch, read, generator)
        plans: list[MixPlan] = []
        per_element = _has_element_labels(read)

        def mix(module: nn.Module, args: Any, output: Any) -> Any:
            if plans:  # a layer that runs twice is mixed once
                return output
            _refuse_checkpoint(name)
            with torch.no_grad():
                features = _read(name, mixer.domain, output, elements, last)
                pooled = saliency
                if pooled is not None and self.saliency_at == "input" and features is not None:
                    pooled = mixer.domain.pool_saliency(pooled, elements, features)
                of_layer = elements if features is None else features
                plan = mixer.draw(of_layer, pooled, generator, read, samples)
                if per_element and plan.num_elements is not None:  # else one weight a sample, the same for every label
                    _refuse_other_elements(name, features, elements)
                plans.append(plan.keep(spared))
            return mixer.domain.mix_feature(plans[0], output, features, last)

        handle = layer.register_forward_hook(mix)
        try:
            output = self._run(batch, read)
        finally:
            handle.remove()
        if not plans:
            raise RuntimeError(
                f"layer {name!r} did not run, so nothing was mixed; is it unused, or compiled with its hooks?"
            )
        return output, mixer.targets(plans[0], read)

    def _run(self, batch: Tensor, labels: Any) -> Any:
        return run_model(self.model, batch, labels, self._forward_of_model)

    def extra_repr(self) -> str:
        """What ``print(manifold)`` says."""
        model = type(unwrap(self.model)).__name__
        return f"{model}, layers={self.layers}, saliency_at={self.saliency_at!r},\n  {self.mixer.extra_repr()}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def _saliency(
        self, batch: Tensor, labels: Any, layer: nn.Module, elements: ElementSet, last: bool | None, samples: Any
    ) -> Tensor | None:
        """(B, n) saliency of the input's elements, or of the layer's."""
        mixer, source = self.mixer, self.mixer.saliency
        if source is None or not source.has_model or self.saliency_at != "layer" or "saliency" not in mixer.needs:
            return mixer.find_saliency(batch, labels, elements, samples)
        if mixer.clean_weight:
            gradient, loss = source.gradient_with_loss(batch, labels, layer, mixer.observer)
            mixer.set_clean_loss(loss)
        else:
            gradient = source.gradient(batch, labels, layer, mixer.observer)
        features = mixer.domain.feature_elements(gradient, elements, last)
        if features is None:  # a vector has no places of its own
            return checked_saliency(source.find(batch, labels, mixer.domain, samples), elements)
        return torch.linalg.vector_norm(features.values.float(), dim=2)


def _children(model: nn.Module) -> list[str]:
    return [name for name, _ in unwrap(model).named_children()]


def _read(name: str, domain: Domain, output: Any, elements: ElementSet, last: bool | None) -> ElementSet | None:
    """A layer's output as elements; the error for what the domain cannot read names the layer."""
    try:
        return domain.feature_elements(output, elements, last)
    except ValueError as error:
        raise ValueError(f"layer {name!r}: {error}") from error


def _has_element_labels(labels: Any) -> bool:
    """Whether any of the labels has an entry for each element."""
    return any(label.places is not None for label in listed(labels))


def _refuse_other_elements(name: str, features: ElementSet | None, elements: ElementSet) -> None:
    """Labels per element of the input cannot follow a plan for other elements: refuse it before the layers to come."""
    if features is not None and features.grid == elements.grid:
        same = features.coords.shape == elements.coords.shape
        # as many points may still be others; this is off the usual path, so it may read them
        if same and (elements.grid or torch.equal(features.coords, elements.coords)):
            return
    of_input, of_layer = _resolution(elements), _resolution(features)
    raise ValueError(
        f"layer {name!r} has {of_layer}{' at other places' * (of_layer == of_input)}, "
        f"and the labels are for {of_input}: mix at layers of the input's resolution, or give one label per sample"
    )


def _resolution(elements: ElementSet | None) -> str:
    if elements is None:
        return "vectors without elements"
    size = " x ".join(map(str, elements.grid)) if elements.grid else str(elements.num_elements)
    return f"{size} elements"


def _refuse_checkpoint(name: str) -> None:
    """A checkpointed region runs again in the backward pass, without the hook: its gradients would be wrong.

    Whether the layer runs in one, of either kind, is read off the calls that led here, as each version of torch keeps
    another state, and the reentrant kind none.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "torch.utils.checkpoint":
            raise RuntimeError(
                f"layer {name!r} runs inside a checkpointed region: name a layer that holds the whole region"
            )
        frame = frame.f_back
