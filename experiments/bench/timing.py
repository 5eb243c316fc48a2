"""What benchmarks measure with: times in interleaved repeats, noisy to all alike; memory; bytes moved."""

from __future__ import annotations

import math
import random
import re
import resource
import statistics
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from experiments.base.clock import now

_LEAST = 3  # repeats of what is slow


def interleaved_medians(
    work: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    warmup: int = 2,
    seconds: float = 0.0,
    enough: float = math.inf,
) -> dict[str, float]:
    """Median seconds of each piece of work, taken in turns, in another order every time.

    Whoever runs after a large piece finds the caches full of it; the order, drawn from a seed, spreads that over all.

    Args:
        work: functions by name.
        repeats: how often each is timed, at least.
        warmup: calls before that, untimed.
        seconds: go on until each has been timed for so long in all. Default 0.
        enough: what has taken so many seconds in all, in three repeats at least, is timed no more. Default: no limit.
    """
    for function in work.values():
        for _ in range(warmup):
            function()
    times: dict[str, list[float]] = {name: [] for name in work}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    turns, order = list(work.items()), random.Random(0)
    while turns := [
        (name, function)
        for name, function in turns
        if (len(times[name]) < repeats or sum(times[name]) < seconds)
        and (len(times[name]) < _LEAST or sum(times[name]) < enough)
    ]:
        order.shuffle(turns)
        for name, function in turns:
            start = now(device)
            function()
            times[name].append(now(device) - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def extra_memory(call: Callable[[], object]) -> float | None:
    """MB by which the process grows at most during the call, sampled every 0.5 ms; None where there is no /proc."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return None
    page = resource.getpagesize() / 2**20
    before = peak = int(status.read_text().split()[1])
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.0005):
            peak = max(peak, int(status.read_text().split()[1]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    call()
    done.set()
    watcher.join()
    return (peak - before) * page


def bytes_moved(function: Callable[[], object]) -> int:
    """Bytes that a function's PyTorch operations read and write.

    Each operation is seen as it reaches its kernel. It reads the tensors it is given and writes those it returns; one
    that works in place does both, unless it only overwrites. Views move nothing; places that a stride of 0 repeats
    count once. What an operation moves inside, and what NumPy or a kernel of another compiler moves, is not seen.
    """
    with _Counter() as counter:
        function()
    return counter.total


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        reads = (
            [] if _MAKES.search(name) else [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        )
        if _OVERWRITES.fullmatch(name):
            reads = reads[1:]
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            writes = [] if "empty" in name else [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
            self.total += sum(_size(tensor) for tensor in reads + writes)
        return result


_MAKES = re.compile(r"^new_|_like$|^lift_fresh$")  # take a tensor for its kind alone
_OVERWRITES = re.compile(r"copy_|zero_|fill_")


def _size(tensor: Tensor) -> int:
    sides = zip(tensor.shape, tensor.stride(), strict=True)
    return tensor.element_size() * math.prod(side for side, stride in sides if stride or not side)
