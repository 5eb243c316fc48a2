"""Samples of different sizes through `mixkit.Mixer`: every form, every method of points, every kind of label."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mixkit
import mixkit_points
from mixkit import PerElement, PerSample, create_mixer
from mixkit.ragged import Packed, RaggedPlan
from mixkit.registry import get_method
from mixkit_points import Channels
from tests.conftest import SAMPLES
from tests.ragged.test_forms import MASK, forms, opened, padded

LENGTHS = (13, 50, 20, 7)
METHODS = [name for name in mixkit.list_methods("points") if name != "manifold_mixup"]
SHIFTING = ["rsmix", "resizemix", "recursivemix", "wolfmix"]  # which move what they copy
COPYING = [name for name in METHODS if get_method(name, "points").moves and name not in SHIFTING]


class RaggedModel(nn.Module):
    """A PointNet in miniature that takes any form of samples of different sizes."""

    def __init__(self, channels: int = 3, num_classes: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(channels, 16), nn.ReLU(), nn.Linear(16, 16))
        self.norm, self.head = nn.BatchNorm1d(16), nn.Linear(16, num_classes)
        self.seen: list[Any] = []

    def forward(self, batch: Any) -> Tensor:
        self.seen.append(batch)
        packed = opened(batch).packed
        features = Packed(self.features(packed.rows), packed.offsets)
        return self.head(self.norm(torch.stack([part.amax(0) for part in features.split()])))


def clouds(channels: int = 3) -> list[Tensor]:
    return [torch.randn(count, channels) for count in LENGTHS]


def mixer_of(method: str, **options: Any) -> mixkit.Mixer:
    options.setdefault("num_classes", 5)
    options.setdefault("p", 1.0)
    return mixkit.create_mixer(method, domain="points", **options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", ["own", "mean", "larger", 30])
def test_every_method_in_every_size(method: str, size: str | int) -> None:
    batch, labels = clouds(), torch.tensor([0, 1, 2, 4])
    mixer = mixer_of(method, model=RaggedModel(), size=size)
    plan = mixer.plan(batch, labels)
    assert isinstance(plan, RaggedPlan)
    mixed, targets = mixer.apply_plan(plan.validate(), batch, labels)
    torch.testing.assert_close(targets, plan.sample_weights @ torch.eye(5)[labels])
    partner = plan.source[1].mode() if method not in SHIFTING else None
    lengths = [len(each) for each in mixed]
    if size == "own":
        assert lengths == list(LENGTHS)
    elif size == 30:
        assert lengths == [30] * 4
    assert partner is None or all(each.isfinite().all() for each in mixed)
    if method in COPYING:
        rows = {tuple(row) for row in torch.cat(batch).tolist()}
        assert {tuple(row) for row in torch.cat(mixed).tolist()} <= rows


@pytest.mark.parametrize("method", METHODS)
def test_samples_of_one_size_as_dense_ones(method: str) -> None:
    batch, labels = torch.randn(6, 40, 4), torch.arange(6) % 5
    saliency = torch.rand(6, 40)
    options = {"partners": "random"} if method == "recursivemix" else {}  # else it remembers the batch before
    mixer = mixer_of(method, saliency=lambda rows: torch.ones(len(rows)), solver="auto", tolerance=0.0, **options)
    for seed in range(3):
        dense, of_dense = mixer(batch, labels, saliency=saliency, generator=torch.Generator().manual_seed(seed))
        mixed, targets = mixer(
            list(batch), labels, saliency=saliency.flatten(), generator=torch.Generator().manual_seed(seed)
        )
        torch.testing.assert_close(torch.stack(mixed), dense)
        torch.testing.assert_close(targets, of_dense)


@pytest.mark.parametrize("method", METHODS)
def test_real_objects(method: str) -> None:
    """Objects cut out of LiDAR scans, from a few dozen points to thousands, as they are."""
    with np.load(SAMPLES / "sydney_sample.npz") as file:
        rows = torch.from_numpy(file["points"]).float() / 1000
        packed = Packed(rows, torch.from_numpy(file["offsets"]).long())
        labels = torch.from_numpy(file["labels"]).long()
    assert int(packed.lengths.max()) > 7 * int(packed.lengths.min())
    objects = packed.split()
    mixer = mixer_of(method, model=RaggedModel(num_classes=30), num_classes=30)
    mixed, targets = mixer(objects, labels)
    assert [len(each) for each in mixed] == [len(each) for each in objects]
    assert all(bool(each.isfinite().all()) for each in mixed)
    torch.testing.assert_close(targets.sum(1), torch.ones(len(objects)))


@pytest.mark.parametrize("name", forms())
@pytest.mark.parametrize("method", METHODS)
def test_every_form_gives_the_same_mix(method: str, name: str) -> None:
    """And nothing of the padding, which is NaN, is ever in a result."""
    batch, labels = forms()[name], torch.tensor([0, 3, 1])
    results = []
    for each in (batch, forms()["list"]):
        torch.manual_seed(3)
        model = RaggedModel(5)
        mixed, targets = mixer_of(method, model=model)(each, labels, generator=torch.Generator().manual_seed(0))
        assert type(mixed) is type(each)
        assert all(type(one) is type(each) for one in model.seen)
        results.append((opened(mixed).packed.rows, targets))
    assert bool(results[0][0].isfinite().all())
    torch.testing.assert_close(results[0], results[1])


def test_labels_beside_a_mask_are_read_as_those_of_a_batch_of_one_size() -> None:
    batch, mask = torch.randn(3, 8, 3), torch.arange(8) < torch.tensor([[8], [5], [6]])
    values = create_mixer("pointcutmix_r", "points")
    mixed, heights = values(batch, PerElement(batch[:, :, 2]), mask=mask)
    assert torch.equal(mixed[:, :, 2][mask], heights[mask])
    assert torch.equal(*(each[mask] for each in values(batch, batch.clone(), mask=mask)))
    assert values(batch, PerSample(batch[:, :, 2]), mask=mask)[1].shape == (3, 8)
    with pytest.raises(ValueError, match="values per sample or as values per element: say which"):
        values(batch, batch[:, :, 2], mask=mask)
    with pytest.raises(ValueError, match=r"\(B, N\) or \(B, N, C\).*got \(3, 3, 8\) for \(3, 8\): give labels.mT"):
        values(batch, batch.mT, mask=mask)
    classes = create_mixer("pointcutmix_r", "points", num_classes=8)
    assert classes(batch, torch.eye(8)[:3], mask=mask)[1].shape == (3, 8)  # soft labels of as many classes as points
    parts = torch.randint(8, (3, 8))
    parts[0, 0] = 7  # as many points as classes by chance: what is no 0 or 1 is no one-hot label
    for given in (parts, parts.numpy(), PerElement(parts)):
        assert classes(batch, given, mask=mask)[1].shape == (3, 8, 8)
    for given in (parts % 2, parts.where(mask, 0) % 2):
        with pytest.raises(ValueError, match="multi-hot or soft labels per sample or as a class per element: say"):
            classes(batch, given, mask=mask)
    few = create_mixer("pointcutmix_r", "points", num_classes=5)
    assert few(batch, np.asarray(parts % 5), mask=mask)[1].shape == (3, 5, 8)


def test_a_mask_beside_the_batch() -> None:
    labels, mixer = torch.tensor([0, 3, 1]), mixer_of("pointmixup")
    mixed, _targets = mixer(padded(), labels, mask=MASK, generator=torch.Generator().manual_seed(0))
    (pair, mask), _ = mixer((padded(), MASK), labels, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mixed, pair)
    assert torch.equal(mask, MASK)
    assert bool((mixed[~MASK] == 0).all())
    plan = mixer.plan(padded(), labels, mask=MASK)
    assert torch.equal(
        mixer.apply_plan(plan, padded(), labels, mask=MASK)[1], plan.sample_weights @ torch.eye(5)[labels]
    )
    with pytest.raises(ValueError, match="other sizes than mask= says"):
        mixer_of("pointmixup", size=7)(padded(), labels, mask=MASK)


def test_labels_of_padded_points() -> None:
    mixer, parts = mixer_of("pointcutmix_r", num_classes=4), torch.randint(4, MASK.shape)
    (mixed, mask), targets = mixer((padded(), MASK), parts)
    assert targets.shape == (3, 4, 3)
    assert torch.equal(targets.sum(1), mask.float())
    logits = torch.randn(3, 4, 3)
    loss = mixkit.soft_cross_entropy(logits, targets)
    at_points = nn.functional.cross_entropy(logits.movedim(1, 2)[mask], targets.movedim(1, 2)[mask])
    torch.testing.assert_close(loss, at_points)
    assert mixed.shape == (3, 3, 5)


def test_graphs() -> None:
    data = pytest.importorskip("torch_geometric.data")
    graphs = [data.Data(pos=cloud, y=torch.tensor([n])) for n, cloud in enumerate(clouds())]
    batch = data.Batch.from_data_list(graphs)
    mixed, targets = mixer_of("sagemix", model=RaggedModel())(batch, batch.y)
    assert mixed.num_graphs == 4
    assert torch.equal(mixed.ptr, batch.ptr)
    assert targets.shape == (4, 5)


def test_a_loop_of_graphs() -> None:
    """A loader of PyTorch Geometric's, and a model of its layers."""
    data, loaders, layers = (
        pytest.importorskip(f"torch_geometric.{name}") for name in ("data", "loader", "nn")
    )  # fmt: skip

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = layers.PointNetConv(nn.Linear(3, 16), nn.Linear(16, 16), add_self_loops=False)
            self.head = nn.Linear(16, 5)

        def forward(self, batch: Any) -> Tensor:
            row = torch.arange(len(batch.pos)).roll(1)
            edges = torch.stack([torch.where(batch.batch[row] == batch.batch, row, row.roll(-1)), row.roll(-1)])
            features = self.conv(None, batch.pos, edges).relu()
            return self.head(layers.global_max_pool(features, batch.batch))

    graphs = [data.Data(pos=torch.randn(20 + 7 * n, 3), y=torch.tensor([n % 5])) for n in range(12)]
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    mixer = mixer_of("sagemix", model=model)
    for batch in loaders.DataLoader(graphs, batch_size=4, shuffle=True):
        mixed, targets = mixer(batch, batch.y)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(mixed), targets).backward()
        optimizer.step()
        assert torch.equal(mixed.ptr, batch.ptr)


def test_a_step_of_pointcepts_dicts() -> None:
    """Coordinates, features and labels of points packed with ``offset``, and a model of packed points."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Sequential(nn.Linear(9, 16), nn.ReLU(), nn.Linear(16, 4))

        def forward(self, batch: dict[str, Any]) -> Tensor:
            return self.head(torch.cat([batch["coord"], batch["feat"]], 1))

    offset = torch.tensor([100, 250, 300])
    segment = torch.randint(4, (300,))
    segment[:30] = -1
    batch = {"coord": torch.randn(300, 3), "feat": torch.randn(300, 6), "offset": offset, "segment": segment}
    model = Model()
    mixer = mixer_of("sagemix", model=model, num_classes=4, ignore_index=-1)
    mixed, targets = mixer(batch, batch["segment"])
    assert set(mixed) == {"coord", "feat", "offset"}
    assert targets.shape == (300, 4)
    mixkit.soft_cross_entropy(model(mixed), targets).backward()


def test_labels_of_points_and_of_samples_together() -> None:
    batch, whole = clouds(), torch.tensor([0, 1, 2, 1])
    parts = [torch.randint(4, (count,)) for count in LENGTHS]
    heights = [cloud[:, 2] for cloud in batch]
    mixer = mixer_of("pointcutmix_k", num_classes={"shape": 3, "part": 4, "height": None})
    mixed, targets = mixer(batch, {"shape": whole, "part": parts, "height": heights})
    for cloud, part, height in zip(mixed, targets["part"], targets["height"], strict=True):
        torch.testing.assert_close(height, cloud[:, 2])
        assert part.shape == (len(cloud), 4)
        assert bool((part.sum(1) == 1).all())
    assert targets["shape"].shape == (4, 3)
    twice = mixer_of("pointmixup", num_classes=(3, 4))(batch, (whole, parts))[1]
    assert twice[0].shape == (4, 3)
    assert [each.shape for each in twice[1]] == [(count, 4) for count in LENGTHS]


def test_a_tuple_holds_several_labels_in_every_form() -> None:
    dense, ages = torch.randn(2, 6, 3), (torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0]))
    mixer = mixer_of("pointmixup", num_classes=None, partners="derangement")
    expected = mixer(dense, ages, generator=torch.Generator().manual_seed(0))[1]
    for options in ({"mask": torch.ones(2, 6, dtype=torch.bool)}, {}):
        batch = dense if options else list(dense)
        found = mixer(batch, ages, generator=torch.Generator().manual_seed(0), **options)[1]
        torch.testing.assert_close(found, expected)
    assert len(mixer(clouds(), (torch.rand(4), torch.rand(4, 2)))[1]) == 2
    whole, parts = torch.tensor([0, 1, 2, 1]), [torch.randint(4, (count,)) for count in LENGTHS]
    both = mixer_of("pointmixup", num_classes=4)(clouds(), (whole, parts))[1]  # one number of classes for all
    assert both[0].shape == (4, 4)
    assert [each.shape for each in both[1]] == [(count, 4) for count in LENGTHS]
    soft = tuple(torch.rand(4, 5).softmax(1))  # one for each sample, as zip(*samples) makes them
    assert mixer_of("pointmixup")(clouds(), soft)[1].shape == (4, 5)


def test_labels_of_points_may_be_arrays_and_lists() -> None:
    parts = [torch.randint(5, (count,)) for count in LENGTHS]
    expected = [(count, 5) for count in LENGTHS]
    for labels in ([part.numpy() for part in parts], [part.tolist() for part in parts]):
        assert [each.shape for each in mixer_of("pointcutmix_r")(clouds(), labels)[1]] == expected


@pytest.mark.parametrize("method", ["sagemix", "mixup"])
def test_a_schedule_follows_the_confidence_in_labels_of_points(method: str) -> None:
    """Of each sample it is the mean over its points that have a label."""

    class Knows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, batch: list[Tensor]) -> Tensor:  # class 0 is as likely as the sum of z says
            rows = torch.cat(batch)
            return torch.stack([rows[:, 2] + 0 * self.weight, torch.zeros(len(rows))], 1)

    batch = [torch.full((count, 3), level) for count, level in zip(LENGTHS, (-9.0, 9.0, 9.0, -9.0), strict=True)]
    parts = [torch.zeros(count, dtype=torch.long) for count in LENGTHS]
    parts[1][:-1] = 255
    batch[1][:-1] = -9.0
    schedule = mixkit.Adaptive(threshold=0.9)
    mixer = mixer_of(method, num_classes=2, ignore_index=255, model=Knows(), schedule=schedule)
    plan = mixer.plan(batch, parts)
    assert schedule.mixed == 0.5
    spared = torch.isin(plan.output, torch.tensor([0, 3]))
    assert bool((plan.weight[0, spared] == 1).all())


def test_channels_that_are_integers_are_moved_and_not_interpolated() -> None:
    coord, offset = torch.randn(8, 3, dtype=torch.float16), torch.tensor([3, 8])
    colours = torch.randint(256, (8, 3), dtype=torch.uint8)
    with pytest.raises(TypeError, match=r"PointMixup interpolates, so it takes floating-point values, got torch.uint8"):
        mixer_of("pointmixup")({"coord": coord, "feat": colours, "offset": offset}, torch.arange(2))
    mixed, _ = mixer_of("pointcutmix_r")({"coord": coord, "feat": colours, "offset": offset}, torch.arange(2))
    assert {tuple(row) for row in mixed["feat"].tolist()} <= {tuple(row) for row in colours.tolist()}
    feat = torch.rand(8, 2) * 1e6  # too large for the coordinates' dtype
    mixed, _ = mixer_of("pointmixup")({"coord": coord, "feat": feat, "offset": offset}, torch.arange(2))
    assert (mixed["coord"].dtype, mixed["feat"].dtype) == (torch.float16, torch.float32)
    assert bool(mixed["feat"].isfinite().all())


def test_clouds_of_different_sizes_are_paired_as_the_domain_says() -> None:
    domain = mixkit_points.PointSet(assign_options={"metric": 1})
    mixer, cloud = mixkit.create_mixer("pointmixup", domain, num_classes=5, partners="reversed"), torch.randn(2, 40, 3)
    labels, generator = torch.arange(2), torch.Generator
    dense = mixer(cloud, labels, generator=generator().manual_seed(0))[0]
    torch.testing.assert_close(torch.stack(mixer(list(cloud), labels, generator=generator().manual_seed(0))[0]), dense)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("other", [torch.float16, torch.bfloat16])
def test_half_precision_within_autocast_of_either_type(dtype: torch.dtype, other: torch.dtype) -> None:
    batch = [cloud.to(dtype) for cloud in clouds(5)]
    for method in ("sagemix", "rsmix"):
        with torch.autocast("cpu", other):
            mixed, _ = mixer_of(method, saliency=lambda given: [cloud[:, 0].float().abs() for cloud in given])(
                batch, torch.arange(4)
            )
        assert [cloud.dtype for cloud in mixed] == [dtype] * 4


def test_labels_of_points_that_do_not_count() -> None:
    batch, parts = clouds(), [torch.full((count,), 255) for count in LENGTHS]
    parts[0][:5] = 2
    targets = mixer_of("mixup", num_classes=4, ignore_index=255)(batch, parts)[1]
    assert all(bool(((each.sum(1) >= 0) & (each.sum(1) <= 1)).all()) for each in targets)
    assert float(sum(each[:, [0, 1, 3]].sum() for each in targets)) == 0


def test_one_ignore_index_for_several_labels_is_one_of_classes() -> None:
    batch, parts = clouds(), [torch.full((count,), 255) for count in LENGTHS]
    heights = [torch.full((count,), height) for count, height in zip(LENGTHS, (255.0, 1.0, 2.0, 3.0), strict=True)]
    mixer = mixer_of("mixup", num_classes={"part": 4, "height": None}, ignore_index=255)
    labels = {"part": parts, "height": heights}
    plan = mixer.plan(batch, labels)
    targets = mixer.apply_plan(plan, batch, labels)[1]
    assert all(float(each.sum()) == 0 for each in targets["part"])
    torch.testing.assert_close(torch.cat(targets["height"]), plan.apply(torch.cat(heights)))
    with pytest.raises(ValueError, match="ignore_index=2 is one of the 4 classes"):
        mixer_of("mixup", num_classes=(4, 4), ignore_index=2)(batch, (torch.tensor([0, 1, 2, 3]), parts))
    with pytest.raises(ValueError, match="one entry for each of 2 labels"):
        mixer_of("mixup", num_classes=(4,))(batch, (parts, parts))


def test_regression_and_soft_labels_of_samples() -> None:
    batch, soft = clouds(), torch.rand(4, 5).softmax(1)
    mixer = mixer_of("pointmixup")
    plan = mixer.plan(batch, soft)
    torch.testing.assert_close(mixer.apply_plan(plan, batch, soft)[1], plan.sample_weights @ soft)
    sizes = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]), torch.tensor([5.0, 6.0]), torch.tensor([7.0, 8.0])]
    mixer = mixer_of("pointmixup", num_classes=None)
    plan = mixer.plan(batch, mixkit.PerSample(torch.stack(sizes)))
    torch.testing.assert_close(
        mixer.apply_plan(plan, batch, mixkit.PerSample(torch.stack(sizes)))[1], plan.sample_weights @ torch.stack(sizes)
    )


def test_saliency_of_a_model_is_that_of_each_sample_alone() -> None:
    """Eval mode: no sample changes another's gradient, so one by one they have the same."""
    from mixkit.ragged.mixing import _find_saliency

    batch, labels, model = clouds(), torch.tensor([0, 1, 2, 4]), RaggedModel()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    mixer = mixer_of("sagemix", model=model)
    form = opened(batch)
    rows = _find_saliency(mixer, form, mixkit.ragged.mixing.read(mixer, form, labels)[1])
    for cloud, label, part in zip(batch, labels, Packed(rows, form.packed.offsets).split(), strict=True):
        leaf = cloud.clone().requires_grad_()
        loss = nn.functional.cross_entropy(model.eval()([leaf]), label[None])
        (grad,) = torch.autograd.grad(loss, leaf)
        torch.testing.assert_close(part, grad.norm(dim=1))
    model.train()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_clean_pass() -> None:
    batch, labels, model = clouds(), torch.tensor([0, 1, 2, 4]), RaggedModel()
    twin = RaggedModel()
    twin.load_state_dict(model.state_dict())
    mixer = mixer_of("sagemix", model=model, clean_weight=0.5)
    mixer(batch, labels)
    mixer.clean_loss.backward()
    last = mixer.clean_loss
    loss = 0.5 * nn.functional.cross_entropy(twin(batch), labels)
    loss.backward()
    torch.testing.assert_close(last, loss)
    mixer.eval()(batch, labels)
    assert float(mixer.clean_loss) == 0
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_schedule_and_its_spared_samples() -> None:
    batch, labels = clouds(), torch.tensor([0, 1, 2, 4])
    mixer = mixer_of("sagemix", model=RaggedModel(), schedule=mixkit.steady(epochs=4, total_steps=40))
    for _ in range(5):
        mixed, targets = mixer(batch, labels)
        assert [len(each) for each in mixed] == list(LENGTHS)
        torch.testing.assert_close(targets.sum(1), torch.ones(4))


def test_eval_and_unmixed_batches_come_back() -> None:
    batch, labels = clouds(), torch.tensor([0, 1, 2, 4])
    for mixer in (mixer_of("pointmixup").eval(), mixer_of("pointmixup", p=0.0)):
        mixed, targets = mixer(batch, labels)
        assert all(torch.equal(*pair) for pair in zip(mixed, batch, strict=True))
        assert torch.equal(targets, torch.eye(5)[labels])


def test_channels_that_are_not_plain_values() -> None:
    def cloud(count: int) -> Tensor:
        coords, normals = torch.randn(count, 3), nn.functional.normalize(torch.randn(count, 3), dim=1)
        return torch.cat([coords, normals, 100 * coords[:, 2:] + 7, torch.randint(5, (count, 1))], 1)

    batch, labels = [cloud(count) for count in LENGTHS], torch.tensor([0, 1, 2, 4])
    channels = Channels(copies={6: 2}, units=[(3, 4, 5)], ids=[7])
    for method in METHODS:
        mixer = mixer_of(method, channels=channels, saliency=lambda clouds: [torch.ones(len(each)) for each in clouds])
        mixed = torch.cat(mixer(batch, labels)[0])
        torch.testing.assert_close(mixed[:, 3:6].norm(dim=1), torch.ones(len(mixed)))
        torch.testing.assert_close(mixed[:, 6], 100 * mixed[:, 2] + 7, atol=2e-3, rtol=1e-4)
        assert set(mixed[:, 7].tolist()) <= set(range(5))


def test_collate() -> None:
    samples = list(zip(clouds(), torch.tensor([0, 1, 2, 4]), strict=True))
    mixed, targets = mixer_of("pointmixup").collate(samples)
    assert [len(each) for each in mixed] == list(LENGTHS)
    assert targets.shape == (4, 5)
    alike = [(torch.randn(9, 3), label) for _, label in samples]
    assert mixer_of("pointmixup").collate(alike)[0].shape == (4, 9, 3)
    assert isinstance(mixkit.Collate(mixer_of("pointmixup"), stack=False)(alike)[0], list)
    named = [{"cloud": cloud.numpy(), "part": torch.zeros(len(cloud), dtype=torch.long)} for cloud, _ in samples]
    batch = mixkit.Collate(mixer_of("pointcutmix_r"), "cloud", "part")(named)
    assert [each.shape for each in batch["part"]] == [(count, 5) for count in LENGTHS]


@pytest.mark.parametrize(
    ("batch", "labels", "options", "error", "words"),
    [
        (clouds(), torch.tensor([0, 1]), {}, ValueError, r"\(2,\)"),
        (clouds(), torch.tensor([0, 1, 2, 9]), {}, ValueError, "9"),
        ([torch.zeros(3, 2), torch.zeros(4, 2)], torch.tensor([0, 1]), {}, ValueError, "C >= 3"),
        ([torch.zeros(3, 3).long(), torch.zeros(4, 3).long()], torch.tensor([0, 1]), {}, TypeError, "floating point"),
        ([torch.zeros(3, 3), torch.full((4, 3), torch.nan)], torch.tensor([0, 1]), {}, ValueError, "nan in sample 1"),
        (clouds(), torch.tensor([0, 1, 2, 3]), {"layout": "bcn"}, ValueError, "'bnc'"),
        (clouds(), torch.tensor([0, 1, 2, 3]), {"size": "most"}, ValueError, "size must be one of"),
        (clouds(), torch.tensor([0, 1, 2, 3]), {"size": 0}, ValueError, "at least 1"),
        (clouds(), mixkit.PerElement(torch.tensor([0, 1, 2, 3])), {}, ValueError, "one for each of its 90 elements"),
    ],
)  # fmt: skip
def test_what_is_refused(batch: Any, labels: Any, options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        mixer_of("pointmixup", **options)(batch, labels)


def test_what_takes_samples_of_one_size_says_so() -> None:
    batch, labels = clouds(), torch.tensor([0, 1, 2, 4])
    bank = mixkit.SaliencyBank(num_samples=4)
    with pytest.raises(TypeError, match="SaliencyBank keeps samples of one size"):
        mixer_of("sagemix", saliency=bank)(batch, labels, samples=torch.arange(4))
    with pytest.raises(TypeError, match="samples of one size"):
        mixkit.create_mixer("mixup", domain="image", num_classes=5)(
            [torch.zeros(9, 3), torch.zeros(4, 3)], torch.tensor([0, 1])
        )
    small = mixkit.GradientSaliency(RaggedModel(), resolution=0.5)
    with pytest.raises(ValueError, match="resolution"):
        mixer_of("sagemix", saliency=small)(batch, labels)
    plan = mixer_of("pointmixup").plan(batch, labels)
    with pytest.raises(TypeError, match="drawn for"):
        mixer_of("pointmixup").apply_plan(plan, torch.zeros(4, 9, 3), labels)


def test_partners_by_a_rule() -> None:
    batch, labels = clouds(), torch.tensor([0, 1, 0, 1])
    for rule, wanted in (
        ("previous", [3, 0, 1, 2]),
        ("same_class", [2, 3, 0, 1]),
        (lambda labels: 0 * labels + 1, [1] * 4),
    ):
        for method in METHODS:
            plan = mixer_of(method, model=RaggedModel(), partners=rule).plan(batch, labels)
            other = plan.source[1, plan.weight[1] > 0]
            assert torch.equal(other, torch.tensor(wanted)[plan.output[plan.weight[1] > 0]])


def test_saliency_that_says_nothing_is_told_of() -> None:
    saliency = [torch.rand(count) for count in LENGTHS]
    saliency[2].zero_()
    mixer = mixer_of("sagemix", saliency=lambda _: saliency)
    with pytest.warns(UserWarning, match="in 1 of 4 samples"):
        mixer(clouds(), torch.tensor([0, 1, 2, 4]))


def test_the_same_seed_gives_the_same_mix() -> None:
    batch, labels = clouds(), torch.tensor([0, 1, 2, 4])
    for method, size in itertools.product(METHODS, ("own", "larger")):
        mixer = mixer_of(method, model=RaggedModel(), size=size)
        first, second = (mixer(batch, labels, generator=torch.Generator().manual_seed(5)) for _ in range(2))
        torch.testing.assert_close(first, second, rtol=0, atol=0)


class OneSize(mixkit.methods.Method):
    needs = frozenset({"partners"})

    def plan(self, elements: mixkit.ElementSet, context: mixkit.methods.PlanContext) -> mixkit.MixPlan:
        return mixkit.MixPlan.pair(context.partners(elements), torch.ones(1, 1))


def test_who_mixes_one_size_names_all_that_mix_others() -> None:
    mixer = mixkit.create_mixer(OneSize(), "points", num_classes=2)
    with pytest.raises(TypeError, match=r"OneSize mixes samples of one size; .*attentivemix.*gridmix.*resizemix"):
        mixer([torch.rand(3, 3), torch.rand(4, 3)], torch.arange(2))
