"""`RaggedPlan`: the laws of a plan, for outputs of any size; and the pairings that make one."""

from __future__ import annotations

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from mixkit.labels import PerElement, PerSample, Size, read_label
from mixkit.ragged import Packed, RaggedPlan, RaggedSet, pair_up
from mixkit.ragged.elements import rank
from mixkit.ragged.matching import match

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=4)


def _plan(sources: list[int], outputs: list[int], terms: int) -> RaggedPlan:
    total, rows = sum(outputs), sum(sources)
    weight = torch.rand(terms, total, dtype=torch.float64) * (torch.rand(terms, total) > 0.3) + 1e-3
    offsets, source_offsets = (torch.tensor([0, *each]).cumsum(0) for each in (outputs, sources))
    return RaggedPlan(torch.randint(rows, (terms, total)), weight / weight.sum(0), offsets, source_offsets)


@hypothesis.given(LENGTHS, LENGTHS, st.integers(1, 4))
@hypothesis.settings(max_examples=40, deadline=None)
def test_linear_and_transposable(sources: list[int], outputs: list[int], terms: int) -> None:
    plan = _plan(sources, outputs, terms).validate()
    x, z = torch.randn(2, sum(sources), 2, 3, dtype=torch.float64)
    y = torch.randn(sum(outputs), 2, 3, dtype=torch.float64)
    torch.testing.assert_close(plan.apply(2 * x + z), 2 * plan.apply(x) + plan.apply(z))
    torch.testing.assert_close((plan.apply(x) * y).sum(), (x * plan.adjoint(y)).sum())
    by_hand = torch.stack([
        sum(plan.weight[k, j] * x[plan.index[k, j]] for k in range(terms)) for j in range(sum(outputs))
    ])  # fmt: skip
    torch.testing.assert_close(plan.apply(x), by_hand)


@hypothesis.given(LENGTHS, LENGTHS, st.integers(1, 4))
@hypothesis.settings(max_examples=40, deadline=None)
def test_labels_by_mean_weight(sources: list[int], outputs: list[int], terms: int) -> None:
    plan = _plan(sources, outputs, terms)
    samples = torch.repeat_interleave(torch.arange(len(sources)), torch.tensor(sources))
    for m, (start, stop) in enumerate(zip(plan.offsets[:-1], plan.offsets[1:], strict=True)):
        shares = torch.zeros(len(sources), dtype=torch.float64)
        for j in range(int(start), int(stop)):
            for k in range(terms):
                shares[samples[plan.index[k, j]]] += plan.weight[k, j] / (stop - start)
        torch.testing.assert_close(plan.sample_weights[m], shares)
    classes = torch.randint(5, (len(sources),))
    label = read_label(PerSample(classes), 5, Size(len(sources), None)).check()
    targets = plan.mix_label(label)
    torch.testing.assert_close(targets, plan.sample_weights @ torch.eye(5, dtype=torch.float64)[classes])
    of_points = torch.randint(5, (sum(sources),))
    label = read_label(PerElement(of_points[None]), 5, Size(1, sum(sources))).check()
    torch.testing.assert_close(plan.mix_label(label), plan.apply(torch.eye(5, dtype=torch.float64)[of_points]))


def test_labels_of_elements_that_do_not_count() -> None:
    plan = RaggedPlan(
        torch.tensor([[0, 1, 2], [3, 4, 4]]), torch.tensor([[0.25, 1.0, 0.5], [0.75, 0.0, 0.5]]),
        torch.tensor([0, 3]), torch.tensor([0, 3, 5]),
    )  # fmt: skip
    label = read_label(PerElement(torch.tensor([[0, 255, 1, 1, 255]])), 2, Size(1, 5), 255).check()
    assert plan.mix_label(label).tolist() == [[0.25, 0.75], [0.0, 0.0], [0.0, 0.5]]
    heights = read_label(PerElement(torch.tensor([[1.0, 2.0, 3.0, 4.0, torch.nan]])), None, Size(1, 5)).check()
    mixed = plan.mix_label(heights)
    assert mixed[:2].tolist() == [3.25, 2.0]
    assert bool(mixed[2].isnan())


def test_weight_0_is_absent_and_the_rest_must_be_finite() -> None:
    values = torch.tensor([[1.0], [torch.nan], [3.0], [torch.inf]])
    offsets = torch.tensor([0, 2, 4])
    plan = RaggedPlan(torch.tensor([[0, 1], [3, 2]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]), offsets[:2], offsets)
    assert plan.apply(values, finite=True).flatten().tolist() == [1.0, 3.0]
    shown = RaggedPlan(plan.index, torch.full((2, 2), 0.5), offsets[:2], offsets)
    with pytest.raises(ValueError, match="sample 0 of the batch holds nan"):
        shown.apply(values, finite=True)
    integers = torch.tensor([[1], [2], [3], [4]])
    assert plan.apply(integers).flatten().tolist() == [1, 3]
    with pytest.raises(TypeError, match="interpolates"):
        shown.apply(integers)


@pytest.mark.parametrize("spared", [[True, False, True], [False, False, False], [True, True, True]])
def test_samples_can_be_kept(spared: list[bool]) -> None:
    plan = _plan([2, 4, 3], [5, 1, 2], 3)
    values = torch.randn(9, 2, dtype=torch.float64)
    kept = plan.keep(torch.tensor(spared)).validate()
    before, after = (Packed(each.apply(values), each.offsets).split() for each in (plan, kept))
    inputs = Packed(values, plan.source_offsets).split()
    for b, stays in enumerate(spared):
        torch.testing.assert_close(after[b], inputs[b] if stays else before[b])


def test_parts_are_put_together() -> None:
    source = torch.tensor([0, 2, 6])
    plan = RaggedPlan.append(torch.tensor([0, 1, 3, 5, 2, 4]), torch.tensor([0, 4, 6]), source).validate()
    assert plan.apply(torch.arange(6)).tolist() == [0, 1, 3, 5, 2, 4]
    assert plan.sample_weights.tolist() == [[0.5, 0.5], [0.0, 1.0]]
    assert torch.equal(RaggedPlan.identity(source, 6).apply(torch.arange(6)), torch.arange(6))


@pytest.mark.parametrize("size", ["own", "mean", "larger", 20])
@pytest.mark.parametrize("matched", [False, True])
def test_a_pairing_shows_both_whole(size: str | int, matched: bool) -> None:
    lengths, partner = [13, 50, 20, 7], torch.tensor([1, 2, 3, 0])
    packed = Packed.from_list([torch.randn(n, 3) for n in lengths])
    elements = RaggedSet(packed.rows, packed.rows[:, :0], packed.offsets)
    pairing = pair_up(elements, partner, size, match if matched else None)
    wanted = {
        "own": lengths, "mean": [32, 35, 14, 10], "larger": [50, 50, 20, 13], 20: [20] * 4,
    }[size]  # fmt: skip
    assert pairing.offsets.diff().tolist() == wanted
    for rows, samples in ((pairing.own, torch.arange(4)), (pairing.other, partner)):
        assert torch.equal(packed.sample[rows], samples[pairing.sample])
        uses = torch.bincount(rows, minlength=packed.num_rows).split(lengths)  # each row is in one mix only
        assert all(int(each.max() - each.min()) <= 1 for each in uses)
    if size == "own":
        assert torch.equal(pairing.own, torch.arange(packed.num_rows))


def test_rank_counts_within_samples() -> None:
    keys = torch.tensor([3.0, 1.0, 2.0, 5.0, 5.0, 4.0])
    assert rank(keys, torch.tensor([0, 3, 6])).tolist() == [2, 0, 1, 1, 2, 0]


def _cost(a: Tensor, b: Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b, dim=1).sum())


def test_matching_is_within_the_tolerance() -> None:
    from scipy.optimize import linear_sum_assignment

    lengths = [1, 2, 40, 300]
    a, b = (Packed.from_list([torch.randn(n, 3) for n in lengths]) for _ in range(2))
    rows = match(a, b, tolerance=0.01)
    for first, second, paired in zip(a.split(), b.split(), Packed(rows, a.offsets).split(), strict=True):
        distance = torch.cdist(first.double(), second.double())
        best = distance[linear_sum_assignment(distance)].sum()
        assert len(set(paired.tolist())) == len(paired)
        assert _cost(first, b.rows[paired]) <= 1.0101 * best
