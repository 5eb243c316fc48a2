"""The plan: which elements of which samples each mixed element is made of, and at which weight.

A plan knows no model, no domain and no method; it is tensors and their linear algebra.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mixkit.checks import check_float, readable
from mixkit.combine import all_finite, combine, refuse_not_finite
from mixkit.label_tree import check_num_classes
from mixkit.labels import PerSample, Size, read_element_label, read_label
from mixkit.moving import move
from mixkit.plan_parts import (
    check_aligned,
    check_fields,
    check_values,
    displace,
    keep_samples,
    per_element,
    pool,
)
from mixkit.plan_terms import PlanTerms
from mixkit.show import show_plan
from mixkit.show_html import BarsOfPlan
from mixkit.targets import mix_label
from mixkit.weighing import weigh_labels


@dataclass(frozen=True, eq=False, repr=False)
class MixPlan(PlanTerms, BarsOfPlan):
    """How M mixed samples are made of B samples of N elements each, with K terms per element (K = 2 for a pair).

    ``out[m, i] = sum_k weight[m, k, i] * values[source[m, k, i], index[m, k, i]]``

    The same plan mixes anything that is aligned with the elements: pixels, coordinates, features, per-element labels.
    A sample's label weighs as much as its mean element weight, unless the plan says otherwise (``label_weight``).

    Args:
        source: (M, K, 1) or (M, K, N) long, the sample that each term reads.
        index: (M, K, N) long, the element of that sample; None reads the same position (identity assignment).
        weight: (M, K, N) or (M, K, 1) floating point, >= 0, sums to 1 over K.
        shift: (M, K, D), or (M, K, N, D) for each element, added to coordinates only: `apply_coords` uses it, `apply`
            does not. Default None.
        num_samples: B, the number of samples that ``source`` points into. Default: M.
        keeps_own: promise that term 0 of output m is sample m itself, unmoved, which saves reading it through an index.
            `pair` makes it; default False.
        label_weight: (M, K, 1) or (M, K, N) as ``source``, how much each term adds to the label of its sample, where
            that is not its mean weight (`weigh_labels`). Default None: it is.

    Raises:
        TypeError: a field has the wrong dtype.
        ValueError: the shapes do not fit together. The values are checked by `validate`, which reads them.

    Example:
        >>> plan = MixPlan.pair(partner=torch.tensor([1, 0]), weight=torch.tensor([[0.75], [1.0]]))
        >>> plan.apply(torch.tensor([[[4.0]], [[8.0]]])).flatten()
        tensor([5., 8.])
        >>> plan.targets(torch.tensor([0, 2]), num_classes=3)
        tensor([[0.7500, 0.0000, 0.2500],
                [0.0000, 0.0000, 1.0000]])
    """

    source: Tensor
    index: Tensor | None
    weight: Tensor
    shift: Tensor | None = None
    num_samples: int = -1
    keeps_own: bool = False
    label_weight: Tensor | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.num_samples < 0:
            object.__setattr__(self, "num_samples", self.source.shape[0])

    @classmethod
    def identity(cls, num_samples: int, device: torch.device | str | None = None) -> MixPlan:
        """The plan that leaves a batch of ``num_samples`` as it is (K = 1)."""
        source = torch.arange(num_samples, device=device)[:, None, None]
        return cls(source, None, torch.ones(num_samples, 1, 1, device=device), keeps_own=True)

    @property
    def mixes_nothing(self) -> bool:
        """Whether it is known without a look at its numbers that samples stay as they are."""
        return self.num_terms == 1 and self.keeps_own

    @classmethod
    def pair(cls, partner: Tensor, weight: Tensor, assignment: Tensor | None = None) -> MixPlan:
        """The plan that mixes every sample with one partner; every two-sample method ends here.

        Args:
            partner: (B,) long, the partner of each sample.
            weight: (B, N) or (B, 1), the weight of the sample itself; its partner has the rest. With 1 for B, the same
                for all.
            assignment: (B, N) long, the partner's element that each element is paired with. Default None: the same.
        """
        size = partner.shape[0]
        own = torch.arange(size, device=partner.device)
        source = torch.stack([own, partner], 1)[:, :, None]
        index = None
        if assignment is not None:
            index = torch.stack(
                [torch.arange(assignment.shape[1], device=partner.device).expand_as(assignment), assignment], 1
            )
        weights = torch.stack([weight, 1 - weight], 1).expand(size, -1, -1)
        return cls(source, index, weights, keeps_own=True)

    def keep(self, spared: Tensor | None) -> MixPlan:
        """The plan that leaves some samples as they are, and mixes the others as this one does.

        Args:
            spared: (B,) bool; output b is sample b itself where it is true. None: all are mixed.

        Raises:
            ValueError: a plan of another number of outputs than samples, or a mask of another shape.
        """
        return self if spared is None else keep_samples(self, spared)

    # ---- using it

    def apply(self, values: Tensor, *, finite: bool = False) -> Tensor:
        """Mix whatever is aligned with the elements. What has weight 0 is absent, be it NaN or infinite.

        Args:
            values: (B, N, ...) floating point; or integers, where all weights are 0 or 1.
            finite: on the CPU, refuse what is NaN or infinite at a weight above 0; elsewhere, where looking would wait
                for the device, it comes out as arithmetic has it. Default False: so it does on the CPU.

        Returns:
            (M, N, ...) in the dtype, and for (B, N, C) in the memory layout, of ``values``.

        Raises:
            TypeError: integer values, and weights between 0 and 1.
            ValueError: another B or N than the plan's, or values that ``finite`` refuses.
        """
        if not values.is_floating_point():
            return move(self, values)
        check_aligned(self, "values", values, self.num_samples)
        terms = [self.gather(values, k) for k in range(self.num_terms)]
        if len(terms) == 1:
            return terms[0]
        if len(terms) == 2 and readable(values):  # into what was gathered, which is ours: one batch less to write
            mixed = terms[1].lerp_(terms[0], self.weight_like(values)[:, 0])
            if all_finite(mixed):
                return mixed
            terms = [self.gather(values, k) for k in range(2)]
        if finite:
            refuse_not_finite(terms, self.weight, self.source)
        return combine(terms, self.weight)

    def apply_coords(self, coords: Tensor, *, finite: bool = False) -> Tensor:
        """Mix coordinates (B, N, D): as `apply`, with each term moved by its ``shift`` first. Returns (M, N, D)."""
        mixed = self.apply(coords, finite=finite)
        if self.shift is None:
            return mixed
        return mixed + (self.weight_like(coords) * per_element(self.shift).to(coords.dtype)).sum(1)

    def displace(self, shift: Tensor) -> MixPlan:
        """The plan that moves the elements of the samples first, and then mixes them as this one does.

        So coordinates are warped, turned, or resized before a mix: ``plan.displace(warped - coords)``.

        Args:
            shift: (B, N, D), added to the coordinates of each sample's elements; other values stay.

        Raises:
            ValueError: another B or N than the plan's.
        """
        return displace(self, shift)

    def adjoint(self, grad: Tensor) -> Tensor:
        """The transpose of `apply`: carry (M, N, ...) back to the (B, N, ...) places that it came from.

        ``(plan.apply(x) * y).sum() == (x * plan.adjoint(y)).sum()`` for every x and y.
        """
        check_float("grad", grad)
        check_aligned(self, "grad", grad, self.num_outputs)
        weight = self.weight_like(grad)
        total = grad.new_zeros(self.num_samples, *grad.shape[1:])
        for k in range(self.num_terms):
            part = weight[:, k] * grad
            if self.whole_samples:
                total = total.index_add(0, self.source[:, k, 0], part)
            else:
                place = self.place(k, grad.shape[1]).flatten()
                total = total.flatten(0, 1).index_add(0, place, part.flatten(0, 1)).unflatten(0, total.shape[:2])
        return total

    def targets(
        self, labels: Any, num_classes: int | None = None, ignore_index: int | None = None, *, checked: bool = False
    ) -> Tensor:
        """Mix the samples' labels by `sample_weights`.

        Args:
            labels: (B,) or (B, 1) integer classes; (B, K) integers or bool, one-hot or multi-hot; or floating point
                (B, ...): soft, multi-hot, or (without ``num_classes``) regression targets. Arrays and lists too.
            num_classes: K, needed for integers; checked against the last dimension of soft labels.
            ignore_index: the class of a sample without a label, whose share of a target is 0; or a number that stands
                for an entry not known of the other kinds, and then for all that it is mixed with. Default None.
            checked: the numbers are known to be right. Default False.

        Returns:
            (M, K) for classes, else (M, ...); never less than float32.

        Raises:
            ValueError: classes out of range (on a GPU an assertion of the device), wrong shape, num_classes missing.
            TypeError: labels that are no real numbers, or bool (B,) for classes.
        """
        size = Size(self.num_samples, None)
        label = read_label(PerSample(labels), check_num_classes(num_classes), size, ignore_index, self.source.device)
        return mix_label(self, label if checked else label.check())

    def element_targets(self, labels: Any, num_classes: int | None, ignore_index: int | None = None) -> Tensor:
        """Mix labels that every element has, such as part labels, a segmentation mask, depth or a heat map.

        Args:
            labels: (B, N) or (B, H, W) integer classes; or floating point or bool (B, N, ...) or (B, ..., H, W), mixed
                as the elements' other values are.
            num_classes: the number of classes of integer labels; else None.
            ignore_index: the label of elements that do not count: they add nothing, so that the targets of an
                output element sum to the weight of what does count; as in `targets` for floating point. Default None.

        Returns:
            (M, num_classes, N) or (M, num_classes, H, W) float32, as `torch.nn.functional.cross_entropy` takes it; for
            floating point (M, ...) as the labels are laid out, never less than float32.
        """
        size = Size(self.num_samples, self.num_elements)
        label = read_element_label(labels, check_num_classes(num_classes), size, ignore_index, self.source.device)
        return mix_label(self, label.check())

    def weigh_labels(self, importance: Tensor, *, of: str = "sample", normalise: bool = True) -> MixPlan:
        """The plan whose labels weigh as much as what it shows of their samples matters.

        The weights of elements, and so the mixed samples and the labels of elements, stay.

        Args:
            importance: >= 0, how much each element matters, such as its saliency or attention; of each sample (B, N),
                or of each output (M, N). Rows are divided by their totals; one that is 0 or not finite counts as even.
            of: "sample", or "output". Default "sample".
            normalise: let the weights of an output sum to 1. Default True; False: a label weighs the share of its
                sample's importance that the output shows.

        Raises:
            TypeError: importance that is no floating-point tensor.
            ValueError: importance of another shape.

        Example:
            >>> plan = MixPlan.pair(torch.tensor([1, 0]), torch.tensor([[1.0, 1.0, 0.0]]))
            >>> importance = torch.tensor([[0.1, 0.1, 0.8], [0.2, 0.3, 0.5]])
            >>> plan.weigh_labels(importance).sample_weights[0]  # 0.2 of the first and 0.5 of the second are seen
            tensor([0.2857, 0.7143])
        """
        return weigh_labels(self, importance, of, normalise)

    def pooled(self) -> MixPlan:
        """The same samples at their mean weights, for what has no elements: ``plan.pooled().apply(vectors (B, C))``."""
        return pool(self)

    def to(self, device: torch.device | str) -> MixPlan:
        """The same plan on another device."""
        fields = ("source", "index", "weight", "shift", "label_weight")
        return replace(
            self, **{name: field.to(device) for name in fields if (field := getattr(self, name)) is not None}
        )

    def validate(self) -> MixPlan:
        """Check the values too, and return the plan. It reads the tensors, so it is for tests, not for training.

        Raises:
            ValueError: a source or an index out of range, a weight below 0, or weights that do not sum to 1.
        """
        check_values(self)
        return self

    def __repr__(self) -> str:
        return show_plan(self)
