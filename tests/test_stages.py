"""Watching the stages of a mixer's call: which there are, in which order, and that nothing is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

import mixkit
from tests.conftest import PointModel

POINTS, LABELS = torch.randn(4, 9, 3), torch.arange(4)
CLOUDS = [torch.randn(number, 3) for number in (9, 5, 7, 4)]


class Watch:
    """Notes which stages begin and end."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        self.notes.append(name)
        try:
            yield
        finally:
            self.notes.append(f"/{name}")


ALL = ["saliency", "/saliency", "plan", "assignment", "/assignment", "/plan"]


@pytest.mark.parametrize("batch", [POINTS, CLOUDS], ids=["one size", "many sizes"])
def test_the_stages_of_a_call(batch: object) -> None:
    def saliency(batch: object) -> object:
        return [torch.rand(len(cloud)) for cloud in CLOUDS] if batch is CLOUDS else torch.rand(4, 9)

    mixer = mixkit.create_mixer("sagemix", "points", num_classes=5, saliency=saliency)
    watch = Watch()
    with mixkit.watch_stages(watch.section):
        mixer(batch, LABELS)
        assert watch.notes == ALL
        mixer.eval()(batch, LABELS)
    mixer.train()(batch, LABELS)
    assert watch.notes == ALL, "nothing is drawn in eval mode, and nothing is watched any more"


def test_stages_inside_a_model_and_of_a_clean_pass() -> None:
    model = PointModel()
    watch = Watch()
    with mixkit.watch_stages(watch.section):
        mixkit.ManifoldMixer(model, ["input"], domain="points", num_classes=5)(POINTS, LABELS)
        assert watch.notes == ALL
        mixkit.create_mixer("sagemix", "points", num_classes=5, model=model, clean_weight=1.0)(POINTS, LABELS)
    assert watch.notes == ALL * 2


def test_an_error_ends_the_stage_and_the_watch() -> None:
    watch = Watch()
    mixer = mixkit.create_mixer("sagemix", "points", num_classes=5, saliency=lambda batch: batch)
    with pytest.raises(ValueError, match="one number per element"), mixkit.watch_stages(watch.section):
        mixer(POINTS, LABELS)
    assert watch.notes == ["saliency", "/saliency"]
    mixkit.create_mixer("mixup", "points", num_classes=5)(POINTS, LABELS)
    assert watch.notes == ["saliency", "/saliency"]


def test_watches_nest_and_are_of_one_thread() -> None:
    outer, inner = Watch(), Watch()
    mixer = mixkit.create_mixer("mixup", "points", num_classes=5)
    with mixkit.watch_stages(outer.section):
        with mixkit.watch_stages(inner.section):
            mixer(POINTS, LABELS)
        assert (outer.notes, inner.notes) == ([], ALL[2:])
        thread = threading.Thread(target=mixer, args=(POINTS, LABELS))
        thread.start()
        thread.join()
        assert outer.notes == []
        mixer(POINTS, LABELS)
    assert (outer.notes, inner.notes) == (ALL[2:], ALL[2:])


def test_a_profiler_shows_the_stages() -> None:
    mixer = mixkit.create_mixer("sagemix", "points", num_classes=5, model=PointModel())
    with (
        mixkit.watch_stages(torch.profiler.record_function),
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile,
    ):
        mixer(POINTS, LABELS)
    assert {"saliency", "plan", "assignment"} <= {event.key for event in profile.key_averages()}
