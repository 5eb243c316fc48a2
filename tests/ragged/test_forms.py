"""The doors: every form opens into the same rows, and closes into the form that it was."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest
import torch
from torch import Tensor

from mixkit.ragged import Packed, RaggedPlan, open_form
from mixkit.ragged.forms import Form

SAMPLES = [torch.randn(n, 5) for n in (2, 3, 1)]
ROWS = torch.cat(SAMPLES)
MASK = torch.tensor([[True, False, True], [True, True, True], [False, True, False]])


def padded() -> Tensor:
    batch = torch.full((3, 3, 5), torch.nan)
    batch[MASK] = ROWS
    return batch


def forms() -> dict[str, Any]:
    """The same three samples in every form that needs no further package."""
    return {
        "list": list(SAMPLES),
        "tuple": tuple(SAMPLES),
        "packed": Packed.from_list(SAMPLES),
        "offset": (ROWS, torch.tensor([2, 5, 6], dtype=torch.int32)),
        "batch": (ROWS, torch.tensor([0, 0, 1, 1, 1, 2])),
        "padded": (padded(), MASK),
        "jagged": torch.nested.nested_tensor(SAMPLES, layout=torch.jagged),
        "nested": torch.nested.nested_tensor(SAMPLES),
        "dict": {"coord": ROWS[:, :3], "feat": ROWS[:, 3:], "offset": torch.tensor([2, 5, 6]), "name": ["a", "b", "c"]},
    }


def opened(batch: Any, mask: Tensor | None = None) -> Form:
    form = open_form(batch, mask)
    assert form is not None
    return form


@pytest.mark.parametrize("name", forms())
def test_opens_and_closes(name: str) -> None:
    batch = forms()[name]
    form = opened(batch)
    assert torch.equal(form.packed.rows, ROWS)
    assert form.packed.offsets.tolist() == [0, 2, 5, 6]
    again = form.close(form.packed)
    assert type(again) is type(batch)
    assert torch.equal(opened(again).packed.rows, ROWS)
    swapped = RaggedPlan.append(torch.tensor([5, 0, 1]), torch.tensor([0, 1, 3]), form.packed.offsets)
    other = opened(form.close(Packed(swapped.apply(ROWS), swapped.offsets)))
    assert torch.equal(other.packed.rows, ROWS[[5, 0, 1]])
    assert other.packed.offsets.tolist() == [0, 1, 3]


def test_kinds_stay() -> None:
    _, places = opened(forms()["offset"]).close(Packed.from_list(SAMPLES[:2]))
    assert places.dtype == torch.int32
    assert places.tolist() == [2, 5]
    _rows, places = opened(forms()["batch"]).close(Packed.from_list(SAMPLES[:2]))
    assert places.tolist() == [0, 0, 1, 1, 1]
    closed = opened(forms()["dict"]).close(Packed.from_list(SAMPLES))
    assert closed["name"] == ["a", "b", "c"]
    assert torch.equal(closed["feat"], ROWS[:, 3:])
    bare = opened({"coord": ROWS[:, :3], "offset": torch.tensor([6]), "segment": torch.zeros(6)})
    assert set(bare.close(bare.packed)) == {"coord", "offset"}


def test_padding_stays_where_it_was() -> None:
    batch, mask = opened((padded(), MASK)).close(Packed(2 * ROWS, torch.tensor([0, 2, 5, 6])))
    assert torch.equal(mask, MASK)
    assert torch.equal(batch[MASK], 2 * ROWS)
    assert bool((batch[~MASK] == 0).all())
    alone = opened(padded(), MASK)
    assert torch.equal(alone.close(Packed(2 * ROWS, torch.tensor([0, 2, 5, 6]))), batch)
    with pytest.raises(ValueError, match="other sizes than mask= says"):
        alone.close(Packed.from_list(SAMPLES[::-1]))


@pytest.mark.parametrize("name", forms())
def test_labels_of_elements(name: str) -> None:
    form = opened(forms()[name])
    labels = torch.arange(6)
    filled = torch.full((3, 3), 99)
    filled[MASK] = labels
    theirs: Any = {
        "list": list(labels.split([2, 3, 1])), "tuple": labels.split([2, 3, 1]), "padded": filled,
        "nested": torch.nested.nested_tensor(list(labels.split([2, 3, 1]))),
    }.get(name, labels)  # fmt: skip
    packed = form.pack_labels(theirs)
    assert packed is not None
    assert torch.equal(packed, labels)
    targets = form.close_targets(Packed(labels[:, None].float(), form.packed.offsets))
    if name in ("list", "tuple"):
        assert [len(each) for each in targets] == [2, 3, 1]
    elif name == "padded":
        assert targets.shape == (3, 3, 1)
        assert torch.equal(targets[MASK][:, 0], labels.float())
    else:
        assert targets.shape == (6, 1)
    assert form.pack_labels(torch.zeros(3, dtype=torch.long)) is None
    assert form.pack_labels(torch.zeros(3, 7)) is None


@pytest.mark.parametrize(
    "batch", [torch.randn(2, 4, 3), {"image": ROWS}, [1, 2], ["a"], "abc", None, UserDict(), (ROWS, [2, 5])]
)
def test_other_batches_have_no_form(batch: Any) -> None:
    assert open_form(batch) is None


@pytest.mark.parametrize(
    ("batch", "mask", "error", "words"),
    [
        (ROWS, MASK, ValueError, r"padded batch \(B, N, C\), got \(6, 5\)"),
        (padded(), MASK[:2], ValueError, "mask must be"),
        (padded(), MASK.float(), TypeError, "bool"),
        ((ROWS, torch.tensor([2, 5])), None, ValueError, "rising order|batch must be"),
        ([ROWS, ROWS[0]], None, ValueError, "sample 1"),
        ([ROWS[0], ROWS[0]], None, ValueError, r"\(n_i, C\)"),
        ({"coord": ROWS[:, :3], "offset": torch.tensor([6]), "grid_coord": ROWS}, None, ValueError, "grid_coord"),
    ],
)
def test_what_is_refused(batch: Any, mask: Tensor | None, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        open_form(batch, mask)


def test_lengths_of_labels_must_fit() -> None:
    with pytest.raises(ValueError, match="as long as the samples"):
        opened(SAMPLES).pack_labels([torch.zeros(2), torch.zeros(2), torch.zeros(1)])


class TestGraphs:
    """PyTorch Geometric's batches."""

    def batch(self, **more: Any) -> Any:
        data = pytest.importorskip("torch_geometric.data")
        return data.Batch.from_data_list([
            data.Data(pos=each[:, :3], x=each[:, 3:], y=torch.tensor([n]), name=str(n), **more)
            for n, each in enumerate(SAMPLES)
        ])  # fmt: skip

    def test_opens_and_closes(self) -> None:
        batch = self.batch()
        form = opened(batch)
        assert torch.equal(form.packed.rows, ROWS)
        assert form.packed.offsets.tolist() == [0, 2, 5, 6]
        closed = form.close(Packed.from_list([each * 2 for each in SAMPLES[::-1]]))
        assert type(closed) is type(batch)
        assert closed.name == ["0", "1", "2"]
        assert closed.y.tolist() == [0, 1, 2]
        assert closed.ptr.tolist() == [0, 1, 4, 6]
        assert closed.batch.tolist() == [0, 1, 1, 1, 2, 2]
        assert torch.equal(closed.pos, 2 * torch.cat(SAMPLES[::-1])[:, :3])
        assert [len(graph.x) for graph in closed.to_data_list()] == [1, 3, 2]
        assert torch.equal(batch.pos, ROWS[:, :3])  # what came stays as it was

    def test_what_else_the_points_have_is_refused_and_their_labels_go(self) -> None:
        data = pytest.importorskip("torch_geometric.data")
        graphs = [data.Data(pos=each[:, :3], normal=each[:, :3]) for each in SAMPLES]
        with pytest.raises(ValueError, match="the attributes 'normal' belong to the points"):
            opened(data.Batch.from_data_list(graphs))
        graphs = [data.Data(pos=each[:, :3], y=torch.zeros(len(each))) for each in SAMPLES]
        form = opened(data.Batch.from_data_list(graphs))
        assert "y" not in form.close(form.packed)

    def test_batches_that_were_made_or_thinned_by_hand(self) -> None:
        data = pytest.importorskip("torch_geometric.data")
        made = data.Batch(pos=ROWS[:, :3], batch=torch.tensor([0, 0, 1, 1, 1, 2]))
        thinned = self.batch()
        kept = torch.tensor([0, 2, 3, 5])
        thinned.pos, thinned.x, thinned.batch = thinned.pos[kept], thinned.x[kept], thinned.batch[kept]
        for batch, lengths in ((made, [2, 3, 1]), (thinned, [1, 2, 1])):
            form = opened(batch)
            assert form.packed.lengths.tolist() == lengths
            closed = form.close(form.packed)
            assert torch.equal(closed.pos, batch.pos)
            assert torch.equal(closed.batch, batch.batch)
            assert closed.num_graphs == 3
        assert [graph.num_nodes for graph in closed.to_data_list()] == [1, 2, 1]

    def test_edges_are_refused(self) -> None:
        with pytest.raises(ValueError, match="edge_index"):
            open_form(self.batch(edge_index=torch.zeros(2, 1, dtype=torch.long)))

    def test_a_gradient_flows_through(self) -> None:
        form = opened(self.batch())
        rows = form.packed.rows.clone().requires_grad_()
        closed = form.close(Packed(rows, form.packed.offsets))
        (closed.pos.sum() + 2 * closed.x.sum()).backward()
        assert rows.grad is not None
        assert torch.equal(rows.grad, torch.tensor([1.0, 1, 1, 2, 2]).expand(6, -1))


@pytest.mark.parametrize("name", forms())
def test_a_gradient_flows_through(name: str) -> None:
    form = opened(forms()[name])
    rows = form.packed.rows.clone().requires_grad_()
    closed = opened(form.close(Packed(rows, form.packed.offsets)))
    closed.packed.rows.sum().backward()
    assert rows.grad is not None
    assert torch.equal(rows.grad, torch.ones(6, 5))
