"""The mixer: a batch and its labels in, the mixed batch and its targets out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor, nn

from mixkit import draws
from mixkit.arrays import check_dense
from mixkit.bank import SaliencyBank
from mixkit.checks import check_coords, check_not_negative, check_share
from mixkit.collate import collate_pairs
from mixkit.confidence import label_confidence
from mixkit.domain import Domain
from mixkit.elements import ElementSet
from mixkit.label_tree import NumClasses, check_ignore_index, check_num_classes, map_labels, map_leaves, read_labels
from mixkit.labels import Label, Size
from mixkit.methods.base import Method, PlanContext
from mixkit.moving import refuse_integers
from mixkit.partners import Partners, check_partners, choose_partners
from mixkit.plan import MixPlan
from mixkit.ragged import RaggedPlan, mixing, open_form
from mixkit.saliency import GradientSaliency, Observer
from mixkit.schedule import Schedule, check_settings, with_options
from mixkit.show import show_mixer
from mixkit.targets import mix_label
from mixkit.untraced import untraced
from mixkit.watch import EmptyRows, checked_saliency

#: Saliency that needs no model: ``function(batch) -> (B, N)``; or a `GradientSaliency`, or a `SaliencyBank`.
Saliency = Callable[[Tensor], Tensor] | GradientSaliency | SaliencyBank


class Mixer(nn.Module):
    """Mixes batches of one domain by one method. `create_mixer` makes one by name.

    ``mixed, targets = mixer(batch, labels)``. It has no parameters and changes none of its inputs. In eval mode, and
    where p leaves a batch unmixed, the batch itself comes back, not a copy (clone it before you edit it in place, or
    the edit reaches your data), with its labels as soft targets, which are always new.

    Labels are classes, soft or multi-hot labels, or regression targets of the samples, which mix by a sample's mean
    weight; or classes, shares of classes, or values of the elements, such as masks or depth, which the plan mixes as it
    mixes the elements. `mixkit.labels` states the rule that tells them apart by dtype, shape and ``num_classes``; where
    it leaves doubt an error shows both readings, and `PerSample` or `PerElement` around the labels says which. A tuple
    or dict of labels has a tuple or dict of targets. NumPy arrays and lists of numbers are taken too.

    Args:
        method: draws the plans.
        domain: turns a batch into elements and back.
        num_classes: needed for integer labels; one number, or a tuple or dict as the labels are. None: floating-point
            labels are values to be predicted. Default None.
        saliency: a `GradientSaliency`, a function of the batch alone, or a `SaliencyBank`, which then learns from the
            gradient of each mixed batch; needed if ``method.needs`` says so.
        p: probability that a batch is mixed at all. Default: the method's, which is 1 unless its paper says otherwise.
        ignore_index: the class that does not count, of a sample without a label or an element without one: its share
            of the target is 0 (`soft_cross_entropy` then counts the rest). In shares and values it marks what is not
            known, and marks all that is mixed with it. One number, or a tuple or dict as the labels are. Default None.
        clean_weight: above 0, the saliency pass is a training pass too, in the model's own mode, and `clean_loss` is
            this weight times its loss. Its gradients by the weights are known then, and ``backward()`` hands them over
            (`mixkit.handover.hand_over`). Default: the method's, which is 0 unless its paper says otherwise.
        exact: the model where ``saliency`` is not a model's: takes the saliency of the samples that a bank wants to be
            taken exactly, and the confidence that a schedule measures. Default None.
        schedule: changes p, clean_weight and the method's options as training goes on; its state is then the mixer's.
            Default None.
        partners: whom each sample is mixed with: "random", now and then itself; "derangement", at random, never itself;
            "previous", the one before it; "reversed", the one as far from the other end; "same_class"; "other_class";
            or a function (docs/partners.md). Default "random".

    Raises:
        ValueError: p outside [0, 1], a method that needs a saliency and has none, a clean_weight without a model, a
            bank that wants exact saliency or a schedule that measures confidence without one, or partners for a method
            that pairs no samples.
        TypeError: a schedule of an option that the method has not.
    """

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
        exact: GradientSaliency | None = None,
        schedule: Schedule | None = None,
        partners: Partners = "random",
    ) -> None:
        super().__init__()
        self.method = method
        self.partners = check_partners(partners, type(method).__name__, method.needs)
        self.domain = domain
        self.num_classes = check_num_classes(num_classes)
        self.p = method.p if p is None else check_share("p", p)
        self.ignore_index = check_ignore_index(ignore_index)
        # without a model there is no clean pass to weigh; asking for it all the same is an error
        has_model = isinstance(saliency, GradientSaliency)
        self.clean_weight = (method.clean_weight if has_model else 0.0) if clean_weight is None else clean_weight
        self._clean_loss: Tensor | None = None
        self.empty_rows = EmptyRows()
        self._saliency = (saliency,)  # in a tuple, so that nn.Module does not register a saliency that is a module
        self.exact = exact
        if check_not_negative("clean_weight", self.clean_weight) and not has_model:
            raise ValueError(f"a clean_weight above 0 needs model=, and a method with saliency, got {clean_weight}")
        if isinstance(saliency, SaliencyBank) and saliency.needs_exact and exact is None:
            raise ValueError("a SaliencyBank with unseen='exact' or refresh_every needs model=")
        if "saliency" in method.needs and saliency is None:
            raise ValueError(
                f"{type(method).__name__} needs saliency: give model=, or saliency= a function of the batch"
                + (f" or one of {', '.join(domain.saliencies)}" if domain.saliencies else "")
            )

        self.schedule = schedule
        self._confidence: Tensor | None = None
        if schedule is not None:
            if schedule.measures and self.model is None:
                raise ValueError(f"{type(schedule).__name__} follows the model's confidence: give model=")
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
        return {**self.__dict__, "_clean_loss": None, "_confidence": None, "empty_rows": EmptyRows()}

    @property
    def saliency(self) -> Saliency | None:
        """Where the saliency comes from, or None."""
        return self._saliency[0]

    @untraced
    def forward(
        self,
        batch: Tensor,
        labels: Any,
        *,
        saliency: Any = None,
        generator: torch.Generator | None = None,
        keys: Any = None,
        index: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Any, Any]:
        """Mix a batch.

        Args:
            batch: a batch of the mixer's domain; of samples of different sizes, in any form of
                `mixkit.ragged.open_form`, where domain and method take them.
            labels: see the class.
            saliency: (B, N) or (B, H, W) where it is known already. Default None: computed if the method needs it.
            generator: CPU generator of all draws. Default: torch's global one.
            keys: (B,) which samples of the data set they are. A `SaliencyBank` needs them, and ``partners`` may.
            index: (B, N) or (B, H, W), which element of the stored sample each element is, -1 for none. Default None:
                the same positions.
            mask: (B, N) bool, the elements that there are of a padded batch (B, N, C). Default None: all.

        Returns:
            The mixed batch in the dtype, layout and form of ``batch``, and its targets, never less than float32. With a
            bank the mixed batch is a leaf that wants a gradient, which the bank reads in the backward pass.

        Raises:
            TypeError, ValueError: a batch or labels of the wrong kind; the message says what came and what was wanted.
        """
        if (form := open_form(batch, mask)) is not None:
            return mixing.mix(self, form, labels, saliency, generator)
        elements, labels = self.read(batch, labels)
        self._clean_loss = None
        if not self.training:
            return batch, self.targets(MixPlan.identity(len(batch), batch.device), labels)
        if (bank := self._bank) is not None:
            keys, index = bank.check(keys, index, elements.coords.shape[:2])
        plan = self._draw_for(elements, batch, labels, saliency, generator, keys, index)
        mixed, targets = self.domain.mix(plan, elements, batch), self.targets(plan, labels)
        if bank is not None:
            mixed = bank.watch(mixed, plan, keys, index, self.domain.saliency)
        return mixed, targets

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
        keys: Any = None,
        index: Tensor | None = None,
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
        keys: Any = None,
        index: Tensor | None = None,
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
        keys: Any = None,
        index: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> MixPlan | RaggedPlan:
        """Draw a plan without applying it; arguments as for `forward`. A bank learns only what it takes exactly."""
        if (form := open_form(batch, mask)) is not None:
            return mixing.draw(self, form, *mixing.read(self, form, labels), saliency, generator)
        elements, labels = self.read(batch, labels)
        return self._draw_for(elements, batch, labels, saliency, generator, keys, index)

    def apply(  # type: ignore[override]
        self, plan: MixPlan | RaggedPlan, batch: Any = None, labels: Any = None, mask: Tensor | None = None
    ) -> Any:
        """Apply a plan already drawn. Returns the mixed batch and its targets, as `forward`.

        (``nn.Module.apply(function)`` of a model that holds a mixer still works: a function is not a plan.)
        """
        if not isinstance(plan, (MixPlan, RaggedPlan)):
            return super().apply(plan)
        if batch is None:
            raise TypeError("apply takes a plan, a batch and its labels; got a plan alone")
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
            TypeError, ValueError: what the mixer does not take.
        """
        if isinstance(batch, Tensor):
            check_dense("the batch", batch)
        elements = self.domain.elements(batch)
        if not elements.values.is_floating_point():
            gradient = isinstance(self.saliency, (GradientSaliency, SaliencyBank))
            refuse_integers(self.method, elements.values.dtype, self.domain.conversion, gradient=gradient)
        read = read_labels(labels, self.num_classes, Size.of(elements), self.ignore_index, batch.device)
        return elements, map_labels(Label.check, read)

    def skips(self, generator: torch.Generator | None = None) -> bool:
        """Draw whether this batch stays unmixed, with probability 1 - p; a schedule's settings are taken first."""
        self._clean_loss = self._confidence = None
        p = self.p
        if (schedule := self.schedule) is not None:
            p *= self._settle(schedule.now(), schedule.share)
            if self.training:
                schedule.count()
        skipped = p < 1 and bool(torch.rand((), generator=generator) >= p)
        if skipped and schedule is not None and schedule.measures:
            schedule.mixed = torch.zeros(())
        return skipped

    def find_saliency(self, batch: Tensor, labels: Any, keys: Any = None, index: Tensor | None = None) -> Tensor | None:
        """(B, N) the saliency of a batch, or None if the method needs none; keys and index as for `forward`."""
        saliency = self.saliency
        if "saliency" not in self.method.needs:
            return None
        if isinstance(saliency, SaliencyBank):
            return self._remembered(saliency, batch, labels, keys, index)
        if isinstance(saliency, GradientSaliency):
            if not self.clean_weight:
                return saliency(batch, labels, self.domain, self.observer)
            found, loss = saliency.with_loss(batch, labels, self.domain, self.observer)
            self.set_clean_loss(loss)
            return found
        if saliency is None:
            raise ValueError(f"{type(self.method).__name__} needs saliency: make the mixer with model= or saliency=")
        with torch.no_grad():
            return checked_saliency(saliency(batch), self.domain.elements(batch))

    @torch.no_grad()
    def draw(
        self,
        elements: ElementSet,
        saliency: Tensor | None,
        generator: torch.Generator | None = None,
        labels: Any = None,
        keys: Any = None,
    ) -> MixPlan:
        """Let the method draw a plan for a set of elements; labels as `read` returns them, for partners by class."""
        if saliency is not None:
            saliency = checked_saliency(saliency, elements)
            self.empty_rows.look(saliency)
        if elements.grid is None:  # where coordinates are data
            check_coords(elements.coords)
        assign = self.domain.assign if "assign" in self.method.needs else None
        partner = choose_partners(self.partners, elements, labels, saliency, keys, generator)
        return self.method.plan(elements, PlanContext(saliency, assign, generator, partner))

    def spared(
        self,
        batch: Tensor,
        labels: Any,
        generator: torch.Generator | None = None,
        model: GradientSaliency | None = None,
    ) -> Tensor | None:
        """(B,) bool, the samples that the schedule leaves unmixed, given the model's confidence; None: none."""
        schedule, model = self.schedule, model or self.model
        if schedule is None or model is None or self.observer is None:
            return None
        confidence = model.confidence(batch, labels) if self._confidence is None else self._confidence
        mixed = draws.uniform(confidence.shape, generator, confidence.device) < schedule.chances(confidence)
        schedule.mixed = mixed.float().mean()
        return ~mixed

    def targets(self, plan: MixPlan, labels: Any) -> Any:
        """The targets of a batch mixed by a plan; in the structure of its labels, which `read` has read."""
        return map_leaves(lambda label: mix_label(plan, label), labels)

    def collate(self, samples: list[Any]) -> tuple[Tensor, Any]:
        """For ``DataLoader(..., collate_fn=mixer.collate)``: collates samples ``(input, label)``, then mixes the batch.

        Where ``num_classes`` is a tuple, samples are (input, label, label, ...). Dicts, and samples that carry what is
        no label, go to a `mixkit.Collate`, which is told what to mix.

        Raises:
            ValueError: the saliency needs a model, or a worker meets a schedule; mix after the loader then.
            TypeError: samples of another kind.
        """
        return collate_pairs(self, samples)

    def refuse_in_loader(self) -> None:
        """Raise ValueError for the saliency of a model or a bank: a loader's worker has a copy, soon out of date."""
        if isinstance(self.saliency, (GradientSaliency, SaliencyBank)):
            raise ValueError(
                "a mixer with a model's saliency cannot run in the loader: call it after the loader instead"
            )

    def extra_repr(self) -> str:
        """What ``print(mixer)`` says."""
        return show_mixer(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def _draw_for(
        self,
        elements: ElementSet,
        batch: Tensor,
        labels: Any,
        saliency: Tensor | None,
        generator: torch.Generator | None,
        keys: Any,
        index: Tensor | None,
    ) -> MixPlan:
        draws.check_generator(generator)
        if self.skips(generator):
            return MixPlan.identity(elements.num_samples, batch.device)
        saliency = self.find_saliency(batch, labels, keys, index) if saliency is None else saliency
        plan = self.draw(elements, saliency, generator, labels, keys)
        return plan.keep(self.spared(batch, labels, generator))

    def _settle(self, settings: dict[str, float], share: float | None) -> float:
        """Take the settings of a schedule; returns the share of p that it leaves."""
        options = dict(settings)
        p = options.pop("p", 1.0)
        self.clean_weight = options.pop("clean_weight", self.clean_weight)
        if self.clean_weight and not isinstance(self.saliency, GradientSaliency):
            needs = "which needs model=, and a method with saliency"
            raise ValueError(f"the schedule's clean_weight is {self.clean_weight} at share {share}, {needs}")
        self.method = with_options(self.method, options, share)
        return p

    @property
    def model(self) -> GradientSaliency | None:
        """The model's saliency, whether it is that of the method or beside it."""
        return self.saliency if isinstance(self.saliency, GradientSaliency) else self.exact

    @property
    def observer(self) -> Observer | None:
        """What a saliency pass is to show its output to, where the schedule measures; else None."""
        return self._observe if self.schedule is not None and self.schedule.measures else None

    def _observe(self, output: Any, labels: Any) -> None:
        self._confidence = label_confidence(output, labels)

    @property
    def _bank(self) -> SaliencyBank | None:
        """The bank, of a method that asks for saliency."""
        saliency = self.saliency if "saliency" in self.method.needs else None
        return saliency if isinstance(saliency, SaliencyBank) else None

    def _remembered(self, bank: SaliencyBank, batch: Tensor, labels: Any, keys: Any, index: Tensor | None) -> Tensor:
        """(B, N) what a bank remembers, once the samples that are due have been taken exactly."""
        keys, index = bank.check(keys, index, self.domain.elements(batch).coords.shape[:2])
        if bank.needs_exact and self.exact is not None and len(rows := bank.take_due(keys).nonzero()[:, 0]):
            here = rows.to(batch.device)
            of_rows = map_labels(lambda label: label.take(here), labels)
            found = self.exact(batch[here], of_rows, self.domain)
            bank.store(keys[rows], found, None if index is None else index[rows])
        return bank.look_up(keys, index).to(batch.device)
