"""The gradient of `match.cost`: that of the paired distances at the matching, and of the optimum where it is unique."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mixkit.assignment import assign
from tests.assignment.test_assign import clouds


def gradient_by_hand(a: Tensor, b: Tensor, index: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The unit vectors between partners, pair by pair and point by point, times each pair's weight."""
    of_a, of_b = torch.zeros_like(a), torch.zeros_like(b)
    for k in range(len(a)):
        for i, j in enumerate(index[k].tolist()):
            apart = a[k, i] - b[k, j]
            length = apart.norm()
            if length > 0:
                of_a[k, i] += weight[k] * apart / length
                of_b[k, j] -= weight[k] * apart / length
    return of_a, of_b


@pytest.mark.parametrize("solver", ["auto", "exact", "identity", "auction_rounds"])
@pytest.mark.parametrize("size", [1, 7, 90])
def test_it_is_the_gradient_of_the_paired_distances(solver: str, size: int) -> None:
    a, b = (cloud.requires_grad_() for cloud in clouds("random", size, 3, seed=size, batch=3))
    match = assign(a, b, solver=solver)
    weight = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    (match.cost * weight).sum().backward()
    of_a, of_b = gradient_by_hand(a.detach(), b.detach(), match.index, weight)
    torch.testing.assert_close(a.grad, of_a)
    torch.testing.assert_close(b.grad, of_b)


def test_it_is_the_gradient_of_the_optimum_by_finite_differences() -> None:
    a, b = (cloud.requires_grad_() for cloud in clouds("random", 6, 3, seed=1))
    assert torch.autograd.gradcheck(lambda a, b: assign(a, b, tolerance=0).cost, (a, b))
    assert torch.autograd.gradgradcheck(lambda a, b: assign(a, b, tolerance=0).cost, (a, b))


@pytest.mark.parametrize("which", [0, 1])
def test_only_the_side_that_requires_it_gets_a_gradient(which: int) -> None:
    pair = list(clouds("random", 20, 3, seed=2))
    pair[which] = pair[which].clone().requires_grad_()
    match = assign(*pair)
    match.cost.sum().backward()
    wanted = gradient_by_hand(*(cloud.detach() for cloud in pair), match.index, torch.ones(2))[which]
    torch.testing.assert_close(pair[which].grad, wanted)
    assert pair[1 - which].grad is None


def test_equal_points_get_zero_and_the_others_their_direction() -> None:
    a, b = clouds("random", 30, 3, seed=3)
    b = b.clone()
    b[:, :10] = a[:, :10]
    a, b = a.requires_grad_(), b.requires_grad_()
    match = assign(a, b, solver="identity")
    match.cost.sum().backward()
    assert torch.equal(a.grad[:, :10], torch.zeros(2, 10, 3))
    assert torch.equal(b.grad[:, :10], torch.zeros(2, 10, 3))
    torch.testing.assert_close(a.grad[:, 10:].norm(dim=-1), torch.ones(2, 20, dtype=torch.float64))
    same = a.detach().clone().requires_grad_()
    assign(same, same.detach().flip(1)).cost.sum().backward()
    assert torch.equal(same.grad, torch.zeros_like(same))


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e150, 1e300])
def test_no_length_is_too_long_or_too_short(scale: float) -> None:
    a, b = clouds("random", 12, 3, seed=4)
    near, far = a.clone().requires_grad_(), (scale * a).requires_grad_()
    assign(near, b, solver="identity").cost.sum().backward()
    assign(far, scale * b, solver="identity").cost.sum().backward()
    torch.testing.assert_close(far.grad, near.grad)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_cost_stays_float64_and_the_gradient_has_the_inputs_dtype(dtype: torch.dtype) -> None:
    a, b = (cloud.to(dtype) for cloud in clouds("random", 40, 2, seed=5))
    strided = a.mT.contiguous().mT.requires_grad_()
    match = assign(strided, b)
    assert match.cost.dtype == torch.float64
    assert torch.equal(match.cost, assign(a, b).cost)
    match.cost.sum().backward()
    wanted, _ = gradient_by_hand(a.double(), b.double(), match.index, torch.ones(2))
    assert strided.grad.dtype == dtype
    torch.testing.assert_close(strided.grad, wanted.to(dtype))


def test_no_graph_where_nobody_asks() -> None:
    a, b = clouds("random", 15, 3, seed=6)
    assert assign(a, b).cost.grad_fn is None
    a.requires_grad_()
    with torch.no_grad():
        assert not assign(a, b).cost.requires_grad
    match = assign(a, b)
    assert match.cost.requires_grad
    assert not match.gap.requires_grad
    with pytest.raises(RuntimeError, match="does not require grad"):
        match.gap.sum().backward()
