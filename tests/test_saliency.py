"""GradientSaliency: the right gradient, and everything else as it was."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from mixkit import GradientSaliency, ManifoldMixer, create_mixer
from mixkit.registry import get_domain
from mixkit.running import unwrap
from mixkit.shrink import shrink
from tests.conftest import ImageModel, PointModel

IMAGE, POINTS = get_domain("image")(), get_domain("points")()
OPTIONS = [{"resolution": 0.5}, {"channels_last": True}, {"autocast": torch.bfloat16}, {"compile": True}]


def fingerprint(model: nn.Module) -> dict[str, object]:
    state: dict[str, object] = {f"state {k}": v.clone() for k, v in model.state_dict().items()}
    state |= {f"mode {k}": m.training for k, m in model.named_modules()}
    state |= {f"wants {k}": q.requires_grad for k, q in model.named_parameters()}
    return state | {f"grad {k}": None if q.grad is None else q.grad.clone() for k, q in model.named_parameters()}


def same(one: dict[str, object], other: dict[str, object]) -> bool:
    pairs = [(one[key], other[key]) for key in one]
    return one.keys() == other.keys() and all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b for a, b in pairs
    )


def mixed_modes(model: nn.Module) -> nn.Module:
    """A model in the middle of something: modes, frozen layers and accumulated gradients all over the place."""
    model.train()
    model.head[0].eval()
    next(model.parameters()).requires_grad_(False)
    for number, parameter in enumerate(model.parameters()):
        if parameter.requires_grad and number % 2:
            parameter.grad = torch.randn_like(parameter)
    return model


def test_it_is_the_norm_of_the_input_gradient_in_eval_mode() -> None:
    model, images, labels = ImageModel(), torch.randn(4, 3, 9, 7), torch.tensor([0, 1, 2, 3])
    reference = copy.deepcopy(model).eval()
    inputs = images.clone().requires_grad_()
    F.cross_entropy(reference(inputs), labels, reduction="sum").backward()
    saliency = GradientSaliency(model).find(images, labels, IMAGE)
    torch.testing.assert_close(saliency, inputs.grad.norm(dim=1).flatten(1))
    assert not saliency.requires_grad
    assert not images.requires_grad


def test_points_count_all_their_channels() -> None:
    model, points, labels = PointModel(channels=6), torch.randn(4, 11, 6), torch.tensor([0, 1, 2, 3])
    inputs = points.clone().requires_grad_()
    F.cross_entropy(copy.deepcopy(model).eval()(inputs), labels, reduction="sum").backward()
    torch.testing.assert_close(GradientSaliency(model).find(points, labels, POINTS), inputs.grad.norm(dim=2))


@pytest.mark.parametrize("kind", ["soft", "own loss", "per sample"])
def test_any_labels_that_the_loss_takes(kind: str) -> None:
    model, points, classes = PointModel(), torch.randn(4, 11, 3), torch.tensor([0, 1, 2, 3])
    expected = GradientSaliency(model).find(points, classes, POINTS)
    if kind == "soft":
        found = GradientSaliency(model).find(points, F.one_hot(classes, 5).float(), POINTS)
    elif kind == "own loss":
        saliency = GradientSaliency(model, loss=lambda out, labels: F.cross_entropy(out, labels["y"], reduction="sum"))
        found = saliency.find(points, {"y": classes}, POINTS)
    else:
        saliency = GradientSaliency(model, loss=lambda out, labels: F.cross_entropy(out, labels, reduction="none"))
        found = saliency.find(points, classes, POINTS)
    torch.testing.assert_close(found, expected)


def test_everything_is_left_as_it_was() -> None:
    model = mixed_modes(PointModel())
    before = fingerprint(model)
    points = torch.randn(4, 11, 3)
    random_state = torch.get_rng_state()
    GradientSaliency(model).find(points, torch.tensor([0, 1, 2, 3]), POINTS)
    assert same(before, fingerprint(model))
    assert torch.equal(random_state, torch.get_rng_state())
    assert points._version == 0


def test_everything_is_left_as_it_was_when_the_forward_pass_raises() -> None:
    model = mixed_modes(PointModel())
    before = fingerprint(model)
    model.head.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("boom")))
    with pytest.raises(RuntimeError, match="boom"):
        GradientSaliency(model).find(torch.randn(4, 11, 3), torch.tensor([0, 1, 2, 3]), POINTS)
    assert same(before, fingerprint(model))


def test_no_weight_gradient_is_computed() -> None:
    model, computed = PointModel(), []

    class Watch(torch.autograd.Function):
        @staticmethod
        def forward(ctx, inputs, weight):
            ctx.save_for_backward(weight)
            return inputs @ weight.T

        @staticmethod
        def backward(ctx, grad):
            computed.append(ctx.needs_input_grad)
            return grad @ ctx.saved_tensors[0], None

    model.features[0].forward = lambda x: Watch.apply(x, model.features[0].weight)
    GradientSaliency(model).find(torch.randn(2, 5, 3), torch.tensor([0, 1]), POINTS)
    assert computed == [(True, False)]


def test_a_training_step_in_progress_is_not_disturbed() -> None:
    model, points, labels = PointModel(), torch.randn(4, 11, 3), torch.tensor([0, 1, 2, 3])
    model.head[0].p = 0.0
    loss = F.cross_entropy(model(points), labels)
    GradientSaliency(model).find(points, labels, POINTS)
    loss.backward()
    assert all(q.grad is not None for q in model.parameters())


def test_it_works_without_gradients_and_in_inference_mode() -> None:
    model, points, labels = PointModel(), torch.randn(4, 11, 3), torch.tensor([0, 1, 2, 3])
    expected = GradientSaliency(model).find(points, labels, POINTS)
    with torch.no_grad():
        torch.testing.assert_close(GradientSaliency(model).find(points, labels, POINTS), expected)
    with torch.inference_mode():
        fresh = points + 0
        torch.testing.assert_close(GradientSaliency(model).find(fresh, labels, POINTS), expected)


@pytest.mark.parametrize("training", [True, False])
def test_a_recurrent_model_runs_as_in_eval_mode_and_differentiates_as_in_training(training: bool) -> None:
    """cuDNN has no backward pass of a recurrent layer in eval mode; without dropout, training mode is the same."""

    class Recurrent(nn.Module):
        modes: list[tuple[bool, float]]

        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.last, self.modes = nn.LSTM(3, 8, 2, dropout=0.5, batch_first=True), nn.Linear(8, 4), []

        def forward(self, points: torch.Tensor) -> torch.Tensor:
            self.modes.append((self.rnn.training, self.rnn.dropout))
            logits: torch.Tensor = self.last(self.rnn(points)[0][:, -1])
            return logits

    model, points, labels = Recurrent().train(training), torch.randn(4, 9, 3), torch.tensor([0, 1, 2, 3])
    reference = copy.deepcopy(model).eval()
    inputs = points.clone().requires_grad_()
    F.cross_entropy(reference(inputs), labels, reduction="sum").backward()
    assert inputs.grad is not None
    torch.testing.assert_close(GradientSaliency(model).find(points, labels, POINTS), inputs.grad.norm(dim=2))
    assert model.modes == [(True, 0.0)]
    assert (model.rnn.training, model.rnn.dropout) == (training, 0.5)


def test_a_recurrent_layer_with_a_mode_of_its_own_runs_in_eval_mode() -> None:
    class InputDropout(nn.LSTM):
        def forward(self, points: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            output: torch.Tensor = super().forward(F.dropout(points, 0.5, self.training))[0][:, -1]
            return output

    model, points, labels = InputDropout(3, 4, batch_first=True), torch.randn(4, 9, 3), torch.arange(4)
    before, source = torch.get_rng_state(), GradientSaliency(model)
    one, other = (source.find(points, labels, POINTS) for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("clean_weight", [0.0, 1.0])
def test_weights_that_a_model_itself_caches_are_not_those_outside(clean_weight: float) -> None:
    class Cached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.utils.parametrizations.weight_norm(nn.Linear(36, 4))

        def forward(self, points: torch.Tensor) -> torch.Tensor:
            with parametrize.cached():
                logits: torch.Tensor = self.layer(points.flatten(1))
                return logits

    model, points, labels = Cached(), torch.randn(4, 12, 3), torch.arange(4)
    mixer = create_mixer("sagemix", "points", num_classes=4, model=model, clean_weight=clean_weight)
    with parametrize.cached():
        output = model(points)
        mixer(points, labels)
        (output.sum() + mixer.clean_loss).backward()


@pytest.mark.parametrize("clean_weight", [0.0, 1.0])
def test_weights_that_are_cached_are_left_alone(clean_weight: float) -> None:
    model = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(36, 4)))
    mixer = create_mixer("sagemix", "points", num_classes=4, model=model, clean_weight=clean_weight)
    points, labels = torch.randn(4, 12, 3), torch.arange(4)
    found: list[list[torch.Tensor | None]] = []
    for context in (parametrize.cached, contextlib.nullcontext):
        model.zero_grad()
        with context():
            mixed, targets = mixer(points, labels, generator=torch.Generator().manual_seed(0))
            (F.cross_entropy(model(mixed), targets) + mixer.clean_loss).backward()
        found.append([parameter.grad for parameter in model.parameters()])
    assert all(gradient is not None for gradient in found[0])
    torch.testing.assert_close(*found)


def test_what_cannot_be_differentiated_is_named() -> None:
    points, labels = torch.randn(2, 5, 3), torch.arange(2)
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(4))
    with pytest.raises(ValueError, match="lazy modules without a shape yet: run it once"):
        GradientSaliency(lazy).find(points, labels, POINTS)
    lazy(points)
    GradientSaliency(lazy).find(points, labels, POINTS)

    class FSDPModule:
        """What torch's fully_shard makes a base of a module's class."""

    class Sharded(FSDPModule, nn.Linear):
        pass

    whole = type("Whole", (FSDPModule, nn.Sequential), {})(nn.Flatten(), nn.Linear(15, 4))
    GradientSaliency(whole).find_with_loss(points, labels, POINTS)
    parts = GradientSaliency(nn.Sequential(nn.Flatten(), Sharded(15, 4)))
    parts.find(points, labels, POINTS)
    with pytest.raises(ValueError, match="does not go with a model whose parts are sharded by fully_shard, as '1' is"):
        parts.find_with_loss(points, labels, POINTS)


def test_the_model_of_a_mixer_stays() -> None:
    model = PointModel()
    for mixer in (
        create_mixer("sagemix", "points", num_classes=5, model=model),
        ManifoldMixer(model, ["input"], "sagemix", "points", num_classes=5),
    ):
        with pytest.raises(AttributeError, match="stays the one that it was made with: make another"):
            mixer.model = PointModel()
        assert not list(mixer.parameters())


def test_wrappers_are_taken_off() -> None:
    model = PointModel()
    assert unwrap(nn.DataParallel(torch.compile(model))) is model
    saliency = GradientSaliency(torch.compile(model))
    assert saliency.find(torch.randn(2, 5, 3), torch.tensor([0, 1]), POINTS).shape == (2, 5)


def test_half_precision() -> None:
    model = ImageModel().bfloat16()
    saliency = GradientSaliency(model).find(torch.randn(2, 3, 8, 8).bfloat16(), torch.tensor([0, 1]), IMAGE)
    assert saliency.dtype == torch.float32


def test_float16_keeps_the_saliency_of_well_fitted_samples() -> None:
    """Logits far apart: the gradient is too small for float16 everywhere below them, and the saliency is not."""

    class Fitted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 8, bias=False), nn.Linear(8, 4, bias=False)

        def forward(self, points: torch.Tensor) -> torch.Tensor:
            sure = torch.tensor([20.0, 0, 0, 0], dtype=points.dtype)
            return self.last(self.first(points).tanh().mean(1)) + sure

    model, points, labels = Fitted(), torch.randn(6, 40, 3), torch.zeros(6, dtype=torch.long)
    expected = GradientSaliency(model).find(points, labels, POINTS)
    assert expected.max() < 1e-8
    found = GradientSaliency(model.half()).find(points.half(), labels, POINTS)
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0)


def test_labels_as_the_mixer_takes_them() -> None:
    model, points, labels = PointModel(), torch.randn(4, 11, 3), torch.tensor([0, 1, 2, 3])
    expected = GradientSaliency(model).find(points, labels, POINTS)
    for dtype in (torch.int32, torch.int16, torch.uint8):
        torch.testing.assert_close(GradientSaliency(model).find(points, labels.to(dtype), POINTS), expected)
    with pytest.raises(TypeError, match=r"no loss suits.*\(4, 5\) with labels \(4,\) torch\.float32.*give loss="):
        GradientSaliency(model).find(points, torch.randn(4), POINTS)


def test_in_place_operations_and_layers_that_run_twice() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 6), nn.ReLU(inplace=True), nn.Linear(6, 6))
    model.append(model[3])

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = model

        def forward(self, points: torch.Tensor) -> torch.Tensor:
            return self.body(points).mean(1)

    points, labels, saliency = torch.randn(4, 11, 3), torch.tensor([0, 1, 2, 3]), GradientSaliency(Pooled())
    before = points.clone()
    assert saliency.find(points, labels, POINTS).shape == (4, 11)
    assert torch.equal(points, before)
    assert saliency.gradient(points, labels, model[1]).shape == (4, 11, 6)
    assert saliency.gradient(points, labels, model[3]).shape == (4, 11, 6)


@pytest.mark.parametrize("output", ["dict", "scalar", "integers", "empty"])
def test_a_model_without_logits_is_named(output: str) -> None:
    class Other(nn.Module):
        def forward(self, points: torch.Tensor) -> object:
            logits = points.mean(1)
            others = {"dict": {"features": logits}, "scalar": logits.mean(), "empty": ()}
            return {**others, "integers": logits.argmax(1)[:, None]}[output]

    with pytest.raises(TypeError, match=r"must return logits.*else give loss=.*or forward="):
        GradientSaliency(Other()).find(torch.randn(2, 5, 3), torch.tensor([0, 1]), POINTS)


def test_other_errors_are_named() -> None:
    with pytest.raises(TypeError, match=r"torch\.nn\.Module, got function"):
        GradientSaliency(lambda x: x)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="one label tensor, got tuple"):
        GradientSaliency(PointModel()).find(torch.randn(2, 5, 3), (1, 2), POINTS)

    class Detached(PointModel):
        def forward(self, points: torch.Tensor) -> torch.Tensor:
            return super().forward(points.detach())

    with pytest.raises(ValueError, match="does not depend on the batch or the layer"):
        GradientSaliency(Detached()).find(torch.randn(2, 5, 3), torch.tensor([0, 1]), POINTS)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: next(iter(options)))
def test_no_option_leaves_anything_behind(options: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model: model.__call__)  # what it compiles is not asked here
    model, images, labels = ImageModel(), torch.randn(4, 3, 9, 7), torch.tensor([0, 1, 2, 3])
    before, version = fingerprint(model), images._version
    saliency = GradientSaliency(model, **options)
    expected, found = GradientSaliency(model).find(images, labels, IMAGE), saliency.find(images, labels, IMAGE)
    assert found.shape == (4, 63)
    assert found.dtype == torch.float32
    assert same(before, fingerprint(model))
    assert not images.requires_grad
    assert images._version == version
    if "resolution" not in options:
        tolerance = 0.05 if "autocast" in options else 1e-6
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * float(expected.max()))
    twin = copy.deepcopy(saliency)
    assert twin.model is not model
    torch.testing.assert_close(twin.find(images, labels, IMAGE), found)


def test_options_reach_the_pass() -> None:
    """What the model is given: its memory format, its size, and the dtype that its layers run at."""
    seen: list[torch.Tensor] = []
    model, images, labels = ImageModel(), torch.randn(4, 3, 8, 6), torch.tensor([0, 1, 2, 3])
    model.features[0].register_forward_hook(lambda module, args, output: seen.extend([args[0], output]))
    GradientSaliency(model, channels_last=True, autocast=torch.bfloat16, resolution=0.5).find(images, labels, IMAGE)
    assert seen[0].shape == (4, 3, 4, 3)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert seen[1].dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        GradientSaliency(model, autocast=torch.float16).find(images, labels, IMAGE)
        GradientSaliency(model).find(images, labels, IMAGE)
    assert [seen[3].dtype, seen[5].dtype] == [torch.float16, torch.bfloat16]


@pytest.mark.slow
def test_a_compiled_pass_is_the_same_pass() -> None:
    model, points, labels = PointModel(), torch.randn(4, 11, 3), torch.tensor([0, 1, 2, 3])
    saliency = GradientSaliency(model, compile=True)
    for _ in range(2):
        torch.testing.assert_close(
            saliency.find(points, labels, POINTS), GradientSaliency(model).find(points, labels, POINTS)
        )
        model.features[0].weight.data.mul_(2)  # training goes on


@pytest.mark.slow
def test_a_compiled_pass_follows_its_model() -> None:
    models, points, labels = [PointModel() for _ in range(2)], torch.randn(2, 5, 3), torch.arange(2)
    source = GradientSaliency(models[0], compile=True)
    source.find(points, labels, POINTS)
    source.model = models[1]
    expected = GradientSaliency(models[1]).find(points, labels, POINTS)
    torch.testing.assert_close(source.find(points, labels, POINTS), expected)


def test_a_grid_shrinks_to_the_means_of_its_blocks_and_comes_back_linearly() -> None:
    images = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6).float()
    parts = torch.arange(24).reshape(1, 4, 6).repeat(2, 1, 1)
    labels = {"class": torch.tensor([0, 1]), "part": parts, "flat": parts.flatten(1), "soft": torch.rand(2, 24)}
    small, few, carry_back = shrink(images, labels, IMAGE, 0.5)
    torch.testing.assert_close(small, F.avg_pool2d(images, 2))
    assert few["part"].tolist() == [[[7, 9, 11], [19, 21, 23]]] * 2
    assert torch.equal(few["flat"], few["part"].flatten(1))
    assert torch.equal(few["class"], labels["class"])
    assert few["soft"] is labels["soft"]
    saliency = torch.rand(2, 6)
    torch.testing.assert_close(
        carry_back(saliency).reshape(2, 1, 4, 6),
        F.interpolate(saliency.reshape(2, 1, 2, 3), scale_factor=2, mode="bilinear"),
    )
    assert shrink(images, labels, IMAGE, 0.01)[0].shape == (2, 3, 1, 1)


@pytest.mark.parametrize("layout", ["bnc", "bcn"])
def test_a_set_keeps_elements_at_equal_steps_and_the_rest_has_no_saliency(layout: str) -> None:
    domain = get_domain("points")(layout=layout)
    points = torch.randn(2, 9, 4)
    parts = torch.arange(9).repeat(2, 1)
    small, few, carry_back = shrink(points if layout == "bnc" else points.mT, parts, domain, 1 / 3)
    assert few.tolist() == [[1, 4, 7]] * 2
    assert torch.equal(small if layout == "bnc" else small.mT, points[:, [1, 4, 7]])
    saliency = torch.rand(2, 3) + 1
    found = carry_back(saliency)
    assert torch.equal(found[:, [1, 4, 7]], saliency)
    assert (found > 0).sum() == saliency.numel()


def test_at_a_lower_resolution_it_is_the_small_batch_s_gradient() -> None:
    model, points, labels = PointModel(), torch.randn(4, 12, 3), torch.tensor([0, 1, 2, 3])
    found = GradientSaliency(model, resolution=0.5).find(points, labels, POINTS)
    torch.testing.assert_close(found[:, 1::2], GradientSaliency(model).find(points[:, 1::2], labels, POINTS))
    assert (found[:, ::2] == 0).all()
    for wrong in (0.0, 1.5, -1.0):
        with pytest.raises(ValueError, match=r"resolution must be above 0 and at most 1, got"):
            GradientSaliency(model, resolution=wrong)
