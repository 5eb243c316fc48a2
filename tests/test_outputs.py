"""Saliency for every loss and kind of output, against the gradient written out; and what says nothing, said once."""

from __future__ import annotations

import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixkit import GradientSaliency, ManifoldMixer, PerElement, PerSample, create_mixer
from mixkit.confidence import label_confidence
from mixkit.label_tree import read_labels
from mixkit.labels import Size
from mixkit.outputs import find_logits, map_tensors
from mixkit.registry import get_domain

B, N = 6, 20
POINTS = get_domain("points")()
Named = namedtuple("Named", ["logits", "aux"])


@dataclass
class Output:
    loss: Any
    logits: Tensor


class Holding(OrderedDict):
    """As Hugging Face's outputs are: a dict whose entries are attributes too."""

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        super().__setattr__(name, value)


WRAPPED: dict[str, Callable[[Tensor], Any]] = {
    "tensor": lambda logits: logits,
    "tuple": lambda logits: (logits, logits.square()),
    "list": lambda logits: [logits],
    "pair": lambda logits: ((logits, logits), logits.detach()),
    "dict": lambda logits: {"logits": logits, "loss": None},
    "segmentation": lambda logits: OrderedDict(out=logits, aux=2 * logits),
    "named": lambda logits: Named(logits, logits),
    "dataclass": lambda logits: Output(None, logits),
    "namespace": lambda logits: SimpleNamespace(logits=logits),
    "mapping": lambda logits: Holding(logits=logits, hidden=(logits,)),
}


class Head(nn.Module):
    """Points to numbers of some shape, in any wrapping."""

    def __init__(self, *sides: int, wrap: str = "tensor", per_point: bool = False) -> None:
        super().__init__()
        self.sides, self.wrap, self.per_point = sides, wrap, per_point
        self.first = nn.Linear(3, 16)
        self.last = nn.Linear(16, max(torch.Size(sides).numel(), 1))

    def forward(self, points: Tensor) -> Any:
        features = self.first(points).tanh()
        numbers = self.last(features if self.per_point else features.mean(1))
        return WRAPPED[self.wrap](numbers.mT if self.per_point else numbers.reshape(len(points), *self.sides))


def gradient_norm(model: nn.Module, points: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    inputs = points.clone().requires_grad_()
    loss(find_logits(model.double()(inputs))).backward()
    model.float()
    return inputs.grad.norm(dim=2).float()


def check(model: nn.Module, labels: Any, num_classes: Any, loss: Callable[[Tensor], Tensor], **options: Any) -> None:
    """The mixer's saliency is that of the loss; without a word of empty saliency."""
    points = torch.randn(B, N, 3)
    mixer = create_mixer("sagemix", "points", model=model, num_classes=num_classes, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        elements, read = mixer.read(points, labels)
        found = mixer.find_saliency(points, read, elements)
        mixer(points, labels)
    expected = gradient_norm(model, points.double(), loss)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert (found.amax(1) > 0).all()


# ---- the loss is chosen by labels and output


def test_one_logit_for_two_classes() -> None:
    labels = torch.randint(2, (B,))
    for sides in ((), (1,)):
        for given in (labels, labels[:, None], labels.tolist()):
            check(
                Head(*sides), given, 2,
                lambda out: F.binary_cross_entropy_with_logits(out.flatten(), labels.double(), reduction="sum"),
            )  # fmt: skip
    parts = torch.randint(2, (B, N))
    check(
        Head(1, per_point=True), parts, 2,
        lambda out: F.binary_cross_entropy_with_logits(out[:, 0], parts.double(), reduction="sum"),
    )  # fmt: skip


def test_classes_and_soft_labels_have_cross_entropy() -> None:
    labels, soft = torch.randint(4, (B,)), torch.rand(B, 4).softmax(1)
    check(Head(4), labels[:, None], 4, lambda out: F.cross_entropy(out, labels, reduction="sum"))
    check(Head(4), F.one_hot(labels, 4), 4, lambda out: F.cross_entropy(out, labels, reduction="sum"))
    check(Head(4), soft, 4, lambda out: F.cross_entropy(out, soft.double(), reduction="sum"))
    parts = torch.randint(4, (B, N))
    check(Head(4, per_point=True), parts, 4, lambda out: F.cross_entropy(out, parts, reduction="sum"))
    planes = F.one_hot(parts, 4)
    check(Head(4, per_point=True), planes, 4, lambda out: F.cross_entropy(out, parts, reduction="sum"))
    check(Head(9), labels, 4, lambda out: F.cross_entropy(out, labels, reduction="sum"))


def test_multi_hot_labels_have_bce() -> None:
    labels = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]] * 2)
    for given in (labels, labels.bool(), labels.float()):
        check(Head(4), given, 4, lambda out: F.binary_cross_entropy_with_logits(out, labels.double(), reduction="sum"))
    unknown = labels.clone()
    unknown[:, 1] = -1
    rest = [0, 2, 3]
    check(
        Head(4), unknown, 4,
        lambda out: F.binary_cross_entropy_with_logits(out[:, rest], labels[:, rest].double(), reduction="sum"),
        ignore_index=-1,
    )  # fmt: skip


def test_regression_targets_have_squared_error() -> None:
    inside = torch.rand(B, 4)  # in [0, 1], and regression targets all the same: no num_classes
    for head, labels in (
        (Head(4), inside),
        (Head(1), torch.randn(B)),
        (Head(), torch.randn(B, 1)),
        (Head(2, 3), torch.randn(B, 2, 3)),
    ):
        check(head, labels, None, lambda out, labels=labels: (out.flatten() - labels.double().flatten()).square().sum())
    depth = torch.rand(B, N)
    check(Head(1, per_point=True), PerElement(depth), None, lambda out: (out[:, 0] - depth.double()).square().sum())


def test_what_is_ignored_has_no_loss() -> None:
    parts = torch.randint(4, (B, N))
    parts[:, :15] = 255
    check(
        Head(4, per_point=True), parts, 4, lambda out: F.cross_entropy(out, parts, reduction="sum", ignore_index=255),
        ignore_index=255,
    )  # fmt: skip


def test_of_several_labels_the_one_counts_that_the_output_suits() -> None:
    category, parts = torch.randint(7, (B,)), torch.randint(4, (B, N))
    for labels, sizes in (((category, parts), (7, 4)), ({"a": category, "b": parts}, {"a": 7, "b": 4})):
        check(Head(4, per_point=True), labels, sizes, lambda out: F.cross_entropy(out, parts, reduction="sum"))
        check(Head(7), labels, sizes, lambda out: F.cross_entropy(out, category, reduction="sum"))


@pytest.mark.parametrize(
    ("model", "labels", "num_classes", "message"),
    [
        (Head(4), torch.randint(7, (B,)), 7, r"no loss suits .*\(6, 4\) with labels of 7 classes \(6,\).*give loss="),
        (Head(1), torch.randint(7, (B,)), 7, r"no loss suits .*\(6, 1\)"),
        (Head(4), torch.rand(B, 4).softmax(1), None, r"look like soft labels \(then give num_classes=\).*give loss="),
        (Head(3), torch.rand(B, 4), None, r"no loss suits .*\(6, 3\) with labels of values \(6, 4\)"),
        (Head(4), (torch.zeros(B).long(), torch.zeros(B).long()), 4, "several of the labels suit .*give loss="),
    ],
)
def test_where_it_is_not_plain_an_error_names_loss(
    model: nn.Module, labels: Any, num_classes: Any, message: str
) -> None:
    points = torch.randn(B, N, 3)
    with pytest.raises(TypeError, match=message):
        create_mixer("sagemix", "points", model=model, num_classes=num_classes)(points, labels)
    mixer = create_mixer(
        "sagemix", "points", model=model, num_classes=num_classes, loss=lambda out, labels: out.square().sum()
    )
    mixer(points, labels)


def test_without_a_mixer_what_floats_are_is_not_known() -> None:
    points = torch.randn(B, N, 3)
    with pytest.raises(TypeError, match="told apart by a mixer with num_classes="):
        GradientSaliency(Head(4)).find(points, torch.rand(B, 4), POINTS)
    with pytest.raises(TypeError, match="no loss suits"):
        GradientSaliency(Head(1)).find(points, torch.arange(B), POINTS)
    assert GradientSaliency(Head(1)).find(points, torch.arange(B) % 2, POINTS).amax(1).min() > 0


# ---- what the model returns and is given


@pytest.mark.parametrize("wrap", WRAPPED)
def test_every_output_has_its_logits(wrap: str) -> None:
    labels = torch.randint(4, (B,))
    check(Head(4, wrap=wrap), labels, 4, lambda out: F.cross_entropy(out, labels, reduction="sum"))
    points = torch.randn(B, N, 3)
    model = Head(4, wrap=wrap)
    expected = find_logits(model(points)).softmax(1)[torch.arange(B), labels]
    torch.testing.assert_close(GradientSaliency(model).confidence(points, labels), expected)


def test_outputs_of_the_libraries() -> None:
    torchvision = pytest.importorskip("torchvision")
    images, labels = torch.randn(2, 3, 80, 80), torch.arange(2)
    model = torchvision.models.googlenet(num_classes=4, init_weights=False).eval()
    model.training = True  # as its auxiliary heads ask for, with BatchNorm and dropout at rest
    output = model(images)
    assert type(output).__name__ == "GoogLeNetOutputs"
    torch.testing.assert_close(find_logits(output), output.logits)
    segmentation = torchvision.models.segmentation.lraspp_mobilenet_v3_large(num_classes=3, weights_backbone=None)
    mixer = create_mixer("sagemix", "image", num_classes=3, model=segmentation)
    masks = torch.randint(3, (2, 80, 80))
    assert mixer(images, masks)[1].shape == (2, 3, 80, 80)
    timm = pytest.importorskip("timm")
    distilled = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=4, img_size=80, depth=1)
    distilled.set_distilled_training(True)
    assert isinstance(distilled(images), tuple)
    mixer = create_mixer("sagemix", "image", num_classes=4, model=distilled, clean_weight=1.0)
    assert mixer(images, labels)[1].shape == (2, 4)
    assert mixer.clean_loss > 0


def test_models_that_take_more_than_the_batch() -> None:
    class Labelled(Head):
        def forward(self, points: Tensor, category: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(points) * F.one_hot(category, 4)

    class OfDict(Head):
        def forward(self, batch: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
            return super().forward(batch["pos"])

    labels, points = torch.randint(4, (B,)), torch.randn(B, N, 3)
    for model, forward in (
        (OfDict(4), lambda model, batch: model({"pos": batch})),
        (Labelled(4), lambda model, batch, labels: model(batch, labels)),
        (Labelled(4), lambda model, batch: model(batch, labels)),
    ):
        reference = Head(4)
        reference.load_state_dict(model.state_dict())
        scale = F.one_hot(labels, 4) if isinstance(model, Labelled) else torch.ones(B, 4)

        def loss(out: Tensor, scale: Tensor = scale) -> Tensor:
            return F.cross_entropy(out * scale, labels, reduction="sum")

        expected = gradient_norm(reference, points.double(), loss)
        for options in ({}, {"clean_weight": 0.5}):
            mixer = create_mixer("sagemix", "points", model=model, num_classes=4, forward=forward, **options)
            elements, read = mixer.read(points, labels)
            found = mixer.find_saliency(points, read, elements)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
        assert mixer.saliency.confidence(points, labels).shape == (B,)
    for wrong in ("model", lambda model: model, lambda a, b, c, d: a):
        with pytest.raises(TypeError, match="forward must be"):
            GradientSaliency(Head(4), forward=wrong)  # type: ignore[arg-type]


def test_inside_a_model_that_takes_more_than_the_batch() -> None:
    class OfDict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 8)
            self.head = nn.Linear(8, 4)

        def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"logits": self.head(self.inner(batch["pos"]).relu().amax(1))}

    points, labels = torch.randn(B, N, 3), torch.randint(4, (B,))
    manifold = ManifoldMixer(
        OfDict(), ["input", "inner"], "sagemix", "points", num_classes=4, forward=lambda model, x: model({"pos": x})
    )
    for _ in range(4):
        output, targets = manifold(points, labels)
        assert output["logits"].shape == targets.shape == (B, 4)
    assert manifold.eval()(points, labels)[0]["logits"].shape == (B, 4)


def test_at_a_lower_resolution_labels_stay_with_their_elements() -> None:
    """One-hot labels of samples are not cut; those of the elements, floats too, are."""
    points, kept = torch.randn(B, N, 3), torch.arange(N)[1::2]
    parts, classes = torch.randint(4, (B, N)), torch.randint(N, (B,))
    for model, labels, few, num_classes in (
        (Head(4, per_point=True), F.one_hot(parts, 4), F.one_hot(parts[:, kept], 4), 4),
        (Head(1, per_point=True), PerElement(points[:, :, 0]), PerElement(points[:, kept, 0]), None),
        (Head(N), PerSample(F.one_hot(classes, N)), PerSample(F.one_hot(classes, N)), N),
    ):
        half = GradientSaliency(model, resolution=0.5)
        found = half.find(points, read_labels(labels, num_classes, Size(B, N)), POINTS)
        small = read_labels(few, num_classes, Size(B, len(kept)))
        torch.testing.assert_close(found[:, kept], GradientSaliency(model).find(points[:, kept], small, POINTS))


# ---- float16


@pytest.mark.parametrize("wrap", WRAPPED)
@pytest.mark.parametrize("kind", ["classes", "binary", "multi-hot", "regression", "own loss", "cast"])
def test_float16_keeps_the_saliency_of_well_fitted_samples(wrap: str, kind: str) -> None:
    """Samples whose loss is nearly flat: the gradient is too small for float16 below the output, and is kept."""

    class Fitted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 8, bias=False), nn.Linear(8, 4, bias=False)

        def forward(self, points: Tensor) -> Any:
            far = {"regression": 0.0, "own loss": 7.0}.get(kind, 20.0)
            sure = torch.tensor([far, -far, -far, -far], dtype=points.dtype)
            small = self.last(self.first(points).tanh().mean(1)) * (1e-4 if kind == "regression" else 1)
            logits = (small + sure)[:, :1] if kind == "binary" else small + sure
            return WRAPPED[wrap](logits.float() if kind == "cast" else logits)

    labels, num_classes = {
        "classes": (torch.zeros(B).long(), 4),
        "binary": (torch.ones(B).long(), 2),
        "multi-hot": (torch.eye(4)[[0] * B].bool(), 4),
        "regression": (torch.zeros(B, 4), None),
    }.get(kind, (torch.zeros(B).long(), 4))
    own = (lambda out, y: 1e-3 * F.cross_entropy(find_logits(out).float(), y)) if kind == "own loss" else None
    model, points = Fitted(), torch.randn(B, N, 3)
    read = read_labels(labels, num_classes, Size(B, N))
    expected = GradientSaliency(model, own).find(points, read, POINTS)
    assert 0 < expected.max() < 1e-6
    for found in (
        GradientSaliency(model, own, autocast=torch.float16).find(points, read, POINTS),
        GradientSaliency(model.half(), own).find(points.half(), read, POINTS),
    ):
        torch.testing.assert_close(found, expected, rtol=0.15, atol=float(expected.max()) * 1e-2)
        assert (found.amax(1) > 0).all()


def test_outputs_of_all_samples_laid_end_to_end() -> None:
    """No row of theirs is a sample: one scale serves all."""

    class Packed(Head):
        def forward(self, points: Tensor) -> Tensor:
            return super().forward(points).flatten(0, 1)

    labels, points, model = torch.randint(4, (B, N)), torch.randn(B, N, 3), Packed(4, per_point=True)
    model.forward = lambda points: Head.forward(model, points).mT.flatten(0, 1)  # type: ignore[method-assign]
    loss = lambda out, y: 1e-6 * F.cross_entropy(out.float(), y.flatten())  # noqa: E731
    expected = GradientSaliency(model, loss).find(points, labels, POINTS)
    found = GradientSaliency(model, loss, autocast=torch.float16).find(points, labels, POINTS)
    torch.testing.assert_close(found, expected, rtol=0.05, atol=float(expected.max()) * 1e-2)


def test_tensors_of_an_output_are_replaced_in_a_copy() -> None:
    for name, wrap in WRAPPED.items():
        logits = torch.randn(2, 3)
        output = wrap(logits)
        twin = map_tensors(lambda tensor: tensor + 1, output)
        assert type(twin) is type(output), name
        torch.testing.assert_close(find_logits(twin), logits + 1)
        assert torch.equal(find_logits(output), logits)


# ---- what the confidence is


def test_confidence_by_the_loss_that_is_chosen() -> None:
    size, logits = Size(B, N), torch.randn(B, 4)
    several = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1]] * 2)
    found = label_confidence({"logits": logits}, read_labels(several, 4, size))
    expected = [(logits[b].sigmoid() * several[b]).sum() / max(int(several[b].sum()), 1) for b in range(B)]
    torch.testing.assert_close(found, torch.stack(expected))
    classes = torch.randint(2, (B,))
    one = label_confidence(logits[:, :1], read_labels(classes, 2, size))
    torch.testing.assert_close(one, torch.where(classes == 1, logits[:, 0], -logits[:, 0]).sigmoid())
    ignored = label_confidence(logits, read_labels([0, 1, -1, 3, 0, -1], 4, size, -1))
    assert [bool(c) for c in ignored == 0] == [False, False, True, False, False, True]
    with pytest.raises(TypeError, match="does not suit such labels"):
        label_confidence(logits, read_labels(torch.rand(B, 4), None, size))


# ---- saliency that says nothing


@pytest.mark.parametrize("source", ["model", "function", "given"])
@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_empty_saliency_is_said_once(source: str, value: float) -> None:
    points, labels, empty = torch.randn(B, N, 3), torch.zeros(B).long(), torch.ones(B, N)
    empty[1] = empty[4] = value
    mixer = create_mixer(
        "sagemix", "points", num_classes=4, model=Head(4) if source == "model" else None,
        saliency=None if source == "model" else lambda batch: empty, loss=lambda out, y: out.sum(1) * empty[:, 0],
    )  # fmt: skip
    options = {"saliency": empty} if source == "given" else {}
    for count in (1, 0, 0):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            mixed, _ = mixer(points, labels, **options)
        assert [str(w.message)[:67] for w in caught] == [
            "saliency is 0 everywhere, or not finite, in 2 of 6 samples, so thei"
        ] * count
        assert torch.isfinite(mixed).all()


@pytest.mark.parametrize(
    ("saliency", "error", "message"),
    [
        ([[1.0] * N] * B, TypeError, r"saliency must be a tensor \(6, 20\).*got list"),
        (torch.ones(()), ValueError, r"\(6, 20\), one number per element, got \(\)"),
        (torch.ones(B), ValueError, r"got \(6,\)"),
        (torch.ones(B, N, dtype=torch.complex64), TypeError, "got torch.complex64"),
        (torch.ones(B, N).to_sparse(), TypeError, "saliency must be a dense tensor"),
    ],
)
def test_saliency_of_another_kind_is_named(saliency: Any, error: type[Exception], message: str) -> None:
    points, labels = torch.randn(B, N, 3), torch.zeros(B).long()
    mixer = create_mixer("sagemix", "points", num_classes=4, saliency=lambda batch: saliency)
    for options in ({}, {"saliency": saliency}):
        with pytest.raises(error, match=message):
            mixer(points, labels, **options)


def test_labels_and_batches_from_inference_mode() -> None:
    with torch.inference_mode():
        points, labels = torch.randn(B, N, 3), torch.randint(4, (B,))
    for options in ({}, {"clean_weight": 1.0}):
        mixer = create_mixer("sagemix", "points", num_classes=4, model=Head(4), **options)
        assert mixer(points, labels)[1].shape == (B, 4)
        assert mixer(points, F.one_hot(labels, 4).float())[1].shape == (B, 4)
