"""Mixing inside what `torch.compile` compiles: every batch size, the draws of eager, and graphs around it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixkit import ManifoldMixer, create_mixer
from mixkit.untraced import untraced

SLOW = [pytest.param(backend, marks=pytest.mark.slow) for backend in ("aot_eager", "inductor")]
BACKENDS = ["eager", *SLOW]
SIZES = (4, 6, 3)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(4 * 36, 5))


def compare(eager: Any, compiled: Any, seeded: bool) -> None:
    """Both give the same at every batch size, by the global generator or by one of their own."""
    for size in SIZES:
        batch, labels = torch.randn(size, 3, 8, 8), torch.arange(size) % 5
        found = []
        for function in (eager, compiled):
            torch.manual_seed(size)
            found.append(function(batch, labels, torch.Generator().manual_seed(size) if seeded else None))
        torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("method", ["sagemix", pytest.param("cutmix", marks=pytest.mark.slow)])
def test_a_step_with_a_mixer_draws_what_eager_draws(backend: str, method: str) -> None:
    model = network()
    mixer = create_mixer(method, "image", num_classes=5, model=model, p=1.0)
    other = create_mixer("manifold_mixup", "image", num_classes=5, inside=True)

    def step(batch: Tensor, labels: Tensor, generator: torch.Generator | None) -> Any:
        mixed, targets = mixer(batch * 2, labels, generator=generator)
        mixed, targets = other(mixed, targets, generator=generator)
        loss = F.cross_entropy(model(mixed), targets)
        return (mixed, targets, loss, *torch.autograd.grad(loss, list(model.parameters())))

    compiled = torch.compile(step, backend=backend)
    compare(step, compiled, seeded=backend == "eager")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_compiled_mixer_draws_what_eager_draws(backend: str) -> None:
    mixer = create_mixer("cutmix", "image", num_classes=5, p=1.0)
    compiled = torch.compile(mixer, backend=backend)
    compare(
        lambda x, y, generator: mixer(x, y, generator=generator),
        lambda x, y, generator: compiled(x, y, generator=generator),
        seeded=False,
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_compiled_manifold_mixer_draws_what_eager_draws(backend: str) -> None:
    manifold = ManifoldMixer(network(), ["input", "0", "1"], "sagemix", num_classes=5)
    compiled = torch.compile(manifold, backend=backend)
    compare(
        lambda x, y, generator: manifold(x, y, generator=generator),
        lambda x, y, generator: compiled(x, y, generator=generator),
        seeded=True,
    )


def test_compiled_parts_of_a_model_stay_compiled() -> None:
    runs: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        return lambda *args: (runs.append(1), graph(*args))[1]

    model = network()
    model[3] = torch.compile(model[3], backend=backend)
    compiled = torch.compile(ManifoldMixer(model, ["0"], "mixup", num_classes=5), backend="eager")
    for _ in range(2):
        compiled(torch.randn(4, 3, 8, 8), torch.arange(4))
    assert len(runs) == 2


def test_nothing_that_an_untraced_function_calls_is_traced() -> None:
    traced: list[str] = []

    def backend(graph: Any, inputs: Any) -> Any:
        traced.append(graph.code)
        return graph

    def inner(x: Tensor) -> Tensor:
        return x.cos()

    @untraced
    def outer(x: Tensor) -> Tensor:
        return inner(x)

    x = torch.randn(3)
    found = torch.compile(lambda x: outer(x.sin()).tan(), backend=backend)(x)
    torch.testing.assert_close(found, x.sin().cos().tan())
    assert ["sin" in "".join(traced), "tan" in "".join(traced), "cos" in "".join(traced)] == [True, True, False]
    assert outer.__name__ == "outer"
