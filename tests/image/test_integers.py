"""Integer images: moved by the methods that only move pixels, refused by those that interpolate."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import mixkit
from mixkit import MixPlan, create_mixer
from tests.conftest import ImageModel

MOVING = [
    "cutmix",
    "saliencymix",
    "pointcutmix_r",
    "pointcutmix_k",
    "fmix",
    "resizemix",
    "attentivemix",
    "recursivemix",
    "gridmix",
    "saliencygrafting",
    "smmix",
]
INTERPOLATING = ["mixup", "pointmixup", "manifold_mixup", "sagemix", "puzzlemix", "comixup"]
INTERPOLATING += ["guidedmixup", "smoothmix", "snapmix", "cmixup", "remix"]


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
@pytest.mark.parametrize("method", MOVING)
def test_methods_that_move_pixels_keep_integers(
    method: str, dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    images = torch.randint(256, (6, 3, 10, 8)).to(dtype).contiguous(memory_format=memory_format)
    labels = torch.arange(6)
    more: dict[str, Any] = {"resizemix": {"low": 0.7}, "attentivemix": {"share": 0.5}}.get(method, {})  # to move enough
    if method == "recursivemix":  # else it remembers the batch before
        more = {"alpha": 1.0, "per_sample": True, "partners": "random"}
    mixer = create_mixer(method, "image", num_classes=6, saliency="spectral_residual", p=1.0, inside=True, **more)
    mixed, targets = mixer(images, labels, generator=seeded())
    expected, same = mixer(images.float(), labels, generator=seeded())
    assert mixed.dtype == dtype
    assert torch.equal(mixed.float(), expected)
    assert not torch.equal(mixed, images)
    assert torch.equal(targets, same)
    assert mixed.is_contiguous(memory_format=memory_format)
    assert torch.equal(mixer.eval()(images, labels)[0], images)


def test_large_integers_are_not_rounded() -> None:
    images = 2**60 + torch.arange(4 * 64).reshape(4, 1, 8, 8)
    mixer = create_mixer("cutmix", "image", num_classes=4, p=1.0)
    assert set(mixer(images, torch.arange(4))[0].flatten().tolist()) <= set(images.flatten().tolist())


@pytest.mark.parametrize("method", INTERPOLATING)
def test_methods_that_interpolate_say_how_to_convert(method: str) -> None:
    images = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    mixer = create_mixer(method, "image", num_classes=4, saliency="spectral_residual", inside=True)
    wanted = r"interpolates.*torch\.uint8; convert images first, as v2\.ToDtype\(torch\.float32, scale=True\) does"
    for call in (mixer, mixer.plan, mixer.eval()):
        with pytest.raises(TypeError, match=wanted):
            call(images, torch.arange(4))


def test_what_moves_is_what_the_methods_say() -> None:
    """Every method of images says truly whether its weights are 0 and 1, or the test's lists are too old."""
    assert {*MOVING, *INTERPOLATING} == set(mixkit.list_methods("image"))
    images = torch.rand(6, 3, 16, 16)
    for name in mixkit.list_methods("image"):
        mixer = create_mixer(name, "image", num_classes=6, saliency="spectral_residual", p=1.0, inside=True)
        assert mixer.method.moves == (name in MOVING)
        if mixer.method.moves:
            weight = mixer.plan(images, torch.arange(6)).weight
            assert torch.equal(weight, weight.round())


def test_a_models_saliency_wants_floating_point() -> None:
    images = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    mixer = create_mixer("saliencymix", "image", num_classes=5, model=ImageModel(), p=1.0)
    with pytest.raises(TypeError, match=r"gradient.*torch\.uint8; convert images first"):
        mixer(images, torch.arange(4))


def test_a_plan_moves_integers_and_refuses_to_interpolate_them() -> None:
    partner, values = torch.tensor([1, 0]), torch.tensor([[[1], [2]], [[5], [6]]])
    moving = MixPlan.pair(partner, torch.tensor([[1.0, 0.0]]), torch.tensor([[1, 0], [1, 0]]))
    assert moving.apply(values).flatten().tolist() == [1, 5, 5, 1]
    identity = MixPlan.identity(2)
    assert torch.equal(identity.apply(values), values)
    with pytest.raises(TypeError, match=r"interpolates.*int64"):
        MixPlan.pair(partner, torch.tensor([[0.5, 1.0]])).apply(values)
    with pytest.raises(ValueError, match=r"\(2, 2, \.\.\.\).*got \(2, 3, 1\)"):
        moving.apply(torch.zeros(2, 3, 1, dtype=torch.long))
    for bad in (Tensor.cfloat, Tensor.cdouble):
        with pytest.raises(TypeError, match=r"real numbers, got torch\.complex"):
            moving.apply(bad(values.float()))
