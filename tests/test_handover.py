"""The clean pass: its gradients are taken at once and handed over at backward(), exactly as two passes would give."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixkit import GradientSaliency, Mixer, create_mixer
from mixkit.handover import hand_over
from mixkit.registry import get_domain
from mixkit.running import unwrap
from tests.conftest import ImageModel, PointModel

IMAGE = get_domain("image")()
METHODS = {"sagemix": "points", "puzzlemix": "image", "comixup": "image"}


def case(domain: str, size: int = 4) -> tuple[Tensor, Tensor, nn.Module]:
    labels = torch.arange(size) % 5
    if domain == "image":
        return torch.randn(size, 3, 8, 8), labels, ImageModel()
    return torch.randn(size, 12, 3), labels, PointModel()


def two_passes(
    self: GradientSaliency, batch: Tensor, labels: Any, domain: Any, observe: Any = None
) -> tuple[Tensor, Tensor]:
    """The reference: the same loss with its graph kept, for `backward()` to go through a second time."""
    inputs = batch.detach().requires_grad_()
    loss = self.loss(unwrap(self.model)(inputs), labels).sum()
    (grad,) = torch.autograd.grad(loss, inputs, retain_graph=True)
    return domain.saliency(grad), loss / len(batch)


def gradients(model: nn.Module) -> list[Tensor | None]:
    return [None if parameter.grad is None else parameter.grad.clone() for parameter in model.parameters()]


def assert_same(found: list[Tensor | None], expected: list[Tensor | None]) -> None:
    assert [grad is None for grad in found] == [grad is None for grad in expected]
    for one, other in zip(found, expected, strict=True):
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def step(mixer: Mixer, model: nn.Module, inputs: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
    """The loss of a step, clean pass included; the same draws and the same dropout for the same seed."""
    torch.manual_seed(seed)
    mixed, targets = mixer(inputs, labels, generator=torch.Generator().manual_seed(seed))
    return F.cross_entropy(model(mixed), targets) + mixer.clean_loss


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("amp", [False, True], ids=["float32", "bfloat16"])
def test_a_step_is_that_of_two_passes(method: str, amp: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, labels, model = case(METHODS[method])
    found: list[list[Tensor | None]] = []
    for way in (None, two_passes):
        twin = copy.deepcopy(model).train()
        mixer = create_mixer(method, METHODS[method], num_classes=5, model=twin, clean_weight=0.7, p=1.0)
        if way is not None:
            monkeypatch.setattr(GradientSaliency, "find_with_loss", way)
        with torch.autocast("cpu", torch.bfloat16) if amp else nullcontext():
            loss = step(mixer, twin, inputs, labels)
        assert all(parameter.grad is None for parameter in twin.parameters())  # nothing behind the user's back
        loss.backward()
        found.append([loss.detach(), *gradients(twin), *(b.float() for b in twin.buffers())])
    if amp:  # two passes add up in bfloat16 what one adds up in float32; biases before BatchNorm have rounding alone
        largest = max(float(grad.abs().max()) for grad in gradients(twin) if grad is not None)
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, rtol=0.02, atol=0.01 * largest)
    else:
        assert_same(*found)


class Odd(nn.Module):
    """A model with a shared, a frozen, an unused, a float64 and a scalar parameter, and one in the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.frozen = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.again = self.inner
        self.unused = nn.Linear(6, 6)
        self.precise = nn.Linear(6, 5).double()
        self.temperature = nn.Parameter(torch.tensor(1.5))
        self.frozen.requires_grad_(False)

    def forward(self, points: Tensor) -> Tensor:
        hidden = self.again(self.inner(self.first(points).tanh()).tanh()).mean(1)
        return self.precise(self.frozen(hidden).double()).float() * self.temperature


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(5) + 0.5)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits * self.weight, labels, reduction="none")


@pytest.mark.parametrize("wrapped", [False, True], ids=["module", "function"])
def test_every_parameter_that_backward_reaches_has_its_gradient(wrapped: bool) -> None:
    model, loss = Odd(), Weighted()
    both = nn.ModuleList([model, loss])
    inputs, labels = torch.randn(4, 7, 3), torch.tensor([0, 1, 2, 3])
    loss(model(inputs), labels).mean().backward()
    expected = gradients(both)
    assert sum(grad is None for grad in expected) == 4, "frozen and unused, weight and bias"
    both.zero_grad()
    given: Callable[[Any, Any], Tensor] = (lambda output, labels: loss(output, labels)) if wrapped else loss
    _, clean = GradientSaliency(model, given).find_with_loss(inputs, labels, get_domain("points")())
    clean.backward()
    assert_same(gradients(both), expected)
    assert [q.grad.dtype for q in both.parameters() if q.grad is not None] == [
        q.dtype for q in both.parameters() if q.grad is not None
    ]


def test_a_frozen_model_has_a_saliency_and_a_loss_without_gradient() -> None:
    inputs, labels, model = case("image")
    model.eval().requires_grad_(False)
    saliency, loss = GradientSaliency(model).find_with_loss(inputs, labels, IMAGE)
    torch.testing.assert_close(saliency, GradientSaliency(model).find(inputs, labels, IMAGE))
    torch.testing.assert_close(loss, F.cross_entropy(model(inputs), labels))
    assert not loss.requires_grad
    with pytest.raises(ValueError, match="does not depend on the batch"):
        GradientSaliency(model, lambda output, labels: output.detach().sum()).find_with_loss(inputs, labels, IMAGE)
    model.requires_grad_(True)
    only_weights: Callable[[Any, Any], Tensor] = lambda output, labels: model.head[1].weight.sum()  # noqa: E731
    with pytest.raises(ValueError, match="does not depend on the batch"):
        GradientSaliency(model, only_weights).find_with_loss(inputs, labels, IMAGE)


def test_the_loss_is_scaled_accumulated_repeated_or_left_out() -> None:
    inputs, labels, model = case("image", 8)
    model.eval()  # without dropout, so that each half can be passed again
    mixer = create_mixer("sagemix", "image", num_classes=5, model=model, clean_weight=1.0)
    model.train = lambda mode=True: model  # type: ignore[method-assign]
    halves = [(inputs[:4], labels[:4]), (inputs[4:], labels[4:])]
    sum(F.cross_entropy(model(batch), of_batch) for batch, of_batch in halves).backward()
    expected = gradients(model)
    model.zero_grad()
    for batch, of_batch in halves:  # accumulated, at the scale of a GradScaler
        mixer(batch, of_batch)
        (mixer.clean_loss * 1024).backward()
    assert_same([grad / 1024 for grad in gradients(model) if grad is not None], expected)
    model.zero_grad()
    losses = []
    for batch, of_batch in halves:  # both alive at once
        mixer(batch, of_batch)
        losses.append(mixer.clean_loss)
    sum(losses).backward()
    assert_same(gradients(model), expected)
    model.zero_grad()
    mixer(*halves[0])
    mixer.clean_loss.backward(retain_graph=True)
    once = gradients(model)
    mixer.clean_loss.backward()
    assert_same(gradients(model), [grad * 2 for grad in once if grad is not None])
    with pytest.raises(RuntimeError, match="a second time"):
        mixer.clean_loss.backward()
    model.zero_grad()
    mixed, targets = mixer(*halves[0])
    loss = F.cross_entropy(model(mixed), targets)
    alone = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    loss.backward()
    assert_same(gradients(model), list(alone))  # the clean pass was not asked for


def test_parameters_may_change_before_the_gradients_are_handed_over() -> None:
    inputs, labels, model = case("image")
    model.head[0].p = 0.0
    loss = F.cross_entropy(copy.deepcopy(model)(inputs), labels)
    twin = copy.deepcopy(model)
    F.cross_entropy(twin(inputs), labels).backward()
    _, clean = GradientSaliency(model).find_with_loss(inputs, labels, IMAGE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    clean.backward()
    torch.testing.assert_close(clean.detach(), loss.detach())
    assert_same(gradients(model), gradients(twin))


def test_hooks_see_the_whole_gradient_once() -> None:
    """A hook that changes a gradient would change the clean part twice, if it ran when that is taken."""
    inputs, labels, model = case("image")
    model.head[0].p = 0.0
    weight, seen = model.head[1].weight, []
    weight.register_hook(lambda grad: seen.append(grad.clone()) or grad * 3)
    weight.register_post_accumulate_grad_hook(lambda parameter: seen.append(parameter.grad.clone()))
    twin = copy.deepcopy(model)
    F.cross_entropy(twin(inputs), labels).backward()
    expected = twin.head[1].weight.grad
    seen.clear()
    _, clean = GradientSaliency(model).find_with_loss(inputs, labels, IMAGE)
    assert not seen
    clean.backward()
    assert len(seen) == 2
    torch.testing.assert_close(seen[0], expected)
    torch.testing.assert_close(seen[1], 3 * expected)


def test_the_gradients_are_freed_by_backward() -> None:
    weight = nn.Parameter(torch.randn(3))
    freed: list[Any] = []

    class Kept(torch.autograd.graph.saved_tensors_hooks):
        def __init__(self) -> None:
            super().__init__(lambda tensor: Box(tensor), lambda box: box.tensor)

    class Box:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor

        def __del__(self) -> None:
            freed.append(self.tensor)

    inputs = torch.randn(3, requires_grad=True)
    total = (inputs * weight).sum()
    with Kept():
        (grad,), loss = hand_over(total, [inputs], torch.tensor(2))
    assert not freed
    loss.backward()
    assert len(freed) == 1, "though the loss is still there"
    torch.testing.assert_close(grad, weight.detach())
    torch.testing.assert_close(weight.grad, inputs.detach() / 2)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        total.backward()


def test_float16_goes_through_its_graph_twice() -> None:
    """Weight gradients that float16 cannot hold without the scale of the user's loss."""

    class Fitted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 8, bias=False), nn.Linear(8, 4, bias=False)

        def forward(self, points: Tensor) -> Tensor:
            logits = self.last(self.first(points).tanh().mean(1))
            return logits + torch.tensor([15.0, 0, 0, 0], dtype=logits.dtype)

    model, points, labels = Fitted(), torch.randn(6, 40, 3), torch.zeros(6, dtype=torch.long)
    expected = torch.autograd.grad(F.cross_entropy(model(points), labels), list(model.parameters()))
    assert all(grad.abs().max() < 1e-6 for grad in expected)
    with torch.autocast("cpu", torch.float16):
        saliency, loss = GradientSaliency(model).find_with_loss(points, labels, get_domain("points")())
    (loss * 2**20).backward()
    for parameter, grad in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad / 2**20, grad, rtol=0.1, atol=0.05 * float(grad.abs().max()))
    exact = GradientSaliency(model).find(points, labels, get_domain("points")())
    torch.testing.assert_close(saliency, exact, rtol=0.1, atol=0.05 * float(exact.max()))


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("order", ["together", "clean first", "clean last"])
@pytest.mark.parametrize("whole", [True, False], ids=["model", "part"])
def test_a_compiled_model_with_batch_norm(whole: bool, order: str, backend: str) -> None:
    """Compiled code writes BatchNorm's statistics where the clean pass's graph would miss them."""
    inputs, labels, model = case("image")
    model.head[0].p = 0.0
    twin = copy.deepcopy(model)
    torch._dynamo.reset()
    if whole:
        compiled: Any = torch.compile(model, backend=backend)
    else:
        model.features, compiled = torch.compile(model.features, backend=backend), model
    for used, through in ((model, compiled), (twin, twin)):
        mixer = create_mixer("comixup", "image", num_classes=5, model=through)
        for seed in range(2):
            mixed, targets = mixer(inputs, labels, generator=torch.Generator().manual_seed(seed))
            loss, clean = F.cross_entropy(through(mixed), targets), mixer.clean_loss
            for each in {"together": [loss + clean], "clean first": [clean, loss]}.get(order, [loss, clean]):
                each.backward()
        assert mixer.clean_loss > 0
        assert used is model or twin.features[1].num_batches_tracked == 4
    assert_same(gradients(model), gradients(twin))


def test_a_mixer_is_copied_and_pickled_between_the_passes() -> None:
    inputs, labels, model = case("image")
    mixer = create_mixer("comixup", "image", num_classes=5, model=model)
    loss = step(mixer, model, inputs, labels)
    for twin in (copy.deepcopy(mixer), pickle.loads(pickle.dumps(mixer))):
        assert twin.clean_loss == 0
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


WORLD = 2


def _share(rank: int, folder: str) -> None:
    """One of two processes, each on half of the batch: a synchronised step, then one accumulated with no_sync."""
    torch.set_num_threads(1)  # a forked process has none of its parent's threads, and would wait for them
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=WORLD)
    torch.manual_seed(0)
    model, batches = PointModel().eval(), [torch.randn(8, 12, 3) for _ in range(2)]
    labels = torch.arange(8) % 5
    wrapped = nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
    mixer = create_mixer("sagemix", "points", num_classes=5, model=wrapped, clean_weight=0.5)
    rows = slice(4 * rank, 4 * rank + 4)
    found = []
    for synchronised in ([True], [False, True]):
        wrapped.zero_grad()
        for number, now in enumerate(synchronised):
            with nullcontext() if now else wrapped.no_sync():
                step(mixer, wrapped, batches[number][rows], labels[rows], rank).backward()
        found.append([parameter.grad.clone() for parameter in model.parameters()])
    wrapped.zero_grad()  # two backward passes: the clean one before the model runs on the mixed batch
    mixed, targets = mixer(batches[0][rows], labels[rows], generator=torch.Generator().manual_seed(rank))
    mixer.clean_loss.backward()
    F.cross_entropy(wrapped(mixed), targets).backward()
    found.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_processes_share_the_gradients_of_both_losses(tmp_path: Any) -> None:
    torch.multiprocessing.start_processes(_share, (str(tmp_path),), nprocs=WORLD, start_method="fork")
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in range(WORLD))
    torch.manual_seed(0)
    model, batches = PointModel().eval(), [torch.randn(8, 12, 3) for _ in range(2)]
    labels = torch.arange(8) % 5
    mixer = create_mixer("sagemix", "points", num_classes=5, model=model, clean_weight=0.5)
    for number, steps in enumerate((1, 2)):
        model.zero_grad()
        for rank in range(WORLD):
            rows = slice(4 * rank, 4 * rank + 4)
            for batch in batches[:steps]:
                (step(mixer, model, batch[rows], labels[rows], rank) / WORLD).backward()
        assert_same(one[number], gradients(model))
        assert_same(two[number], gradients(model))
    assert_same(one[2], one[0])
    assert_same(two[2], one[0])
