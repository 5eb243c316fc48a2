"""Work in threads: each number once, errors and interrupts as themselves, nothing left running."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import torch
from torch import nn

import mixkit
from mixkit.threads import in_threads
from mixkit_image.solvers.threads import in_chunks


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_each_number_once(threads: int, count: int) -> None:
    done: list[int] = []
    in_threads(done.append, count)
    assert sorted(done) == list(range(count))
    chunks: list[int] = []
    in_chunks(lambda start, stop: chunks.extend(range(start, stop)), count)
    assert sorted(chunks) == list(range(count))


def test_an_error_ends_what_is_not_begun(threads: int) -> None:
    done: list[int] = []
    others = threading.active_count()

    def work(i: int) -> None:
        if i == 2:
            raise LookupError("two")
        time.sleep(0.001)
        done.append(i)

    with pytest.raises(LookupError, match="two"):
        in_threads(work, 1000)
    assert len(done) < 1000
    assert threading.active_count() <= others


def test_compiled_code_never_meets_a_signals_handler(threads: int) -> None:
    """Handlers run in the main thread: what they raise in compiled code would come out as SystemError."""
    places: list[threading.Thread] = []
    in_threads(lambda i: places.append(threading.current_thread()), 5)
    assert threading.main_thread() not in places


def test_an_interrupt_is_raised_and_nothing_more_is_begun(threads: int) -> None:
    begun: list[int] = []
    others = threading.active_count()

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def work(i: int) -> None:
        begun.append(i)
        time.sleep(0.01)
        if i == 20:  # long after all threads were started
            os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            in_threads(work, 3000)
    finally:
        signal.signal(signal.SIGUSR1, before)
    deadline = time.monotonic() + 60
    while threading.active_count() > others:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert len(begun) < 3000


class Meeting(nn.Module):
    """Its first pass waits for a second one to begin, the second for the first to end: neither waits for long."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(3), nn.Linear(3, 2)
        self.begun, self.ended = threading.Semaphore(0), threading.Event()
        self.first = threading.Lock()

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        if self.first.acquire(blocking=False):
            self.begun.acquire(timeout=0.2)
        else:
            self.begun.release()
            self.ended.wait(0.2)
        return self.head(self.norm(batch.mT).mean(2))


def test_two_threads_may_share_a_models_saliency() -> None:
    torch.manual_seed(0)
    model, points, labels = Meeting(), torch.randn(4, 5, 3) + 2, torch.arange(4) % 2
    saliency, domain = mixkit.GradientSaliency(model), mixkit.registry.get_domain("points")()
    found: list[torch.Tensor] = []

    def work() -> None:
        found.append(saliency.find(points, labels, domain))
        model.ended.set()

    others = [threading.Thread(target=work) for _ in range(2)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join(20)
    assert torch.equal(found[0], found[1])
    assert torch.equal(model.norm.running_mean, torch.zeros(3))
    assert model.training
    assert model.norm.training
    assert all(parameter.requires_grad for parameter in model.parameters())
