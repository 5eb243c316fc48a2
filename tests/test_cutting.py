"""The methods that replace elements, CutMix, SaliencyMix, PointCutMix and RSMix, against loops and torchvision."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

import mixkit
from mixkit import ElementSet, MixPlan, PlanContext, functional, methods


def pixel_set(batch: int, height: int, width: int) -> ElementSet:
    return mixkit.registry.get_domain("image")().elements(torch.randn(batch, 2, height, width))


def cloud_set(batch: int = 6, points: int = 24, dim: int = 3) -> ElementSet:
    return ElementSet(torch.randn(batch, points, dim), torch.randn(batch, points, 0))


def replaced(plan: MixPlan) -> Tensor:
    """(B, N) bool, which elements are the partner's; every weight is 0 or 1."""
    plan.validate()
    assert set(plan.weight.unique().tolist()) <= {0.0, 1.0}
    return plan.weight[:, 1] == 1


# ---- CutMix


@pytest.mark.parametrize("size", [(32, 32), (9, 20), (20, 9)])
@pytest.mark.parametrize("seed", range(8))
def test_cutmix_equals_torchvision_given_the_same_draws(size: tuple[int, int], seed: int) -> None:
    images, labels = torch.randn(5, 3, *size), torch.arange(5)
    torch.manual_seed(seed)
    expected, targets = v2.CutMix(num_classes=5)(images, labels)
    torch.manual_seed(seed)  # torchvision's draws, in its order
    ratio = torch.distributions.Beta(torch.tensor([1.0]), torch.tensor([1.0])).sample(())
    centre = torch.stack([torch.randint(size[1], (1,)), torch.randint(size[0], (1,))], 1).float()
    half = (0.5 * torch.sqrt(1 - ratio)[:, None] * torch.tensor([[size[1], size[0]]])).floor()
    plan = functional.cutmix(pixel_set(5, *size).coords, torch.arange(5).roll(1), None, centre, half)
    assert torch.equal(plan.apply(images.flatten(2).mT).mT.unflatten(2, size), expected)
    torch.testing.assert_close(plan.targets(labels, 5), targets)


@pytest.mark.parametrize("size", [(16, 16), (7, 20)])
def test_cutmix_cuts_boxes_of_whole_pixels_of_the_drawn_volume(size: tuple[int, int]) -> None:
    elements, shares, kept = pixel_set(1, *size), [], []
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        cut = replaced(methods.CutMix().plan(elements, PlanContext(generator=generator)))[0].unflatten(0, size)
        rows, columns = cut.any(1), cut.any(0)
        assert torch.equal(cut, rows[:, None] & columns[None])  # a box
        for side in (rows, columns):
            assert (side.int().diff() == 1).sum() <= 1  # in one piece
        shares.append(cut.float().mean().item())
        kept.append(cut[size[0] // 2, size[1] // 2].item())
    assert 0.1 < sum(shares) / 300 < 0.4
    assert 0.2 < sum(kept) / 300 < 0.6


def test_cutmix_draws_one_box_a_batch_unless_told_otherwise() -> None:
    elements = pixel_set(6, 16, 16)
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        together = replaced(methods.CutMix().plan(elements, PlanContext(generator=generator)))
        assert torch.equal(together, together[:1].expand(6, -1))
    assert len(replaced(methods.CutMix(per_sample=True).plan(elements, PlanContext())).unique(dim=0)) > 1


def test_cutmix_of_clouds_replaces_what_lies_in_the_box() -> None:
    elements = cloud_set()
    centre, half = torch.randn(6, 3) / 2, torch.rand(6, 3)
    partner, assignment = torch.randperm(6), torch.stack([torch.randperm(24) for _ in range(6)])
    plan = functional.cutmix(elements.coords, partner, assignment, centre, half)
    for b in range(6):
        for i in range(24):
            place = elements.coords[b, i]
            inside = all(centre[b, d] - half[b, d] <= place[d] < centre[b, d] + half[b, d] for d in range(3))
            assert replaced(plan)[b, i] == inside
    torch.testing.assert_close(plan.sample_weights.sum(1), torch.ones(6))
    with pytest.raises(ValueError, match=r"centre must be \(6, 3\) or \(1, 3\), got \(6, 2\)"):
        functional.cutmix(elements.coords, partner, None, centre[:, :2], half[:, :2])


def test_cutmix_boxes_have_the_drawn_share_of_a_clouds_extent() -> None:
    line = torch.linspace(0, 10, 1001)[None, :, None]
    elements = ElementSet(line, torch.zeros(1, 1001, 0))
    widths = []
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        cut = replaced(methods.CutMix().plan(elements, PlanContext(generator=generator)))[0]
        widths.append(cut.float().mean().item())
    # sides s are U[0, 1] of the extent, of which clipping at a uniform centre takes s^2 / 4
    assert sum(widths) / 300 == pytest.approx(0.5 - 1 / 3 / 4, abs=0.04)


def test_cutmix_on_feature_cells_is_cutmix_on_cells() -> None:
    """Coordinates in input pixels, spaced by a stride that floats cannot hold: the same boxes as on plain cells."""
    plain = pixel_set(3, 7, 7)
    domain = mixkit.registry.get_domain("image")()
    cells = domain.feature_elements(torch.randn(3, 4, 7, 7), domain.elements(torch.randn(3, 2, 100, 100)))
    for seed in range(50):
        plans = [
            methods.CutMix(per_sample=True).plan(e, PlanContext(generator=torch.Generator().manual_seed(seed)))
            for e in (plain, cells)
        ]
        assert torch.equal(*(replaced(plan) for plan in plans))


# ---- SaliencyMix


def test_saliencymix_centres_the_box_on_the_partners_peak() -> None:
    elements = pixel_set(8, 15, 21)
    saliency = torch.rand(8, 15 * 21)
    for seed in range(10):
        context = PlanContext(saliency, generator=torch.Generator().manual_seed(seed))
        plan = methods.SaliencyMix().plan(elements, context)
        cut = replaced(plan).unflatten(1, (15, 21))
        peak = saliency.argmax(1)[plan.source[:, 1, 0]]
        for b in range(8):
            rows, columns = cut[b].any(1).nonzero(), cut[b].any(0).nonzero()
            if len(rows):
                assert rows.min() <= peak[b] // 21 <= rows.max() + 1
                assert columns.min() <= peak[b] % 21 <= columns.max() + 1


def test_saliencymix_as_the_authors_shares_one_box() -> None:
    elements, saliency = pixel_set(8, 15, 21), torch.rand(8, 315)
    cut = replaced(methods.SaliencyMix(per_sample=False).plan(elements, PlanContext(saliency=saliency)))
    assert torch.equal(cut, cut[:1].expand(8, -1))
    assert functional.saliencymix is functional.cutmix


# ---- PointCutMix


@pytest.mark.parametrize("method", [methods.PointCutMixR(), methods.PointCutMixK()])
def test_pointcutmix_replaces_a_uniform_number_of_points(method: methods.Method) -> None:
    elements = cloud_set(400, 20)
    counts = replaced(method.plan(elements, PlanContext())).sum(1)
    assert counts.min() == 1  # never none
    assert counts.max() == 19
    assert counts.float().mean() == pytest.approx(9.55, abs=1)


def test_pointcutmix_equals_the_loop() -> None:
    elements = cloud_set()
    partner, assignment = torch.randperm(6), torch.stack([torch.randperm(24) for _ in range(6)])
    keys, count, centre = torch.rand(6, 24), torch.randint(1, 25, (6,)), torch.randint(24, (6,))
    by_keys = replaced(functional.pointcutmix_r(partner, assignment, keys, count))
    by_place = replaced(functional.pointcutmix_k(elements.coords, partner, assignment, centre, count))
    for b in range(6):
        order = sorted(range(24), key=lambda i: keys[b, i].item())
        assert set(by_keys[b].nonzero().flatten().tolist()) == set(order[: count[b]])
        middle = elements.coords[b, centre[b]].tolist()
        order = sorted(range(24), key=lambda i: math.dist(elements.coords[b, i].tolist(), middle))
        assert set(by_place[b].nonzero().flatten().tolist()) == set(order[: count[b]])


def test_pointcutmix_with_equal_keys_still_replaces_the_number_asked_for() -> None:
    cut = replaced(functional.pointcutmix_r(torch.arange(2), None, torch.zeros(2, 9), torch.tensor([4])))
    assert cut.sum(1).tolist() == [4, 4]


# ---- RSMix


def loop_rsmix(coords: Tensor, b: int, draws: dict[str, Tensor], knn: bool) -> tuple[list[int], list[int]]:
    """Which points are erased, in order, and which of the partner's take their places."""
    other, size = int(draws["partner"][b]), coords.shape[1]
    cap, radius = size // 2, float(draws["radius"][0])

    def ball(cloud: Tensor, centre: int) -> list[int]:
        distance = [math.dist(p, cloud[centre].tolist()) for p in cloud.tolist()]
        near = sorted(range(size), key=lambda i: distance[i])[:cap]
        return near[: max(math.ceil(radius * cap), 1)] if knn else [i for i in near if distance[i] <= radius]

    erased = sorted(ball(coords[b], int(draws["centre"][b])))
    added = sorted(ball(coords[other], int(draws["partner_centre"][b])), key=lambda i: draws["keys"][b, i].item())
    return erased, [added[k % len(added)] for k in range(len(erased))]


@pytest.mark.parametrize("knn", [False, True])
@pytest.mark.parametrize("radius", [0.0, 0.3, 0.8, 1.0])
def test_rsmix_equals_the_loop(knn: bool, radius: float) -> None:
    coords = torch.randn(6, 25, 3) * 0.5
    draws = {
        "partner": torch.randperm(6),
        "centre": torch.randint(25, (6,)),
        "partner_centre": torch.randint(25, (6,)),
        "radius": torch.tensor([radius]),
        "keys": torch.rand(6, 25),
    }
    plan = functional.rsmix(coords, **draws, knn=knn)
    mixed, cut = plan.apply_coords(coords), replaced(plan)
    for b in range(6):
        erased, added = loop_rsmix(coords, b, draws, knn)
        assert cut[b].nonzero().flatten().tolist() == erased
        assert not knn or len(set(added)) == len(erased), "as many different points as the label says"
        other = draws["partner"][b]
        expected = coords[b].clone()
        move = coords[b, draws["centre"][b]] - coords[other, draws["partner_centre"][b]]
        expected[erased] = coords[other, added] + move
        torch.testing.assert_close(mixed[b], expected)
        share = plan.pooled().weight[b, 1, 0]
        torch.testing.assert_close(share, torch.tensor(len(erased) / 25))


def test_rsmix_moves_points_but_not_their_other_channels() -> None:
    points = torch.randn(6, 40, 6)
    mixer = mixkit.create_mixer("rsmix", "points", num_classes=6, p=1.0)
    plan = mixer.plan(points, torch.arange(6))
    mixed, _ = mixer.apply_plan(plan, points, torch.arange(6))
    torch.testing.assert_close(mixed[..., 3:], plan.apply(points[..., 3:]))
    torch.testing.assert_close(mixed[..., :3], plan.apply_coords(points[..., :3]))
    assert 0 < replaced(plan).sum(1).max() <= 20  # the cap, half of the points


@pytest.mark.parametrize("unit", [0.02, 50.0])
@pytest.mark.parametrize("knn", [False, True])
def test_rsmix_is_the_same_in_any_unit(unit: float, knn: bool) -> None:
    points = torch.randn(6, 200, 3) * 0.4
    counts = []
    for scale, options in ((1.0, {}), (unit, {"radius": unit})):
        mixer = mixkit.create_mixer("rsmix", "points", num_classes=6, p=1.0, knn=knn, **options)
        plan = mixer.plan(points * scale, torch.arange(6), generator=torch.Generator().manual_seed(3))
        mixed, _ = mixer.apply_plan(plan, points * scale, torch.arange(6))
        counts.append((replaced(plan), mixed / scale))
    assert torch.equal(counts[0][0], counts[1][0])
    torch.testing.assert_close(counts[0][1], counts[1][1], atol=1e-5, rtol=1e-5)
    assert counts[0][0].sum() > 6 * 10, "more than the centres"


def test_rsmix_by_neighbours_repeats_no_point() -> None:
    points = torch.rand(4, 300, 3) * 1000  # nothing within a radius of 1
    mixer = mixkit.create_mixer("rsmix", "points", num_classes=4, p=1.0, knn=True)
    for seed in range(5):
        mixed, targets = mixer(points, torch.arange(4), generator=torch.Generator().manual_seed(seed))
        assert [len(cloud.unique(dim=0)) for cloud in mixed] == [300] * 4
        assert targets.min() == 0


def test_rsmix_is_for_points() -> None:
    assert "rsmix" in mixkit.list_methods("points")
    with pytest.raises(ValueError, match="serves points"):
        mixkit.create_mixer("rsmix", "image", num_classes=6)
    plan = functional.rsmix(*(torch.ones(2, 1, 3), torch.tensor([1, 0]), *[torch.zeros(2, dtype=torch.long)] * 2),
                            torch.tensor([0.5]), torch.rand(2, 1))  # fmt: skip
    assert plan.apply_coords(torch.ones(2, 1, 3)).isfinite().all()


def test_mixup_equals_torchvision_given_the_same_draws() -> None:
    images, labels = torch.randn(5, 3, 8, 6), torch.arange(5)
    torch.manual_seed(1)
    mixed, targets = v2.MixUp(num_classes=5)(images, labels)
    torch.manual_seed(1)
    ratio = v2.MixUp(num_classes=5).make_params([images])["lam"]
    plan = functional.mixup(torch.arange(5).roll(1), torch.tensor([ratio]))
    torch.testing.assert_close(plan.apply(images.flatten(2).mT).mT.unflatten(2, (8, 6)), mixed)
    torch.testing.assert_close(plan.targets(labels, 5), targets)
