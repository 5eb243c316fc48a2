"""The steps of mixing a batch, which a mixer takes at the input and a `ManifoldMixer` inside a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from mixkit.arrays import check_dense
from mixkit.checks import check_coords, check_not_negative, check_share
from mixkit.confidence import ConfidenceMeter
from mixkit.domain import Domain
from mixkit.elements import ElementSet
from mixkit.history import History, check_history
from mixkit.label_tree import NumClasses, check_ignore_index, check_num_classes, map_labels, map_leaves, read_labels
from mixkit.labels import Label, Size
from mixkit.methods.base import Method, Partners, PlanContext
from mixkit.moving import refuse_integers
from mixkit.partners import PREVIOUS_BATCH, check_partners, choose_partners, classes_of
from mixkit.plan import MixPlan
from mixkit.running import refuse_new_model
from mixkit.schedule import Schedule
from mixkit.settings import settle
from mixkit.show import show_mixer
from mixkit.source import Observer, Saliency, SaliencySource, as_source, what_is_missing
from mixkit.stages import stage
from mixkit.targets import mix_label
from mixkit.typed import MixerCall
from mixkit.watch import EmptyRows, checked_saliency
from mixkit.weighing import check_labels_by, needed_for, weigh


class MixerSteps(MixerCall):
    """What a mixer is made of, and its steps one by one; its arguments are those of `mixkit.Mixer`."""

    saliency: SaliencySource | None  #: where the saliency comes from
    model: SaliencySource | None  #: the source that has a model, be it the saliency or beside it

    def __init__(
        self,
        method: Method,
        domain: Domain,
        *,
        num_classes: NumClasses = None,
        saliency: Saliency | None = None,
        p: float | None = None,
        ignore_index: Any = None,
        clean_weight: float | None = None,
        schedule: Schedule | None = None,
        partners: Partners | None = None,
        labels_by: str | None = None,
        model: SaliencySource | None = None,
        inside: bool = False,
    ) -> None:
        super().__init__()
        if method.for_layers and not inside:
            raise ValueError(
                f"{type(method).__name__} mixes at the layers of a model, and this mixer would mix the input: take "
                "mixkit.ManifoldMixer(model, layers, 'manifold_mixup', ...), or 'mixup' with alpha=2 for the input"
            )
        self.method = method
        self.labels_by = check_labels_by(labels_by)
        self.partners = check_partners(
            method.partners if partners is None else partners, type(method).__name__, self.needs
        )
        self.domain = domain
        self.num_classes = check_num_classes(num_classes)
        self.p = method.p if p is None else check_share("p", p)
        self.ignore_index = check_ignore_index(ignore_index)
        source = as_source(saliency)
        self.__dict__["saliency"] = source  # past nn.Module, which would register a source that is a module
        # without a model there is no clean pass to weigh; asking for it all the same is an error
        has_model = source is not None and source.has_model
        self.clean_weight = (method.clean_weight if has_model else 0.0) if clean_weight is None else clean_weight
        self._clean_loss: Tensor | None = None
        self.empty_rows = EmptyRows()
        self.history = History() if self.partners == PREVIOUS_BATCH else None
        if check_not_negative("clean_weight", self.clean_weight) and not has_model:
            raise ValueError(
                f"a clean_weight above 0 needs the saliency of model=, and a method with saliency, got {clean_weight}"
            )
        if missing := what_is_missing(source, type(method).__name__, self.needs, domain):
            raise ValueError(missing)

        self.schedule = schedule
        self.__dict__["model"] = source if has_model else model
        self._meter: ConfidenceMeter | None = None
        self.observer: Observer | None = None  # is shown what a saliency pass puts out, where the schedule measures
        if schedule is not None:
            if schedule.measures:
                if self.model is None:
                    raise ValueError(f"{type(schedule).__name__} follows the model's confidence: give model=")
                self._meter = ConfidenceMeter()
                self.observer = self._meter.observe
            for share, settings in schedule.ends():  # what is wrong at either end is known before the run
                self._settle(settings, share)
        check_history(self)

    @property
    def clean_loss(self) -> Tensor:
        """What the last mixed batch adds to the loss: clean_weight times the loss of its clean pass, else 0."""
        return torch.zeros(()) if self._clean_loss is None else self._clean_loss

    def forget_clean_loss(self) -> None:
        """Begin a batch that adds nothing to the loss."""
        self._clean_loss = None

    def set_clean_loss(self, loss: Tensor) -> None:
        """Take the loss of a clean pass, of which `clean_loss` is clean_weight times."""
        with torch.inference_mode(False), torch.enable_grad():  # as the pass was, whatever the batch is mixed in
            self._clean_loss = self.clean_weight * loss

    def __setattr__(self, name: str, value: Any) -> None:
        refuse_new_model(self, name)
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave the last batch behind."""
        return {**self.__dict__, "_clean_loss": None, "empty_rows": EmptyRows()}

    @property
    def needs(self) -> frozenset[str]:
        """What the mixer has to find for each batch, in the words of `Method.needs`."""
        return self.method.needs | needed_for(self.labels_by)

    def read(self, batch: Tensor, labels: Any) -> tuple[ElementSet, Any]:
        """The elements of a batch, and its labels as they are read: a `Label`, or a tuple or dict of them.

        Raises:
            TypeError: a batch or labels of a type that the mixer does not take.
            ValueError: a batch or labels of a shape that it does not take.
        """
        if isinstance(batch, Tensor):
            check_dense("the batch", batch)
        elements = self.domain.elements(batch)
        if not elements.values.is_floating_point():
            gradient = self._source is not None and not self._source.in_loader
            refuse_integers(self.method, elements.values.dtype, self.domain.conversion, gradient=gradient)
        read = read_labels(labels, self.num_classes, Size.of(elements), self.ignore_index, batch.device)
        return elements, map_labels(Label.check, read)

    def read_samples(self, samples: Any, elements: ElementSet) -> Any:
        """Which samples of the data set a batch is of, as the source of the saliency reads them; what came without one.

        Raises:
            TypeError: samples of a type that the source does not take.
            ValueError: samples that do not fit the batch or the source, or none where it asks for them.
        """
        return samples if self._source is None else self._source.read_samples(samples, elements)

    def watch(self, mixed: Tensor, plan: MixPlan, elements: ElementSet, samples: Any) -> Tensor:
        """The mixed batch as it goes out to be trained on: a `SaliencyBank` reads the gradient that comes back to it.

        Args:
            mixed: the mixed batch.
            plan: what it is made of.
            elements: those of the batch before it was mixed.
            samples: which samples of the data set they are, as `Mixer` takes them.
        """
        if self._source is None:
            return mixed
        return self._source.watch(mixed, plan, self._source.read_samples(samples, elements), self.domain)

    def begin_batch(self, generator: torch.Generator | None = None) -> bool:
        """Take and count the schedule's settings of this batch, and draw whether it is mixed, with probability p."""
        self._clean_loss = None
        if self._meter is not None:
            self._meter.forget()
        p = self.p
        if (schedule := self.schedule) is not None:
            p *= self._settle(schedule.now(), schedule.share)
            if self.training:
                schedule.count()
        mixed = p >= 1 or bool(torch.rand((), generator=generator) < p)
        if not mixed and schedule is not None and schedule.measures:
            schedule.mixed = torch.zeros(())
        return mixed

    def find_saliency(self, batch: Tensor, labels: Any, elements: ElementSet, samples: Any = None) -> Tensor | None:
        """(B, N) the saliency of a batch, given its labels, elements and samples as read; None if not needed."""
        source = self._source
        if source is None:
            return None
        with stage("saliency"):
            if self.clean_weight:
                saliency, loss = source.find_with_loss(batch, labels, self.domain, self.observer)
                self.set_clean_loss(loss)
            else:
                saliency = source.find(batch, labels, self.domain, samples, self.observer)
            return checked_saliency(saliency, elements)

    @torch.no_grad()
    def draw(
        self,
        elements: ElementSet,
        saliency: Tensor | None,
        generator: torch.Generator | None = None,
        labels: Any = None,
        samples: Any = None,
    ) -> MixPlan:
        """Let the method draw a plan for a set of elements, given what `find_saliency` and `read` say of the batch."""
        if saliency is not None:
            self.empty_rows.look(saliency)
        if elements.grid is None:  # where coordinates are data
            check_coords(elements.coords)
        assign = self.domain.assign if "assign" in self.method.needs else None
        with stage("plan"):
            partner = choose_partners(self.partners, elements, labels, saliency, samples, generator)
            classes = None
            if "classes" in self.method.needs:
                classes = classes_of(elements.num_samples, labels).to(elements.coords.device)
            plan = self.method.plan(elements, PlanContext(saliency, assign, generator, partner, classes=classes))
            return weigh(plan, self.labels_by, saliency)

    def draw_spared(
        self,
        batch: Tensor,
        labels: Any,
        generator: torch.Generator | None = None,
        model: SaliencySource | None = None,
        pool: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor | None:
        """(B,) bool, the samples that the schedule leaves unmixed, given the model's confidence; None: none.

        Args:
            batch: the batch.
            labels: its labels as they are read.
            generator: CPU generator of the draw. Default None: torch's global one.
            model: whose confidence it is. Default None: the mixer's.
            pool: makes of what the model is sure of the confidences (B,). Default None: they are.
        """
        model = model or self.model
        if self.schedule is None or self._meter is None or model is None:
            return None
        confidence = self._meter.read(model.confidence, batch, labels)
        return self.schedule.draw_spared(confidence if pool is None else pool(confidence), generator)

    def targets(self, plan: MixPlan, labels: Any) -> Any:
        """The targets of a batch mixed by a plan; in the structure of its labels, which `read` has read."""
        return map_leaves(lambda label: mix_label(plan, label), labels)

    def refuse_in_loader(self) -> None:
        """Raise ValueError for the saliency of a model, and in a worker for a bank: a worker's copy learns nothing."""
        source = self.saliency
        if source is None or source.in_loader or (source.learns and get_worker_info() is None):
            return
        name, place = ("SaliencyBank", "a loader's worker") if source.learns else ("model's saliency", "the loader")
        raise ValueError(f"a mixer with a {name} cannot run in {place}: call it after the loader")

    extra_repr = show_mixer

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def _settle(self, settings: dict[str, float], share: float | None) -> float:
        """Take the settings of a schedule; returns the share of p that it leaves."""
        has_model = self.saliency is not None and self.saliency.has_model
        self.method, self.clean_weight, p = settle(settings, self.method, self.clean_weight, has_model, share)
        return p

    @property
    def _source(self) -> SaliencySource | None:
        """Where the saliency comes from, of a method that asks for it."""
        return self.saliency if "saliency" in self.needs else None
