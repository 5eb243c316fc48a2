"""The plan of samples of different sizes, and of those that are put together: its outputs have sizes of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mixkit.checks import readable
from mixkit.combine import all_finite, combine
from mixkit.labels import Label
from mixkit.plan import MixPlan
from mixkit.ragged.packed import sample_of
from mixkit.ragged.plan_parts import OneSample, check_fields, check_values, keep_samples
from mixkit.show_html import BarsOfPlan
from mixkit.targets import mix_label
from mixkit.weighing import weigh_ragged


@dataclass(frozen=True, eq=False, repr=False)
class RaggedPlan(BarsOfPlan):
    """How M samples of m_1, ..., m_M elements are made of B samples of n_1, ..., n_B, with K terms per element.

    ``out[j] = sum_k weight[k, j] * values[index[k, j]]``, where j counts the elements of all outputs, one output after
    another, and values are packed likewise. A pair has K = 2; what puts parts of samples together has K = 1, and
    outputs of other sizes than their inputs. It obeys the laws of `mixkit.MixPlan`: it is linear, it has a transpose,
    and a sample's label weighs as much as the mean weight of its elements in the output.

    Args:
        index: (K, L') long, the row of the packed inputs that each term reads; L' is the sum of the outputs' lengths.
        weight: (K, L') floating point, >= 0, sums to 1 over K.
        offsets: (M + 1,) long, where each output begins, and last L'.
        source_offsets: (B + 1,) long, where each input begins, and last L.
        shift: (K, L', D), added to coordinates only. Default None.
        label_weight: (K, L'), how much each term adds to the label of its sample, where that is not its share of the
            mean weight (`weigh_labels`). Default None: it is.

    Raises:
        TypeError: a field of the wrong dtype.
        ValueError: shapes that do not fit together.

    Example:
        >>> both = RaggedPlan.append(torch.tensor([0, 1, 2]), torch.tensor([0, 3]), torch.tensor([0, 2, 3]))
        >>> both  # the union of a sample of two elements and one of one
        RaggedPlan(1 output of 3 elements, from 2 samples, 1 term)
        >>> both.sample_weights
        tensor([[0.6667, 0.3333]])
    """

    index: Tensor
    weight: Tensor
    offsets: Tensor
    source_offsets: Tensor
    shift: Tensor | None = None
    label_weight: Tensor | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def append(cls, index: Tensor, offsets: Tensor, source_offsets: Tensor) -> RaggedPlan:
        """The plan that takes whole elements, each at weight 1: unions of parts of samples.

        Args:
            index: (L',) long, the row of the packed inputs that each output element is.
            offsets: (M + 1,) long, where each output begins, and last L'.
            source_offsets: (B + 1,) long, where each input begins, and last L.
        """
        return cls(index[None], torch.ones(1, len(index), device=index.device), offsets, source_offsets)

    @classmethod
    def identity(cls, offsets: Tensor, num_rows: int) -> RaggedPlan:
        """The plan that leaves samples as they are."""
        return cls.append(torch.arange(num_rows, device=offsets.device), offsets, offsets)

    # ---- what it is

    @property
    def num_outputs(self) -> int:
        """M, the number of mixed samples."""
        return len(self.offsets) - 1

    @property
    def num_samples(self) -> int:
        """B, the number of samples that it mixes."""
        return len(self.source_offsets) - 1

    @property
    def num_terms(self) -> int:
        """K, the number of terms that an element is made of."""
        return self.index.shape[0]

    @property
    def output(self) -> Tensor:
        """(L',) long, which output each mixed element is of."""
        return sample_of(self.offsets, self.index.shape[1])

    @property
    def source(self) -> Tensor:
        """(K, L') long, the sample that each term reads."""
        return torch.searchsorted(self.source_offsets, self.index, right=True) - 1

    @property
    def sample_weights(self) -> Tensor:
        """(M, B) how much of each output's label is each sample's: as in `mixkit.MixPlan.sample_weights`."""
        if self.label_weight is not None:
            return self._by_sample(self.label_weight)
        return self._by_sample(self.weight, self.offsets.diff())

    def _by_sample(self, weight: Tensor, length: Tensor | None = None) -> Tensor:
        """(M, B) the sum of (K, L') over each output's terms of each sample, over the length (M,) of the output."""
        wide = self.weight.dtype if self.weight.device.type == "mps" else torch.float64
        place = self.output * self.num_samples + self.source  # (K, L')
        total = torch.zeros(self.num_outputs * self.num_samples, dtype=wide, device=self.weight.device)
        total.scatter_add_(0, place.flatten(), weight.to(wide).flatten())
        shares = total.unflatten(0, (self.num_outputs, -1))
        if length is not None:
            shares = shares / length[:, None]
        return shares.to(torch.promote_types(self.weight.dtype, torch.float32))

    def __repr__(self) -> str:
        lengths = self.offsets.diff().tolist()
        elements = str(lengths[0]) if len(set(lengths)) == 1 else f"{min(lengths)} to {max(lengths)}"
        outputs = "1 output" if len(lengths) == 1 else f"{len(lengths)} outputs"
        terms = "1 term" if self.num_terms == 1 else f"{self.num_terms} terms"
        return f"RaggedPlan({outputs} of {elements} elements, from {self.num_samples} samples, {terms})"

    # ---- using it

    def apply(self, values: Tensor, *, finite: bool = False) -> Tensor:
        """Mix whatever is aligned with the elements. What has weight 0 is absent, be it NaN or infinite.

        Args:
            values: (L, ...) floating point; or integers, where all weights are 0 or 1.
            finite: on the CPU, refuse what is NaN or infinite at a weight above 0. Default False.

        Returns:
            (L', ...) in the dtype of ``values``.

        Raises:
            TypeError: integer values, and weights between 0 and 1.
            ValueError: another L than the plan's, or values that ``finite`` refuses.
        """
        self._check("values", values, self.source_offsets)
        terms = [values.index_select(0, index) for index in self.index]
        if not values.is_floating_point():
            return self._move(terms)
        if len(terms) == 1:
            mixed = terms[0]
        elif len(terms) == 2 and readable(values):
            weight = self.weight[0].to(values.dtype).reshape(-1, *[1] * (values.dim() - 1))
            mixed = torch.lerp(terms[1], terms[0], weight)
            mixed = mixed if all_finite(mixed[None]) else combine([term[None] for term in terms], self.weight[None])[0]
        else:
            mixed = combine([term[None] for term in terms], self.weight[None])[0]
        if finite and readable(values) and not all_finite(mixed[None]):
            self._refuse(terms)
        return mixed

    def apply_coords(self, coords: Tensor, *, finite: bool = False) -> Tensor:
        """Mix coordinates (L, D): as `apply`, with each term moved by its ``shift`` first. Returns (L', D)."""
        mixed = self.apply(coords, finite=finite)
        if self.shift is None:
            return mixed
        return mixed + (self.weight[..., None].to(coords.dtype) * self.shift.to(coords.dtype)).sum(0)

    def displace(self, shift: Tensor) -> RaggedPlan:
        """The plan that moves the elements first, by (L, D), and then mixes them as this one does."""
        self._check("shift", shift, self.source_offsets)
        moved = shift[self.index]
        return replace(self, shift=moved if self.shift is None else self.shift + moved)

    def adjoint(self, grad: Tensor) -> Tensor:
        """The transpose of `apply`: carry (L', ...) back to the (L, ...) places that it came from."""
        self._check("grad", grad, self.offsets)
        rows = int(self.source_offsets[-1])
        total = grad.new_zeros(rows, *grad.shape[1:])
        for index, weight in zip(self.index, self.weight, strict=True):
            total = total.index_add(0, index, weight.to(grad.dtype).reshape(-1, *[1] * (grad.dim() - 1)) * grad)
        return total

    def pooled(self) -> MixPlan:
        """The same samples at their mean weights, for what has no elements, such as their labels."""
        source = torch.arange(self.num_samples, device=self.index.device).expand(self.num_outputs, -1)[:, :, None]
        weight, share = self._by_sample(self.weight, self.offsets.diff())[:, :, None], None
        if self.label_weight is not None:
            share = self._by_sample(self.label_weight)[:, :, None]
        return MixPlan(source, None, weight, num_samples=self.num_samples, label_weight=share)

    def weigh_labels(self, importance: Tensor, *, normalise: bool = True) -> RaggedPlan:
        """The plan whose labels weigh as much as what it shows of their samples matters.

        Args:
            importance: (L,) >= 0, how much each element matters; as in `mixkit.MixPlan.weigh_labels`.
            normalise: let the weights of an output sum to 1. Default True.
        """
        return weigh_ragged(self, importance, normalise)

    def as_one_sample(self) -> MixPlan:
        """The same plan as one output of one sample, which holds all elements; it mixes what `MixPlan.gather` reads."""
        return OneSample(self)  # type: ignore[return-value]  # it has all that mixing labels and channels asks for

    def mix_label(self, label: Label) -> Tensor:
        """The targets of one label as `mixkit.labels` reads it: of the samples, or of the elements as one sample's.

        Returns:
            (M, K) or (M, ...) for labels of samples; for those of elements, read as (1, L, ...), (L', K) or (L', ...).
        """
        if label.places is None:
            return mix_label(self.pooled(), label)
        mixed = mix_label(self.as_one_sample(), label)[0]
        return mixed.mT.contiguous() if label.kind == "classes" else mixed

    def keep(self, spared: Tensor | None) -> RaggedPlan:
        """See `mixkit.MixPlan.keep`."""
        return self if spared is None else keep_samples(self, spared)

    def validate(self) -> RaggedPlan:
        """Check the values too, and return the plan. It reads the tensors, so it is for tests, not for training.

        Raises:
            ValueError: an index out of range, a weight below 0, weights that do not sum to 1, or offsets that fall.
        """
        check_values(self)
        return self

    def to(self, device: torch.device | str) -> RaggedPlan:
        """The same plan on another device."""
        fields = ("index", "weight", "offsets", "source_offsets", "shift", "label_weight")
        moved = {name: field.to(device) for name in fields if (field := getattr(self, name)) is not None}
        return replace(self, **moved)

    # ---- helpers

    def _move(self, terms: list[Tensor]) -> Tensor:
        if not bool(((self.weight == 0) | (self.weight == 1)).all()):
            raise TypeError(
                f"this plan interpolates, so values must be floating point, got {terms[0].dtype}; convert them"
            )
        moved = terms[0]
        for term, weight in zip(terms[1:], self.weight[1:], strict=True):
            moved = torch.where((weight > 0).reshape(-1, *[1] * (term.dim() - 1)), term, moved)
        return moved

    def _refuse(self, terms: list[Tensor]) -> None:
        for term, weight, source in zip(terms, self.weight, self.source, strict=True):
            wrong = ~term.detach().isfinite().flatten(1).all(1) & (weight != 0)
            if wrong.any():
                row = int(wrong.nonzero()[0])
                channels = term[row].detach().flatten()
                raise ValueError(
                    f"sample {int(source[row])} of the batch holds {float(channels[~channels.isfinite()][0])} in an "
                    "element that the mix shows: mend it, or leave the sample out"
                )

    def _check(self, name: str, values: Tensor, offsets: Tensor) -> None:
        rows = self.index.shape[1] if offsets is self.offsets else None
        if values.dim() < 1 or (rows is not None and len(values) != rows):
            raise ValueError(f"{name} must be ({rows}, ...) as in the plan, got {tuple(values.shape)}")
        if rows is None and readable(offsets) and len(values) != int(offsets[-1]):
            raise ValueError(f"{name} must be ({int(offsets[-1])}, ...) as in the plan, got {tuple(values.shape)}")
