"""The pure functions against the authors' results and plain loops; what holds for every plan they make."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from mixkit import functional
from tests.conftest import GOLDEN


def loop_sagemix(
    coords: Tensor,
    partner: Tensor,
    assignment: Tensor,
    query: Tensor,
    partner_query: Tensor,
    prior: Tensor,
    sigma: float,
) -> Tensor:
    """lambda (B, N), from step 5 of docs/notes/spec.md as it is written there."""
    weights = torch.zeros(coords.shape[:2], dtype=torch.float64)
    for b in range(len(coords)):
        other = int(partner[b])
        for i in range(coords.shape[1]):
            to_a = math.dist(coords[b, i].tolist(), coords[b, query[b]].tolist())
            to_b = math.dist(coords[other, assignment[b, i]].tolist(), coords[other, partner_query[b]].tolist())
            w_a, w_b = (math.exp(-(d**2) / (2 * sigma**2)) for d in (to_a, to_b))
            weights[b, i] = prior[b] * w_a / (prior[b] * w_a + (1 - prior[b]) * w_b)
    return weights


def draws(batch: int = 5, elements: int = 12, dim: int = 3) -> dict[str, Tensor]:
    return {
        "coords": torch.randn(batch, elements, dim),
        "partner": torch.randperm(batch),
        "assignment": torch.stack([torch.randperm(elements) for _ in range(batch)]),
        "query": torch.randint(elements, (batch,)),
        "partner_query": torch.randint(elements, (batch,)),
        "prior": torch.rand(batch),
    }


@pytest.mark.parametrize("case", range(3))
def test_sagemix_reproduces_the_authors(case: int) -> None:
    stored = np.load(GOLDEN / "sagemix_points.npz")
    read = {
        name.split("_", 1)[1]: torch.from_numpy(stored[name])
        for name in stored.files
        if name.startswith(f"case{case}_")
    }
    plan = functional.sagemix(
        read["points"],
        read["partner"],
        read["assignment"],
        read["query_a"],
        read["query_b"],
        read["prior"],
        float(read["sigma"]),
    )
    mixed, targets = plan.apply_coords(read["points"]), plan.targets(read["labels"], int(read["num_classes"]))
    torch.testing.assert_close(mixed, read["mixed_points"], rtol=0, atol=1e-5)
    torch.testing.assert_close(targets, read["mixed_labels"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_sagemix_equals_the_loop(dim: int) -> None:
    given = draws(dim=dim)
    plan = functional.sagemix(**given, sigma=0.7).validate()
    torch.testing.assert_close(plan.weight[:, 0].double(), loop_sagemix(**given, sigma=0.7), rtol=0, atol=1e-5)
    assert torch.equal(plan.source[:, 1, 0], given["partner"])
    assert torch.equal(plan.index[:, 1], given["assignment"])


def test_sagemix_on_shared_coordinates_equals_the_general_way() -> None:
    given = draws(elements=30, dim=2)
    grid = given["coords"][:1] * 20
    given |= {"assignment": None, "coords": grid.expand(5, -1, -1)}
    shared = functional.sagemix(**given, sigma=8.0)
    general = functional.sagemix(**{**given, "coords": grid.repeat(5, 1, 1)}, sigma=8.0)
    torch.testing.assert_close(shared.weight, general.weight, rtol=0, atol=1e-6)


def test_sagemix_with_wide_sigma_is_mixup() -> None:
    given = draws()
    for sigma in (1e6, 1e300, math.inf):
        wide = functional.sagemix(**given, sigma=sigma)
        even = functional.mixup(given["partner"], given["prior"], given["assignment"])
        torch.testing.assert_close(wide.weight, even.weight.expand_as(wide.weight), rtol=0, atol=1e-6)
        torch.testing.assert_close(
            wide.apply_coords(given["coords"]), even.apply_coords(given["coords"]), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("sigma", [1e-4, 1e-200])
def test_sagemix_with_narrow_sigma_is_a_switch(sigma: float) -> None:
    given = draws()
    plan = functional.sagemix(**given, sigma=sigma).validate()
    coords, partner, assignment = given["coords"], given["partner"], given["assignment"]
    rows = torch.arange(5)
    to_a = (coords - coords[rows, given["query"]][:, None]).norm(dim=2)
    to_b = (coords[partner] - coords[partner, given["partner_query"]][:, None]).norm(dim=2).gather(1, assignment)
    apart = (to_a - to_b).abs() > 1e-3
    assert apart.float().mean() > 0.9
    assert torch.equal(plan.weight[:, 0][apart], (to_a < to_b)[apart].float())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_sagemix_far_points_and_small_sigma_stay_finite(dtype: torch.dtype) -> None:
    given = draws()
    for offset in (0.0, 1000.0):
        coords = (given["coords"] + offset).to(dtype)
        plan = functional.sagemix(**{**given, "coords": coords}, sigma=0.1).validate()
        reference = functional.sagemix(**{**given, "coords": coords.double()}, sigma=0.1)
        torch.testing.assert_close(plan.weight, reference.weight, rtol=0, atol=1e-3)
        assert plan.apply_coords(coords).dtype == dtype


@pytest.mark.parametrize("distance", [0.0, 1e-12, 1e-300])
def test_priors_near_0_and_1(distance: float) -> None:
    given = draws(batch=2)
    given["prior"] = torch.tensor([distance, 1 - distance], dtype=torch.float64)
    plan = functional.sagemix(**given, sigma=0.5).validate()
    assert torch.isfinite(plan.weight).all()
    expected = loop_sagemix(**given, sigma=0.5)
    torch.testing.assert_close(plan.weight[:, 0].double(), expected, rtol=0, atol=1e-6)


def test_log_ratio_keeps_what_a_prior_cannot() -> None:
    given = draws()
    log_ratio = torch.log(given["prior"]) - torch.log1p(-given["prior"])
    same = functional.sagemix(**{**given, "prior": log_ratio}, sigma=0.5, log_ratio=True)
    torch.testing.assert_close(same.weight, functional.sagemix(**given, sigma=0.5).weight)
    extreme = functional.sagemix(**{**given, "prior": torch.full((5,), 30.0)}, sigma=0.3, log_ratio=True).validate()
    assert (extreme.weight[:, 1] > 0).any()  # 1 - sigmoid(30) is 0 in float32, yet near b's query b shows


def test_one_element_and_all_points_equal() -> None:
    given = draws(batch=3, elements=1)
    torch.testing.assert_close(functional.sagemix(**given, sigma=0.3).weight[:, 0, 0], given["prior"])
    given = draws()
    given["coords"] = torch.ones(5, 12, 3)
    torch.testing.assert_close(
        functional.sagemix(**given, sigma=0.3).weight[:, 0], given["prior"][:, None].expand(5, 12)
    )


def test_mixup_is_one_number_per_sample() -> None:
    given, ratio = draws(), torch.rand(5)
    plan = functional.mixup(given["partner"], ratio, given["assignment"]).validate()
    coords = given["coords"]
    for b in range(5):
        there = coords[given["partner"][b], given["assignment"][b]]
        torch.testing.assert_close(plan.apply(coords)[b], ratio[b] * coords[b] + (1 - ratio[b]) * there)
    assert functional.pointmixup is functional.mixup
    assert torch.equal(functional.mixup(given["partner"], ratio[:1]).weight[:, 0, 0], ratio[:1].expand(5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": 0.0}, "sigma must be > 0, got 0"),
        ({"sigma": math.nan}, "sigma"),
        ({"coords": torch.zeros(5, 12)}, r"\(B, N, D\), got \(5, 12\)"),
        ({"partner": torch.zeros(4, dtype=torch.long)}, r"partner must be \(5,\).*got \(4,\)"),
        ({"query": torch.zeros(5, 2, dtype=torch.long)}, "query"),
        ({"prior": torch.rand(1)}, "prior"),
        ({"prior": torch.full((5,), 1.3)}, r"\[0, 1\]"),
        ({"assignment": torch.zeros(5, 11, dtype=torch.long)}, r"assignment must be \(5, 12\).*got \(5, 11\)"),
    ],
)
def test_bad_draws_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        functional.sagemix(**{**draws(), "sigma": 0.3, **change})  # type: ignore[arg-type]
