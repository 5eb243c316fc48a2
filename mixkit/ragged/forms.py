"""The forms in which batches of samples of different sizes come: each is opened into `Packed`, and closed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from mixkit.arrays import as_tensor, is_array
from mixkit.labels import Label
from mixkit.ragged.foreign_forms import DictForm, GraphForm
from mixkit.ragged.form import Form
from mixkit.ragged.packed import Packed


class Graphs(Protocol):
    """What PyTorch Geometric's ``Batch`` has."""

    pos: Any
    num_graphs: Any


#: Samples of different sizes in any form that `open_form` knows.
RaggedBatch = Packed | Sequence[Tensor] | Mapping[str, Any] | Graphs


class PackedForm(Form):
    """A `Packed`."""

    def close(self, packed: Packed) -> Packed:
        """See `Form.close`."""
        return packed


class ListForm(Form):
    """A list or tuple of (n_i, C); labels of the elements are a list of (n_i, ...)."""

    def __init__(self, batch: list[Tensor] | tuple[Tensor, ...]) -> None:
        super().__init__(batch, Packed.from_list(batch))
        self._type = list if isinstance(batch, list) else tuple

    def close(self, packed: Packed) -> Any:
        """See `Form.close`."""
        return self._type(packed.split())

    def pack_labels(self, labels: Any) -> Tensor | None:
        """See `Form.pack_labels`."""
        if not isinstance(labels, (list, tuple)) or not all(is_array(each) or type(each) is list for each in labels):
            return super().pack_labels(labels)
        labels = [as_tensor("labels", each) for each in labels]
        lengths = self.packed.lengths.tolist()
        if not any(each.dim() for each in labels):
            return None
        if [len(each) if each.dim() else None for each in labels] != lengths:
            if len(labels) == len(lengths) and len({each.shape for each in labels}) == 1:
                return None  # a label (K,) for each sample
            raise ValueError(
                f"labels of the elements must be as long as the samples, {short(lengths)}, "
                f"got {short([tuple(each.shape) for each in labels])}"
            )
        return torch.cat(labels)

    def close_targets(self, targets: Packed, classes: bool = False) -> Any:
        """See `Form.close_targets`."""
        return targets.split()


class PairForm(Form):
    """Rows (L, C) beside what tells the samples apart: where each ends (B,), or for each row its sample (L,)."""

    def __init__(self, batch: tuple[Tensor, Tensor]) -> None:
        rows, places = batch
        # a vector of samples begins at 0 and ends below L, an offset rises to L
        self._is_offset = int(places[-1]) == len(rows) if len(places) else True
        super().__init__(batch, (Packed.from_offset if self._is_offset else Packed.from_batch)(rows, places))
        self._dtype = places.dtype

    def close(self, packed: Packed) -> Any:
        """See `Form.close`."""
        places = packed.offset if self._is_offset else packed.sample
        return packed.rows, places.to(self._dtype)


class PaddedForm(Form):
    """(B, N, C) padded samples and a mask (B, N) of what is theirs, together or the mask by itself."""

    def __init__(self, batch: Any, padded: Tensor, mask: Tensor) -> None:
        super().__init__(batch, Packed.from_padded(padded, mask))
        self.mask, self._beside = mask, batch is not padded

    def close(self, packed: Packed) -> Any:
        """See `Form.close`."""
        if torch.equal(packed.lengths, self.packed.lengths):  # the places of the padding stay where they were
            padded, mask = self._fill(packed.rows), self.mask
        elif not self._beside:
            raise ValueError(
                "the mixed samples have other sizes than mask= says: give (batch, mask) as the batch, which comes back "
                "with a mask of its own, or keep the sizes (size='own')"
            )
        else:
            padded, mask = packed.padded()
        return (padded, mask) if self._beside else padded

    def pack_labels(self, labels: Any) -> Tensor | None:
        """See `Form.pack_labels`."""
        if isinstance(labels, Tensor) and labels.dim() >= 2 and labels.shape[:2] == self.mask.shape:
            return labels[self.mask]
        return None

    def unpad(self, label: Label) -> Tensor:
        """(L, ...) the labels of the elements; ValueError where they are not (B, N, ...), as the padded samples are."""
        if label.places != (1, 2):
            raise ValueError(
                "labels of the elements of a padded batch must be (B, N) or (B, N, C), the elements before the "
                f"channels, got {tuple(label.tensor.shape)} for {tuple(self.mask.shape)}: give labels.mT"
            )
        return label.tensor[self.mask]

    def close_targets(self, targets: Packed, classes: bool = False) -> Tensor:
        """Targets (B, N, ...), of classes (B, K, N); they are 0 at the padding, which so counts for nothing."""
        same = torch.equal(targets.lengths, self.packed.lengths)
        padded = self._fill(targets.rows) if same else targets.padded()[0]
        return padded.movedim(2, 1).contiguous() if classes else padded

    def _fill(self, rows: Tensor) -> Tensor:
        padded = rows.new_zeros(*self.mask.shape, *rows.shape[1:])
        padded[self.mask] = rows
        return padded


class NestedForm(Form):
    """A nested tensor (B, n_i, C) of either layout."""

    def __init__(self, batch: Tensor) -> None:
        self._layout = batch.layout
        super().__init__(batch, Packed.from_list(batch.unbind()))

    def close(self, packed: Packed) -> Tensor:
        """See `Form.close`."""
        if self._layout == torch.jagged:
            return torch.nested.nested_tensor_from_jagged(packed.rows, packed.offsets)
        return torch.nested.as_nested_tensor(packed.split())

    def pack_labels(self, labels: Any) -> Tensor | None:
        """See `Form.pack_labels`."""
        if isinstance(labels, Tensor) and labels.is_nested:
            return Packed.from_list(labels.unbind()).rows
        return super().pack_labels(labels)


def open_form(batch: Any, mask: Tensor | None = None) -> Form | None:
    """The form of a batch of samples of different sizes, or None for any other batch.

    Args:
        batch: a list or tuple of (n_i, C); (rows (L, C), offset (B,) or batch (L,)); (padded (B, N, C), mask (B, N)
            bool); a nested tensor; `Packed`; a dict with "coord" and "offset"; PyTorch Geometric's ``Batch``.
        mask: (B, N) bool beside a padded batch (B, N, C). Default None.

    Raises:
        ValueError: a form that is half one of these.
    """
    if mask is not None:
        if not isinstance(batch, Tensor) or batch.dim() != 3:
            got = tuple(batch.shape) if isinstance(batch, Tensor) else type(batch).__name__
            raise ValueError(f"mask= goes with a padded batch (B, N, C), got {got}")
        return PaddedForm(batch, batch, mask)
    if isinstance(batch, Tensor):
        return NestedForm(batch) if batch.is_nested else None
    if isinstance(batch, Packed):
        return PackedForm(batch, batch)
    if isinstance(batch, Mapping):
        return DictForm(batch) if "coord" in batch and "offset" in batch else None
    if isinstance(batch, (list, tuple)):
        if len(batch) == 2 and all(isinstance(part, Tensor) for part in batch):
            first, second = batch
            if second.dtype == torch.bool:
                return PaddedForm(batch, first, second)
            if second.dim() == 1 and not second.is_floating_point() and first.dim() == 2:
                return PairForm((first, second))
        return ListForm(batch) if all(isinstance(part, Tensor) for part in batch) else None
    is_graph = isinstance(getattr(batch, "pos", None), Tensor) and hasattr(batch, "num_graphs")
    return GraphForm(batch) if is_graph else None


def short(values: list[Any]) -> str:
    """A list for a message, its first eight entries at most."""
    return f"[{', '.join(map(str, values[:8]))}{', ...' if len(values) > 8 else ''}]"
