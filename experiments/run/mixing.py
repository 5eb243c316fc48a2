"""What mixes a run's batches: a mixer with draws of its own, at the input or in feature space."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

import mixkit
from experiments.base.clock import now
from experiments.run.methods import TOLD, MethodSpec


class Mixing:
    """A run's mixer with draws of its own; the model's saliency runs at the precision of training.

    Args:
        spec: the method.
        domain: one of `experiments.data.DATASETS`.
        num_classes: `mixkit.create_mixer`'s.
        model: the model itself: its gradient is the saliency, its layers are mixed in feature space.
        through: what feature space runs the model through, DistributedDataParallel for one. Default: the model.
        autocast: makes the context of training's precision.
        num_samples: the number of samples of the training set, for the bank.
        num_elements: the number of elements of a stored sample, for the bank.
        device: the device of the batches, where the bank is kept.
        epochs: the number of epochs of the run.
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
        if spec.schedule is not None:
            options["schedule"] = spec.schedule.make(epochs)
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
        #: The schedule that wants to be told how far the model overfits, if the method has such a one.
        self.follower: mixkit.Adaptive | None = None
        if spec.schedule is not None and spec.schedule.name == TOLD:
            self.follower = options["schedule"]

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
