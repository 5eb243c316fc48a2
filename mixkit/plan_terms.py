"""What a plan is made of, and how its terms are read; `mixkit.MixPlan` uses it."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit.elements import same_in_all


class PlanTerms:
    """The sizes of a plan, its weights, and what its terms read."""

    source: Tensor
    index: Tensor | None
    weight: Tensor
    num_samples: int
    keeps_own: bool
    label_weight: Tensor | None

    @property
    def num_outputs(self) -> int:
        """M, the number of mixed samples."""
        return self.source.shape[0]

    @property
    def num_terms(self) -> int:
        """K, the number of terms that an element is made of."""
        return self.source.shape[1]

    @property
    def num_elements(self) -> int | None:
        """N, or None where every element is treated alike and any N fits."""
        if self.index is not None:
            return self.index.shape[2]
        size = max(self.source.shape[2], self.weight.shape[2])
        return None if size == 1 else size

    @property
    def whole_samples(self) -> bool:
        """Whether each term reads the elements of one sample at the same positions."""
        return self.index is None and self.source.shape[2] == 1

    @property
    def weight_at_least_float32(self) -> Tensor:
        """`weight`, of half precision as float32: labels and their sums are never less."""
        return self.weight if self.weight.dtype.itemsize >= 4 else self.weight.float()

    @property
    def sample_weights(self) -> Tensor:
        """(M, B) how much of each output's label is each sample's: its mean element weight, so that rows sum to 1.

        Where there is a ``label_weight``, it is that instead, whatever it sums to.
        """
        source, weight = self.terms()
        total = weight.new_zeros(self.num_outputs, self.num_samples).scatter_add_(1, source, weight)
        return total.to(self.weight_at_least_float32.dtype)

    def terms(self) -> tuple[Tensor, Tensor]:
        """The sources and their shares of the label as two (M, S) tensors, S = K or K * N."""
        weight = self.mean_weight() if self.label_weight is None else self.label_weight
        if self.source.shape[2] > 1:  # float64 where there is one: many thousand terms go into one sum
            weight = _widest(weight)
        return self.source.flatten(1), weight.flatten(1)

    def mean_weight(self) -> Tensor:
        """(M, K, 1) or (M, K, N) as ``source``, what each term adds to the mean weight of its sample."""
        weight = self.weight_at_least_float32
        if self.source.shape[2] > 1:
            return (_widest(weight) / self.source.shape[2]).expand_as(self.source)
        if same_in_all(weight):  # one mean serves all outputs
            return weight[:1].mean(2, keepdim=True).expand(self.num_outputs, -1, -1)
        return weight.mean(2, keepdim=True)

    def weight_like(self, values: Tensor) -> Tensor:
        """(M, K, N or 1, 1, ...) the weight, ready to multiply ``values`` (B, N, ...)."""
        return self.weight.to(values.dtype).reshape(*self.weight.shape, *[1] * (values.dim() - 2))

    def gather(self, values: Tensor, k: int) -> Tensor:
        """(M, N, ...) what term k reads."""
        if k == 0 and self.keeps_own:
            return values
        channels_first = values.dim() == 3 and values.mT.is_contiguous()  # underneath: then stay so
        if self.whole_samples:
            samples = self.source[:, k, 0]
            return values.mT.index_select(0, samples).mT if channels_first else values.index_select(0, samples)
        if channels_first and self.index is not None and self.source.shape[2] == 1:
            rows = values.mT.index_select(0, self.source[:, k, 0])
            return rows.gather(2, self.index[:, k, None].expand(-1, rows.shape[1], -1)).mT
        place = self.place(k, values.shape[1])
        return values.flatten(0, 1).index_select(0, place.flatten()).unflatten(0, place.shape)

    def place(self, k: int, num_elements: int) -> Tensor:
        """(M, N) where term k reads, in the batch's elements laid end to end."""
        index = torch.arange(num_elements, device=self.source.device) if self.index is None else self.index[:, k]
        return self.source[:, k] * num_elements + index


def _widest(weight: Tensor) -> Tensor:
    return weight if weight.device.type == "mps" else weight.double()
