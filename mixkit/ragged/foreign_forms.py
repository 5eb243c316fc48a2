"""The forms of other libraries: Pointcept's dicts, and the batches of PyTorch Geometric."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mixkit.arrays import concatenate
from mixkit.ragged.form import Form
from mixkit.ragged.packed import Packed


class DictForm(Form):
    """A dict as Pointcept's: ``coord`` (L, D), ``offset`` (B,), and ``feat`` (L, F) where there is one.

    Other entries come back as they are, but for those that the mix makes wrong: with a first side of L they are
    aligned with the elements, and refused.
    """

    #: Labels, which are given beside the batch.
    labels = ("segment", "instance", "category")

    def __init__(self, batch: Mapping[str, Any]) -> None:
        coord = batch["coord"]
        rows, self.integers = _joined(coord, batch.get("feat"))
        super().__init__(batch, Packed.from_offset(rows, batch["offset"]))
        if aligned := _aligned(batch, len(coord), ("coord", "feat", "offset", *self.labels)):
            raise ValueError(
                f"the entries {', '.join(map(repr, aligned))} belong to the elements and would not be mixed with them: "
                "take them into 'feat', or make them after mixing, as with voxel numbers ('grid_coord')"
            )
        self._width = coord.shape[1]

    def close(self, packed: Packed) -> dict[str, Any]:
        """See `Form.close`."""
        closed = {name: value for name, value in self.batch.items() if name not in self.labels}
        closed["coord"] = packed.rows[:, : self._width].to(self.batch["coord"].dtype)
        if "feat" in closed:
            closed["feat"] = packed.rows[:, self._width :].to(self.batch["feat"].dtype)
        closed["offset"] = packed.offset.to(self.batch["offset"].dtype)
        return closed


class GraphForm(Form):
    """PyTorch Geometric's ``Batch`` of ``Data``: ``pos`` (L, D), and ``x`` (L, F) where there is one.

    Other entries come back as they are, but for those of the points: ``y`` goes, whose labels are given beside the
    batch, and any other is refused.
    """

    def __init__(self, batch: Any) -> None:
        pos, x = batch.pos, batch.x
        for name in ("edge_index", "edge_attr", "face", "adj_t"):
            if batch.get(name) is not None:
                raise ValueError(f"a batch with {name} joins elements that the mix moves: make it after mixing")
        rows, self.integers = _joined(pos, x)
        super().__init__(batch, Packed.from_batch(rows, batch.batch, batch.num_graphs))
        # as many points as graphs would leave it open which of them an attribute is of
        of_points = (
            [] if len(pos) == batch.num_graphs else _aligned(batch.to_dict(), len(pos), ("pos", "x", "batch", "ptr"))
        )
        self._labels_go = "y" in of_points
        if others := [name for name in of_points if name != "y"]:
            raise ValueError(
                f"the attributes {', '.join(map(repr, others))} belong to the points and would not be mixed with "
                "them: take them into 'x', or make them after mixing"
            )

    def close(self, packed: Packed) -> Any:
        """See `Form.close`."""
        batch, closed = self.batch, copy.copy(self.batch)
        width = batch.pos.shape[1]
        closed.pos = packed.rows[:, :width].to(batch.pos.dtype)
        if batch.x is not None:
            closed.x = packed.rows[:, width:].to(batch.x.dtype)
        closed.batch = packed.sample
        if batch.get("ptr") is not None:
            closed.ptr = packed.offsets
        if self._labels_go:
            del closed.y
        if (slices := getattr(batch, "_slice_dict", None)) is not None:  # by which to_data_list takes it apart
            offsets = packed.offsets.cpu()
            closed._slice_dict = {
                name: offsets if name in ("pos", "x") else slices[name] for name in slices if name in closed
            }
        return closed


def _aligned(entries: Mapping[str, Any], count: int, besides: Sequence[str]) -> list[str]:
    """The entries that are tensors with one row for each of so many elements, but for those that are known."""
    return [
        name
        for name, value in entries.items()
        if name not in besides and isinstance(value, Tensor) and value.dim() and len(value) == count
    ]


def _joined(coords: Tensor, features: Tensor | None) -> tuple[Tensor, torch.dtype | None]:
    """Coordinates with their other channels beside them, and the dtype of the latter where they are integers."""
    if features is None:
        return coords, None
    if not features.is_floating_point():
        return concatenate([coords, features.to(coords.dtype)], 1), features.dtype
    dtype = torch.promote_types(coords.dtype, features.dtype)
    return concatenate([coords.to(dtype), features.to(dtype)], 1), None
