"""A domain and a method of a few lines, written as a third party would: each serves all that there is of the other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import mixkit
from tests import signal_domain
from tests.half_method import HalfMix


def test_the_domain_is_listed() -> None:
    assert "signal" in mixkit.list_domains()
    assert {"image", "points"} < set(mixkit.list_domains())
    assert set(mixkit.list_methods("signal")) >= {"mixup", "pointmixup", "sagemix"}


@pytest.mark.parametrize("method", mixkit.list_methods("signal"))
def test_every_method_of_coordinates_mixes_signals(method: str) -> None:
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3))
    by_area = {"labels_by": "weight"} if method == "saliencygrafting" else {}  # whose labels weigh by saliency
    mixer = mixkit.create_mixer(method, domain="signal", num_classes=3, model=model, inside=True, **by_area)
    signals, labels = torch.randn(6, 2, 40), torch.tensor([0, 1, 2, 0, 1, 2])
    # a signal constant in time makes the mixed signal the weights themselves
    constant = torch.arange(6.0)[:, None, None].expand(6, 2, 40)
    plan = mixer.plan(signals, labels)
    mixed, targets = mixer.apply_plan(plan, constant, labels)
    torch.testing.assert_close(mixed.mean(2)[:, 0], plan.sample_weights @ torch.arange(6.0))
    torch.testing.assert_close(targets, plan.sample_weights @ torch.eye(3)[labels])


def test_a_grid_needs_the_names_of_its_axes_only() -> None:
    class Radar(mixkit.Grid):
        layouts = ("brcav",)
        noun = "radar cubes"

    cubes = torch.randn(4, 5, 2, 6, 3)
    for method in mixkit.list_methods("signal"):
        made = mixkit.registry.get_method(method)()
        mixer = mixkit.create_mixer(
            made, Radar(), num_classes=4, saliency=lambda batch: batch.square().sum(2), p=1.0, inside=True
        )
        mixed, targets = mixer(torch.ones_like(cubes) * torch.arange(4.0)[:, None, None, None, None], torch.arange(4))
        assert mixed.shape == cubes.shape
        torch.testing.assert_close(mixed.mean((1, 2, 3, 4)), targets @ torch.arange(4.0))
    with pytest.raises(ValueError, match=r"radar cubes must be a batch \(B, R, C, A, V\), got \(4, 5\)"):
        mixer(torch.zeros(4, 5), torch.arange(4))


def test_sagemix_mixes_neighbours_alike() -> None:
    mixer = mixkit.create_mixer("sagemix", domain="signal", query="uniform", num_classes=2)
    weight = mixer.plan(torch.randn(64, 1, 80), torch.zeros(64, dtype=torch.long)).weight[:, 0]
    assert weight.diff(dim=1).abs().max() < 0.25  # at most (L / 4) / sigma^2 * |q - q'| / 4 a step, sigma = L / 8
    assert weight.std(1).max() > 0.1
    assert isinstance(mixer.domain, signal_domain.Signal)


@pytest.mark.parametrize("domain", ["signal", "image", "points"])
def test_a_method_of_a_few_lines_mixes_every_domain(domain: str) -> None:
    batch = {"signal": torch.randn(4, 2, 40), "image": torch.rand(4, 3, 8, 8), "points": torch.randn(4, 60, 3)}[domain]
    mixer = mixkit.create_mixer(HalfMix(), domain, num_classes=4)
    plan = mixer.plan(batch, torch.arange(4)).validate()
    own, partner = plan.weight.unbind(1)
    assert set(own.unique().tolist()) == {0, 1}
    torch.testing.assert_close(own.mean(1), torch.full((4,), 0.5), atol=1e-6, rtol=0)
    assert (plan.index is None) == (domain != "points")
    mixed, targets = mixer.apply_plan(plan, batch, torch.arange(4))
    assert mixed.shape == batch.shape
    torch.testing.assert_close(targets, plan.sample_weights @ torch.eye(4))
    torch.testing.assert_close(partner, 1 - own)


@pytest.mark.parametrize("domain", ["image", "points"])
def test_the_batch_keeps_its_dtype_whatever_torchs_default_is(domain: str) -> None:
    batch = torch.rand(4, 3, 8, 8) if domain == "image" else torch.randn(4, 32, 3)
    before, elements = torch.get_default_dtype(), 64 if domain == "image" else 32

    def saliency(batch: torch.Tensor) -> torch.Tensor:
        return torch.rand(4, elements)

    torch.set_default_dtype(torch.float64)
    try:
        for method in mixkit.list_methods(domain):
            mixer = mixkit.create_mixer(method, domain, num_classes=4, saliency=saliency, inside=True)
            mixed, targets = mixer(batch, torch.arange(4))
            assert mixed.dtype == torch.float32, method
            assert targets.dtype.itemsize >= 4, method
    finally:
        torch.set_default_dtype(before)
