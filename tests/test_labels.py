"""The rule by which labels are read, on every kind of them, against plain loops over samples and elements."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import default_collate

import mixkit
from mixkit import ManifoldMixer, Mixer, MixPlan, PerElement, PerSample, create_mixer

B, N, H, W, K = 5, 12, 4, 6, 3


def points_and_images(method: str = "pointcutmix_k", **options: Any) -> list[tuple[Mixer, Tensor, tuple[int, ...]]]:
    """A mixer of each domain with a weight per element, a batch, and the sides of its elements."""
    image = create_mixer({"pointcutmix_k": "cutmix"}.get(method, method), "image", p=1.0, **options)
    return [
        (create_mixer(method, "points", p=1.0, **options), torch.rand(B, N, 3), (N,)),
        (image, torch.rand(B, 3, H, W), (H, W)),
    ]


def by_element(plan: MixPlan, values: Tensor) -> Tensor:
    """(M, N, ...) mixed from (B, N, ...), element by element."""
    mixed = torch.zeros(plan.num_outputs, *values.shape[1:], dtype=torch.float64)
    for m in range(plan.num_outputs):
        for k in range(plan.num_terms):
            for i in range(values.shape[1]):
                source = plan.source[m, k, min(i, plan.source.shape[2] - 1)]
                weight = plan.weight[m, k, min(i, plan.weight.shape[2] - 1)]
                there = i if plan.index is None else plan.index[m, k, i]
                mixed[m, i] += float(weight) * values[source, there].double()
    return mixed


def by_sample(plan: MixPlan, values: Tensor) -> Tensor:
    """(M, ...) mixed from (B, ...) by each sample's mean weight."""
    size = plan.num_elements or 1
    mixed = torch.zeros(plan.num_outputs, *values.shape[1:], dtype=torch.float64)
    for m in range(plan.num_outputs):
        for k in range(plan.num_terms):
            for i in range(size):
                source = plan.source[m, k, min(i, plan.source.shape[2] - 1)]
                weight = plan.weight[m, k, min(i, plan.weight.shape[2] - 1)]
                mixed[m] += float(weight) * values[source].double() / size
    return mixed


def close(found: Tensor, expected: Tensor) -> None:
    assert found.dtype in (torch.float32, torch.float64)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)


def shared_plan(mixer: Mixer, batch: Tensor, labels: Any) -> tuple[MixPlan, Any]:
    plan = mixer.plan(batch, labels)
    assert plan.weight.shape[2] > 1
    return plan, mixer.apply_plan(plan, batch, labels)[1]


# ---- of the elements


@pytest.mark.parametrize("method", ["pointcutmix_k", "sagemix"])
def test_a_dense_float_target_follows_the_elements(method: str) -> None:
    """What is computed from the batch mixes as the batch does."""
    options = {"query": "uniform"} if method == "sagemix" else {}
    for mixer, batch, sides in points_and_images(method, **options):
        channel = batch[:, :1] if len(sides) == 2 else batch[:, :, :1]
        for labels in (channel, PerElement(channel), channel.double(), (channel > 0.5).float(), channel > 0.5):
            plan, targets = shared_plan(mixer, batch, labels)
            raw = labels.labels if isinstance(labels, PerElement) else labels
            rows = raw.reshape(B, -1)
            assert targets.shape == raw.shape
            close(targets.reshape(B, -1), by_element(plan, rows.double()))
        mixed, targets = mixer(batch, channel)
        torch.testing.assert_close(targets, mixed[:, :1] if len(sides) == 2 else mixed[:, :, :1])


@pytest.mark.parametrize("shape", [(H, W), (1, H, W), (K, H, W), (2, 5, H, W), (7, H * W)])
@pytest.mark.parametrize("num_classes", [None, K])
def test_dense_float_layouts_of_images(shape: tuple[int, ...], num_classes: int | None) -> None:
    mixer, batch, _ = points_and_images(num_classes=num_classes)[1]
    labels = torch.rand(B, *shape)
    if num_classes and shape != (K, H, W):
        with pytest.raises(ValueError, match=r"soft labels must be \(5, 3\).*per element \(5, 3, 4, 6\)"):
            mixer(batch, labels)
        return
    plan, targets = shared_plan(mixer, batch, labels)
    flat = labels.reshape(B, -1, H * W).mT
    close(targets.reshape(B, -1, H * W).mT, by_element(plan, flat))
    assert targets.shape == labels.shape


@pytest.mark.parametrize("shape", [(N, K), (K, N), (N, 1), (N, 2, 5)])
def test_dense_float_layouts_of_points(shape: tuple[int, ...]) -> None:
    for num_classes in (None, *([K] if K in shape else [])):
        mixer, batch, _ = points_and_images(num_classes=num_classes)[0]
        labels = torch.rand(B, *shape)
        plan, targets = shared_plan(mixer, batch, labels)
        close(targets, by_element(plan, labels) if shape[0] == N else by_element(plan, labels.mT).mT)


def test_integers_per_element_in_every_layout() -> None:
    for mixer, batch, sides in points_and_images(num_classes=K):
        classes = torch.randint(K, (B, *sides))
        planes = F.one_hot(classes, K).movedim(-1, 1)
        layouts = [classes, classes.flatten(1), planes, planes.bool(), planes.flatten(2)]
        layouts += [classes[:, None]] if len(sides) == 2 else [classes[:, :, None], planes.mT]
        for labels in layouts:
            plan, targets = shared_plan(mixer, batch, labels)
            if labels.shape == planes.mT.shape and len(sides) == 1:
                targets = targets.mT
            close(targets.reshape(B, K, -1).mT, by_element(plan, planes.flatten(2).mT.double()))


# ---- of the samples


def test_a_class_by_any_name() -> None:
    """(B,), (B, 1), lists, NumPy of either byte order, one-hot and multi-hot integers: the same targets."""
    classes = torch.randint(7, (B,))
    one_hot = F.one_hot(classes, 7)
    for mixer, batch, _ in points_and_images(num_classes=7):
        plan = mixer.plan(batch, classes)
        for labels in (
            classes, classes[:, None], classes.tolist(), tuple(classes.tolist()), list(classes), classes.numpy(),
            classes.numpy().astype(">i4"), classes[:, None].numpy().astype(np.uint16), classes.to(torch.uint64),
            list(classes.numpy()), one_hot, one_hot.bool(), one_hot.tolist(), one_hot.double().numpy(), one_hot.half(),
            PerSample(classes), PerSample(one_hot),
        ):  # fmt: skip
            found = mixer.apply_plan(plan, batch, labels)[1]
            close(found, by_sample(plan, one_hot.double()))
            assert found.shape == (B, 7)
        close(plan.targets(one_hot, 7), by_sample(plan, one_hot.double()))
        close(plan.targets(classes[:, None].numpy(), 7), by_sample(plan, one_hot.double()))
    several = torch.tensor([[1, 1, 0, 0, 0, 0, 1], [0] * 7] * 3)[:B]
    close(mixer.apply_plan(plan, batch, several)[1], by_sample(plan, several.double()))


def test_values_of_samples() -> None:
    for mixer, batch, _ in points_and_images():
        for labels in (
            torch.randn(B),
            torch.randn(B, 1),
            torch.randn(B, 5),
            torch.randn(B, 2, 2, 2),
            torch.rand(B) > 0.5,
        ):
            plan, targets = shared_plan(mixer, batch, labels)
            close(targets, by_sample(plan, labels.double()))
        numbers = np.random.default_rng(0).normal(size=(B, 2))
        assert mixer(batch, numbers)[1].dtype == torch.float64
        assert mixer(batch, numbers.tolist())[1].dtype == torch.float32


def test_a_label_that_is_nan_reaches_what_its_sample_is_part_of() -> None:
    source = torch.tensor([[[0, 0, 1, 1]], [[2, 2, 2, 2]], [[1, 1, 1, 1]]])
    plan = MixPlan(source, None, torch.ones(3, 1, 4), num_samples=3)
    found = plan.targets(torch.tensor([2.0, float("nan"), 4.0]))
    assert found.isnan().tolist() == [True, False, True]
    assert found[1] == 4


# ---- where the shape leaves doubt


@pytest.mark.parametrize("domain", [0, 1])
def test_where_both_fit_the_error_shows_both_and_the_caller_says_it(domain: int) -> None:
    mixer, batch, _ = points_and_images(num_classes=N if domain == 0 else H * W)[domain]
    size = mixer.num_classes
    hot = torch.eye(size, dtype=torch.long)[torch.randint(size, (B,))]
    with pytest.raises(ValueError, match=r"multi-hot.*or as a class per element.*PerSample.*PerElement"):
        mixer(batch, hot)
    plan, targets = shared_plan(mixer, batch, PerSample(hot))
    close(targets, by_sample(plan, hot.double()))
    plan, targets = shared_plan(mixer, batch, PerElement(hot))
    close(targets.mT, by_element(plan, F.one_hot(hot, size).double()))
    close(
        mixer.apply_plan(plan, batch, hot.float())[1], by_sample(plan, hot.double())
    )  # floats with num_classes are shares
    close(mixer.apply_plan(plan, batch, hot.bool())[1], by_sample(plan, hot.double()))
    values = torch.randn(B, size)
    regression = points_and_images()[domain][0]
    with pytest.raises(ValueError, match=r"values per sample or as values per element.*PerSample"):
        regression(batch, values)
    close(regression.apply_plan(plan, batch, PerSample(values))[1], by_sample(plan, values.double()))
    close(regression.apply_plan(plan, batch, PerElement(values))[1], by_element(plan, values.double()))


def test_a_square_of_points_needs_to_say_its_elements() -> None:
    mixer, batch, _ = points_and_images()[0]
    values = torch.rand(B, N, N)
    with pytest.raises(ValueError, match=r"which dimension 1 counts or dimension 2.*labels\.mT"):
        mixer(batch, values)
    plan, targets = shared_plan(mixer, batch, PerElement(values))
    close(targets, by_element(plan, values))
    close(mixer.apply_plan(plan, batch, PerSample(values))[1], by_sample(plan, values))


def test_wrappers_pass_through_loaders_and_copies() -> None:
    samples = [(torch.rand(N, 3), PerElement(torch.rand(N))) for _ in range(B)]
    batch, labels = default_collate(samples)
    assert isinstance(labels, PerElement)
    assert isinstance(pickle.loads(pickle.dumps(labels)), PerElement)
    mixer = points_and_images()[0][0]
    assert mixer(batch, {"height": labels, "mass": torch.rand(B)})[1]["height"].shape == (B, N)
    assert [target.shape for target in mixer(batch, (labels, PerSample(torch.rand(B, N))))[1]] == [(B, N), (B, N)]


# ---- what does not count


def test_a_sample_without_a_label_adds_nothing() -> None:
    classes = torch.tensor([0, -1, 2, -1, 1])
    shares = torch.zeros(B, K, dtype=torch.float64)
    shares[[0, 2, 4], [0, 2, 1]] = 1
    for method in ("pointcutmix_k", "mixup"):
        for mixer, batch, _ in points_and_images(method, num_classes=K, ignore_index=-1):
            plan = mixer.plan(batch, classes)
            targets = mixer.apply_plan(plan, batch, classes)[1]
            close(targets, by_sample(plan, shares))
            close(plan.targets(classes, K, ignore_index=-1), by_sample(plan, shares))
            logits = torch.randn(B, K, dtype=torch.float64)
            log, counted = logits.log_softmax(1), targets.double()
            expected = -(counted * log).sum() / counted.sum()
            close(mixkit.soft_cross_entropy(logits, counted), expected)
            plain = mixer.eval()(batch, classes)[1]
            close(mixkit.soft_cross_entropy(logits, plain), F.cross_entropy(logits, classes, ignore_index=-1))


def test_what_is_mixed_with_something_unknown_is_unknown() -> None:
    for mixer, batch, sides in points_and_images(num_classes=K, ignore_index=-1):
        labels = torch.tensor([[1.0, 0, -1]] + [[0.0, 1, 1]] * (B - 1))
        plan = mixer.plan(batch, labels)
        unknown = by_sample(plan, (labels == -1).double()) > 0
        expected = by_sample(plan, labels.clamp_min(0)).masked_fill(unknown, -1)
        for each in (labels, labels.long()):
            close(mixer.apply_plan(plan, batch, each)[1], expected)
        assert bool(unknown.any())
        assert not bool(unknown.all())
        depth = torch.rand(B, *sides, 1).movedim(-1, 1) + 1
        depth[0].flatten()[:5] = -1
        depth[0].view(-1)[:5] = -1
        values = points_and_images(ignore_index=-1)[len(sides) - 1][0]
        rows = depth.reshape(B, -1)
        gone = by_element(plan, (rows == -1).double()) > 0
        depth = depth if len(sides) == 2 else depth.mT
        found = values.apply_plan(plan, batch, depth)[1]
        close(found.reshape(B, -1), by_element(plan, rows.clamp_min(0)).masked_fill(gone, -1))


def test_one_ignore_index_for_several_labels() -> None:
    mixer, batch, _ = points_and_images(num_classes=(7, K), ignore_index=0)[0]
    labels = torch.randint(7, (B,)), torch.randint(K, (B, N))
    with pytest.raises(ValueError, match="ignore_index=0 is one of the 7 classes"):
        mixer(batch, labels)
    mixer, *_ = points_and_images(num_classes=(7, K), ignore_index=(None, 0))[0]
    category, parts = mixer(batch, labels)[1]
    torch.testing.assert_close(category.sum(1), torch.ones(B))
    assert (parts[:, 0] == 0).all()
    depth = torch.full((B, N, 1), 255.0)
    mixer, *_ = points_and_images(num_classes={"part": K, "depth": None}, ignore_index=255)[0]
    assert (mixer(batch, {"part": torch.full((B, N), 255), "depth": depth})[1]["depth"] == 255).all()


# ---- the same rule elsewhere


def test_inside_a_model() -> None:
    model = nn.Conv2d(3, 3, 1)
    manifold = ManifoldMixer(model, ["input"], "cutmix", "image", p=1.0)
    batch = torch.rand(B, 3, H, W)
    output, targets = manifold(batch, batch[:, :1])
    mixed = torch.linalg.solve(model.weight[:, :, 0, 0], (output - model.bias[:, None, None]).flatten(2))
    torch.testing.assert_close(targets.flatten(2), mixed[:, :1], rtol=1e-3, atol=1e-4)
    for labels in ([0, 1, 2, 0, 1], np.arange(B)[:, None] % K):
        assert ManifoldMixer(model, ["input"], "cutmix", "image", num_classes=K)(batch, labels)[1].shape == (B, K)


def test_of_a_plan() -> None:
    mixer, batch, _ = points_and_images()[1]
    plan = mixer.plan(batch, torch.rand(B))
    for labels in (torch.rand(B, H, W), torch.rand(B, 2, H, W), torch.rand(B, H * W), torch.rand(B, H * W, 2)):
        rows = labels if labels.shape[1] == H * W else labels.reshape(B, -1, H * W).mT
        found = plan.element_targets(labels, None)
        assert found.shape == labels.shape
        close(found if labels.shape[1] == H * W else found.reshape(B, -1, H * W).mT, by_element(plan, rows))
    with pytest.raises(ValueError, match=r"\(5, 24\) or with more sides.*got \(5, 25\)"):
        plan.element_targets(torch.rand(B, 25), None)


def test_float_masks_of_transforms_stay_floats() -> None:
    tv_tensors = pytest.importorskip("torchvision.tv_tensors")
    from mixkit_image import MixTransform

    images = torch.rand(B, 3, H, W)
    for shape, mask_classes in (((H, W), None), ((1, H, W), None), ((K, H, W), K)):
        mask = images[:, :1].expand(B, *shape[-3:]) if len(shape) == 3 else images[:, 0]
        transform = MixTransform("cutmix", num_classes=7, mask_classes=mask_classes, p=1.0)
        mixed, _, targets = transform(images, torch.arange(B), tv_tensors.Mask(mask))
        expected = mixed[:, :1].expand(B, *shape) if len(shape) == 3 else mixed[:, 0]
        torch.testing.assert_close(targets.as_subclass(Tensor), expected)
    with pytest.raises(ValueError, match="a mask needs mask_classes"):
        MixTransform("cutmix", num_classes=7)(images, torch.arange(B), tv_tensors.Mask(mask.long()))
    ignoring = MixTransform("mixup", num_classes=7, ignore_index=-1)
    targets = ignoring(images, torch.tensor([-1] * B))[1]
    assert torch.equal(targets, torch.zeros(B, 7))


# ---- errors


@pytest.mark.parametrize(
    ("labels", "num_classes", "error", "message"),
    [
        (torch.zeros(B, H, W, K).long(), K, ValueError, r"got \(5, 4, 6, 3\).*labels\.movedim\(-1, 1\)"),
        (torch.zeros(B, H, W, 2), None, ValueError, r"\(5, \.\.\., 4, 6\), got \(5, 4, 6, 2\).*movedim"),
        (torch.zeros(B, 1).long(), 1, ValueError, r"labels\[:, 0\] for classes, labels\.float\(\) for shares"),
        (torch.full((B, K), 2), K, ValueError, "must be 0 or 1, got 2 to 2"),
        (torch.full((B, K), -1.0), K, ValueError, r"not be negative, got -1\.0.*ignore_index"),
        (torch.zeros(B, H, W).bool(), K, ValueError, r"torch\.bool; per element \(5, 3, 4, 6\)"),
        (torch.zeros(B, 4).long(), None, ValueError, r"need num_classes, got \(5, 4\).*labels\.float\(\)"),
        (torch.zeros(()), None, ValueError, r"must be \(5,\), got \(\)"),
        (PerSample(torch.zeros(B, H, W).long()), K, ValueError, "got .* in PerSample"),
        (PerElement(torch.zeros(B, 2)), None, ValueError, r"per element must be .*got \(5, 2\).*in PerElement"),
        (torch.zeros(B, dtype=torch.complex64), K, TypeError, "must be real numbers, got torch.complex64"),
        (torch.zeros(B, device="meta"), None, TypeError, "labels must be a dense tensor.*meta"),
        (torch.eye(B).to_sparse(), K, TypeError, "labels must be a dense tensor.*sparse_coo"),
        ([[0, 1], [1]], K, TypeError, "unequal lengths"),
        (None, K, TypeError, "a list of numbers, got NoneType"),
        (np.array(["a"] * B), K, TypeError, "got ndarray of <U1"),
        (torch.zeros(B).long(), 2.5, TypeError, "num_classes must be a whole number.*got 2.5"),
        (torch.zeros(B).long(), "4", TypeError, "num_classes must be a whole number.*got '4'"),
        (torch.zeros(B).long(), (True,), TypeError, "got True"),
        (torch.zeros(B).long(), 0, ValueError, "num_classes must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_what_fits_nothing_is_told_what_would(
    labels: Any, num_classes: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        create_mixer("cutmix", "image", num_classes=num_classes)(torch.rand(B, 3, H, W), labels)


def test_nested_batches_are_of_clouds() -> None:
    batch = torch.nested.nested_tensor([torch.rand(N, 3)] * B, layout=torch.jagged)
    with pytest.raises(TypeError, match=r"takes samples of one size, got \d+ of different sizes"):
        create_mixer("mixup", "image", num_classes=K)(batch, torch.zeros(B).long())


@pytest.mark.parametrize("kind", ["meta", "sparse"])
def test_batches_without_plain_memory_are_named(kind: str) -> None:
    batch = {
        "meta": lambda: torch.zeros(B, N, 3, device="meta"),
        "sparse": lambda: torch.rand(B, N, 3).to_sparse(),
    }[kind]()
    with pytest.raises(TypeError, match=f"the batch must be a dense tensor, got .*{kind}"):
        points_and_images("mixup", num_classes=K)[0][0](batch, torch.zeros(B).long())


def test_editing_targets_leaves_the_labels_alone() -> None:
    mixer, batch, _ = points_and_images()[0]
    for labels in (torch.rand(B), torch.rand(B, N, 1)):
        before = labels.clone()
        mixer.eval()(batch, labels)[1].zero_()
        assert torch.equal(labels, before)


@pytest.mark.parametrize("wrong", [0.5, "255", True, (0.5, None)])
def test_an_ignore_index_is_a_whole_number(wrong: Any) -> None:
    with pytest.raises(TypeError, match="ignore_index must be a whole number"):
        mixkit.create_mixer("mixup", "image", num_classes=4, ignore_index=wrong)
