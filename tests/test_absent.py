"""What has weight 0 is not there; elsewhere NaN and infinity are refused by the name of their sample."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import mixkit
from mixkit import MixPlan, create_mixer
from mixkit.combine import combine

HOLES = [math.nan, math.inf, -math.inf]
HALF = torch.tensor([[1.0, 0.0, 0.25], [0.0, 1.0, 1.0]])  # (B, N) of each sample itself


def holed(value: float) -> tuple[MixPlan, Tensor, Tensor]:
    """A plan of two samples of three elements, values with holes where the weight is 0, and what they mix to."""
    plan = MixPlan.pair(torch.tensor([1, 0]), HALF)
    values = torch.tensor([[1.0, value, 3.0], [value, 5.0, 6.0]])[:, :, None]
    # sample 0: 1, 5, 0.25 * 3 + 0.75 * 6; sample 1: its partner's 1, its own 5 and 6
    return plan, values, torch.tensor([[1.0, 5.0, 5.25], [1.0, 5.0, 6.0]])[:, :, None]


@pytest.mark.parametrize("value", HOLES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_what_has_weight_0_is_absent(value: float, dtype: torch.dtype) -> None:
    plan, values, expected = holed(value)
    assert torch.equal(plan.apply(values.to(dtype), finite=True), expected.to(dtype))
    terms = [plan.gather(values, k) for k in range(2)]
    assert torch.equal(combine(terms, plan.weight), expected)  # the way of other devices
    twice = torch.cat([values, values * 2], 2)
    turned = twice.mT.contiguous().mT  # channels first underneath
    mixed = plan.apply(turned)
    assert torch.equal(mixed, torch.cat([expected, expected * 2], 2))
    assert mixed.stride() == plan.apply(turned.nan_to_num(0, 0, 0)).stride()


@pytest.mark.parametrize("value", HOLES)
def test_elsewhere_the_sample_is_named(value: float) -> None:
    plan = MixPlan.pair(torch.tensor([1, 2, 0]), torch.full((3, 1), 0.5))
    values = torch.ones(3, 4, 2)
    values[2, 3, 1] = value
    with pytest.raises(ValueError, match=rf"sample 2 of the batch holds {value}.*element 3"):
        plan.apply(values, finite=True)
    assert not plan.apply(values)[1:].isfinite().all(), "without being asked it is arithmetic"
    assert plan.apply(values)[0].isfinite().all()


@pytest.mark.parametrize("method", ["mixup", "cutmix", "sagemix", "puzzlemix", "comixup"])
def test_labels_of_samples_of_weight_0_are_absent(method: str) -> None:
    torch.manual_seed(0)
    mixer = create_mixer(method, "image", saliency="spectral_residual", p=1.0, inside=True)
    images, values, shares = torch.rand(8, 3, 16, 16), torch.randn(8, 2), torch.rand(8, 4)
    values[3, 0] = shares[3, 1] = math.nan
    plan = mixer.plan(images, values)
    part = plan.sample_weights[:, 3] > 0
    assert 0 < part.sum() < 8
    assert torch.equal(mixer.apply_plan(plan, images, values)[1].isnan(), torch.stack([part, torch.zeros(8) > 0], 1))
    assert torch.equal(plan.targets(shares, num_classes=4).isnan().any(1), part)


@pytest.mark.parametrize("largest", [3e38, torch.finfo(torch.float32).max])
def test_finite_numbers_have_finite_means(largest: float) -> None:
    plan = MixPlan.pair(torch.tensor([1, 0]), torch.tensor([[0.7], [0.2]]))
    values = torch.tensor([[[largest, largest]], [[-largest, largest]]])
    mixed = plan.apply(values)
    torch.testing.assert_close(mixed / largest, torch.tensor([[[0.4, 1.0]], [[0.6, 1.0]]]))
    half = torch.full((2, 1, 1), 65504.0, dtype=torch.float16)
    assert torch.equal(plan.apply(half), half)


def test_gradients_pass_by_what_is_absent() -> None:
    plan, values, _ = holed(math.nan)
    values.requires_grad_()
    plan.apply(values).sum().backward()
    torch.testing.assert_close(values.grad[..., 0], torch.tensor([[2.0, 0.0, 0.25], [0.0, 2.0, 1.75]]))


def test_a_cut_without_the_hole_is_clean_and_one_with_it_is_refused() -> None:
    """An image with a hole of "no data": a plan that shows none of it mixes."""
    images, labels = torch.rand(4, 3, 16, 16), torch.arange(4)
    mixer = create_mixer("cutmix", "image", num_classes=4, p=1.0, per_sample=True)
    images[2, :, 5:9, 5:9] = math.nan
    clean = images.nan_to_num(0.0)
    outcomes = set()
    for seed in range(40):
        plan = mixer.plan(images, labels, generator=torch.Generator().manual_seed(seed))
        source = plan.source[:, :, 0]
        hole = torch.zeros(16, 16, dtype=torch.bool)
        hole[5:9, 5:9] = True
        shown = any(
            bool(((plan.weight[m, k] > 0).expand(256).view(16, 16) & hole).any())
            for m in range(4)
            for k in range(2)
            if source[m, k] == 2
        )
        outcomes.add(shown)
        if shown:
            with pytest.raises(ValueError, match="sample 2 of the batch holds nan"):
                mixer.apply_plan(plan, images, labels)
        else:
            assert torch.equal(mixer.apply_plan(plan, images, labels)[0], mixer.apply_plan(plan, clean, labels)[0])
    assert outcomes == {True, False}


@pytest.mark.parametrize("method", mixkit.list_methods("points"))
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e19])
def test_coordinates_that_are_none_are_refused(method: str, value: float) -> None:
    points = torch.randn(3, 20, 5)
    points[1, 7, 2] = value
    mixer = create_mixer(
        method, "points", num_classes=3, p=1.0, saliency=lambda batch: batch[..., 0].abs(), inside=True
    )
    with pytest.raises(ValueError, match=r"coordinates must be finite.*sample 1"):
        mixer(points, torch.arange(3))
    points[1, 7, 2], points[2, :, 4] = 0.0, math.nan  # channels that are no coordinates
    with pytest.raises(ValueError, match="sample 2 of the batch holds nan"):
        mixer(points, torch.arange(3))


def test_a_batch_that_is_not_mixed_is_not_looked_at() -> None:
    images, labels = torch.full((2, 3, 4, 4), math.nan), torch.arange(2)
    mixer: Any = create_mixer("mixup", "image", num_classes=2, p=0.0)
    assert mixer(images, labels)[0] is not None
    assert mixer.eval()(images, labels)[0] is not None


@pytest.mark.parametrize("drop_in", ["mixer", "transform", "timm"])
@pytest.mark.parametrize("evaluating", [False, True])
def test_every_drop_in_gives_an_unmixed_batch_itself_and_new_targets(drop_in: str, evaluating: bool) -> None:
    from mixkit_image import MixTransform, TimmMixup

    p, images, labels = float(evaluating), torch.rand(4, 3, 8, 8), torch.arange(4)
    mix: Any
    if drop_in == "timm":
        mix = TimmMixup(["cutmix"], num_classes=4, prob=p, label_smoothing=0)
        mix.mixup_enabled = not evaluating
    else:
        mix = create_mixer("cutmix", "image", num_classes=4, p=p)
        mix = (mix if drop_in == "mixer" else MixTransform("cutmix", num_classes=4, p=p)).train(not evaluating)
    for given in (labels, torch.eye(4)) if drop_in != "timm" else (labels,):
        mixed, targets = mix(images, given)
        assert mixed.data_ptr() == images.data_ptr()
        assert targets.data_ptr() != given.data_ptr()
        assert torch.equal(targets, torch.eye(4))
