"""What a clean pass adds to the loss: the mean over the labels that count, with its gradients, wherever it is mixed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixkit import GradientSaliency, ManifoldMixer, create_mixer, label_confidence
from mixkit_image import MixTransform, TimmMixup

POINTS, IMAGES = torch.randn(4, 12, 3), torch.randn(4, 3, 8, 8)
PARTS = torch.randint(5, (4, 12))


class PerPoint(nn.Module):
    """Logits (B, N, 5), or of a list of clouds (L, 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 5)

    def forward(self, batch: Any) -> Tensor:
        if isinstance(batch, list):
            return torch.cat([self.forward(cloud) for cloud in batch])
        logits: Tensor = self.layer(batch)
        return logits


def clean_loss(domain: str, model: nn.Module, batch: Any, labels: Any, **options: Any) -> Tensor:
    """The clean loss of a batch, and its gradient left in the model."""
    mixer = create_mixer("sagemix", domain, **{"num_classes": 5, **options}, model=model, clean_weight=1.0)
    mixer(batch, labels)
    mixer.clean_loss.backward()
    return mixer.clean_loss.detach()


def of_images() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


IGNORED = torch.where(torch.rand(4, 12) < 0.4, 255, PARTS)
SHARES = torch.rand(4, 12, 5).softmax(2)
DEPTH = torch.rand(4, 8, 8)
LABELS = torch.tensor([1, 4, 0, 255])
MULTI = torch.tensor([[1.0, 1, 0, 0, 0], [0, 0, 0, 0, 1], [1, 0, 0, 1, 1], [0, 1, 0, 0, 0]])
CASES: dict[str, tuple[str, Callable[[], nn.Module], Any, Any, dict[str, Any], Callable[[Tensor], Tensor]]] = {
    "classes of points": ("points", PerPoint, POINTS, PARTS, {}, lambda z: F.cross_entropy(z.mT, PARTS)),
    "some of them ignored": (
        "points", PerPoint, POINTS, IGNORED, {"ignore_index": 255},
        lambda z: F.cross_entropy(z.mT, IGNORED, ignore_index=255),
    ),
    "a list of clouds, some of their points ignored": (
        "points", PerPoint, list(POINTS), list(IGNORED), {"ignore_index": 255},
        lambda z: F.cross_entropy(z, IGNORED.flatten(), ignore_index=255),
    ),
    "shares of points": ("points", PerPoint, POINTS, SHARES, {}, lambda z: F.cross_entropy(z.mT, SHARES.mT)),
    "values of pixels": (
        "image", lambda: nn.Conv2d(3, 1, 1), IMAGES, DEPTH, {"num_classes": None},
        lambda z: F.mse_loss(z[:, 0], DEPTH),
    ),
    "classes of samples, one ignored": (
        "image", of_images, IMAGES, LABELS, {"ignore_index": 255},
        lambda z: F.cross_entropy(z, LABELS, ignore_index=255),
    ),
    "multi-hot labels: the mean over the samples": (
        "image", of_images, IMAGES, MULTI, {}, lambda z: 5 * F.binary_cross_entropy_with_logits(z, MULTI),
    ),
    "a loss that is a mean": (
        "image", of_images, IMAGES, LABELS % 5, {"loss": F.cross_entropy}, lambda z: F.cross_entropy(z, LABELS % 5),
    ),
    "a loss with a number for each sample": (
        "image", of_images, IMAGES, LABELS % 5, {"loss": nn.CrossEntropyLoss(reduction="none")},
        lambda z: F.cross_entropy(z, LABELS % 5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_mean_over_the_labels_that_count(name: str) -> None:
    domain, make, batch, labels, options, loss = CASES[name]
    model = make()
    found = clean_loss(domain, model, batch, labels, **options)
    gradients = [parameter.grad for parameter in model.parameters()]
    expected = loss(model(batch))
    torch.testing.assert_close(found, expected.detach())
    torch.testing.assert_close(gradients, list(torch.autograd.grad(expected, list(model.parameters()))))


def test_where_nothing_counts_it_is_0() -> None:
    labels = torch.full((4, 12), 255)
    with pytest.warns(UserWarning, match="saliency is 0 everywhere"):
        assert clean_loss("points", PerPoint(), POINTS, labels, ignore_index=255) == 0


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_it_trains_also_where_the_batch_is_mixed_without_gradients(context: Callable[[], Any]) -> None:
    found: list[Tensor | None] = []
    for around in (torch.enable_grad, context):
        torch.manual_seed(0)
        model = of_images()
        mixer = create_mixer("sagemix", "image", num_classes=5, model=model, clean_weight=0.5)
        with around():
            mixer(IMAGES, torch.arange(4))
        mixer.clean_loss.backward()
        found += [model[0].weight.grad]
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)


@pytest.mark.parametrize("at", ["input", "layer"])
@pytest.mark.parametrize("layer", ["0", "1"])
def test_mixing_at_a_layer(at: str, layer: str) -> None:
    """Also where what follows edits the layer's output in place, and where saliency is the layer's own gradient."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    manifold = ManifoldMixer(model, [layer], "sagemix", num_classes=5, clean_weight=1.0, saliency_at=at)
    labels = torch.arange(4)
    manifold(IMAGES, labels)
    manifold.mixer.clean_loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    expected = F.cross_entropy(model(IMAGES), labels)
    torch.testing.assert_close(manifold.mixer.clean_loss.detach(), expected.detach())
    torch.testing.assert_close(gradients, list(torch.autograd.grad(expected, list(model.parameters()))))
    manifold.eval()(IMAGES, labels)
    assert manifold.mixer.clean_loss == 0


@pytest.mark.parametrize("half", [False, True])
def test_the_gradient_at_a_layer_is_that_of_a_pass_without_the_weights(half: bool) -> None:
    class Two(nn.Module):
        """Gives two tensors, of which what follows takes both."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 4), nn.Linear(3, 4)

        def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
            return self.first(points), self.second(points)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.two, self.last = Two(), nn.Linear(4, 5)

        def forward(self, points: Tensor) -> Tensor:
            one, other = self.two(points)
            return self.last((one * other.tanh()).mean(1))

    model, labels = Model(), torch.arange(4)
    model.two.first.requires_grad_(False)
    source = GradientSaliency(model)
    with torch.autocast("cpu", torch.float16, enabled=half):
        found, loss = source.gradient_with_loss(POINTS, labels, model.two)
        expected = source.gradient(POINTS, labels, model.two)
    assert len(found) == len(expected) == 2
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2 if half else 1e-5, atol=1e-5)
    loss.backward()
    assert model.two.second.weight.grad is not None
    assert model.two.first.weight.grad is None


def test_what_a_layer_returns_may_depend_on_each_other() -> None:
    class Layer(nn.Linear):
        def forward(self, points: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
            one = super().forward(points)
            return {"one": one, "other": one.tanh()}

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = Layer(3, 5)

        def forward(self, points: Tensor) -> Tensor:
            parts = self.layer(points)
            product: Tensor = (parts["one"] * parts["other"]).mean(1)
            return product

    model, labels = Model(), torch.arange(4)
    source = GradientSaliency(model)
    found, loss = source.gradient_with_loss(POINTS, labels, model.layer)
    torch.testing.assert_close(found, source.gradient(POINTS, labels, model.layer))
    loss.backward()
    gradient = model.layer.weight.grad
    torch.testing.assert_close(
        gradient, torch.autograd.grad(F.cross_entropy(model(POINTS), labels), model.layer.weight)[0]
    )


@pytest.mark.parametrize("places", ["samples", "elements"])
def test_one_soft_label_that_is_not_known_leaves_the_others_what_they_are(places: str) -> None:
    soft = torch.rand(4, 5).softmax(1) if places == "samples" else torch.rand(4, 5, 8, 8).softmax(1)
    model = nn.Conv2d(3, 5, 1) if places == "elements" else nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    known = torch.arange(4) < 3
    marked = soft.clone()
    marked[3] = -1
    found = clean_loss("image", model, IMAGES, marked, ignore_index=-1)
    torch.testing.assert_close(found, F.cross_entropy(model(IMAGES)[known], soft[known]).detach())
    mixer = create_mixer("sagemix", "image", num_classes=5, model=model, ignore_index=-1)
    logits = model(IMAGES)
    one, other = (label_confidence(logits, mixer.read(IMAGES, labels)[1]) for labels in (soft, marked))
    torch.testing.assert_close(other, torch.where(known, one, 0))
    several = (soft > soft.mean()).float()  # and multi-hot labels that are known in part are no soft ones
    several[:, 0] = -1
    binary = F.binary_cross_entropy_with_logits(logits, several.clamp_min(0), reduction="none")
    expected = (binary * (several >= 0)).sum() / (logits.numel() / 5)
    torch.testing.assert_close(clean_loss("image", model, IMAGES, several, ignore_index=-1), expected.detach())


def test_a_layer_of_vectors_costs_one_training_pass() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
    mixer = ManifoldMixer(
        model, ["3"], "sagemix", "image", num_classes=5, saliency_at="layer", clean_weight=1.0, channels_last=False
    )
    mixer(IMAGES, torch.arange(4))
    assert model[0].num_batches_tracked == 2  # the clean pass, and the mixed one


@pytest.mark.parametrize("clean_weight", [0.0, 1.0])
@pytest.mark.parametrize("at", ["input", "layer"])
def test_a_layer_that_does_not_run_is_named(at: str, clean_weight: float) -> None:
    model = PerPoint()
    model.unused = nn.Linear(3, 3)
    mixer = ManifoldMixer(
        model, ["unused"], "sagemix", "points", num_classes=5, saliency_at=at, clean_weight=clean_weight
    )
    with pytest.raises(RuntimeError, match="did not run"):
        mixer(POINTS, PARTS)


def test_none_is_left_of_the_batch_before() -> None:
    images, labels = IMAGES, torch.arange(4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    transform = MixTransform("comixup", num_classes=5, model=model)
    transform(images, labels)
    assert transform.mixer.clean_loss > 0
    transform.eval()(images, labels)
    assert transform.mixer.clean_loss == 0
    timm = TimmMixup(["comixup", "cutmix"], num_classes=5, model=model, switch_prob=0.0)
    timm(images, labels)
    assert timm.mixers[0].clean_loss > 0
    timm.switch_prob = 1.0  # the other method's turn
    timm(images, labels)
    assert timm.mixers[0].clean_loss == 0
