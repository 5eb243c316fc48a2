"""The query samplers: their frequencies, and what they do with saliency that says nothing."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

import mixkit
from mixkit import query

DRAWS = 40_000
COORDS = torch.tensor([[[0.0, 0], [1, 0], [3, 0], [0, 4]], [[1, 1], [5, 5], [0, 2], [9, 1]]])
SALIENCY = torch.tensor([[0.5, 1.0, 0.0, 2.5], [4.0, 1.0, 3.0, 2.0]])
PARTNER = torch.tensor([1, 0])


def many(sampler: query.Sampler) -> tuple[Tensor, Tensor]:
    """Draw pair 0 (sample 0 with partner 1) many times."""
    repeat = DRAWS // 2
    partner = torch.arange(DRAWS).view(repeat, 2).flip(1).flatten()
    uniform = torch.rand(2, DRAWS, generator=torch.Generator().manual_seed(3))
    drawn, other = sampler(COORDS.repeat(repeat, 1, 1), SALIENCY.repeat(repeat, 1), partner, uniform)
    return drawn[::2], other[::2]


def fits(drawn: Tensor, probability: Tensor) -> None:
    counts = torch.bincount(drawn, minlength=len(probability)).double()
    assert counts[probability == 0].sum() == 0
    there = probability > 0
    expected = probability[there].double() / probability.double().sum() * counts.sum()
    assert chisquare(counts[there], expected).pvalue > 1e-3


def test_frequencies_of_uniform() -> None:
    for drawn in many(query.uniform):
        fits(drawn, torch.ones(4))


def test_frequencies_of_saliency_follow_eq_4() -> None:
    drawn, other = many(query.salient)
    fits(drawn, SALIENCY[0])
    fits(other, SALIENCY[1])


def test_frequencies_of_sequential_follow_eq_4_and_5() -> None:
    drawn, other = many(query.sequential)
    fits(drawn, SALIENCY[0])
    for element in (0, 1, 3):
        distance = (COORDS[1] - COORDS[0, element]).norm(dim=1)
        fits(other[drawn == element], SALIENCY[1] * distance)


@pytest.mark.parametrize("sharpness", [0.5, 2.0])
def test_sharpness_is_a_power_of_the_saliency(sharpness: float) -> None:
    drawn, _ = many(lambda coords, saliency, *rest: query.sequential(coords, query.sharpen(saliency, sharpness), *rest))
    fits(drawn, SALIENCY[0] ** sharpness)


def test_sharpened_extremes_stay_usable_and_what_says_nothing_stays_so() -> None:
    saliency = torch.tensor([[1e30, 5e29, 0], [1e-30, 0, 1e-30], [0, 0, 0], [torch.inf, 1, 1], [torch.nan, 1, 1]])
    sharp = query.sharpen(saliency, 3.0)
    torch.testing.assert_close(sharp[:2], torch.tensor([[1, 0.125, 0], [1, 0, 1]]))
    assert sharp[2:].isnan().all()


def test_max_is_the_most_salient() -> None:
    drawn, other = many(query.maximum)
    assert set(drawn.tolist()) == {3}
    assert set(other.tolist()) == {0}


def test_draw_is_inverse_cdf_and_never_draws_weight_0() -> None:
    weights = torch.tensor([[0.0, 1, 0, 3, 0]], dtype=torch.float64)
    uniform = torch.tensor([0.0, 0.2499, 0.25, 1 - 2**-24])
    assert query.draw(weights.expand(4, 5), uniform).tolist() == [1, 1, 3, 3]


@pytest.mark.parametrize("sampler", [query.sequential, query.salient, query.maximum])
@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf"), -1.0])
def test_unusable_saliency_falls_back_per_sample(sampler: query.Sampler, bad: float) -> None:
    coords = torch.randn(300, 4, 2)
    saliency = torch.tensor([0.0, 0.0, 1.0, 0.0]).repeat(300, 1)
    saliency[:150] = bad
    drawn, other = sampler(coords, saliency, torch.randperm(300), torch.rand(2, 300))
    assert set(drawn[:150].tolist()) == {0, 1, 2, 3}  # uniform
    assert set(drawn[150:].tolist()) == {2}  # untouched by its neighbours' trouble
    assert other.min() >= 0
    assert other.max() < 4


def test_one_bad_element_spoils_its_sample_only() -> None:
    saliency = torch.tensor([[1.0, float("nan")], [0.0, 1.0]]).repeat(100, 1)
    drawn, _ = query.salient(torch.randn(200, 2, 3), saliency, torch.arange(200), torch.rand(2, 200))
    assert set(drawn[::2].tolist()) == {0, 1}
    assert set(drawn[1::2].tolist()) == {1}


def test_all_points_equal_falls_back_to_the_saliency_alone() -> None:
    saliency = torch.tensor([[0.0, 1.0, 0.0, 0.0]]).repeat(50, 1)
    _, other = query.sequential(torch.ones(50, 4, 3), saliency, torch.randperm(50), torch.rand(2, 50))
    assert set(other.tolist()) == {1}


@pytest.mark.parametrize("scale", [1e-38, 1e-12, 1.0, 1e12, 3e38])
def test_the_scale_of_saliency_does_not_matter(scale: float) -> None:
    coords, saliency = torch.randn(64, 9, 3), torch.rand(64, 9)
    partner, uniform = torch.randperm(64), torch.rand(2, 64)
    expected = query.sequential(coords, saliency, partner, uniform)
    found = query.sequential(coords, saliency * scale, partner, uniform)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_dtype(dtype: torch.dtype) -> None:
    drawn, other = query.sequential(
        torch.randn(8, 5, 3).to(dtype), torch.rand(8, 5).to(dtype), torch.randperm(8), torch.rand(2, 8)
    )
    assert drawn.shape == other.shape == (8,)


def test_a_single_element() -> None:
    for sampler in query.SAMPLERS.values():
        drawn, other = sampler(torch.randn(3, 1, 3), torch.rand(3, 1), torch.tensor([2, 0, 1]), torch.rand(2, 3))
        assert drawn.tolist() == other.tolist() == [0, 0, 0]


def test_missing_saliency_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(2, 4\) as coords, got \(2, 3\)"):
        query.salient(torch.randn(2, 4, 3), torch.rand(2, 3), PARTNER, torch.rand(2, 2))
    with pytest.raises(ValueError, match="needs saliency"):
        query.sequential(torch.randn(2, 4, 3), None, PARTNER, torch.rand(2, 2))


@pytest.mark.parametrize("name", ["sequential", "saliency"])
def test_sagemix_draws_by_its_sharpness(name: str) -> None:
    elements = mixkit.ElementSet(COORDS, COORDS.new_zeros(2, 4, 0), length_scale=1.0)

    def weight(saliency: Tensor, sharpness: float) -> Tensor:
        method = mixkit.methods.SageMix(query=name, sharpness=sharpness)
        context = mixkit.PlanContext(saliency, generator=torch.Generator().manual_seed(1))
        return torch.stack([method.plan(elements, context).weight for _ in range(50)])

    assert torch.equal(weight(SALIENCY, 3.0), weight(SALIENCY**3, 1.0))
    assert not torch.equal(weight(SALIENCY, 3.0), weight(SALIENCY, 1.0))


@pytest.mark.parametrize("name", ["max", "uniform"])
def test_sharpness_is_refused_where_it_would_do_nothing(name: str) -> None:
    with pytest.raises(ValueError, match=f"query='{name}' draws nothing by saliency, so sharpness must be 1, got 3"):
        mixkit.methods.SageMix(query=name, sharpness=3)
