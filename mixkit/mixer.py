"""The mixer: a batch and its labels in, the mixed batch and its targets out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor

from mixkit import draws
from mixkit.collate import collate_pairs
from mixkit.elements import ElementSet
from mixkit.plan import MixPlan
from mixkit.ragged import RaggedBatch, RaggedPlan, mixing, open_form
from mixkit.steps import MixerSteps
from mixkit.untraced import untraced
from mixkit.watch import checked_saliency

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from mixkit.typed import MixerOptions


class Mixer(MixerSteps):
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
            this weight times its loss, a mean (`GradientSaliency.find_with_loss`). Its gradients by the weights are
            known then, and ``backward()`` hands them over (`mixkit.handover.hand_over`). Default: the method's, which
            is 0 unless its paper says otherwise.
        schedule: changes p, clean_weight and the method's options as training goes on; its state is then the mixer's.
            Default None.
        partners: whom each sample is mixed with: "random", now and then itself; "derangement", at random, never itself;
            "previous", the one before it; "reversed", the one as far from the other end; "same_class"; "other_class";
            "previous_batch", the batch before this one, as it was mixed; or others and functions of your own
            (docs/guide/partners.md). Default: the method's, which is "random" unless its paper says otherwise.
        labels_by: what a sample's label weighs by: "weight", the mean weight of its elements; "saliency", how much of
            each sample's saliency the mix shows, in shares that sum to 1; "own_saliency", the same as it is (SnapMix's
            rule). The targets of elements are not changed by it. Default: the method's, which is its mean weight unless
            its paper says otherwise.
        model: a `GradientSaliency`, for a schedule that measures confidence where the saliency is not a model's.
            Default None: the saliency, where it is.
        inside: the mixer serves a `ManifoldMixer`, which mixes at a model's layers. Default False.

    Raises:
        ValueError: p outside [0, 1], a method for layers that is not ``inside``, a method that needs a saliency and has
            none, a clean_weight or a schedule that measures confidence without a model, a bank that wants exact
            saliency without one, or partners for a method that pairs no samples.
        TypeError: a schedule of an option that the method has not, or a saliency that is none.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("mixup", domain="points", num_classes=3)
        >>> clouds, labels = torch.randn(4, 32, 3), torch.tensor([0, 1, 2, 0])
        >>> mixed, targets = mixer(clouds, labels)
        >>> mixed.shape, targets.shape
        (torch.Size([4, 32, 3]), torch.Size([4, 3]))
        >>> plan = mixer.plan(clouds, labels)  # what is mixed, drawn and not yet done
        >>> mixed, targets = mixer.apply_plan(plan, clouds, labels)
    """

    @untraced
    def forward(
        self,
        batch: Tensor | RaggedBatch,
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
        dense: Any = batch
        elements, labels = self.read(dense, labels)
        if not self.training:
            self.forget_clean_loss()
            return dense, self.targets(MixPlan.identity(len(dense), dense.device), labels)
        if self.history is not None:
            return self.history.forward(self, elements, dense, labels, generator)
        plan = self._draw_for(elements, dense, labels, saliency, generator, samples)
        mixed = dense if plan.mixes_nothing else self.domain.mix(plan, elements, dense)
        mixed = self.watch(mixed, plan, elements, samples)
        return mixed, self.targets(plan, labels)

    @overload
    def plan(self, batch: Tensor, labels: Any, *, mask: None = None, **options: Unpack[MixerOptions]) -> MixPlan: ...

    @overload
    def plan(
        self, batch: Any, labels: Any, *, mask: Tensor | None = None, **options: Unpack[MixerOptions]
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
        """Draw a plan without applying it; arguments as for `forward`.

        A bank learns only what it takes exactly, and partners of the batch before are drawn within this one.
        """
        if (form := open_form(batch, mask)) is not None:
            return mixing.draw(self, form, *mixing.read(self, form, labels), saliency, generator, samples)
        elements, labels = self.read(batch, labels)
        return self._draw_for(elements, batch, labels, saliency, generator, samples)

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

    def collate(self, samples: list[Any]) -> tuple[Tensor, Any]:
        """Collate samples ``(input, label)`` and mix them: ``DataLoader(..., collate_fn=mixer.collate)``.

        Where ``num_classes`` is a tuple, samples are (input, label, label, ...). Dicts, and samples that carry what is
        no label, go to a `mixkit.Collate`, which is told what to mix; what is refused see there.
        """
        return collate_pairs(self, samples)

    def _draw_for(
        self,
        elements: ElementSet,
        batch: Tensor,
        labels: Any,
        saliency: Tensor | None,
        generator: torch.Generator | None,
        samples: Any,
    ) -> MixPlan:
        draws.check_generator(generator)
        samples = self.read_samples(samples, elements)
        if not self.begin_batch(generator):
            return MixPlan.identity(elements.num_samples, batch.device)
        if saliency is None:
            saliency = self.find_saliency(batch, labels, elements, samples)
        else:
            saliency = checked_saliency(saliency, elements)
        plan = self.draw(elements, saliency, generator, labels, samples)
        return plan.keep(self.draw_spared(batch, labels, generator))
