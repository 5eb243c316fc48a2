"""The point models as wholes: against plain twins, blind to order, differentiable, and mixed at each of their layers.

The loops beneath them are tested in test_neighbours.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.models import create_model
from experiments.models.dgcnn import EdgeConv
from experiments.models.layers import EdgeNorm
from experiments.models.pointnet2 import LocalPointNet, Scale
from mixkit import GradientSaliency, ManifoldMixer
from mixkit.channels import channels_last
from mixkit.registry import get_domain

CLASSIFIERS = ("pointnet", "pointnet2_ssg", "pointnet2_msg", "dgcnn")
PARTS = ("pointnet2_partseg", "dgcnn_partseg")
SMALL: dict[str, dict[str, Any]] = {"dgcnn": {"k": 5}, "dgcnn_partseg": {"k": 5}} | {
    name: {"centres": (16, 6)} for name in ("pointnet2_ssg", "pointnet2_msg", "pointnet2_partseg")
}


def small(name: str, channels: int = 3, **options: Any) -> Any:
    return create_model(name, channels=channels, num_classes=5, width=8, **SMALL.get(name, {}), **options)


def balls(batch: int, count: int, channels: int = 3) -> Tensor:
    """Points in the unit ball, and further channels."""
    points = torch.randn(batch, count, channels)
    points[:, :, :3] *= torch.rand(batch, count, 1) / points[:, :, :3].norm(dim=2, keepdim=True)
    return points


def run(model: nn.Module, points: Tensor) -> Tensor:
    """Logits (B, 5) of a classifier, (B, 5, N) of a part model."""
    if hasattr(model, "fp1") or hasattr(model, "align"):
        return model(points, torch.eye(16)[torch.arange(len(points)) % 16])
    return model(points)


def steady(model: nn.Module) -> nn.Module:
    """In train mode but for what makes samples depend on each other or on chance."""
    model.train()
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.Dropout)) or hasattr(module, "centres"):
            module.training = False
    return model


# ---- plain twins


def plain_edge_conv(conv: EdgeConv, features: Tensor) -> Tensor:
    """[x_j - x_i, x_i] held as such, linear layers, BatchNorm, leaky ReLU, maximum over the neighbours."""
    rows = features.mT
    near = torch.cdist(rows, rows).topk(conv.k, largest=False).indices
    neighbours = torch.stack([row[i] for row, i in zip(rows, near, strict=True)])
    own = rows[:, :, None].expand_as(neighbours)
    edges = conv.first(torch.cat([neighbours - own, own], 3)).flatten(0, 2)
    return plain_layers([*conv.further, conv.norm], edges, 0.2).unflatten(0, near.shape).amax(2).mT


def plain_layers(layers: list[nn.Module], rows: Tensor, slope: float) -> Tensor:
    """Linear layers, and torch's own BatchNorm and leaky ReLU in the place of ours."""
    for layer in layers:
        if isinstance(layer, nn.BatchNorm1d):
            mean, var = layer.running_mean.clone(), layer.running_var.clone()
            rows = F.leaky_relu(F.batch_norm(rows, mean, var, layer.weight, layer.bias, layer.training), slope)
        else:
            rows = layer(rows)
    return rows


def plain_local(local: LocalPointNet, coords: Tensor, features: Tensor | None, centres: Tensor) -> Tensor:
    """Points of each ball relative to its centre, their features beside them, layer by layer."""
    gaps = (centres[:, :, None] - coords[:, None]).square().sum(3)
    index = torch.zeros(*centres.shape[:2], local.size, dtype=torch.long)
    for b, s in torch.cartesian_prod(torch.arange(len(coords)), torch.arange(centres.shape[1])).tolist():
        inside = (gaps[b, s] < local.radius**2).nonzero()[: local.size, 0]
        index[b, s] = inside[0]
        index[b, s, : len(inside)] = inside
    rows = coords if features is None else torch.cat([coords, features], 2)
    group = torch.stack([row[i] for row, i in zip(rows, index, strict=True)])
    shift = F.pad(centres, (0, rows.shape[2] - 3))
    edges = local.first(group - shift[:, :, None]).flatten(0, 2)
    return plain_layers([*local.further, local.norm], edges, 0.0).unflatten(0, index.shape).amax(2)


def compare(module: nn.Module, mine: Any, plain: Any, inputs: list[Tensor]) -> None:
    """Outputs, gradients with respect to inputs and parameters, in float64."""
    results = []
    for function in (mine, plain):
        module.zero_grad()
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        out = function(*leaves)
        torch.manual_seed(1)
        (out * torch.randn_like(out)).sum().backward()
        results.append([out, *[leaf.grad for leaf in leaves], *[p.grad.clone() for p in module.parameters()]])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("channels", [(6,), (6, 7), (4, 5, 6)])
def test_edge_conv_is_that_of_the_paper(training: bool, channels: tuple[int, ...]) -> None:
    conv = EdgeConv(4, channels, 5).double().train(training)
    with torch.no_grad():
        for name, parameter in conv.named_parameters():
            if "norm" in name:
                parameter.normal_()  # scales of both signs
        conv.norm.running_var.fill_(2.0)
    compare(conv, conv, lambda x: plain_edge_conv(conv, x), [torch.randn(3, 4, 12, dtype=torch.float64)])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("features", "widths"), [(0, (6, 7)), (4, (6,)), (4, (5, 6, 7))])
def test_local_point_net_is_that_of_the_paper(training: bool, features: int, widths: tuple[int, ...]) -> None:
    local = LocalPointNet(features, Scale(0.6, 4, widths)).double().train(training)
    coords = balls(2, 20).double()
    inputs = [coords, coords[:, 3:8]] + ([torch.randn(2, 20, features, dtype=torch.float64)] if features else [])

    def order(function: Any) -> Any:
        return lambda x, c, f=None: function(x, f, c)

    compare(local, order(local), order(lambda x, f, c: plain_local(local, x, f, c)), inputs)


# ---- what each model must do


@pytest.mark.parametrize(
    ("name", "classes", "published", "digits"),
    [("dgcnn", 40, 1.8e6, 1), ("pointnet2_ssg", 40, 1.47e6, 2), ("preact_resnet18", 100, 11.2e6, 1)],
)
def test_sizes_are_the_published_ones(name: str, classes: int, published: float, digits: int) -> None:
    model = create_model(name, channels=3, num_classes=classes)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, digits) == published / 1e6


@pytest.mark.parametrize("name", [*CLASSIFIERS, *PARTS])
@pytest.mark.parametrize("channels", [3, 6])
def test_any_number_of_points_to_logits(name: str, channels: int) -> None:
    model = small(name, channels)
    for count in (1, 4, 33):  # fewer than neighbours, fewer than centres, more
        logits = run(model.train(), balls(3, count, channels))
        assert logits.shape == ((3, 5, count) if name in PARTS else (3, 5))
        assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", ["pointnet", "dgcnn"])
def test_the_order_of_points_does_not_matter(name: str) -> None:
    model, points = small(name).eval(), balls(3, 40)
    torch.testing.assert_close(model(points[:, torch.randperm(40)]), model(points), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["pointnet2_ssg", "pointnet2_msg"])
def test_the_order_does_not_matter_where_it_cannot_choose(name: str) -> None:
    """PointNet++ starts at the first point and takes the first of each ball: blind only where all are taken."""
    model, points = small(name).eval(), balls(3, 12)
    for local in (module for module in model.modules() if isinstance(module, LocalPointNet)):
        local.size = 12
    model.sa1.centres = model.sa2.centres = 12
    order = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(11)])
    torch.testing.assert_close(model(points[:, order]), model(points), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PARTS)
def test_parts_follow_their_points(name: str) -> None:
    model, points = small(name).eval(), balls(3, 12)
    order = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(11)])
    for local in (module for module in model.modules() if isinstance(module, LocalPointNet)):
        local.size = 12
    torch.testing.assert_close(run(model, points[:, order]), run(model, points)[:, :, order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PARTS)
def test_parts_depend_on_the_category_which_may_be_soft(name: str) -> None:
    model, points = small(name).eval(), balls(2, 20)
    first, second = torch.eye(16)[[0, 0]], torch.eye(16)[[3, 3]]
    logits = [model(points, category) for category in (first, second, (first + second) / 2)]
    assert not torch.allclose(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2])


def test_pointnet2_draws_its_first_centre_in_training_only() -> None:
    model, points = small("pointnet2_ssg"), balls(1, 30).expand(64, -1, -1)
    coords, _ = model.eval().sa1(points, None)
    assert torch.equal(coords[:, 0], points[:, 0])
    torch.manual_seed(0)
    coords, _ = model.train().sa1(points, None)
    assert len(coords[:, 0].unique(dim=0)) > 15
    torch.manual_seed(0)
    assert torch.equal(model.sa1(points, None)[0], coords)


@pytest.mark.parametrize("name", [*CLASSIFIERS, *PARTS])
def test_one_model_one_result(name: str) -> None:
    model, points = small(name), balls(3, 30)
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        model.zero_grad()
        F.cross_entropy(run(model, points), torch.zeros((3, 30) if name in PARTS else 3).long()).backward()
        results.append([parameter.grad.clone() for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("name", [*CLASSIFIERS, *PARTS])
def test_gradients_are_finite_also_where_points_fall_together(name: str) -> None:
    model = small(name)
    points = balls(3, 30)
    points[0] = points[0, :1]  # one point, thirty times
    points[1, 10:] = points[1, :1]
    points.requires_grad_()
    for mode in (True, False):
        model.train(mode)
        (grad,) = torch.autograd.grad(run(model, points).square().sum(), points)
        assert torch.isfinite(grad).all()
        assert (grad[2] != 0).any()


@pytest.mark.parametrize("name", [*CLASSIFIERS, *PARTS])
def test_bfloat16_autocast_is_near_float32(name: str) -> None:
    model, points = small(name).eval(), balls(4, 40)
    wanted = run(model, points)
    with torch.autocast("cpu", torch.bfloat16):
        logits = run(model, points)
    assert (logits.float() - wanted).norm() < 0.2 * wanted.norm()  # neighbours in the space of features may change
    with torch.autocast("cpu", torch.bfloat16):
        logits = run(model.train(), points)
    logits.float().square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_a_state_returns() -> None:
    model, points = small("dgcnn"), balls(4, 30)
    model.train()(points)
    other = small("dgcnn")
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.eval()(points), model.eval()(points))
    assert {type(m) for m in model.modules()} >= {EdgeNorm}


# ---- mixing inside


@pytest.mark.parametrize("method", ["sagemix", "pointmixup"])
@pytest.mark.parametrize("saliency_at", ["input", "layer"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_it_is_mixed_at_each_of_its_layers(
    name: str, method: str, saliency_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, points, labels = steady(small(name)), balls(4, 32), torch.arange(4)
    domain = get_domain("points")()
    for layer in model.mixing_layers:
        manifold = ManifoldMixer(model, [layer], method, "points", num_classes=5, saliency_at=saliency_at)
        plans: list[Any] = []
        draw = manifold.mixer.draw
        monkeypatch.setattr(
            manifold.mixer, "draw", lambda *a, draw=draw, plans=plans, **k: plans.append(draw(*a, **k)) or plans[-1]
        )
        logits, targets = manifold(points, labels)
        torch.testing.assert_close(targets, plans[0].sample_weights @ torch.eye(5)[:4])
        if layer == "input":
            mixed, _ = manifold.mixer.apply_plan(plans[0], points, labels)
            torch.testing.assert_close(logits, model(mixed), rtol=1e-4, atol=1e-5)
        else:
            seen: list[Any] = []
            module = model.get_submodule(layer)
            handle = module.register_forward_hook(lambda m, a, out: seen.append(out))  # noqa: B023
            model(points)
            handle.remove()
            elements = domain.feature_elements(seen[0], domain.elements(points), channels_last=False)
            assert elements.num_elements == plans[0].weight.shape[2] or plans[0].weight.shape[2] == 1
            count = {"sa1": 16, "sa2": 6}.get(layer, 32)
            assert elements.num_elements == count  # points are elements, not channels: width 8 has a stage of 32, too
            replaced = domain.mix_feature(plans[0], seen[0], elements, channels_last=False)
            handle = module.register_forward_hook(lambda m, a, out: replaced)  # noqa: B023
            torch.testing.assert_close(logits, model(points), rtol=1e-4, atol=1e-5)
            handle.remove()
        F.cross_entropy(logits, targets).backward()
        assert not any(module._forward_hooks for module in model.modules())


def test_channels_are_not_taken_for_points() -> None:
    """DGCNN's last stage at width 8 has 32 channels: with 32 points its norms say which is which, not the shape."""
    model, points = small("dgcnn").eval(), balls(2, 32)
    x = points.mT
    for name in model.mixing_layers[1:]:
        x = model.get_submodule(name)(x)
    assert x.shape == (2, 32, 32)
    domain = get_domain("points")()
    order = torch.randperm(32)
    y = points[:, order].mT
    for name in model.mixing_layers[1:]:
        y = model.get_submodule(name)(y)
    first = channels_last(model.edge4)
    assert first is False
    features = [domain.feature_elements(out, domain.elements(points), first).values for out in (x, y)]
    torch.testing.assert_close(features[1], features[0][:, order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_saliency_leaves_the_model_as_it_was(name: str) -> None:
    model, points = small(name).train(), balls(3, 32)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    saliency = GradientSaliency(model).find(points, torch.arange(3), get_domain("points")())
    assert saliency.shape == (3, 32)
    assert torch.isfinite(saliency).all()
    assert (saliency > 0).any(1).all()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
