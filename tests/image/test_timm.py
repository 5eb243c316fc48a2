"""The drop-in for timm's mixup_fn and its collate function, beside timm's own."""

from __future__ import annotations

import itertools
import pickle
import sys
from typing import Any

import numpy as np
import pytest
import torch
from timm.data import FastCollateMixup, Mixup, create_loader
from timm.loss import SoftTargetCrossEntropy
from torch import Tensor

import mixkit_image
from mixkit_image import TimmMixup
from mixkit_image.timm_collate import TimmFastCollate
from tests.conftest import ImageModel

ALPHAS: list[dict[str, Any]] = [
    {"mixup_alpha": 0.8},
    {"mixup_alpha": 0.0, "cutmix_alpha": 1.0},
    {"mixup_alpha": 0.8, "cutmix_alpha": 1.0},
    {"mixup_alpha": 0.2, "cutmix_minmax": (0.2, 0.8)},
    {"mixup_alpha": 0.0, "cutmix_minmax": (0.3, 0.9)},
    {"cutmix_alpha": 0.05},  # ratios so near to 0 and 1 that some are
]
OTHERS: list[dict[str, Any]] = [
    {},
    {"prob": 0.5, "label_smoothing": 0.0},
    {"switch_prob": 0.8, "correct_lam": False},
    {"prob": 0.7, "switch_prob": 0.2, "correct_lam": False, "label_smoothing": 0.3},
]
arguments = pytest.mark.parametrize(
    "given", [{**alpha, **other} for alpha, other in itertools.product(ALPHAS, OTHERS)], ids=str
)


def same_draws(theirs: Any, ours: Any, call: Any, times: int = 6) -> list[tuple[Any, Any]]:
    """What both give, batch after batch, from one seed of NumPy; their generators must end in one state."""
    results = []
    for function in (theirs, ours):
        np.random.seed(7)  # noqa: NPY002
        results.append([call(function) for _ in range(times)])
        results[-1].append((np.random.rand(), None))  # noqa: NPY002
    assert results[0][-1] == results[1][-1]
    return list(zip(results[0][:-1], results[1][:-1], strict=True))


@arguments
@pytest.mark.parametrize("mode", ["batch", "elem", "pair", "half"])
def test_it_equals_timms_own_number_for_number(mode: str, given: dict[str, Any]) -> None:
    images, labels = torch.rand(6, 3, 9, 12), torch.arange(6) % 5
    theirs, ours = (cls(mode=mode, num_classes=5, **given) for cls in (Mixup, TimmMixup))
    for (x, y), (mixed, targets) in same_draws(theirs, ours, lambda mix: mix(images.clone(), labels)):
        assert torch.equal(mixed, x)
        torch.testing.assert_close(targets, y, rtol=0, atol=1e-7)
        torch.testing.assert_close(targets.sum(1), torch.ones(6))


@arguments
@pytest.mark.parametrize("mode", ["batch", "elem", "pair", "half"])
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_it_collates_as_timms_own_does(kind: str, mode: str, given: dict[str, Any]) -> None:
    def samples() -> list[Any]:
        return [
            (picture.copy() if kind == "array" else torch.from_numpy(picture.copy()), i % 5) for i, picture in images
        ]

    images = list(enumerate(np.random.default_rng(1).integers(0, 256, (6, 3, 9, 12), dtype=np.uint8)))
    theirs = FastCollateMixup(mode=mode, num_classes=5, **given)
    for ours in (TimmFastCollate(mode=mode, num_classes=5, **given), TimmMixup(mode=mode, num_classes=5, **given)):
        for (x, y), (mixed, targets) in same_draws(theirs, ours, lambda mix: mix(samples())):
            assert mixed.dtype == torch.uint8
            assert torch.equal(mixed, x)
            torch.testing.assert_close(targets, y, rtol=0, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("mode", ["batch", "elem", "pair"])
def test_images_of_every_precision(mode: str, dtype: torch.dtype) -> None:
    images, labels = torch.rand(6, 3, 9, 12).to(dtype), torch.arange(6) % 5
    theirs, ours = (cls(mode=mode, num_classes=5, cutmix_alpha=1.0) for cls in (Mixup, TimmMixup))
    for (x, y), (mixed, targets) in same_draws(theirs, ours, lambda mix: mix(images.clone(), labels)):
        assert torch.equal(mixed, x)
        # timm rounds the labels' ratios to the images' dtype
        torch.testing.assert_close(targets, y, rtol=0, atol=torch.finfo(dtype).eps, check_dtype=dtype == torch.float64)
        assert targets.dtype in (torch.float32, torch.float64)


def test_dense_multi_label_targets() -> None:
    images, labels = torch.rand(6, 3, 9, 12), torch.randint(2, (6, 5))
    theirs, ours = (cls(num_classes=5, cutmix_alpha=1.0, multi_label=True) for cls in (Mixup, TimmMixup))
    for (x, y), (mixed, targets) in same_draws(theirs, ours, lambda mix: mix(images.clone(), labels)):
        assert torch.equal(mixed, x)
        torch.testing.assert_close(targets, y)
    _, targets = TimmMixup(["mixup"], num_classes=5, multi_label=True, label_smoothing=0.2)(images, labels)
    assert 0.1 - 1e-6 <= targets.min() < targets.max() <= 0.9 + 1e-6
    _, soft = TimmMixup(["mixup"], num_classes=5)(images, torch.rand(6, 5).softmax(1))
    torch.testing.assert_close(soft.sum(1), torch.ones(6))


@pytest.mark.parametrize("mode", ["batch", "elem", "pair"])
@pytest.mark.parametrize("size", [1, 5])
def test_odd_batches(mode: str, size: int) -> None:
    images = torch.arange(float(size))[:, None, None, None].expand(size, 3, 8, 8)
    mix = TimmMixup(mode=mode, num_classes=5, mixup_alpha=1.0, cutmix_alpha=1.0, label_smoothing=0.0)
    for _ in range(10):
        mixed, targets = mix(images, torch.arange(size))
        torch.testing.assert_close(mixed.mean((1, 2, 3)), targets @ torch.arange(5.0))


def test_what_came_is_not_changed() -> None:
    images = torch.rand(4, 3, 8, 8)
    before = images.clone()
    for mode in ("batch", "elem", "pair"):
        TimmMixup(mode=mode, num_classes=4, cutmix_alpha=1.0)(images, torch.arange(4))
    assert torch.equal(images, before)


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


def test_methods_stand_where_timm_has_mixup_and_cutmix() -> None:
    def names(**given: Any) -> list[str]:
        mixup_fn = TimmMixup(["puzzlemix", "cutmix"], num_classes=5, **given)
        return [f"{type(mixer.method).__name__} {mixer.method.alpha}" for mixer in mixup_fn.mixers]

    assert names() == ["PuzzleMix 1.0", "CutMix 1.0"]
    assert names(mixup_alpha=0.4, cutmix_alpha=0.7) == ["PuzzleMix 0.4", "CutMix 0.7"]
    assert names(mixup_alpha=0.0) == ["CutMix 1.0"]
    assert names(cutmix_alpha=0.0, options={"puzzlemix": {"alpha": 3.0}}, mixup_alpha=0.2) == ["PuzzleMix 3.0"]
    sagemix = TimmMixup(["sagemix", "cutmix"], num_classes=5, mixup_alpha=0.8, cutmix_alpha=1.0)
    assert sagemix.mixers[0].method.theta == 0.3  # which has no alpha to take
    with pytest.raises(ValueError, match="all methods are off: mixup_alpha=0"):
        TimmMixup(["sagemix"], mixup_alpha=0)


@pytest.mark.parametrize("methods", [["mixup"], ["sagemix", "cutmix"], ["puzzlemix", "mixup"]])
def test_elements_are_drawn_apart_in_mode_elem(methods: list[str]) -> None:
    images = torch.arange(24.0)[:, None, None, None].expand(24, 3, 8, 8)
    mix = TimmMixup(methods, num_classes=24, mode="elem", prob=0.5, label_smoothing=0.0)
    alone = 0
    for _ in range(20):
        mixed, targets = mix(images, torch.arange(24))
        torch.testing.assert_close(mixed.mean((1, 2, 3)), targets @ torch.arange(24.0))
        own = targets.diagonal() == 1
        assert torch.equal(mixed[own], images[own])
        alone += int(own.sum())
    assert 0.4 < alone / 480 < 0.8


def test_prob_and_the_off_epoch() -> None:
    images, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
    assert torch.equal(TimmMixup(num_classes=5, prob=0.0)(images, labels)[0], images)
    mixup_fn = TimmMixup(["mixup"], num_classes=5, mixup_off_epoch=3)
    enabled = []
    for epoch in range(5):
        mixup_fn.set_epoch(epoch)
        enabled.append(mixup_fn.mixup_enabled)
    assert enabled == [True, True, True, False, False]
    for mix in (TimmMixup(["mixup"], num_classes=5), TimmMixup(mixup_alpha=1.0, num_classes=5)):
        mix.mixup_enabled = False
        mixed, targets = mix(images, labels)
        assert mixed is images
        torch.testing.assert_close(targets, Mixup(prob=0.0, num_classes=5)(images.clone(), labels)[1])
        assert torch.isfinite(SoftTargetCrossEntropy()(ImageModel()(mixed), targets))


class Pictures(torch.utils.data.Dataset[Any]):
    """Twelve grey pictures whose level tells their class, for timm's loader to transform."""

    transform: Any = None

    def __len__(self) -> int:
        return 12

    def __getitem__(self, i: int) -> tuple[Any, int]:
        from PIL import Image

        picture = Image.fromarray(np.full((40, 40, 3), 20 * i, dtype=np.uint8))
        return self.transform(picture), i


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "given",
    [
        {"mixup_alpha": 0.8, "cutmix_alpha": 1.0},
        {"methods": ["sagemix", "cutmix"]},
        {"methods": ["mixup"], "mixup_alpha": 4.0},
    ],
)
@pytest.mark.parametrize("mode", ["batch", "half"])
def test_timms_loader_with_its_prefetcher(given: dict[str, Any], mode: str, workers: int) -> None:
    collate = TimmFastCollate(num_classes=12, label_smoothing=0.0, mode=mode, **given)
    loader = create_loader(
        Pictures(), (3, 32, 32), batch_size=4, is_training=True, no_aug=True, num_workers=workers, collate_fn=collate,
        mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), device=torch.device("cpu"), persistent_workers=False,
    )  # fmt: skip
    assert loader.mixup_enabled
    mixed = 0
    for enabled in (True, False):
        loader.mixup_enabled = enabled
        for images, targets in loader:
            assert images.shape == (2 if mode == "half" and enabled else 4 if mode == "batch" else 2, 3, 32, 32)
            level = targets @ torch.arange(12.0) * 20 / 255
            torch.testing.assert_close(images.mean((1, 2, 3)), level, rtol=0, atol=0.6 / 255)
            mixed += int((targets.amax(1) < 1).sum()) if enabled else 0
            assert enabled or torch.equal(targets.amax(1), torch.ones(len(targets)))
    assert mixed > 0


def test_a_models_saliency_stays_out_of_the_loader() -> None:
    collate = TimmFastCollate(["sagemix"], num_classes=5, model=ImageModel())
    with pytest.raises(ValueError, match="after the loader"):
        collate([(np.zeros((3, 8, 8), dtype=np.uint8), 0)] * 2)


def test_pickles_and_what_it_prints() -> None:
    for mix in (TimmMixup(num_classes=5), TimmMixup(mixup_alpha=0.8, mode="elem"), TimmFastCollate(["cutmix"])):
        assert repr(pickle.loads(pickle.dumps(mix))) == repr(mix)
        assert len(repr(mix).splitlines()) <= 3
        assert "0x" not in repr(mix)
    assert "mixup_alpha=0.8, cutmix_alpha=0.0" in repr(TimmMixup(mixup_alpha=0.8))
    assert "SageMix(theta=0.3" in repr(TimmMixup(num_classes=5))


def test_errors() -> None:
    with pytest.raises(ValueError, match="one or two names"):
        TimmMixup("sagemix")
    with pytest.raises(ValueError, match=r"got 0\.8; timm's arguments go by name"):
        TimmMixup(0.8, num_classes=5)
    with pytest.raises(ValueError, match=r"switch_prob must lie in \[0, 1\], got 2"):
        TimmMixup(switch_prob=2)
    with pytest.raises(ValueError, match="batch, pair, elem, half, got 'each'"):
        TimmMixup(mode="each")
    with pytest.raises(ValueError, match="all are off"):
        TimmMixup(mixup_alpha=0.0)
    with pytest.raises(ValueError, match=r"cutmix_alpha must be >= 0 and below .*, got -1"):
        TimmMixup(cutmix_alpha=-1)
    with pytest.raises(ValueError, match=r"two shares of a side, the smaller first, got \(0\.8, 0\.2\)"):
        TimmMixup(cutmix_minmax=(0.8, 0.2))
    with pytest.raises(ValueError, match="take no model: name methods"):
        TimmMixup(mixup_alpha=1.0, model=ImageModel())
    for given in ({"mode": "pair"}, {"correct_lam": False}, {"cutmix_minmax": (0.2, 0.8)}):
        with pytest.raises(ValueError, match="give no methods"):
            TimmMixup(["sagemix"], **given)
    with pytest.raises(TypeError, match=r"num_classes must be a whole number.*got '5'"):
        TimmMixup(mixup_alpha=1.0, num_classes="5")
    with pytest.raises(ValueError, match=r"cutmix_minmax=\(0\.5, 0\.6\) leaves no choice .* \(4, 4\)"):
        TimmMixup(mixup_alpha=0.0, cutmix_minmax=(0.5, 0.6))(torch.rand(2, 3, 4, 4), torch.arange(2))
    with pytest.raises(ValueError, match="schedule counts batches"):
        TimmMixup(["mixup"], mode="elem", schedule="off_at_end", total_steps=3)


@pytest.mark.parametrize("given", [{"mixup_alpha": 1.0}, {"methods": ["mixup"]}])
def test_errors_of_a_batch(given: dict[str, Any]) -> None:
    mix, images = TimmMixup(num_classes=5, **given), torch.rand(4, 3, 8, 8)
    for labels, error, message in (
        (torch.tensor([0, 1, 2, 5]), ValueError, r"\[0, 5\), got 0 to 5"),
        (torch.arange(3), ValueError, r"\(4,\), got torch\.int64 \(3,\)"),
        (torch.rand(4, 6), ValueError, r"dense labels must be \(4, 5\), got \(4, 6\)"),
        ([0, 1, 2, 3], TypeError, "tensor, got list"),
    ):
        with pytest.raises(error, match=message):
            mix(images, labels)
    with pytest.raises(ValueError, match=r"\(B, C, H, W\), got \(3, 8, 8\)"):
        mix(images[0], torch.arange(3))
    with pytest.raises(TypeError, match=r"interpolates.*torch\.uint8"):
        mix((images * 255).byte(), torch.arange(4))
    with pytest.raises(ValueError, match="images and labels, or a list of samples"):
        mix(images)
    with pytest.raises(ValueError, match=r"uint8 \(C, H, W\).*got torch\.float32 \(3, 8, 8\)"):
        mix([(image, 0) for image in images])
    with pytest.raises(ValueError, match=r"of one size to be mixed, got \(3, 8, 8\) and \(3, 8, 9\)"):
        mix([(np.zeros((3, 8, 8 + i), dtype=np.uint8), 0) for i in range(2)])
    with pytest.raises(ValueError, match="or a list of samples"):
        mix([])


def test_what_needs_timm_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm.data", None)
    monkeypatch.delitem(sys.modules, "mixkit_image.timm_collate")
    monkeypatch.delitem(vars(mixkit_image), "TimmFastCollate", raising=False)
    with pytest.raises(ImportError, match=r"needs timm: pip install 'mixkit\[timm\]'"):
        mixkit_image.TimmFastCollate  # noqa: B018


def test_channels_last_stays(recwarn: Any) -> None:
    images: Tensor = torch.rand(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    for mode in ("batch", "elem"):
        mixed, _ = TimmMixup(mixup_alpha=1.0, num_classes=4, mode=mode)(images, torch.arange(4))
        assert mixed.is_contiguous(memory_format=torch.channels_last)


def test_options_of_no_method_are_refused() -> None:
    with pytest.raises(ValueError, match="options are given for cutmix, and the methods are sagemix"):
        TimmMixup(["sagemix"], options={"cutmix": {"alpha": 1.0}})
    with pytest.raises(ValueError, match=r"cutmix_alpha=1\.0 is of a second method, and there is only 'mixup'"):
        TimmMixup(["mixup"], cutmix_alpha=1.0)
