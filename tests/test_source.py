"""The protocol of where saliency comes from, and the samples that a source may ask for."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mixkit
from mixkit import SaliencySource, Samples, create_mixer
from mixkit.source import FunctionSaliency, as_source
from tests.conftest import PointModel

POINTS, LABELS = torch.randn(4, 12, 3), torch.arange(4)


class Stored(SaliencySource):
    """A third party's source: maps that were made ahead, one for each sample of the data set."""

    in_loader = True

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps
        self.asked: list[list[int]] = []

    def read_samples(self, samples: Any, elements: mixkit.ElementSet) -> Samples:
        return Samples.of(samples)

    def find(
        self, batch: Tensor, labels: Any, domain: mixkit.Domain, samples: Any = None, observe: Any = None
    ) -> Tensor:
        self.asked.append(samples.keys.tolist())
        return self.maps[samples.keys]


def peaks_at(*elements: int) -> Tensor:
    maps = torch.zeros(len(elements), 12)
    maps[torch.arange(len(elements)), list(elements)] = 1
    return maps


@pytest.mark.parametrize("samples", [[3, 1, 0, 2], torch.tensor([3, 1, 0, 2]), Samples([3, 1, 0, 2])])
def test_a_strangers_source_is_asked_for_the_samples_of_the_batch(samples: Any) -> None:
    source = Stored(peaks_at(5, 6, 7, 8))
    mixer = create_mixer(
        "sagemix", "points", num_classes=4, saliency=source, query="max", sigma=1e-3, solver="identity"
    )
    plan = mixer.plan(POINTS, LABELS, samples=samples)
    assert source.asked == [[3, 1, 0, 2]]
    own = plan.weight[torch.arange(4), 0, torch.tensor([8, 6, 5, 7])]  # near its query an element is the sample's own
    moved = plan.source[:, 1, 0] != torch.arange(4)
    assert (own[moved] > 0.99).all()
    mixed, _ = mixer(POINTS, LABELS, samples=samples)
    assert not mixed.requires_grad  # it does not learn
    mixer.refuse_in_loader()


def test_a_strangers_source_serves_mixing_inside_a_model() -> None:
    source = Stored(peaks_at(5, 6, 7, 8))
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))
    for layer in ("input", "0"):
        manifold = mixkit.ManifoldMixer(model, [layer], "sagemix", "points", num_classes=4, saliency=source)
        manifold(POINTS, LABELS, samples=[0, 1, 2, 3])
    assert source.asked == [[0, 1, 2, 3]] * 2


def test_a_source_has_the_saliency_that_was_found_checked() -> None:
    mixer = create_mixer("sagemix", "points", num_classes=4, saliency=Stored(torch.ones(4, 11)))
    with pytest.raises(ValueError, match=r"saliency must be \(4, 12\), one number per element, got \(4, 11\)"):
        mixer(POINTS, LABELS, samples=[0, 1, 2, 3])
    for call in ("find_with_loss", "confidence", "gradient"):
        with pytest.raises(NotImplementedError, match="Stored has no model"):
            getattr(Stored(POINTS), call)(POINTS, LABELS, *([None] if call == "find_with_loss" else []))


def test_a_function_becomes_a_source_and_a_module_is_not_registered() -> None:
    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, batch: Tensor) -> Tensor:
            return (batch * self.weight).norm(dim=2)

    mixer = create_mixer("sagemix", "points", num_classes=4, saliency=Norm())
    assert isinstance(mixer.saliency, FunctionSaliency)
    assert not list(mixer.parameters())
    assert not mixer.saliency.find(POINTS, LABELS, mixer.domain).requires_grad
    assert as_source(mixer.saliency) is mixer.saliency
    with pytest.raises(TypeError, match="saliency must be a source, such as GradientSaliency, or a function, got 3"):
        create_mixer("sagemix", "points", num_classes=4, saliency=3)  # type: ignore[arg-type]


def test_a_mixer_hands_its_model_to_the_bank() -> None:
    model = PointModel()
    bank = mixkit.SaliencyBank(4, unseen="exact")
    with pytest.raises(ValueError, match="needs model="):
        create_mixer("sagemix", "points", num_classes=5, saliency=bank)
    mixer = create_mixer("sagemix", "points", num_classes=5, saliency=bank, model=model)
    assert mixer.saliency is bank
    exact = mixkit.GradientSaliency(model)
    assert mixkit.SaliencyBank(4, unseen="exact", exact=exact).what_is_missing() is None
    plan = mixer.plan(POINTS, LABELS, samples=LABELS)
    assert plan.num_outputs == 4
    found = exact.find(POINTS, LABELS, mixer.domain)
    torch.testing.assert_close(bank.look_up(LABELS), found / found.mean(1, keepdim=True), rtol=2e-3, atol=2e-3)
    twin = copy.deepcopy(mixer)
    assert twin.saliency.exact.model is not model
    with pytest.raises(ValueError, match="give each model a bank of its own"):
        create_mixer("sagemix", "points", num_classes=5, saliency=bank, model=PointModel())
    assert bank.exact.model is model


def test_a_mixer_leaves_a_bank_as_the_user_made_it() -> None:
    model = PointModel()
    uniform = mixkit.SaliencyBank(4)
    create_mixer("sagemix", "points", num_classes=5, saliency=uniform, model=model)
    assert uniform.exact is None, "it has no use for a model"
    exact = mixkit.GradientSaliency(model, resolution=0.5)
    bank = mixkit.SaliencyBank(4, unseen="exact", exact=exact)
    create_mixer("sagemix", "points", num_classes=5, saliency=bank, model=nn.DataParallel(model))
    assert bank.exact is exact


def test_samples_say_what_came() -> None:
    samples = Samples([7, 3], torch.tensor([[[0, 2], [1, -1]], [[3, 3], [0, 0]]]))
    assert samples.index.shape == (2, 4)
    assert Samples.of(samples) is samples
    taken = samples.take(torch.tensor([1]))
    assert (taken.keys.tolist(), taken.index.tolist()) == ([3], [[3, 3, 0, 0]])
    for keys in ([0.5, 1.0], [True, False]):
        with pytest.raises(TypeError, match="keys must be integers, got torch"):
            Samples(keys)
