"""Transforms in compiled code: no break, and what eager code gives for the same seed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from mixkit_image import MixTransform
from mixkit_image.traced import mix_traced

K = 7


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, backend="aot_eager", fullgraph=True)


def batch(size: int = 6) -> tuple[Tensor, Tensor]:
    return torch.rand(size, 3, 8, 10), torch.arange(size) % K


def same(one: Any, other: Any) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("method", ["mixup", "puzzlemix"])
def test_a_graph_without_a_break_gives_what_eager_gives(method: str) -> None:
    transform = MixTransform(method, num_classes=K, p=1.0)
    traced = compiled(transform)
    for size in (6, 5):
        images, labels = batch(size)
        torch.manual_seed(3)
        expected = transform(images, labels)
        torch.manual_seed(3)
        same(traced(images, labels), expected)
    images, labels = batch()
    for given in (torch.eye(K, dtype=torch.long)[labels], labels[:, None]):
        torch.manual_seed(4)
        expected = transform(images, given)
        torch.manual_seed(4)
        same(traced(images, given), expected)
    same(compiled(transform.eval())(images, labels), transform(images, labels))


def test_structures_and_integers() -> None:
    transform = MixTransform("cutmix", num_classes=K, p=1.0)
    images, labels = (torch.rand(6, 3, 8, 10) * 255).byte(), batch()[1]
    sample = {"labels": labels, "x": images, "weight": torch.rand(6)}
    torch.manual_seed(5)
    expected = transform(sample)
    torch.manual_seed(5)
    found = compiled(transform)(sample)
    assert found.keys() == sample.keys()
    assert found["x"].dtype == torch.uint8
    same(found.values(), expected.values())


def test_every_call_in_a_graph_draws_anew() -> None:
    transform = MixTransform("mixup", num_classes=K)

    @compiled
    def twice(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return transform(images, labels)[0], transform(images, labels)[0]

    first, second = twice(*batch())
    assert not torch.equal(first, second)


def test_a_training_step_in_one_graph() -> None:
    model, transform = torch.nn.Linear(240, K), MixTransform("cutmix", num_classes=K, p=1.0)

    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        mixed, targets = transform(images, labels)
        return torch.nn.functional.cross_entropy(model(mixed.flatten(1)), targets)

    images, labels = batch()
    gradients = []
    for function in (loss_of, compiled(loss_of)):
        torch.manual_seed(6)
        model.zero_grad()
        function(images, labels).backward()
        gradients.append(model.weight.grad.clone())
    torch.testing.assert_close(*gradients)


def test_the_operator_keeps_its_word() -> None:
    """What it says of shapes, devices and memory, as torch checks it."""
    transform = MixTransform("mixup", num_classes=K, p=0.5)
    images, labels = batch()
    for given in (labels, torch.eye(K)[labels].double(), torch.zeros(6, 8, 10, dtype=torch.long)):
        arguments = ([images, images[:, :1]], given, transform._number)
        torch.library.opcheck(
            torch.ops.mixkit_image.mix.default, arguments, test_utils=("test_schema", "test_faketensor")
        )
        outputs = mix_traced(*arguments)
        assert [out.shape for out in outputs[:2]] == [(6, 3, 8, 10), (6, 1, 8, 10)]


def test_copies_are_transforms_of_their_own() -> None:
    transform = MixTransform("mixup", num_classes=K)
    twin = copy.deepcopy(transform)
    twin.mixer.p = 0.0
    images, labels = batch()
    assert torch.equal(compiled(twin)(images, labels)[0], images)
    assert not torch.equal(compiled(transform)(images, labels)[0], images)


def test_what_is_wrong_is_still_said() -> None:
    with pytest.raises(ValueError, match="lie in"):
        compiled(MixTransform("mixup", num_classes=3))(*batch())


@pytest.mark.parametrize(
    "labels", [torch.randint(3, (4, 1, 8, 8)), torch.eye(3).long()[:, :, None, None].expand(3, 3, 8, 8)]
)
def test_the_compiler_is_told_the_shape_of_the_targets(labels: Tensor) -> None:
    transform, images = MixTransform("cutmix", num_classes=3, p=1.0), torch.rand(len(labels), 3, 8, 8)

    @torch.compile(backend="eager", fullgraph=True)
    def loss(images: Tensor, labels: Tensor) -> Tensor:
        mixed, targets = transform(images, labels)
        return torch.nn.functional.cross_entropy(mixed, targets)

    assert loss(images, labels).isfinite()
