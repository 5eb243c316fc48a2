"""The mixer: a batch and its labels in, the mixed batch and its targets out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor, nn

from mixkit import draws
from mixkit.arrays import check_dense
from mixkit.checks import check_coords, check_not_negative, check_share
from mixkit.collate import collate_pairs
from mixkit.confidence import ConfidenceMeter
from mixkit.domain import Domain
from mixkit.elements import ElementSet
from mixkit.label_tree import NumClasses, check_ignore_index, check_num_classes, map_labels, map_leaves, read_labels
from mixkit.labels import Label, Size
from mixkit.methods.base import Method, PlanContext
from mixkit.moving import refuse_integers
from mixkit.partners import Partners, check_partners, choose_partners
from mixkit.plan import MixPlan
from mixkit.ragged import RaggedPlan, mixing, open_form
from mixkit.schedule import Schedule
from mixkit.settings import check_settings, settle
from mixkit.show import show_mixer
from mixkit.source import Observer, Saliency, SaliencySource, as_source, what_is_missing
from mixkit.targets import mix_label
from mixkit.untraced import untraced
from mixkit.watch import EmptyRows, checked_saliency


class Mixer(nn.Module):
    """Mixes batches of one domain by one method. `create_mixer` makes one by name.

    ``mixed, targets = mixer(batch, labels)``. It has no parameters and changes none of its inputs. In eval mode, and
    where p leaves a batch unmixed, the batch itself comes back, not a copy (clone it before you edit it in place, or
    the edit reaches your data), with its labels as soft targets, which are always new.

    Labels are classes, soft or multi-hot labels, or regression targets of the samples, which mix by a sample's mean
    weight; or classes, shares of classes, or values of the elements, such as masks or depth, which the plan mixes as it
    mixes the elements. `mixkit.labels` states the rule that tells them apart by dtype, shape and ``num_classes``; where
    it leaves doubt an error shows both readings, and `PerSample` or `PerElement` around the labels says which. A tuple
    or dict of labels has such targets. NumPy arrays and lists of numbers are taken too.

    Args:
        method: draws the plans.
        domain: turns a batch into elements and back.
        num_classes: needed for integer labels; one number, or a tuple or dict as the labels are. None: floating-point
            labels are values to be predicted. Default None.
        saliency: a `SaliencySource`, such as a `GradientSaliency`, or a `SaliencyBank`, which learns from the gradient
            of each mixed batch; or a function of the batch alone; needed if ``method.needs`` says so. Default None.
        p: probability that a batch is mixed at all. Default: the method's, which is 1 unless its paper says otherwise.
        ignore_index: the class that does not count, of a sample without a label or an element without one: its share
            of the target is 0 (`soft_cross_entropy` then counts the rest). In shares and values it marks what is not
            known, and marks all that is mixed with it. One number, or a tuple or dict as the labels are. Default None.
        clean_weight: above 0, the saliency pass is a training pass too, in the model's own mode, and `clean_loss` is
            this weight times its loss. Its gradients by the weights are known then, and ``backward()`` hands them over
            (`mixkit.handover.hand_over`). Default: the method's, which is 0 unless its paper says otherwise.
        schedule: changes p, clean_weight and the method's options as training goes on; its state is then the mixer's.
            Default None.
        partners: whom each sample is mixed with: "random", now and then itself; "derangement", at random, never itself;
            "previous", the one before it; "reversed", the one as far from the other end; "same_class"; "other_class";
            or a function (docs/partners.md). Default "random".
        model: a `GradientSaliency`, for a schedule that measures confidence where the saliency is not a model's.
            Default None: the saliency, where it is.

    Raises:
        ValueError: p outside [0, 1], a method that needs a saliency and has none, a clean_weight or a schedule that
            measures confidence without a model, a bank that wants exact saliency without one, or partners for a method
            that pairs no samples.
        TypeError: a schedule of an option that the method has not, or a saliency that is none.
    """

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
        partners: Partners = "random",
        model: SaliencySource | None = None,
    ) -> None:
        super().__init__()
        self.method = method
        self.partners = check_partners(partners, type(method).__name__, method.needs)
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
        if check_not_negative("clean_weight", self.clean_weight) and not has_model:
            raise ValueError(f"a clean_weight above 0 needs model=, and a method with saliency, got {clean_weight}")
        if missing := what_is_missing(source, method, domain):
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
            for share in (1.0, 0.0):  # what is wrong at either end is known before the run
                self._settle(check_settings(schedule.at(share), share), share)

    @property
    def clean_loss(self) -> Tensor:
        """What the last mixed batch adds to the loss: clean_weight times the loss of its clean pass, else 0."""
        return torch.zeros(()) if self._clean_loss is None else self._clean_loss

    def set_clean_loss(self, loss: Tensor) -> None:
        """Take the loss of a clean pass, of which `clean_loss` is clean_weight times."""
        self._clean_loss = self.clean_weight * loss

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave the last batch behind."""
        return {**self.__dict__, "_clean_loss": None, "empty_rows": EmptyRows()}

    @untraced
    def forward(
        self,
        batch: Tensor,
        labels: Any,
        *,
        saliency: Any = None,
        generator: torch.Generator | None = None,
        samples: Any = None,
        mask: Tensor | None = None,
    ) -> tuple[Any, Any]:
        """Mix a batch.

        Args:
            batch: a batch of the mixer's domain; of samples of different sizes, in any form of
                `mixkit.ragged.open_form`, where domain and method take them.
            labels: see the class.
            saliency: (B, N) or (B, H, W) where it is known already. Default None: computed if the method needs it.
            generator: CPU generator of all draws. Default: torch's global one.
            samples: which samples of the data set they are: (B,) keys, or `mixkit.Samples`, which say too which
                elements of the stored samples the batch shows. A `SaliencyBank` needs them, and ``partners`` may.
            mask: (B, N) bool, the elements that there are of a padded batch (B, N, C). Default None: all.

        Returns:
            The mixed batch in the dtype, layout and form of ``batch``, and its targets, never less than float32. With a
            bank the mixed batch is a leaf that wants a gradient, which the bank reads in the backward pass.

        Raises:
            TypeError: a batch or labels of the wrong type.
            ValueError: a batch or labels of the wrong shape, or numbers out of range.
        """
        if (form := open_form(batch, mask)) is not None:
            return mixing.mix(self, form, labels, saliency, generator, samples)
        elements, labels = self.read(batch, labels)
        if not self.training:
            self._clean_loss = None
            return batch, self.targets(MixPlan.identity(len(batch), batch.device), labels)
        plan, samples = self._draw_for(elements, batch, labels, saliency, generator, samples)
        mixed = self.domain.mix(plan, elements, batch)
        if (source := self._source) is not None:
            mixed = source.watch(mixed, plan, samples, self.domain)
        return mixed, self.targets(plan, labels)

    if TYPE_CHECKING:
        __call__ = forward

    @overload
    def plan(
        self,
        batch: Tensor,
        labels: Any,
        *,
        saliency: Any = None,
        generator: torch.Generator | None = None,
        samples: Any = None,
        mask: None = None,
    ) -> MixPlan: ...

    @overload
    def plan(
        self,
        batch: Any,
        labels: Any,
        *,
        saliency: Any = None,
        generator: torch.Generator | None = None,
        samples: Any = None,
        mask: Tensor | None = None,
    ) -> MixPlan | RaggedPlan: ...

    @untraced
    def plan(
        self,
        batch: Any,
        labels: Any,
        *,
        saliency: Any = None,
        generator: torch.Generator | None = None,
        samples: Any = None,
        mask: Tensor | None = None,
    ) -> MixPlan | RaggedPlan:
        """Draw a plan without applying it; arguments as for `forward`. A bank learns only what it takes exactly."""
        if (form := open_form(batch, mask)) is not None:
            return mixing.draw(self, form, *mixing.read(self, form, labels), saliency, generator, samples)
        elements, labels = self.read(batch, labels)
        return self._draw_for(elements, batch, labels, saliency, generator, samples)[0]

    def apply_plan(
        self, plan: MixPlan | RaggedPlan, batch: Any, labels: Any, mask: Tensor | None = None
    ) -> tuple[Any, Any]:
        """Apply a plan already drawn. Returns the mixed batch and its targets, as `forward`."""
        form = open_form(batch, mask)
        if isinstance(plan, RaggedPlan) is (form is None):
            raise TypeError(f"a plan fits a batch of the form that it was drawn for, got {plan!r} and another")
        if isinstance(plan, RaggedPlan) and form is not None:
            of_form, labels = mixing.read(self, form, labels)
            return mixing.apply(self, form, plan, of_form), mixing.targets(form, plan, labels)
        assert isinstance(plan, MixPlan)
        elements, labels = self.read(batch, labels)
        return self.domain.mix(plan, elements, batch), self.targets(plan, labels)

    # ---- the steps, for whoever mixes elsewhere than at the input

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
            gradient = self.saliency is not None and not self.saliency.in_loader
            refuse_integers(self.method, elements.values.dtype, self.domain.conversion, gradient=gradient)
        read = read_labels(labels, self.num_classes, Size.of(elements), self.ignore_index, batch.device)
        return elements, map_labels(Label.check, read)

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
        partner = choose_partners(self.partners, elements, labels, saliency, samples, generator)
        return self.method.plan(elements, PlanContext(saliency, assign, generator, partner))

    def draw_spared(
        self,
        batch: Tensor,
        labels: Any,
        generator: torch.Generator | None = None,
        model: SaliencySource | None = None,
    ) -> Tensor | None:
        """(B,) bool, the samples that the schedule leaves unmixed, given the model's confidence; None: none."""
        model = model or self.model
        if self.schedule is None or self._meter is None or model is None:
            return None
        return self.schedule.draw_spared(self._meter.read(model.confidence, batch, labels), generator)

    def targets(self, plan: MixPlan, labels: Any) -> Any:
        """The targets of a batch mixed by a plan; in the structure of its labels, which `read` has read."""
        return map_leaves(lambda label: mix_label(plan, label), labels)

    def collate(self, samples: list[Any]) -> tuple[Tensor, Any]:
        """Collate samples ``(input, label)`` and mix them: ``DataLoader(..., collate_fn=mixer.collate)``.

        Where ``num_classes`` is a tuple, samples are (input, label, label, ...). Dicts, and samples that carry what is
        no label, go to a `mixkit.Collate`, which is told what to mix; what is refused see there.
        """
        return collate_pairs(self, samples)

    def refuse_in_loader(self) -> None:
        """Raise ValueError for the saliency of a model or a bank: a loader's worker has a copy, soon out of date."""
        if self.saliency is not None and not self.saliency.in_loader:
            raise ValueError("a mixer with a model's saliency cannot run in the loader: call it after the loader")

    extra_repr = show_mixer

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def _draw_for(
        self,
        elements: ElementSet,
        batch: Tensor,
        labels: Any,
        saliency: Tensor | None,
        generator: torch.Generator | None,
        samples: Any,
    ) -> tuple[MixPlan, Any]:
        """A plan, and the samples as they were read."""
        draws.check_generator(generator)
        if self._source is not None:
            samples = self._source.read_samples(samples, elements)
        if not self.begin_batch(generator):
            return MixPlan.identity(elements.num_samples, batch.device), samples
        if saliency is None:
            saliency = self.find_saliency(batch, labels, elements, samples)
        else:
            saliency = checked_saliency(saliency, elements)
        plan = self.draw(elements, saliency, generator, labels, samples)
        return plan.keep(self.draw_spared(batch, labels, generator)), samples

    def _settle(self, settings: dict[str, float], share: float | None) -> float:
        """Take the settings of a schedule; returns the share of p that it leaves."""
        has_model = self.saliency is not None and self.saliency.has_model
        self.method, self.clean_weight, p = settle(settings, self.method, self.clean_weight, has_model, share)
        return p

    @property
    def _source(self) -> SaliencySource | None:
        """Where the saliency comes from, of a method that asks for it."""
        return self.saliency if "saliency" in self.method.needs else None
