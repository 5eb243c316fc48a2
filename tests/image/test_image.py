"""Pixel grids, their transforms, and spectral-residual saliency."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torchvision import tv_tensors
from torchvision.transforms import v2

import mixkit
import mixkit_image
from mixkit_image import PixelGrid, spectral_residual
from tests.conftest import ImageModel


def test_elements_are_pixels_in_row_major_order() -> None:
    images = torch.randn(2, 3, 4, 5)
    elements = PixelGrid().elements(images)
    assert elements.grid == (4, 5)
    for row, column in ((0, 0), (1, 3), (3, 4)):
        pixel = row * 5 + column
        assert elements.coords[1, pixel].tolist() == [column, row]
        assert torch.equal(elements.values[:, pixel], images[:, :, row, column])
    assert torch.equal(PixelGrid().batch(elements, images), images)


def test_length_scale_is_the_papers_on_cifar() -> None:
    grid = PixelGrid()
    assert grid.elements(torch.zeros(1, 3, 32, 32)).length_scale == 8
    assert grid.elements(torch.zeros(1, 3, 32, 20)).length_scale == 5


@pytest.mark.parametrize("size", [(8, 8), (7, 12), (12, 5)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("method", ["mixup", "sagemix"])
def test_memory_format_is_kept(size: tuple[int, int], memory_format: torch.memory_format, method: str) -> None:
    images = torch.randn(4, 3, *size).contiguous(memory_format=memory_format)
    mixer = mixkit.create_mixer(method, "image", num_classes=4, saliency="spectral_residual")
    mixed, _ = mixer(images, torch.arange(4))
    assert mixed.is_contiguous(memory_format=memory_format)
    assert mixed.stride() == images.stride()


def test_slices_of_larger_images_work() -> None:
    whole = torch.randn(4, 6, 20, 20)
    images = whole[:, ::2, 3:11, 2:9]
    mixer = mixkit.create_mixer("mixup", "image", num_classes=4)
    plan = mixer.plan(images, torch.arange(4))
    torch.testing.assert_close(
        mixer.apply_plan(plan, images, torch.arange(4))[0],
        mixer.apply_plan(plan, images.contiguous(), torch.arange(4))[0],
    )


def test_sagemix_on_images_is_smooth_around_the_queries() -> None:
    mixer = mixkit.create_mixer("sagemix", "image", num_classes=2, query="uniform")
    images = torch.tensor([1.0, 0.0])[:, None, None, None].expand(2, 1, 32, 32).repeat(32, 1, 1, 1)
    plan = mixer.plan(images, torch.zeros(64, dtype=torch.long))
    weight = plan.weight[:, 0].unflatten(1, (32, 32))
    slope = max(weight.diff(dim=1).abs().max(), weight.diff(dim=2).abs().max())
    assert 0 < slope < 31 / 64 / 4 + 0.01  # |q_a - q_b| / sigma^2 / 4 at the most, on one axis


def test_feature_cells_lie_at_their_centres_in_input_pixels() -> None:
    grid = PixelGrid()
    elements = grid.elements(torch.randn(2, 3, 8, 12))
    features = grid.feature_elements(torch.randn(2, 16, 4, 6), elements)
    assert features.grid == (4, 6)
    assert features.values.shape == (2, 24, 16)
    assert features.coords[0, 0].tolist() == [0.5, 0.5]
    assert features.coords[1, -1].tolist() == [10.5, 6.5]


def test_activations_are_known_by_the_grid_they_make() -> None:
    grid = PixelGrid()
    elements = grid.elements(torch.randn(2, 3, 32, 48))
    for shape, cells in {
        (2, 5, 16, 24): (16, 24),  # a feature map
        (2, 8, 12, 64): (8, 12),  # channels last
        (2, 24, 7): (4, 6),  # patches of 8 x 8
        (2, 25, 7): (4, 6),  # and a class token
        (2, 29, 7): (4, 6),  # and four registers
    }.items():
        features = grid.feature_elements(torch.randn(shape), elements)
        assert features.grid == cells
        assert features.values.shape[1] == cells[0] * cells[1]
    assert grid.feature_elements(torch.randn(2, 64), elements) is None
    for shape in ((2, 64, 1024, 20), (2, 23, 7), (2, 3, 4, 5, 6)):
        with pytest.raises(ValueError, match=r"neither|cannot read"):
            grid.feature_elements(torch.randn(shape), elements)
    with pytest.raises(ValueError, match="a dict"):
        grid.feature_elements({}, elements)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (torch.zeros(3, 8, 8), ValueError, r"\(B, C, H, W\), got \(3, 8, 8\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), TypeError, r"torch\.uint8; .*v2\.ToDtype"),
        (torch.zeros(0, 3, 8, 8), ValueError, r"got \(0, 3, 8, 8\)"),
        ([1, 2], ValueError, "got list"),
    ],
)
def test_what_is_no_image_is_named(images: Any, error: type[Exception], message: str) -> None:
    mixer = mixkit.create_mixer("mixup", "image", num_classes=4)
    with pytest.raises(error, match=message):
        mixer(images, torch.zeros(2, dtype=torch.long))


# ---- spectral residual


def loop_spectral_residual(image: Tensor) -> Tensor:
    """The log spectrum less its 3 x 3 mean (wrapping around), back with its phase, squared; before the blur."""
    spectrum = torch.fft.fft2(image)
    log = torch.log(spectrum.abs() + 1e-8)
    height, width = image.shape
    residual = torch.empty_like(log)
    for i in range(height):
        for j in range(width):
            around = [log[(i + di) % height, (j + dj) % width] for di in (-1, 0, 1) for dj in (-1, 0, 1)]
            residual[i, j] = log[i, j] - torch.stack(around).mean()
    return torch.fft.ifft2(torch.exp(residual) * torch.exp(1j * spectrum.angle())).abs().square()


def test_spectral_residual_is_what_the_paper_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixkit_image.spectral._BLUR", 0.0)
    image = torch.rand(12, 9)
    expected = loop_spectral_residual(image).flatten()
    found = spectral_residual(image.expand(1, 3, 12, 9))[0]
    torch.testing.assert_close(found, expected / expected.sum(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("size", [(32, 32), (100, 140)])
def test_spectral_residual_finds_the_odd_one_out(size: tuple[int, int]) -> None:
    height, width = size
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = 0.5 + 0.3 * torch.sin(columns / 2.0) * torch.sin(rows / 2.0)
    top, left = height // 2, width // 4
    image[top : top + height // 8, left : left + width // 8] = 1.5
    found = spectral_residual(image.expand(2, 3, height, width)).unflatten(1, size)[1]
    peak = found.argmax()
    assert top - 3 <= peak // width <= top + height // 8 + 3
    assert left - 3 <= peak % width <= left + width // 8 + 3


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (2, 1, 2, 3), (1, 3, 224, 70), (2, 3, 8, 8)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_spectral_residual_takes_any_size(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    for images in (torch.rand(shape).to(dtype), torch.zeros(shape, dtype=dtype)):
        saliency = spectral_residual(images)
        assert saliency.shape == (shape[0], shape[2] * shape[3])
        assert saliency.dtype == torch.float32
        assert torch.isfinite(saliency).all()
        assert (saliency >= 0).all()


# ---- transforms

TRANSFORMS = {"sagemix": mixkit_image.SageMix, "mixup": mixkit_image.Mixup}
transforms = pytest.mark.parametrize("transform", [make(num_classes=7) for make in TRANSFORMS.values()], ids=TRANSFORMS)


@transforms
def test_three_ways_to_call_a_transform(transform: Any) -> None:
    images, labels = torch.rand(7, 3, 8, 10), torch.arange(7)
    results = []
    for sample in ((images, labels), {"image": images, "labels": labels, "path": "here"}):
        torch.manual_seed(1)
        results.append(transform(sample))
    torch.manual_seed(1)
    results.append(transform(images, labels))
    assert isinstance(results[0], tuple)
    assert results[1]["path"] == "here"
    mixed, targets = results[0]
    for other in (tuple(results[1].values())[:2], results[2]):
        assert torch.equal(mixed, other[0])
        assert torch.equal(targets, other[1])
    assert mixed.shape == images.shape
    assert targets.shape == (7, 7)
    torch.testing.assert_close(targets.sum(1), torch.ones(7), rtol=0, atol=1e-6)
    assert images._version == labels._version == 0


def test_mixed_images_hold_what_the_targets_say() -> None:
    """Distinct labels and constant images: an image's mean is its label's expectation."""
    images = torch.arange(7.0)[:, None, None, None].expand(7, 3, 8, 10)
    for make in TRANSFORMS.values():
        mixed, targets = make(num_classes=7, p=1.0)(images, torch.arange(7))
        torch.testing.assert_close(mixed.mean((1, 2, 3)), targets @ torch.arange(7.0))


@transforms
def test_transforms_compose_and_are_chosen_among(transform: Any) -> None:
    chain = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomChoice([transform, v2.MixUp(num_classes=7)])])
    mixed, targets = chain(tv_tensors.Image(torch.rand(7, 3, 8, 8)), torch.arange(7))
    assert mixed.shape == (7, 3, 8, 8)
    assert isinstance(mixed, tv_tensors.Image)
    assert targets.shape == (7, 7)


@transforms
def test_transforms_collate_in_workers_reproducibly(transform: Any) -> None:
    data = TensorDataset(torch.rand(14, 3, 8, 8), torch.arange(14) % 7)

    def epoch(seed: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        loader = DataLoader(data, 7, collate_fn=transform.collate, num_workers=2, generator=generator)
        return [images for images, _ in loader]

    first, again, other = epoch(1), epoch(1), epoch(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], data.tensors[0][:7])


def test_eval_mode_passes_images() -> None:
    images = torch.rand(7, 3, 8, 8)
    mixed, targets = mixkit_image.SageMix(num_classes=7).eval()(images, torch.arange(7))
    assert torch.equal(mixed, images)
    assert torch.equal(targets, torch.eye(7))


def test_any_method_by_name() -> None:
    transform = mixkit_image.MixTransform("pointmixup", num_classes=7, alpha=2.0)
    assert (transform(torch.rand(7, 3, 8, 8), torch.arange(7))[1] > 0).sum() > 7
    assert "PointMixup(alpha=2.0" in repr(transform)


def test_masks_are_mixed_by_the_same_plan() -> None:
    transform = mixkit_image.MixTransform("sagemix", num_classes=7, mask_classes=4, ignore_index=255)
    images, labels = torch.rand(7, 3, 8, 10), torch.arange(7)
    mask = torch.randint(4, (7, 8, 10))
    pictures = mask[:, None].expand(-1, 3, -1, -1).float()  # images that show their masks
    mask[:, 0] = 255
    for given in (mask, mask[:, None], mask.byte()):
        mixed = transform({"image": pictures, "labels": labels, "mask": tv_tensors.Mask(given)})
        assert mixed["mask"].shape == (7, 4, 8, 10)
        assert mixed["labels"].shape == (7, 7)
        shown = (mixed["mask"] * torch.arange(4.0)[:, None, None]).sum(1)[:, 1:]
        torch.testing.assert_close(shown, mixed["image"][:, 0, 1:])
        assert mixed["mask"][:, :, 0].abs().sum() == 0
    alone = transform({"image": images, "mask": tv_tensors.Mask(mask)})
    assert alone["mask"].shape == (7, 4, 8, 10)
    with pytest.raises(ValueError, match="mask_classes=K"):
        mixkit_image.SageMix(num_classes=7)({"image": images, "labels": labels, "mask": tv_tensors.Mask(mask)})


def test_masks_survive_the_loader() -> None:
    transform = mixkit_image.MixTransform("mixup", num_classes=7, mask_classes=4)
    for shape in ((8, 10), (1, 8, 10)):
        samples = [
            {"image": torch.rand(3, 8, 10), "label": i, "mask": tv_tensors.Mask(torch.randint(4, shape))}
            for i in range(7)
        ]
        mixed = transform.collate(samples)
        assert mixed["mask"].shape == (7, 4, 8, 10)
        assert mixed["label"].shape == (7, 7)


def test_a_transform_by_a_models_saliency() -> None:
    model = ImageModel(7)
    images, labels = torch.rand(7, 3, 8, 8), torch.arange(7)
    assert mixkit_image.SageMix(num_classes=7, model=model)(images, labels)[1].shape == (7, 7)
    transform = mixkit_image.SageMix(num_classes=7, model=model)
    with pytest.raises(ValueError, match="after the loader"):
        transform.collate([(images[0], 0), (images[1], 1)])


def test_transform_errors() -> None:
    transform = mixkit_image.SageMix(num_classes=7)
    images, labels = torch.rand(7, 3, 8, 8), torch.arange(7)
    with pytest.raises(ValueError, match="no labels"):
        transform(images)
    with pytest.raises(ValueError, match="no labels"):
        transform({"image": images, "category": labels})
    with pytest.raises(ValueError, match=r"one batch of images.*\(3, 8, 8\)"):
        transform(images[0], labels)
    with pytest.raises(TypeError, match="uint8"):
        transform((images * 255).byte(), labels)
    boxes = tv_tensors.BoundingBoxes(torch.zeros(7, 4), format="XYXY", canvas_size=(8, 8))
    with pytest.raises(ValueError, match="bounding boxes"):
        transform({"image": images, "labels": labels, "boxes": boxes})
    with pytest.raises(ValueError, match="labels_getter"):
        mixkit_image.SageMix(num_classes=7, labels_getter="labels")
    with pytest.raises(ValueError, match="num_classes"):
        mixkit_image.Mixup()(images, labels)
    named = mixkit_image.Mixup(num_classes=7, labels_getter=lambda sample: sample["category"])
    assert named({"image": images, "category": labels})["category"].shape == (7, 7)
