"""The stages of mixing a batch, for whoever wants to see where the time goes: a profiler, or a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

#: Gives, for a stage's name, the context that the stage runs in.
Section = Callable[[str], AbstractContextManager[object]]

_section: ContextVar[Section] = ContextVar("section", default=lambda name: nullcontext())


@contextmanager
def watch_stages(section: Section) -> Iterator[None]:
    """Run each stage of mixing inside ``section(name)``, in this thread, until the context is left.

    The stages are "saliency", "plan", and "assignment", which is a part of "plan" where a method asks for it. What a
    mixer's call does besides is to read the batch and to apply the plan. Unwatched, a stage costs a look
    at one variable.

    Args:
        section: gives a context manager, such as ``torch.profiler.record_function``, which shows the stages in a trace.

    Example:
        >>> from contextlib import contextmanager
        >>> import torch
        >>> import mixkit
        >>> names = []
        >>> @contextmanager
        ... def section(name):
        ...     names.append(name)
        ...     yield
        >>> mixer = mixkit.create_mixer("pointmixup", domain="points", num_classes=3)
        >>> with watch_stages(section):
        ...     mixed, targets = mixer(torch.rand(3, 5, 3), torch.arange(3))
        >>> names
        ['plan', 'assignment']
    """
    token = _section.set(section)
    try:
        yield
    finally:
        _section.reset(token)


def stage(name: str) -> AbstractContextManager[object]:
    """The context that a stage runs in: that of `watch_stages`, else one that does nothing."""
    return _section.get()(name)
