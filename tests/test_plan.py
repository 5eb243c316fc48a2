"""MixPlan against the formula of its docstring, written as plain loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mixkit import MixPlan


def random_plan(
    outputs: int = 4,
    samples: int = 5,
    terms: int = 2,
    elements: int = 6,
    *,
    index: bool = True,
    per_element: bool = True,
) -> MixPlan:
    source = torch.randint(samples, (outputs, terms, elements if per_element else 1))
    weight = torch.rand(outputs, terms, elements) + 0.01
    return MixPlan(
        source,
        torch.randint(elements, (outputs, terms, elements)) if index else None,
        weight / weight.sum(1, keepdim=True),
        torch.randn(outputs, terms, 3),
        num_samples=samples,
    )


def pair_plan(batch: int = 4, elements: int = 6, *, assignment: bool = False) -> MixPlan:
    paired = torch.stack([torch.randperm(elements) for _ in range(batch)]) if assignment else None
    return MixPlan.pair(torch.randperm(batch), torch.rand(batch, elements), paired)


def loop_matrix(plan: MixPlan, elements: int) -> Tensor:
    """(M, N, B, N) every weight with which an output element reads a sample's element."""
    matrix = torch.zeros(plan.num_outputs, elements, plan.num_samples, elements, dtype=torch.float64)
    for m in range(plan.num_outputs):
        for k in range(plan.num_terms):
            for i in range(elements):
                source = plan.source[m, k, i if plan.source.shape[2] > 1 else 0]
                index = i if plan.index is None else plan.index[m, k, i]
                matrix[m, i, source, index] += plan.weight[m, k, i if plan.weight.shape[2] > 1 else 0].double()
    return matrix


PLANS = {
    "general": lambda: random_plan(),
    "three terms": lambda: random_plan(terms=3),
    "one term": lambda: random_plan(terms=1),
    "no index": lambda: random_plan(index=False),
    "whole samples, index": lambda: random_plan(per_element=False),
    "whole samples": lambda: random_plan(index=False, per_element=False),
    "pair": lambda: pair_plan(),
    "assigned pair": lambda: pair_plan(assignment=True),
    "one weight": lambda: MixPlan.pair(torch.tensor([2, 0, 3, 1]), torch.rand(4, 1)),
    "identity": lambda: MixPlan.identity(4),
}


@pytest.fixture(params=PLANS)
def plan(request: pytest.FixtureRequest) -> MixPlan:
    return PLANS[request.param]().validate()


@pytest.mark.parametrize("trailing", [(), (3,), (2, 3)])
def test_apply_is_the_formula(plan: MixPlan, trailing: tuple[int, ...]) -> None:
    values = torch.randn(plan.num_samples, 6, *trailing, dtype=torch.float64)
    expected = torch.einsum("minj,nj...->mi...", loop_matrix(plan, 6), values)
    torch.testing.assert_close(plan.apply(values), expected, rtol=1e-6, atol=1e-6)


def test_adjoint_is_the_transpose(plan: MixPlan) -> None:
    values = torch.randn(plan.num_samples, 6, 3, dtype=torch.float64)
    grad = torch.randn(plan.num_outputs, 6, 3, dtype=torch.float64)
    expected = torch.einsum("minj,mic->njc", loop_matrix(plan, 6), grad)
    torch.testing.assert_close(plan.adjoint(grad), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        (plan.apply(values) * grad).sum(), (values * plan.adjoint(grad)).sum(), rtol=1e-6, atol=1e-6
    )


def test_apply_and_adjoint_are_differentiable(plan: MixPlan) -> None:
    values = torch.randn(plan.num_samples, 6, 2, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(plan.num_outputs, 6, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(plan.apply, values)
    assert torch.autograd.gradcheck(plan.adjoint, grad)
    (back,) = torch.autograd.grad(plan.apply(values), values, grad.detach())
    torch.testing.assert_close(back, plan.adjoint(grad.detach()), rtol=1e-6, atol=1e-6)


def test_sample_weights_are_mean_element_weights(plan: MixPlan) -> None:
    expected = loop_matrix(plan, 6).sum((1, 3)) / 6
    torch.testing.assert_close(plan.sample_weights.double(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(plan.sample_weights.sum(1), torch.ones(plan.num_outputs), rtol=0, atol=1e-6)


def test_targets_of_every_kind_of_label(plan: MixPlan) -> None:
    size, weights = plan.num_samples, plan.sample_weights
    classes = torch.arange(size) + 1
    one_hot = torch.nn.functional.one_hot(classes, 8).float()
    for labels in (classes, one_hot, classes.int()):
        targets = plan.targets(labels, 8)
        assert targets.dtype == torch.float32
        torch.testing.assert_close(targets, weights @ one_hot, rtol=0, atol=1e-6)
        torch.testing.assert_close(targets.sum(1), torch.ones(plan.num_outputs), rtol=0, atol=1e-6)
    numbers = torch.randn(size)
    torch.testing.assert_close(plan.targets(numbers), weights @ numbers, rtol=1e-5, atol=1e-5)
    boxes = torch.randn(size, 2, 3, dtype=torch.float64)
    assert plan.targets(boxes).dtype == torch.float64
    torch.testing.assert_close(
        plan.targets(boxes), torch.einsum("mb,bxy->mxy", weights.double(), boxes), rtol=1e-5, atol=1e-5
    )
    assert plan.targets(one_hot.half(), 8).dtype == torch.float32


def test_sums_over_many_elements_stay_exact() -> None:
    size = 224 * 224
    plan = MixPlan(torch.randint(3, (2, 2, size)), None, torch.full((2, 2, size), 0.5), num_samples=3)
    torch.testing.assert_close(plan.sample_weights.sum(1), torch.ones(2), rtol=0, atol=1e-6)
    torch.testing.assert_close(plan.targets(torch.arange(3), 3).sum(1), torch.ones(2), rtol=0, atol=1e-6)


def test_targets_escape_autocast() -> None:
    for plan in (pair_plan(), random_plan(samples=4)):
        labels = torch.rand(4, 7)
        with torch.autocast("cpu", torch.bfloat16):
            targets = plan.targets(labels)
        assert targets.dtype == torch.float32
        torch.testing.assert_close(targets, plan.targets(labels), rtol=0, atol=0)


@pytest.mark.parametrize("ignore_index", [None, 4])
def test_element_targets(plan: MixPlan, ignore_index: int | None) -> None:
    labels = torch.randint(5, (plan.num_samples, 2, 3))
    one_hot = torch.nn.functional.one_hot(labels.flatten(1), 5).double()
    if ignore_index is not None:
        one_hot[..., ignore_index] = 0
    expected = torch.einsum("minj,njc->mci", loop_matrix(plan, 6), one_hot)
    targets = plan.element_targets(labels, 5, ignore_index)
    assert targets.shape == (plan.num_outputs, 5, 2, 3)
    torch.testing.assert_close(targets.flatten(2).double(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(plan.element_targets(labels.flatten(1), 5, ignore_index), targets.flatten(2))


def test_ignored_labels_may_lie_outside_the_classes() -> None:
    plan = pair_plan()
    labels = torch.randint(5, (4, 6))
    labels[0] = 255
    targets = plan.element_targets(labels, 5, ignore_index=255)
    assert targets.sum(1).max() <= 1 + 1e-6
    with pytest.raises(ValueError, match=r"\[0, 5\), got 0 to 255"):
        plan.element_targets(labels, 5)


def test_coordinates_are_shifted_values_are_not() -> None:
    plan = random_plan()
    coords = torch.randn(5, 6, 3)
    shift = (plan.weight[:, :, :, None] * plan.shift[:, :, None]).sum(1)
    torch.testing.assert_close(plan.apply_coords(coords), plan.apply(coords) + shift)


def test_pooled_mixes_vectors(plan: MixPlan) -> None:
    vectors = torch.randn(plan.num_samples, 7)
    pooled = plan.pooled().validate()
    torch.testing.assert_close(pooled.apply(vectors), plan.sample_weights @ vectors, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(pooled.sample_weights, plan.sample_weights, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_apply_keeps_dtype_and_is_exact_on_equal_terms(plan: MixPlan, dtype: torch.dtype) -> None:
    same = torch.randn(1, 1, 3).to(dtype).expand(plan.num_samples, 6, 3)
    mixed = plan.apply(same)
    assert mixed.dtype == dtype
    if plan.num_terms < 3:
        assert torch.equal(mixed, same[:1].expand_as(mixed))


def test_mixing_a_sample_with_itself_gives_it_back() -> None:
    values = torch.randn(4, 6, 3)
    plan = MixPlan.pair(torch.arange(4), torch.rand(4, 6))
    assert torch.equal(plan.apply(values), values)


def test_channels_first_values_mix_alike_and_stay_channels_first(plan: MixPlan) -> None:
    images = torch.randn(plan.num_samples, 3, 6)
    mixed = plan.apply(images.mT)
    torch.testing.assert_close(mixed, plan.apply(images.mT.contiguous()))
    if plan.source.shape[2] == 1:
        assert mixed.mT.is_contiguous()


def test_inputs_are_untouched(plan: MixPlan) -> None:
    values, labels = torch.randn(plan.num_samples, 6, 3), torch.randint(3, (plan.num_samples,))
    versions = values._version, labels._version
    plan.apply(values), plan.adjoint(torch.randn(plan.num_outputs, 6, 3)), plan.targets(labels, 3)
    assert (values._version, labels._version) == versions


def test_repr_is_for_people() -> None:
    plan = MixPlan.pair(torch.tensor([1, 0]), torch.tensor([[0.25], [1.0]]))
    assert "0: 0.750 of sample 1 + 0.250 of sample 0" in repr(plan)
    assert "2 outputs of 2 samples" in repr(plan)
    assert repr(MixPlan.identity(10)).endswith("1: 1.000 of sample 1; ... 8 more")


def test_to_moves_every_tensor() -> None:
    plan = random_plan().to("meta")
    assert {t.device.type for t in (plan.source, plan.index, plan.weight, plan.shift)} == {"meta"}


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 9), st.booleans(), st.booleans(), st.integers(0, 10**6))
def test_any_shape(outputs: int, samples: int, elements: int, index: bool, per_element: bool, seed: int) -> None:
    torch.manual_seed(seed)
    plan = random_plan(outputs, samples, 2, elements, index=index, per_element=per_element).validate()
    values = torch.randn(samples, elements, 2, dtype=torch.float64)
    expected = torch.einsum("minj,njc->mic", loop_matrix(plan, elements), values)
    torch.testing.assert_close(plan.apply(values), expected, rtol=1e-6, atol=1e-6)


def test_errors_say_what_came_and_what_was_wanted() -> None:
    plan = pair_plan()
    with pytest.raises(TypeError, match=r"floating point.*torch\.uint8"):
        plan.apply(torch.zeros(4, 6, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"\(4, 6, \.\.\.\).*got \(4, 7, 3\)"):
        plan.apply(torch.zeros(4, 7, 3))
    with pytest.raises(ValueError, match=r"got \(3, 6, 3\)"):
        plan.adjoint(torch.zeros(3, 6, 3))
    with pytest.raises(ValueError, match="num_classes"):
        plan.targets(torch.zeros(4, dtype=torch.long))
    with pytest.raises(ValueError, match=r"\[0, 3\), got 0 to 3"):
        plan.targets(torch.arange(4), 3)
    with pytest.raises(ValueError, match="-1"):
        plan.targets(torch.arange(4) - 1, 5)
    with pytest.raises(ValueError, match=r"\(4, 3\), got \(4, 5\)"):
        plan.targets(torch.rand(4, 5), 3)
    with pytest.raises(ValueError, match=r"\(4,\).*got \(4, 6\)"):
        plan.targets(torch.zeros(4, 6, dtype=torch.long), 3)
    with pytest.raises(TypeError, match="bool"):
        plan.targets(torch.zeros(4, dtype=torch.bool), 3)
    with pytest.raises(ValueError, match=r"\(4, 6\).*got \(4, 5\)"):
        plan.element_targets(torch.zeros(4, 5, dtype=torch.long), 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": torch.zeros(2, 2, 1)}, "long"),
        ({"weight": torch.ones(2, 2, 1, dtype=torch.long)}, "floating"),
        ({"weight": torch.ones(2, 3, 1)}, r"weight \(2, 3, 1\)"),
        ({"weight": torch.ones(2, 2, 5), "index": torch.zeros(2, 2, 6, dtype=torch.long)}, "do not fit"),
        ({"shift": torch.zeros(2, 3)}, "shift"),
    ],
)
def test_malformed_plans_are_refused(fields: dict[str, Tensor], message: str) -> None:
    good = {"source": torch.zeros(2, 2, 1, dtype=torch.long), "index": None, "weight": torch.full((2, 2, 1), 0.5)}
    with pytest.raises((TypeError, ValueError), match=message):
        MixPlan(**{**good, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": torch.full((2, 2, 1), 2)}, "source"),
        ({"index": torch.full((2, 2, 6), 6)}, "index"),
        ({"weight": torch.full((2, 2, 1), 0.6)}, "sum to 1"),
        ({"weight": torch.tensor([1.5, -0.5]).expand(2, 2)[:, :, None]}, ">= 0"),
        ({"keeps_own": True}, "keeps_own"),
    ],
)
def test_validate_reads_the_values(fields: dict[str, object], message: str) -> None:
    good = {"source": torch.zeros(2, 2, 1, dtype=torch.long), "index": None, "weight": torch.full((2, 2, 1), 0.5)}
    with pytest.raises(ValueError, match=message):
        MixPlan(**{**good, **fields}).validate()  # type: ignore[arg-type]


def test_apply_changes_none_of_its_inputs_and_labels_already_checked_give_the_same() -> None:
    for make in PLANS.values():
        plan = make()
        values, labels = torch.randn(plan.num_samples, 6, 3), torch.randint(5, (plan.num_samples,))
        before = values.clone(), plan.weight.clone()
        mixed = plan.apply(values)
        assert torch.equal(values, before[0])
        assert torch.equal(plan.weight, before[1])
        if plan.num_terms > 1:
            assert mixed.data_ptr() != values.data_ptr()
        assert torch.equal(plan.targets(labels, 5, checked=True), plan.targets(labels, 5))
