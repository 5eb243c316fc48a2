"""Grids of every rank: sequences, spectrograms, volumes and videos, mixed as the plan says and by what they measure."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mixkit
from mixkit import MixPlan, PlanContext, methods
from mixkit.registry import get_domain

#: name: (domain, its options, a batch's shape without B, where the sides are in it)
CASES: dict[str, tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    "sequence": ("sequence", {}, (3, 17), (1,)),
    "tokens": ("sequence", {"layout": "btc"}, (17, 3), (0,)),
    "spectrogram": ("spectrogram", {}, (1, 8, 14), (1, 2)),
    "spectrogram by time": ("spectrogram", {"layout": "bctf", "spacing": (0.01, 1.0)}, (2, 14, 6), (1, 2)),
    "volume": ("volume", {"spacing": (5.0, 0.5, 1.0)}, (2, 3, 6, 5), (1, 2, 3)),
    "slice": ("volume", {}, (2, 1, 6, 5), (1, 2, 3)),
    "volume, channels last": ("volume", {"layout": "bdhwc"}, (3, 4, 5, 2), (0, 1, 2)),
    "video": ("video", {}, (2, 3, 6, 4), (1, 2, 3)),
    "frames": ("video", {"layout": "btchw"}, (3, 2, 4, 6), (0, 2, 3)),
}
every_case = pytest.mark.parametrize("case", CASES)


class Pooled(nn.Module):
    """Logits that see each place differently, of a batch of any shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 8), nn.Tanh(), nn.Linear(8, 4))

    def forward(self, batch: Tensor) -> Tensor:
        return self.head(batch)


def by_cell(batch: Tensor, axes: tuple[int, ...]) -> Tensor:
    """(B, *sides, the rest): a batch with its sides first."""
    return batch.movedim([axis + 1 for axis in axes], list(range(1, len(axes) + 1)))


@every_case
def test_every_method_that_serves_a_grid_does_what_its_plan_says(case: str) -> None:
    domain, options, shape, axes = CASES[case]
    batch, labels = torch.randn(4, *shape), torch.tensor([0, 1, 2, 3])
    model = Pooled(shape)
    names = mixkit.list_methods(domain)
    assert set(names) >= {"cutmix", "mixup", "pointcutmix_k", "pointmixup", "sagemix", "saliencymix"}
    for name in names:
        by_area = {"labels_by": "weight"} if name == "saliencygrafting" else {}  # whose labels weigh by saliency
        mixer = mixkit.create_mixer(name, domain, num_classes=4, model=model, inside=True, p=1.0, **options, **by_area)
        plan = mixer.plan(batch, labels).validate()
        mixed, targets = mixer.apply_plan(plan, batch, labels)
        assert mixed.shape == batch.shape
        shown, given = by_cell(mixed, axes).numpy(), by_cell(batch, axes).numpy()
        sides = given.shape[1 : len(axes) + 1]
        assert mixer.domain.elements(batch).grid == sides
        count = math.prod(sides)
        source = plan.source.expand(-1, -1, count).numpy()
        weight = plan.weight.expand(-1, -1, count).double().numpy()
        share = np.zeros((4, 4))
        for m, (i, cell) in itertools.product(range(4), enumerate(np.ndindex(*sides))):
            expected = 0.0
            for k in range(plan.num_terms):
                place = cell if plan.index is None else np.unravel_index(int(plan.index[m, k, i]), sides)
                expected = expected + weight[m, k, i] * given[(source[m, k, i], *place)]
                share[m, source[m, k, i]] += weight[m, k, i] / count
            np.testing.assert_allclose(shown[(m, *cell)], expected, atol=1e-5, err_msg=f"{name} at {m}, {cell}")
        if name != "snapmix":  # whose labels weigh by saliency
            np.testing.assert_allclose(targets.numpy(), share, atol=1e-5, err_msg=name)
        assert mixer.training
        assert torch.equal(mixer.eval()(batch, labels)[0], batch)


@every_case
def test_coordinates_are_the_places_times_the_spacing(case: str) -> None:
    domain, options, shape, axes = CASES[case]
    grid = get_domain(domain)(**options)
    batch = torch.randn(2, *shape)
    elements = grid.elements(batch)
    sides = elements.grid
    spacing = options.get("spacing", (1,) * len(sides))
    if domain == "video":
        spacing = (min(sides[1:]) / sides[0], 1, 1)
    for i, cell in enumerate(np.ndindex(*sides)):
        place = [number * step for number, step in zip(cell, spacing, strict=True)]
        assert elements.coords[1, i].tolist() == pytest.approx(place[::-1])
        assert torch.equal(elements.values[:, i], by_cell(batch, axes)[(slice(None), *cell)])
    extents = [side * step for side, step in zip(sides, spacing, strict=True) if side > 1]
    assert elements.length_scale == pytest.approx(min(extents) / 4)
    assert torch.equal(grid.batch(elements, batch), batch)


@every_case
def test_saliency_is_the_norm_of_the_gradient_at_each_cell(case: str) -> None:
    domain, options, shape, axes = CASES[case]
    model, labels = Pooled(shape), torch.tensor([0, 1, 2])
    batch = torch.randn(3, *shape, requires_grad=True)
    nn.functional.cross_entropy(model(batch), labels, reduction="sum").backward()
    mixer = mixkit.create_mixer("sagemix", domain, num_classes=4, model=model, **options)
    found = mixer.find_saliency(batch.detach(), mixer.read(batch.detach(), labels)[1], mixer.domain.elements(batch))
    assert batch.grad is not None
    expected = by_cell(batch.grad, axes).flatten(1, len(axes)).norm(dim=2)
    torch.testing.assert_close(found, expected)


def test_a_smaller_grid_may_give_the_saliency() -> None:
    model = nn.Sequential(nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.Linear(16, 4))
    saliency = mixkit.GradientSaliency(model, resolution=0.5)
    mixer = mixkit.create_mixer("sagemix", "volume", num_classes=4, saliency=saliency)
    mixed, _ = mixer(torch.randn(3, 2, 4, 6, 8), torch.arange(3))
    assert mixed.shape == (3, 2, 4, 6, 8)
    bank = mixkit.SaliencyBank(5)
    mixer = mixkit.create_mixer("sagemix", "volume", num_classes=4, saliency=bank)
    mixed, _ = mixer(torch.randn(3, 2, 4, 6, 8), torch.arange(3), samples=[4, 0, 2])
    model(mixed).square().sum().backward()
    assert bank.num_elements == 4 * 6 * 8
    assert (bank.look_up(torch.tensor([0])) != 1).any()


# ---- spacing


def test_spacing_changes_what_is_near() -> None:
    batch = torch.zeros(6, 1, 3, 5, 5)
    for spacing, alone in (((100.0, 1.0, 1.0), True), ((0.01, 1.0, 1.0), False)):
        elements = get_domain("volume")(spacing=spacing).elements(batch)
        cut = methods.PointCutMixK().plan(elements, PlanContext()).weight[:, 1].unflatten(1, (3, 5, 5)) == 1
        for part in cut[(cut.sum((1, 2, 3)) > 1) & (cut.sum((1, 2, 3)) < 25)]:
            # slices far apart: the nearest voxels are of one slice; close together: of all of them
            assert (part.any(2).any(1).sum() == 1) == alone


def test_sagemix_weighs_by_distances_in_the_units_of_the_spacing() -> None:
    batch, saliency, spacing = torch.zeros(4, 1, 3, 4, 5), torch.rand(4, 60), (3.0, 0.5, 2.0)
    generator = torch.Generator()

    def weights(**options: Any) -> Tensor:
        mixer = mixkit.create_mixer("sagemix", "volume", num_classes=2, saliency=lambda _: saliency, **options)
        plan = mixer.plan(batch, torch.zeros(4, dtype=torch.long), generator=generator.manual_seed(0))
        return plan.weight[:, 0]

    found = weights(spacing=spacing, query="max")  # sigma is a quarter of the shortest extent, 2
    torch.testing.assert_close(found, weights(spacing=[10 * step for step in spacing], query="max"))
    torch.testing.assert_close(found, weights(spacing=spacing, query="max", sigma=0.5))
    assert not torch.allclose(found, weights(query="max"))
    plan = mixkit.create_mixer("sagemix", "volume", num_classes=2, saliency=lambda _: saliency, query="max").plan(
        batch, torch.zeros(4, dtype=torch.long), generator=generator.manual_seed(0)
    )
    partner, cells = plan.source[:, 1, 0], list(np.ndindex(3, 4, 5))

    def squared(cell: tuple[int, ...], other: tuple[int, ...]) -> float:
        return sum(((a - b) * step) ** 2 for a, b, step in zip(cell, other, spacing, strict=True))

    for b in range(4):
        query, other = cells[int(saliency[b].argmax())], cells[int(saliency[partner[b]].argmax())]
        logits = found[b].double().logit()
        first = squared(cells[0], other) - squared(cells[0], query)
        for i, cell in enumerate(cells):  # but for the prior, which is the same everywhere
            if 1e-4 < found[b, i] < 1 - 1e-4 and 1e-4 < found[b, 0] < 1 - 1e-4:
                apart = (squared(cell, other) - squared(cell, query) - first) / (2 * 0.5**2)
                assert float(logits[i] - logits[0]) == pytest.approx(apart, abs=2e-2)


def test_an_axis_of_one_cell_counts_for_nothing() -> None:
    images, labels = torch.randn(6, 3, 7, 9), torch.arange(6)
    saliency = torch.rand(6, 63)
    for name in ("mixup", "pointmixup", "pointcutmix_r", "pointcutmix_k", "sagemix", "manifold_mixup"):
        results = []
        for domain, batch in (("image", images), ("volume", images[:, :, None]), ("video", images[:, :, None])):
            mixer = mixkit.create_mixer(name, domain, num_classes=6, saliency=lambda _: saliency, p=1.0, inside=True)
            results.append(mixer(batch, labels, generator=torch.Generator().manual_seed(1)))
        for mixed, targets in results[1:]:
            torch.testing.assert_close(mixed[:, :, 0], results[0][0])
            torch.testing.assert_close(targets, results[0][1])


# ---- boxes and bands


def cuts(domain: str, sides: tuple[int, ...], times: int, **options: Any) -> Tensor:
    """(times, *sides) bool, what CutMix replaced."""
    elements = get_domain(domain)().elements(torch.zeros(times, 1, *sides))
    plan = methods.CutMix(per_sample=True, **options).plan(elements, PlanContext())
    assert set(plan.weight.unique().tolist()) <= {0.0, 1.0}
    return (plan.weight[:, 1] == 1).unflatten(1, sides)


@pytest.mark.parametrize(
    ("domain", "sides"), [("sequence", (20,)), ("volume", (4, 8, 12)), ("volume", (1, 8, 12)), ("video", (6, 1, 9))]
)
def test_cutmix_cuts_boxes_of_every_rank(domain: str, sides: tuple[int, ...]) -> None:
    found = cuts(domain, sides, 400)
    for cut in found:
        spans = [
            cut.any(dim=[d for d in range(len(sides)) if d != axis]) if len(sides) > 1 else cut
            for axis in range(len(sides))
        ]
        box = spans[0]
        for span in spans[1:]:
            box = box[..., None] & span
        assert torch.equal(cut, box)
        assert all((span.int().diff() == 1).sum() <= 1 for span in spans)  # in one piece
        assert all(side > 1 or span.all() or not cut.any() for side, span in zip(sides, spans, strict=True))
    assert 0.1 < found.float().mean() < 0.45  # a half, less what is clipped and what is rounded down
    assert found.flatten(1).any(0).all()


def test_bands_are_whole_along_all_axes_but_one() -> None:
    for cut in cuts("volume", (6, 1, 10), 200, bands=True):
        spans = [cut.any(dim=[d for d in range(3) if d != axis]) for axis in range(3)]
        if cut.any() and not cut.all():
            assert [bool(span.all()) for span in spans] in ([False, True, True], [True, True, False])
    found = cuts("spectrogram", (16, 30), 400, bands=True)
    found = found[found.flatten(1).any(1) & ~found.flatten(1).all(1)]
    of_times, of_frequencies = (found.all(axis).any(1) for axis in (1, 2))
    assert torch.equal(of_times, ~of_frequencies)
    assert 0.35 < of_times.float().mean() < 0.65
    for cut, axis in zip(found, of_times.long().tolist(), strict=True):
        assert (cut.select(1 - axis, 0).int().diff() == 1).sum() <= 1
    assert 0.25 < found.float().mean() < 0.5
    clouds = mixkit.ElementSet(torch.rand(1, 500, 3), torch.zeros(1, 500, 0))
    plan = methods.CutMix(bands=True).plan(clouds, PlanContext())
    cut = plan.weight[0, 1] == 1
    low, high = clouds.coords[0, cut].amin(0), clouds.coords[0, cut].amax(0)
    assert ((high - low) > 0.9).sum() >= 2
    mixer = mixkit.create_mixer("saliencymix", "spectrogram", num_classes=4, bands=True, saliency=lambda b: b[:, 0])
    assert mixer(torch.rand(4, 1, 8, 9), torch.arange(4))[0].shape == (4, 1, 8, 9)


# ---- labels of the cells, memory, what is refused


@pytest.mark.parametrize("case", ["tokens", "spectrogram", "volume", "volume, channels last", "frames"])
def test_labels_of_the_cells_are_mixed_with_them(case: str) -> None:
    domain, options, shape, _ = CASES[case]
    batch = torch.randn(4, *shape)
    mixer = mixkit.create_mixer("sagemix", domain, num_classes=3, query="uniform", **options)
    sides = mixer.domain.elements(batch).grid
    masks = torch.randint(3, (4, *sides))
    plan = mixer.plan(batch, masks)
    _, targets = mixer.apply_plan(plan, batch, masks)
    assert targets.shape == (4, 3, *sides)
    for m, (i, cell) in itertools.product(range(4), enumerate(np.ndindex(*sides))):
        expected = torch.zeros(3)
        for k in range(2):
            expected[masks[(int(plan.source[m, k, 0]), *cell)]] += plan.weight[m, k, i]
        torch.testing.assert_close(targets[(m, slice(None), *cell)], expected)


def test_channels_last_3d_is_kept() -> None:
    volumes = torch.randn(4, 3, 4, 6, 5).contiguous(memory_format=torch.channels_last_3d)
    for name in ("mixup", "cutmix", "sagemix"):
        mixer = mixkit.create_mixer(name, "volume", num_classes=4, saliency=lambda b: b.square().sum(1), p=1.0)
        mixed, _ = mixer(volumes, torch.arange(4))
        assert mixed.stride() == volumes.stride()
        assert mixer(volumes.contiguous(), torch.arange(4))[0].is_contiguous()
    grid = get_domain("volume")()
    features = grid.feature_elements(volumes, grid.elements(torch.randn(4, 1, 8, 12, 10)), False)
    mixed = grid.mix_feature(MixPlan.pair(torch.tensor([1, 0, 3, 2]), torch.rand(4, 120)), volumes, features)
    assert mixed.stride() == volumes.stride()


def test_integers_are_moved() -> None:
    clips = torch.randint(256, (4, 3, 2, 5, 6), dtype=torch.uint8)
    mixed, _ = mixkit.create_mixer("cutmix", "video", num_classes=4, p=1.0)(clips, torch.arange(4))
    assert mixed.dtype == torch.uint8
    with pytest.raises(TypeError, match="uint8"):
        mixkit.create_mixer("mixup", "video", num_classes=4)(clips, torch.arange(4))


@pytest.mark.parametrize(
    ("domain", "shape", "wanted"),
    [
        ("sequence", (4, 3, 8, 8), "sequences must be a batch (B, C, T), got (4, 3, 8, 8)"),
        ("spectrogram", (4, 8, 8), "spectrograms must be a batch (B, C, F, T), got (4, 8, 8)"),
        ("volume", (4, 3, 8, 8), "volumes must be a batch (B, C, D, H, W), got (4, 3, 8, 8)"),
        ("video", (4, 3, 0, 8, 8), "videos must be a batch (B, C, T, H, W), got (4, 3, 0, 8, 8)"),
    ],
)
def test_a_batch_of_another_rank_is_refused_in_one_sentence(domain: str, shape: tuple[int, ...], wanted: str) -> None:
    with pytest.raises(ValueError) as caught:
        mixkit.create_mixer("cutmix", domain, num_classes=4)(torch.zeros(shape), torch.arange(4))
    assert str(caught.value) == wanted


@pytest.mark.parametrize(
    ("options", "error", "wanted"),
    [
        ({"spacing": (1.0, 2.0)}, ValueError, r"spacing must be 3 numbers, for D, H, W, got \(1\.0, 2\.0\)"),
        ({"spacing": (1.0, 2.0, 0.0)}, ValueError, r"spacing must be > 0"),
        ({"spacing": "far"}, TypeError, r"spacing must be a number or one for each of D, H, W, got 'far'"),
        ({"layout": "bchwd"}, ValueError, r"layout must be one of 'bcdhw', 'bdhwc', got 'bchwd'"),
    ],
)
def test_options_of_a_grid_are_checked(options: Any, error: type[Exception], wanted: str) -> None:
    with pytest.raises(error, match=wanted):
        mixkit.create_mixer("cutmix", "volume", num_classes=4, **options)


def test_methods_of_images_are_refused_or_serve_two_axes() -> None:
    with pytest.raises(ValueError, match="'puzzlemix' serves image, spectrogram, not domain 'volume'"):
        mixkit.create_mixer("puzzlemix", "volume", num_classes=4)
    mixer = mixkit.create_mixer(
        mixkit.registry.get_method("comixup")(), "sequence", num_classes=4, saliency=lambda b: b[:, 0]
    )
    with pytest.raises(ValueError, match=r"CoMixup needs elements on a grid \(H, W\)"):
        mixer(torch.rand(4, 1, 16), torch.arange(4))


# ---- inside models


def test_activations_are_read_as_the_grid_that_they_make() -> None:
    for domain, shape, readable in (
        ("sequence", (2, 32), {((5, 16), False): (16,), ((8, 40), True): (8,), ((8, 16), True): (8,)}),
        ("sequence", (2, 32), {((33, 64), None): (32,), ((17, 64), None): (16,), ((15, 64), None): (15,)}),
        ("spectrogram", (1, 16, 40), {((64, 4, 40), None): (4, 40), ((4, 40, 64), None): (4, 40)}),
        ("volume", (1, 8, 16, 16), {((32, 8, 4, 4), None): (8, 4, 4), ((4, 4, 4, 32), None): (4, 4, 4)}),
    ):
        grid = get_domain(domain)()
        elements = grid.elements(torch.zeros(2, *shape))
        for (activation, last), cells in readable.items():
            output = torch.randn(2, *activation)
            features = grid.feature_elements(output, elements, last)
            assert features.grid == cells
            assert features.values.shape[1] == math.prod(cells)
            plan = MixPlan.pair(torch.tensor([1, 0]), torch.rand(2, features.num_elements))
            mixed = grid.mix_feature(plan, output, features, last)
            assert mixed.shape == output.shape
            again = grid.feature_elements(mixed, elements, last)
            torch.testing.assert_close(again.values, plan.apply(features.values))
            extra = activation[0] - cells[0] if len(activation) == 2 and activation[0] in (17, 33) else 0
            torch.testing.assert_close(mixed[:, :extra], plan.pooled().apply(output[:, :extra]))


def test_what_is_no_feature_map_is_named() -> None:
    sequence, volume = get_domain("sequence")(), get_domain("volume")()
    elements = sequence.elements(torch.zeros(2, 1, 32))
    with pytest.raises(ValueError, match=r"may be \(B, C, t\) or \(B, t, C\), and its module does not say"):
        sequence.feature_elements(torch.zeros(2, 8, 16), elements)
    with pytest.raises(ValueError, match=r"\(2, 64, 64\) is neither a feature map nor patch tokens of 32 sequences"):
        sequence.feature_elements(torch.zeros(2, 64, 64), elements)
    elements = volume.elements(torch.zeros(2, 1, 8, 16, 16))
    with pytest.raises(ValueError, match=r"\(2, 32, 64\) is no feature map of 8 x 16 x 16 volumes"):
        volume.feature_elements(torch.zeros(2, 32, 64), elements)
    with pytest.raises(ValueError, match="cannot read"):
        volume.feature_elements(torch.zeros(2, 3, 8, 8), elements)
    assert volume.feature_elements(torch.zeros(2, 64), elements) is None


def test_cells_of_a_layer_lie_at_their_centres_in_the_units_of_the_spacing() -> None:
    grid = get_domain("volume")(spacing=(2.0, 1.0, 0.5))
    elements = grid.elements(torch.zeros(2, 1, 4, 6, 8))
    features = grid.feature_elements(torch.zeros(2, 16, 2, 3, 8), elements)
    assert features.coords[0, 0].tolist() == [0.0, 0.5, 1.0]
    assert features.coords[1, -1].tolist() == [3.5, 4.5, 5.0]
    assert features.length_scale == elements.length_scale
    saliency = torch.rand(2, 4 * 6 * 8)
    pooled = grid.pool_saliency(saliency, elements, features).unflatten(1, (2, 3, 8))
    torch.testing.assert_close(pooled[1, 1, 2, 5], saliency[1].unflatten(0, (4, 6, 8))[2:, 4:, 5].mean())
