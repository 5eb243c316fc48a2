"""The drop-in for timm's mixup_fn, beside timm's own."""

from __future__ import annotations

import pytest
import torch
from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy

from mixkit_image import TimmMixup
from tests.conftest import ImageModel


def test_it_gives_what_timms_own_gives() -> None:
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6) % 5
    theirs = Mixup(num_classes=5, label_smoothing=0.1)
    ours = TimmMixup(["mixup"], num_classes=5, label_smoothing=0.1)
    expected, found = theirs(images.clone(), labels), ours(images, labels)
    assert [x.shape for x in found] == [x.shape for x in expected]
    torch.testing.assert_close(found[1].sum(1), expected[1].sum(1))
    theirs.mixup_enabled = ours.mixup_enabled = False
    expected, found = theirs(images.clone(), labels), ours(images, labels)
    assert torch.equal(found[0], images)
    torch.testing.assert_close(found[1], expected[1])
    assert torch.isfinite(SoftTargetCrossEntropy()(ImageModel()(found[0]), found[1]))


def test_it_switches_between_two_methods() -> None:
    model = ImageModel()
    mixup_fn = TimmMixup(["sagemix", "cutmix"], num_classes=5, switch_prob=0.3, model=model, label_smoothing=0.0)
    images, labels = torch.rand(5, 3, 8, 8), torch.arange(5)  # odd
    used = {0: 0, 1: 0}
    for i, mixer in enumerate(mixup_fn.mixers):
        mixer.register_forward_hook(lambda *_, i=i: used.__setitem__(i, used[i] + 1))
    for _ in range(100):
        mixed, targets = mixup_fn(images, labels)
        torch.testing.assert_close(targets.sum(1), torch.ones(5))
    assert 15 < used[1] < 45
    assert mixed.shape == images.shape


def test_prob_and_the_off_epoch() -> None:
    images, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
    assert torch.equal(TimmMixup(num_classes=5, prob=0.0)(images, labels)[0], images)
    mixup_fn = TimmMixup(["mixup"], num_classes=5, mixup_off_epoch=3)
    enabled = []
    for epoch in range(5):
        mixup_fn.set_epoch(epoch)
        enabled.append(mixup_fn.mixup_enabled)
    assert enabled == [True, True, True, False, False]
    assert (
        TimmMixup(["pointmixup"], num_classes=5, options={"pointmixup": {"alpha": 3.0}}).mixers[0].method.alpha == 3.0
    )


def test_errors() -> None:
    with pytest.raises(ValueError, match="one or two names"):
        TimmMixup("sagemix")
    with pytest.raises(ValueError, match=r"switch_prob must lie in \[0, 1\], got 2"):
        TimmMixup(switch_prob=2)
