"""The pure functions on samples of different sizes: on samples of one size they are those of `mixkit.functional`."""

from __future__ import annotations

import torch
from torch import Tensor

from mixkit import MixPlan, functional
from mixkit.query import SAMPLERS
from mixkit.ragged import Packed, Pairing, RaggedPlan, RaggedSet, pair_up
from mixkit.ragged import functional as ragged
from mixkit.ragged.queries import draw_queries

SIZE, COUNT = 5, 24


def _batch() -> tuple[Tensor, RaggedSet, Tensor, Tensor, Pairing]:
    coords = torch.randn(SIZE, COUNT, 3)
    packed = Packed.from_list(list(coords))
    elements = RaggedSet(packed.rows, packed.rows[:, :0], packed.offsets)
    partner = torch.randperm(SIZE)
    assignment = torch.stack([torch.randperm(COUNT) for _ in range(SIZE)])
    rows = (assignment + torch.arange(SIZE)[:, None] * COUNT).flatten()
    return coords, elements, partner, assignment, pair_up(elements, partner, match=lambda a, b: rows)


def _same(plan: RaggedPlan, dense: MixPlan, coords: Tensor) -> None:
    mixed = plan.validate().apply_coords(coords.flatten(0, 1)).unflatten(0, (SIZE, COUNT))
    torch.testing.assert_close(mixed, dense.apply_coords(coords))
    torch.testing.assert_close(plan.sample_weights, dense.sample_weights)


def _queries(name: str, elements: RaggedSet, saliency: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
    return draw_queries(name, elements, saliency.flatten(), partner, torch.rand(2, SIZE))


def test_mixup() -> None:
    coords, _, partner, assignment, pairing = _batch()
    ratio = torch.rand(SIZE)
    _same(ragged.mixup(pairing, ratio), functional.mixup(partner, ratio, assignment), coords)
    _same(ragged.mixup(pairing, ratio[:1]), functional.mixup(partner, ratio[:1], assignment), coords)


def test_sagemix() -> None:
    coords, elements, partner, assignment, pairing = _batch()
    prior, query = torch.randn(SIZE), torch.randint(COUNT, (2, SIZE))
    dense = functional.sagemix(coords, partner, assignment, query[0], query[1], prior, 0.7, log_ratio=True)
    starts = elements.offsets[:-1]
    _same(ragged.sagemix(pairing, query[0] + starts, query[1] + starts[partner], prior, 0.7), dense, coords)


def test_cutmix() -> None:
    coords, elements, partner, assignment, pairing = _batch()
    for count in (1, SIZE):
        centre, half = torch.randn(count, 3), torch.rand(count, 3)
        dense = functional.cutmix(coords, partner, assignment, centre, half)
        _same(ragged.cutmix(pairing, centre, half), dense, coords)
    low, sides = ragged.frame(elements)
    torch.testing.assert_close(low, coords.amin(1))
    torch.testing.assert_close(low + sides, coords.amax(1))


def test_pointcutmix() -> None:
    coords, _, partner, assignment, pairing = _batch()
    keys, count = torch.rand(SIZE, COUNT), torch.randint(COUNT + 1, (SIZE,))
    dense = functional.pointcutmix_r(partner, assignment, keys, count)
    _same(ragged.pointcutmix(pairing, keys.flatten(), count), dense, coords)


def test_rsmix() -> None:
    coords, elements, partner, _, pairing = _batch()
    starts, centre, keys = elements.offsets[:-1], torch.randint(COUNT, (2, SIZE)), torch.rand(SIZE, COUNT)
    for knn, radius in ((False, torch.tensor([1.3])), (False, torch.rand(SIZE)), (True, torch.rand(SIZE))):
        dense = functional.rsmix(coords, partner, centre[0], centre[1], radius, keys, knn=knn)
        rows = centre + torch.stack([starts, starts[partner]])
        _same(ragged.rsmix(pairing, partner, *rows, radius, keys.flatten(), knn=knn), dense, coords)


def test_queries_are_those_of_the_dense_samplers() -> None:
    coords, elements, partner, _, _ = _batch()
    saliency, uniform = torch.rand(SIZE, COUNT), torch.rand(2, SIZE)
    saliency[1] = 0  # without a peak its queries are uniform
    saliency[2, 3] = torch.nan
    starts = elements.offsets[:-1]
    for name, sampler in SAMPLERS.items():
        dense = sampler(coords, saliency, partner, uniform)
        rows = draw_queries(name, elements, saliency.flatten(), partner, uniform)
        assert torch.equal(rows[0] - starts, dense[0])
        assert torch.equal(rows[1] - starts[partner], dense[1])


def test_queries_lie_in_their_samples_and_on_what_is_salient() -> None:
    lengths = torch.tensor([1, 3, 40, 200])
    packed = Packed.from_list([torch.randn(int(n), 3) for n in lengths])
    elements = RaggedSet(packed.rows, packed.rows[:, :0], packed.offsets)
    saliency = (torch.rand(packed.num_rows) > 0.5).float()
    saliency[packed.sample == 1] = 0
    for name in SAMPLERS:
        for _ in range(50):
            partner, uniform = torch.randperm(4), torch.rand(2, 4).clamp_max(1 - 1e-7)
            query, partner_query = draw_queries(name, elements, saliency, partner, uniform)
            assert torch.equal(packed.sample[query], torch.arange(4))
            assert torch.equal(packed.sample[partner_query], partner)
            if name != "uniform":
                chosen = packed.sample[query] != 1
                assert bool((saliency[query[chosen]] == 1).all() if saliency[0] else True)


def test_rsmix_replaces_a_ball_by_another() -> None:
    packed = Packed.from_list([torch.randn(n, 3) for n in (30, 200, 8)])
    elements = RaggedSet(packed.rows, packed.rows[:, :0], packed.offsets)
    partner = torch.tensor([1, 2, 0])
    pairing = pair_up(elements, partner)
    query = draw_queries("uniform", elements, None, partner, torch.rand(2, 3))
    keys = torch.rand(int(elements.lengths[partner].sum()))
    plan = ragged.rsmix(pairing, partner, *query, torch.tensor([0.8]), keys).validate()
    mixed = plan.apply_coords(packed.rows)
    centre = packed.rows[query[0]][pairing.sample]
    added = plan.weight[1] == 1
    assert bool((torch.linalg.vector_norm(mixed - centre, dim=1)[added] <= 0.8 + 1e-5).all())
    assert torch.equal(mixed[~added], packed.rows[~added])
    assert bool((Packed(added.float(), plan.offsets).padded()[0].sum(1) >= 1).all())
