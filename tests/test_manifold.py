"""ManifoldMixer on real models of both domains: the right mixture at the right layer, and no hook left behind."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import mixkit
from mixkit import ManifoldMixer, MixPlan
from mixkit.channels import channels_last
from tests.conftest import ImageModel, PointModel


class EdgeConv(nn.Module):
    """DGCNN's layer: (B, C, N) -> (B, C', N), through (B, 2C, N, k) on the way."""

    def __init__(self, channels: int, out: int, k: int = 4) -> None:
        super().__init__()
        self.k = k
        self.conv = nn.Conv2d(2 * channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        near = torch.cdist(x.mT, x.mT).topk(self.k, largest=False).indices
        neighbours = (
            x[:, :, None].expand(-1, -1, x.shape[2], -1).gather(3, near[:, None].expand(-1, x.shape[1], -1, -1))
        )
        centre = x[..., None].expand_as(neighbours)
        return self.conv(torch.cat([neighbours - centre, centre], 1)).amax(3)


class GraphModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.edge1, self.edge2, self.head = EdgeConv(3, 8), EdgeConv(8, 8), nn.Linear(8, 5)

    def forward(self, points: Tensor) -> Tensor:
        return self.head(self.edge2(self.edge1(points.mT)).amax(2))


class Abstraction(nn.Module):
    """PointNet++'s layer: (coords (B, N, 3), features or None) -> (coords (B, S, 3), features (B, C, S))."""

    def __init__(self, channels: int, out: int, size: int) -> None:
        super().__init__()
        self.size, self.mlp = size, nn.Linear(channels, out)

    def forward(self, coords: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor]:
        values = coords if features is None else torch.cat([coords, features.mT], 2)
        return coords[:, : self.size], self.mlp(values)[:, : self.size].mT


class HierarchicalModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.sa1, self.sa2, self.head = Abstraction(3, 8, 12), Abstraction(11, 16, 6), nn.Linear(16, 5)

    def forward(self, points: Tensor) -> Tensor:
        return self.head(self.sa2(*self.sa1(points, None))[1].amax(2))


class SharedModel(nn.Module):
    """PointNet in its usual form: convolutions over (B, C, N), then a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(3, 8, 1), nn.Conv1d(8, 16, 1)
        self.fc, self.head = nn.Linear(16, 16), nn.Linear(16, 5)

    def forward(self, points: Tensor) -> Tensor:
        return self.head(self.fc(self.conv2(self.conv1(points.mT).relu()).amax(2)).relu())


def small_network(convolution: type[nn.Module], norm: type[nn.Module], rank: int) -> nn.Module:
    parts = [convolution(3, 8, 3, padding=1), norm(8), convolution(8, 8, 3, stride=2, padding=1), nn.ReLU()]
    pool = nn.AdaptiveAvgPool1d(1) if rank == 1 else nn.AdaptiveAvgPool3d(1)
    return nn.Sequential(*parts, pool, nn.Flatten(), nn.Linear(8, 5))


CASES: dict[str, tuple[Any, list[str], str, tuple[int, ...]]] = {
    "resnet18": (
        lambda: torchvision.models.resnet18(num_classes=5),
        ["layer1", "layer2", "layer4"],
        "image",
        (3, 64, 48),
    ),
    "vit_tiny": (
        lambda: timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=64, depth=2),
        ["blocks.0", "patch_embed"],
        "image",
        (3, 64, 64),
    ),
    "pointnet": (SharedModel, ["conv1", "conv2", "fc"], "points", (20, 3)),
    "dgcnn": (GraphModel, ["edge1", "edge2"], "points", (20, 3)),
    "pointnet++": (HierarchicalModel, ["sa1", "sa2"], "points", (20, 3)),
    "convolutions in time": (lambda: small_network(nn.Conv1d, nn.BatchNorm1d, 1), ["0", "2"], "sequence", (3, 40)),
    "convolutions in space": (lambda: small_network(nn.Conv3d, nn.BatchNorm3d, 3), ["0", "2"], "volume", (3, 4, 8, 6)),
    "r3d_18": (
        lambda: torchvision.models.video.r3d_18(num_classes=5),
        ["stem", "layer2", "layer4"],
        "video",
        (3, 8, 16, 16),
    ),
}


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def record(manifold: ManifoldMixer, monkeypatch: pytest.MonkeyPatch) -> list[MixPlan]:
    plans: list[MixPlan] = []
    draw = manifold.mixer.draw
    monkeypatch.setattr(manifold.mixer, "draw", lambda *a, **k: plans.append(draw(*a, **k)) or plans[-1])
    return plans


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "r3d_18" else n for n in CASES])
@pytest.mark.parametrize("method", ["sagemix", "manifold_mixup", "cutmix"])
@pytest.mark.parametrize("saliency_at", ["input", "layer"])
def test_it_mixes_at_each_layer_of_each_model(
    name: str, method: str, saliency_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, layers, domain, shape = CASES[name]
    model, batch, labels = make(), torch.randn(4, *shape), torch.arange(4)
    for module in model.modules():  # BatchNorm's batch statistics would mix samples on their own
        if isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.Dropout)):
            module.eval()
    for layer in layers:
        manifold = ManifoldMixer(
            model,
            [layer],
            method,
            domain,
            num_classes=5,
            saliency_at=saliency_at,
            **({"p": 1.0} if method == "cutmix" else {}),
        )
        plans = record(manifold, monkeypatch)
        logits, targets = manifold(batch, labels)
        assert hooks(model) == 0
        assert len(plans) == 1
        torch.testing.assert_close(targets, plans[0].sample_weights @ torch.eye(5)[:4], rtol=0, atol=1e-5)

        # the same by hand: the layer's output recorded, mixed by the same plan, and put in its place
        clean: list[Any] = []
        module = model.get_submodule(layer)
        handle = module.register_forward_hook(lambda m, a, out: clean.append(out))  # noqa: B023
        model(batch)
        handle.remove()
        elements = manifold.mixer.domain.elements(batch)
        last = channels_last(module)
        features = manifold.mixer.domain.feature_elements(clean[0], elements, last)
        mixed = manifold.mixer.domain.mix_feature(plans[0], clean[0], features, last)
        handle = module.register_forward_hook(lambda m, a, out: mixed)  # noqa: B023
        torch.testing.assert_close(logits, model(batch), rtol=1e-4, atol=1e-5)
        handle.remove()
        F.cross_entropy(logits, targets).backward()


def test_a_clip_is_mixed_inside_a_video_model() -> None:
    make, _, domain, shape = CASES["r3d_18"]
    clips, labels = torch.randn(2, *shape), torch.arange(2)
    manifold = ManifoldMixer(make(), ["layer3"], "sagemix", domain, num_classes=5)
    logits, targets = manifold(clips, labels)
    assert logits.shape == targets.shape == (2, 5)
    F.cross_entropy(logits, targets).backward()


def test_feature_maps_mix_as_pixels_do() -> None:
    """Mixing the output of a layer that passes the image through is mixing the image."""
    model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.LazyLinear(5))
    images, labels = torch.randn(4, 3, 8, 12), torch.arange(4)
    model(images)
    inside = ManifoldMixer(model, ["0"], "sagemix", "image", num_classes=5)
    outside = ManifoldMixer(model, ["input"], "sagemix", "image", num_classes=5)
    results = [m(images, labels, generator=torch.Generator().manual_seed(3)) for m in (inside, outside)]
    torch.testing.assert_close(results[0], results[1])


def test_a_class_token_is_mixed_by_the_ratio() -> None:
    domain = mixkit.registry.get_domain("image")()
    tokens = torch.randn(2, 17, 8)
    features = domain.feature_elements(tokens, domain.elements(torch.randn(2, 3, 16, 16)))
    plan = MixPlan.pair(torch.tensor([1, 0]), torch.rand(2, 16))
    mixed = domain.mix_feature(plan, tokens, features)
    torch.testing.assert_close(mixed[:, 0], plan.sample_weights @ tokens[:, 0])
    torch.testing.assert_close(mixed[:, 1:], plan.apply(tokens[:, 1:]))


def test_input_saliency_is_pooled_to_the_layer() -> None:
    image = mixkit.registry.get_domain("image")()
    elements = image.elements(torch.randn(2, 3, 8, 8))
    features = image.feature_elements(torch.randn(2, 5, 4, 4), elements)
    saliency = torch.rand(2, 64)
    pooled = image.pool_saliency(saliency, elements, features).unflatten(1, (4, 4))
    torch.testing.assert_close(pooled[1, 2, 3], saliency[1].unflatten(0, (8, 8))[4:6, 6:8].mean())
    points = mixkit.registry.get_domain("points")()
    elements = points.elements(torch.tensor([[[0.0, 0, 0], [1, 0, 0], [5, 0, 0]]]))
    features = points.feature_elements((torch.tensor([[[0.4, 0, 0], [6, 0, 0]]]), torch.randn(1, 4, 2)), elements)
    assert points.pool_saliency(torch.tensor([[1.0, 3, 7]]), elements, features).tolist() == [[2.0, 7.0]]


def test_layers_are_drawn_uniformly_from_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    manifold = ManifoldMixer(SharedModel(), ["input", "conv1", "fc"], "mixup", "points", num_classes=5)
    points, labels = torch.randn(2, 6, 3), torch.arange(2)
    seen = []
    monkeypatch.setattr(
        manifold.model, "get_submodule", lambda name: seen.append(name) or manifold.model._modules[name]
    )
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        manifold(points, labels, generator=generator)
    assert 30 < seen.count("conv1") < 70
    assert 30 < seen.count("fc") < 70


def test_a_hook_never_survives_an_exception() -> None:
    model = SharedModel()
    manifold = ManifoldMixer(model, ["conv2"], "mixup", "points", num_classes=5)
    handle = model.head.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("boom")))
    with pytest.raises(RuntimeError, match="boom"):
        manifold(torch.randn(2, 6, 3), torch.arange(2))
    handle.remove()
    assert hooks(model) == 0
    manifold = ManifoldMixer(model, ["conv2"], "sagemix", "points", num_classes=5, saliency_at="layer")
    handle = model.head.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("boom")))
    with pytest.raises(RuntimeError, match="boom"):
        manifold(torch.randn(2, 6, 3), torch.arange(2))
    handle.remove()
    assert hooks(model) == 0


class Segmenter(nn.Module):
    """(B, 2, H, W) -> (B, 5, H, W), through maps of full and of half the sides, and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.full, self.down, self.fc = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 2, 2), nn.Linear(4, 4)
        self.head = nn.Conv2d(4, 5, 1)

    def forward(self, images: Tensor) -> Tensor:
        full = self.full(images)
        low = self.down(full) + self.fc(full.mean((2, 3)))[:, :, None, None]
        return self.head(F.interpolate(low, images.shape[2:]) + full)


class SetModel(nn.Module):
    """Set abstractions to fewer points, to as many in another order, and to the same."""

    def __init__(self) -> None:
        super().__init__()
        self.fewer, self.turned, self.same = Abstraction(3, 4, 8), nn.Identity(), nn.Identity()
        self.head = nn.Linear(4, 5)

    def forward(self, points: Tensor) -> Tensor:
        _, values = self.fewer(points, None)
        _, values = self.turned((points.flip(1), points.mT[:, :1].expand(-1, 4, -1) + values.mean()))
        _, values = self.same((points, values))
        return self.head(values.mT).mT


@pytest.mark.parametrize("method", ["sagemix", "cutmix"])
@pytest.mark.parametrize(
    ("model", "layer", "domain", "message"),
    [
        (Segmenter, "down", "image", "layer 'down' has 4 x 6 elements, and the labels are for 8 x 12 elements: mix at"),
        (Segmenter, "fc", "image", "layer 'fc' has vectors without elements, and the labels are for 8 x 12 elements"),
        (SetModel, "fewer", "points", "layer 'fewer' has 8 elements, and the labels are for 20 elements.*per sample"),
        (
            SetModel,
            "turned",
            "points",
            "layer 'turned' has 20 elements at other places, and the labels are for 20 elements",
        ),
    ],
)
def test_labels_per_element_refuse_a_layer_of_other_elements(
    model: Any, layer: str, domain: str, message: str, method: str
) -> None:
    model = model()
    shape = (3, 2, 8, 12) if domain == "image" else (3, 20, 3)
    labels = torch.randint(5, (3, 8, 12) if domain == "image" else (3, 20))
    done: list[int] = []
    model.head.register_forward_hook(lambda *_: done.append(1))
    options = {"saliency": lambda batch: torch.ones(3, 96 if domain == "image" else 20), "p": 1.0}
    manifold = ManifoldMixer(model, [layer], method, domain, num_classes=5, **options)
    for given in (labels, (torch.arange(3), labels)):
        before = hooks(model)
        with pytest.raises(ValueError, match=message):
            manifold(torch.randn(shape), given)
        assert hooks(model) == before
    assert not done  # it says so before the forward pass is over
    manifold(torch.randn(shape), torch.arange(3)) if domain == "image" else None
    assert bool(done) == (domain == "image")  # a label per sample is welcome there


def test_labels_per_element_mix_at_layers_of_the_inputs_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"num_classes": 5, "p": 1.0}
    for model, layer, domain, shape, size in (
        (Segmenter(), "full", "image", (3, 2, 8, 12), (8, 12)),
        (SetModel(), "same", "points", (3, 20, 3), (20,)),
    ):
        labels = torch.randint(5, (3, *size))
        manifold = ManifoldMixer(model, [layer], "cutmix", domain, **options)
        plans = record(manifold, monkeypatch)
        logits, targets = manifold(torch.randn(shape), labels)
        assert targets.shape == (3, 5, *size) == logits.shape
        torch.testing.assert_close(targets, plans[0].element_targets(labels, 5))


def test_one_weight_a_sample_suits_labels_per_element_at_any_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    manifold = ManifoldMixer(Segmenter(), ["down"], "manifold_mixup", "image", num_classes=5)
    plans = record(manifold, monkeypatch)
    labels = torch.randint(5, (3, 8, 12))
    _, targets = manifold(torch.randn(3, 2, 8, 12), labels)
    weight = plans[0].weight[0, 0, 0]
    onehot = F.one_hot(labels, 5).movedim(3, 1).float()
    torch.testing.assert_close(targets, weight * onehot + (1 - weight) * onehot[plans[0].source[:, 1, 0]])


def test_eval_mixes_nothing() -> None:
    model, points, labels = PointModel(), torch.randn(4, 6, 3), torch.arange(4)
    manifold = ManifoldMixer(model, ["features"], "sagemix", "points", num_classes=5)
    assert manifold.state_dict() == {}
    expected = model.eval()(points)
    for mode in (True, False):
        logits, targets = manifold.train(mode)(points, labels)
        assert torch.equal(logits, expected)
        assert torch.equal(targets, torch.eye(5)[:4])


def test_autocast_and_compiled_parts_work() -> None:
    model, images, labels = ImageModel(), torch.randn(4, 3, 8, 8), torch.arange(4)
    manifold = ManifoldMixer(model, ["features.1"], "sagemix", "image", num_classes=5)
    with torch.autocast("cpu", torch.bfloat16):
        logits, targets = manifold(images, labels)
    assert targets.dtype == torch.float32
    F.cross_entropy(logits.float(), targets).backward()
    model.features[3] = torch.compile(model.features[3], backend="eager")
    logits, _ = manifold(images, labels)
    assert logits.shape == (4, 5)


def test_what_cannot_work_says_so() -> None:
    model = SharedModel()
    with pytest.raises(ValueError, match="compiled as a whole"):
        ManifoldMixer(torch.compile(model), ["conv1"], "mixup", "points", num_classes=5)
    with pytest.raises(ValueError, match="no layer 'conv9'; its children: conv1, conv2"):
        ManifoldMixer(model, ["conv1", "conv9"], "mixup", "points", num_classes=5)
    with pytest.raises(ValueError, match="list of at least one"):
        ManifoldMixer(model, "conv1", "mixup", "points", num_classes=5)
    with pytest.raises(ValueError, match="saliency_at"):
        ManifoldMixer(model, ["conv1"], saliency_at="output")
    model.unused = nn.Linear(1, 1)
    with pytest.raises(RuntimeError, match="'unused' did not run"):
        ManifoldMixer(model, ["unused"], "mixup", "points", num_classes=5)(torch.randn(2, 6, 3), torch.arange(2))


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_layer_within_a_checkpointed_region_is_refused_and_one_around_it_is_mixed(reentrant: bool) -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(3, 8, 1)

        def forward(self, points: Tensor) -> Tensor:
            return self.conv(points.mT)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.inner, self.head = nn.Linear(3, 3), Inner(), nn.Linear(8, 5)
            self.region = nn.Identity()

        def forward(self, points: Tensor) -> Tensor:
            features = checkpoint(self.inner, self.stem(points), use_reentrant=reentrant)
            return self.head(self.region(features).amax(2))

    points, labels = torch.randn(2, 6, 3), torch.arange(2)
    with pytest.raises(RuntimeError, match=r"'inner\.conv' runs inside a checkpointed region"):
        ManifoldMixer(Outer(), ["inner.conv"], "mixup", "points", num_classes=5)(points, labels)
    model = Outer()
    manifold = ManifoldMixer(model, ["region"], "mixup", "points", num_classes=5)
    logits, targets = manifold(points, labels, generator=torch.Generator().manual_seed(1))
    F.cross_entropy(logits, targets).backward()
    assert model.inner.conv.weight.grad is not None
    assert hooks(model) == 0


def test_distributed_data_parallel_is_seen_through(tmp_path: Any) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = SharedModel()
        manifold = ManifoldMixer(
            nn.parallel.DistributedDataParallel(model), ["conv2"], "sagemix", "points", num_classes=5
        )
        logits, targets = manifold(torch.randn(4, 6, 3), torch.arange(4))
        F.cross_entropy(logits, targets).backward()
        assert all(q.grad is not None for q in model.parameters())
        assert hooks(model) == 0
    finally:
        torch.distributed.destroy_process_group()


class Turned(nn.Module):
    """A block with a forward of its own, whose channels come last if it says ``last``."""

    def __init__(self, *parts: nn.Module, last: bool = False) -> None:
        super().__init__()
        self.parts, self.last = nn.ModuleList(parts), last

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1) if self.last else x


class Sees(nn.Module):
    """Keeps what it is given: (B, 8, 8, 8), a map of 8 channels at 8 x 8 cells, in either layout."""

    def __init__(self, layer: nn.Module, before: nn.Module | None = None) -> None:
        super().__init__()
        self.before, self.layer, self.head = before or nn.Identity(), layer, nn.LazyLinear(5)

    def forward(self, images: Tensor) -> Tensor:
        self.seen = self.layer(self.before(images))
        return self.head(self.seen.flatten(1))


class Permute(nn.Module):
    def __init__(self, dims: list[int]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.dims)


LAST, FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
CUBES: dict[str, tuple[Any, bool]] = {
    "convolution": (lambda: nn.Conv2d(3, 8, 1), False),
    "batch norm": (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.GELU(), nn.Dropout(0.0)), False),
    "linear": (lambda: nn.Sequential(Permute(LAST), nn.Linear(3, 8), nn.GELU()), True),
    "norm": (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), Permute(LAST), nn.LayerNorm(8)), True),
    "permute": (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), Permute(LAST)), True),
    "back": (lambda: nn.Sequential(Permute(LAST), nn.Linear(3, 8), Permute(FIRST), nn.Identity()), False),
    "norm of maps": (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), timm.layers.LayerNorm2d(8)), False),
    "own forward": (lambda: Turned(nn.LayerNorm(8), nn.Linear(8, 8), last=True), True),
}


def show_cells(manifold: ManifoldMixer, images: Tensor) -> tuple[Tensor, Tensor]:
    """What a layer gave unmixed and mixed, (B, 8, 8, 8), with the same weights."""
    model = manifold.model
    model(images)
    clean = model.seen.detach()
    manifold(images, torch.arange(len(images)), generator=torch.Generator().manual_seed(1))
    return clean, model.seen.detach()


@pytest.mark.parametrize("name", CUBES)
def test_the_module_says_where_the_channels_of_a_cube_are(name: str) -> None:
    make, last = CUBES[name]
    before = nn.Conv2d(3, 8, 1) if name == "own forward" else None
    model = Sees(make(), before)
    assert channels_last(model.layer) is last
    images = torch.randn(4, 3, 8, 8)
    model(images)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    manifold = ManifoldMixer(model, ["layer"], "cutmix", "image", num_classes=5, p=1.0)
    clean, mixed = show_cells(manifold, images)
    if not last:
        clean, mixed = (x.permute(0, 2, 3, 1) for x in (clean, mixed))
    changed = clean != mixed  # (B, h, w, C): a cell is its own in all of its channels, or the partner's in all
    assert torch.equal(changed.any(3), changed.all(3))
    assert 0 < changed.all(3).float().mean() < 1


@pytest.mark.parametrize("last", [False, True])
def test_a_module_that_does_not_say_is_an_error_until_the_caller_does(last: bool) -> None:
    images = torch.randn(4, 3, 8, 8)
    parts = [[nn.Linear(8, 8)], [nn.Conv2d(8, 8, 1), nn.LayerNorm(8)]]  # a gate's layers; a ConvNeXt block's
    message = r"layer 'layer': .*\(4, 8, 8, 8\) may be \(B, C, h, w\) or .*channels_last="
    for part in parts:
        model = Sees(Turned(*part, last=last), nn.Conv2d(3, 8, 1))
        model(images)
        with pytest.raises(ValueError, match=message):
            ManifoldMixer(model, ["layer"], "cutmix", "image", num_classes=5, p=1.0)(images, torch.arange(4))
        for word in (last, {"layer": last}):
            manifold = ManifoldMixer(model, ["layer"], "cutmix", num_classes=5, p=1.0, channels_last=word)
            clean, mixed = show_cells(manifold, images)
            if not last:
                clean, mixed = (x.permute(0, 2, 3, 1) for x in (clean, mixed))
            changed = clean != mixed
            assert torch.equal(changed.any(3), changed.all(3))
            assert changed.any()
    with pytest.raises(ValueError, match="names 'lay', which is none of the layers: layer"):
        ManifoldMixer(model, ["layer"], "cutmix", num_classes=5, channels_last={"lay": True})


def test_swin_transformers_have_their_channels_last() -> None:
    options = {"embed_dim": 8, "num_heads": [1, 1], "num_classes": 5}
    theirs = torchvision.models.SwinTransformer([4, 4], depths=[1, 1], window_size=[2, 2], **options)
    timms = timm.create_model("swin_tiny_patch4_window7_224", img_size=32, depths=[1, 1], window_size=2, **options)
    images = torch.randn(4, 3, 32, 32)
    for model, layers in ((theirs, ["features.0", "features.1"]), (timms, ["patch_embed", "layers.0"])):
        for name in layers:
            layer, shapes = model.get_submodule(name), []
            layer.register_forward_hook(lambda module, args, output, shapes=shapes: shapes.append(output.shape))
            manifold = ManifoldMixer(model, [name], "cutmix", num_classes=5, p=1.0)
            assert manifold(images, torch.arange(4))[0].shape == (4, 5)
            assert shapes == [(4, 8, 8, 8)]
            assert channels_last(layer) is True


@pytest.mark.parametrize(("layer", "last"), [(nn.Linear(3, 6), True), (nn.Conv1d(3, 6, 1), False)])
def test_points_as_many_as_channels_are_read_by_the_module(layer: nn.Module, last: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = layer, nn.Linear(6, 5)

        def forward(self, points: Tensor) -> Tensor:
            self.seen = self.layer(points if last else points.mT)
            return self.head((self.seen if last else self.seen.mT).amax(1))

    model, points = Net(), torch.randn(2, 6, 3)
    manifold = ManifoldMixer(model, ["layer"], "pointcutmix_r", "points", num_classes=5, p=1.0, solver="identity")
    clean, mixed = show_cells(manifold, points)
    if not last:
        clean, mixed = clean.mT, mixed.mT
    changed = clean != mixed
    assert torch.equal(changed.any(2), changed.all(2))
    assert 0 < changed.float().mean() < 1
    model.layer = nn.ModuleDict({"inside": layer})
    model.layer.forward = layer.forward  # type: ignore[method-assign]
    if last:
        with pytest.raises(ValueError, match=r"may be \(B, C, n\) or \(B, n, C\)"):
            manifold(points, torch.arange(2))
