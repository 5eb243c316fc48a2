"""TransMix: labels by the attention of a class token, against what is computed by hand on tiny transformers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mixkit
from mixkit import AttentionMixer, MixPlan
from mixkit.attention import ClassAttention, weigh_by_patches

LABELS = torch.tensor([0, 1, 2, 3])


def timm_vit(**options: Any) -> nn.Module:
    timm = pytest.importorskip("timm")
    return timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=4, **options
    )


def torchvision_vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    model = VisionTransformer(32, 8, 2, 2, 16, 16, num_classes=4)
    nn.init.normal_(model.heads.head.weight)
    return model


MODELS = {
    "timm": timm_vit,
    "timm, normalised": lambda: timm_vit(qk_norm=True),
    "timm, registers": lambda: timm_vit(reg_tokens=2),
    "torchvision": torchvision_vit,
}


def attention_by_hand(model: nn.Module, images: Tensor) -> Tensor:
    """(B, T) of the last block, from the input of its attention, head by head."""
    inputs: list[Tensor] = []
    theirs: Any = model
    ours = hasattr(model, "blocks")
    attention = theirs.blocks[-1].attn if ours else theirs.encoder.layers[-1].self_attention
    handle = attention.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    model(images)
    handle.remove()
    tokens, heads = inputs[0], attention.num_heads
    weight = attention.qkv.weight if ours else attention.in_proj_weight
    bias = attention.qkv.bias if ours else attention.in_proj_bias
    projected = tokens @ weight.T + (0 if bias is None else bias)
    width, size = tokens.shape[2], tokens.shape[2] // heads
    total = torch.zeros(tokens.shape[:2])
    for head in range(heads):
        query = projected[:, 0, head * size : (head + 1) * size]
        key = projected[:, :, width + head * size : width + (head + 1) * size]
        if ours:
            query, key = attention.q_norm(query), attention.k_norm(key)
        logits = torch.stack([(query * key[:, t]).sum(1) for t in range(tokens.shape[1])], 1) / math.sqrt(size)
        total += logits.softmax(1)
    return (total / heads).detach()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_label_weights_are_those_computed_by_hand(name: str, share: float) -> None:
    model, images = MODELS[name](), torch.rand(4, 3, 32, 32)
    mixer = AttentionMixer(model, "cutmix", "image", num_classes=4, p=1.0, share=share)
    generator = torch.Generator().manual_seed(3)
    logits, targets = mixer(images, LABELS, generator=generator)
    plan = mixer.mixer.plan(images, LABELS, generator=generator.manual_seed(3))
    mixed = plan.apply(images.flatten(2).mT).mT.unflatten(2, (32, 32))
    torch.testing.assert_close(logits, model(mixed))
    attention = attention_by_hand(model, mixed)[:, -16:].unflatten(1, (4, 4))
    own = plan.weight[:, 0].expand(4, -1).unflatten(1, (32, 32))
    for a in range(4):
        b = int(plan.source[a, 1, 0])
        seen = [0.0, 0.0]
        for row in range(4):
            for column in range(4):
                kept = float(own[a, 8 * row, 8 * column])
                seen[0] += kept * float(attention[a, row, column])
                seen[1] += (1 - kept) * float(attention[a, row, column])
        weight = share * seen[0] / sum(seen) + (1 - share) * float(own[a].mean())
        expected = weight * torch.eye(4)[LABELS[a]] + (1 - weight) * torch.eye(4)[LABELS[b]]
        torch.testing.assert_close(targets[a], expected, atol=1e-5, rtol=0)
    assert not torch.allclose(targets, plan.targets(LABELS, 4), atol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_smmix_moves_what_the_model_attends_to(name: str) -> None:
    model, images = MODELS[name](), torch.rand(4, 3, 32, 32)
    mixer = AttentionMixer(
        model, "smmix", num_classes=4, saliency="attention", patches=4, low=0.5, high=0.5, partners="reversed"
    )
    passes: list[bool] = []
    model.register_forward_hook(lambda *ignored: passes.append(torch.is_grad_enabled()))
    logits, targets = mixer(images, LABELS)
    assert passes == [False, True], "one pass for the attention, one that trains"
    assert model.training
    seen = attention_by_hand(model.eval(), images)[:, -16:].unflatten(1, (4, 4))
    mixed, pasted = images.clone(), torch.zeros(4, 4, 4)
    for a in range(4):
        b = 3 - a
        sums = {
            (row, column): (float(seen[a, row : row + 2, column : column + 2].sum()),
                            float(seen[b, row : row + 2, column : column + 2].sum()))
            for row in range(3)
            for column in range(3)
        }  # fmt: skip
        to, of = min(sums, key=lambda at: sums[at][0]), max(sums, key=lambda at: sums[at][1])
        region = images[b, :, 8 * of[0] : 8 * of[0] + 16, 8 * of[1] : 8 * of[1] + 16]
        mixed[a, :, 8 * to[0] : 8 * to[0] + 16, 8 * to[1] : 8 * to[1] + 16] = region
        pasted[a, to[0] : to[0] + 2, to[1] : to[1] + 2] = 1
    torch.testing.assert_close(logits, model(mixed))
    attention = attention_by_hand(model, mixed)[:, -16:].unflatten(1, (4, 4))
    for a in range(4):
        share = float((attention[a] * pasted[a]).sum() / attention[a].sum())
        expected = (1 - share) * torch.eye(4)[a] + share * torch.eye(4)[3 - a]
        torch.testing.assert_close(targets[a], expected, atol=1e-5, rtol=0)


def test_attention_is_a_saliency_of_any_method() -> None:
    model = torchvision_vit()
    for method in ("sagemix", "guidedmixup", "saliencygrafting"):
        mixer = AttentionMixer(model, method, num_classes=4, saliency="attention", p=1.0)
        logits, targets = mixer(torch.rand(4, 3, 32, 32), LABELS)
        nn.functional.cross_entropy(logits, targets).backward()
        torch.testing.assert_close(targets.sum(1), torch.ones(4))


def test_one_pass_that_trains_as_any_other() -> None:
    model, images = torchvision_vit(), torch.rand(4, 3, 32, 32)
    passes: list[int] = []
    model.register_forward_hook(lambda *ignored: passes.append(1))
    mixer = AttentionMixer(model, num_classes=4, p=1.0)
    logits, targets = mixer(images, LABELS)
    nn.functional.cross_entropy(logits, targets).backward()
    assert len(passes) == 1
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not targets.requires_grad
    assert not list(mixer.parameters())
    before = len(model.encoder.layers[-1].self_attention._forward_pre_hooks)
    with pytest.raises(RuntimeError):
        mixer(torch.rand(4, 3, 32, 32)[:, :2], LABELS)
    assert len(model.encoder.layers[-1].self_attention._forward_pre_hooks) == before == 0, "the hook is gone"
    model.eval()
    logits, targets = mixer(images, LABELS)
    torch.testing.assert_close(logits, model(images))
    assert torch.equal(targets, torch.eye(4))
    assert "layer='encoder.layers.encoder_layer_1.self_attention'" in repr(mixer)


@pytest.mark.parametrize("method", ["mixup", "resizemix", "snapmix", "comixup", "sagemix"])
def test_any_method(method: str) -> None:
    options = {} if method in ("mixup", "resizemix") else {"saliency": "spectral_residual"}
    mixer = AttentionMixer(torchvision_vit(), method, num_classes=4, p=1.0, **options)
    _, targets = mixer(torch.rand(4, 3, 32, 32), LABELS)
    torch.testing.assert_close(targets.sum(1), torch.ones(4))


def test_a_bank_learns_from_the_mixed_batch() -> None:
    model, bank = torchvision_vit(), mixkit.SaliencyBank(4)
    mixer = AttentionMixer(model, "sagemix", num_classes=4, saliency=bank)
    for _ in range(20):
        logits, targets = mixer(torch.randn(4, 3, 32, 32), LABELS, samples=torch.arange(4))
        nn.functional.cross_entropy(logits, targets).backward()
    assert "4 of 4 samples seen" in repr(bank)


def test_in_eval_mode_there_is_no_clean_loss() -> None:
    mixer = AttentionMixer(torchvision_vit(), "sagemix", num_classes=4, clean_weight=1.0)
    images = torch.randn(4, 3, 32, 32)
    mixer(images, LABELS)
    assert mixer.mixer.clean_loss > 0
    mixer.eval()(images, LABELS)
    assert mixer.mixer.clean_loss == 0


def test_under_autocast_labels_stay_float32() -> None:
    mixer = AttentionMixer(torchvision_vit(), num_classes=4, p=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        _, targets = mixer(torch.rand(4, 3, 32, 32), LABELS)
    assert targets.dtype == torch.float32


def test_other_layers_and_what_is_refused() -> None:
    model = torchvision_vit()
    name = "encoder.layers.encoder_layer_0.self_attention"
    assert ClassAttention(model, name).layer == name
    with pytest.raises(ValueError, match=r"got 'head' of encoder\.layers\.encoder_layer_0"):
        ClassAttention(model, "head")
    with pytest.raises(ValueError, match="a MultiheadAttention with batch_first; got Linear"):
        AttentionMixer(nn.Linear(3, 4))
    with pytest.raises(ValueError, match=r"share must lie in \[0, 1\], got 2"):
        AttentionMixer(model, share=2)
    with pytest.raises(ValueError, match="remembers the batch before, an AttentionMixer does not"):
        AttentionMixer(model, "recursivemix")
    with pytest.raises(ValueError, match=r"give forward=forward\(model, batch\), without labels"):
        AttentionMixer(model, "smmix", saliency="attention", forward=lambda model, batch, labels: model(batch))
    with pytest.raises(RuntimeError, match="did not run, so its attention is not known"):
        _ = ClassAttention(model).tokens
    plan = MixPlan.pair(torch.tensor([1, 0]), torch.rand(1, 1024))
    for count in (1, 16):  # without a class token
        with pytest.raises(ValueError, match=rf"{count} tokens are no class token and patches of a grid of \(32, 32\)"):
            weigh_by_patches(plan, torch.rand(2, count), (32, 32))
    assert isinstance(mixkit.AttentionMixer(model), nn.Module)


def test_sequences_of_patches() -> None:
    plan = MixPlan.pair(torch.tensor([1, 0]), torch.tensor([[1.0] * 4 + [0.0] * 8]))
    tokens = torch.tensor([[0.4, 0.1, 0.2, 0.3], [0.1, 0.3, 0.3, 0.3]])  # the class token's own, and three patches
    found = weigh_by_patches(plan, tokens, (12,)).sample_weights
    torch.testing.assert_close(found, torch.tensor([[1 / 6, 5 / 6], [2 / 3, 1 / 3]]))


def test_models_whose_attention_would_be_another_are_refused() -> None:
    timm = pytest.importorskip("timm")
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 3}
    no_class = timm.models.VisionTransformer(**options, class_token=False, reg_tokens=4, global_pool="avg")
    with pytest.raises(ValueError, match="VisionTransformer has no class token"):
        AttentionMixer(no_class, num_classes=3)
    turned = timm.models.Eva(**options)
    with pytest.raises(ValueError, match=r"no rotary embedding.* got Eva"):
        AttentionMixer(turned, num_classes=3)
