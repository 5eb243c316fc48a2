"""Every name that `mixkit_image` gives a method is a transform of it, with the method's options in its signature."""

from __future__ import annotations

import inspect
import pickle

import pytest
import torch

import mixkit
import mixkit_image
from mixkit.registry import accepted, get_method
from mixkit_image.named_transforms import NamedTransform

METHODS = [name for name in mixkit.list_methods("image") if not get_method(name).for_layers]
OWN = [name for name in METHODS if get_method(name).__module__.partition(".")[0] in ("mixkit", "mixkit_image")]


def test_each_method_of_images_is_a_transform_by_its_class_name() -> None:
    named = {name: getattr(mixkit_image, name) for name in mixkit_image.__all__}
    transforms = {
        cls.method_name: name for name, cls in named.items() if inspect.isclass(cls) and issubclass(cls, NamedTransform)
    }
    assert transforms == {name: get_method(name).__name__ for name in OWN}
    methods = [name for name, each in named.items() if inspect.isclass(each) and issubclass(each, mixkit.Method)]
    assert methods == [], "methods are in mixkit_image.methods"
    assert {"CoMixup", "PuzzleMix"} <= set(mixkit_image.methods.__all__)


@pytest.mark.parametrize("name", OWN)
def test_signature_and_help_are_the_methods_own(name: str) -> None:
    cls = getattr(mixkit_image, get_method(name).__name__)
    parameters = inspect.signature(cls).parameters
    own, shared = accepted(get_method(name)), accepted(mixkit_image.MixTransform)
    assert set(parameters) == ({*own, *shared} - {"method"})
    for option in own:
        assert f"\n    {option}: " in inspect.getdoc(cls), "each option has an entry"
    transform = cls(num_classes=4, p=1.0)
    for option in own:
        assert getattr(transform.mixer.method, option) == parameters[option].default, (
            "the default that it has on images"
        )
    twin = pickle.loads(pickle.dumps(transform))
    assert type(twin) is cls
    images, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
    torch.manual_seed(1)
    found = twin(images, labels)
    torch.manual_seed(1)
    expected = mixkit_image.MixTransform(name, num_classes=4, p=1.0)(images, labels)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_options_of_a_method_reach_it() -> None:
    assert mixkit_image.SageMix(num_classes=5, sharpness=3).mixer.method.sharpness == 3
    assert mixkit_image.PuzzleMix(num_classes=5, transport=False).mixer.method.transport is False
    with pytest.raises(TypeError, match="unexpected option 'sharpness'; the method takes: alpha, per_sample, fold"):
        mixkit_image.Mixup(num_classes=5, sharpness=3)
    with pytest.raises(TypeError, match="positional"):
        mixkit_image.Mixup(5)


@pytest.mark.parametrize("make", [mixkit.create_mixer, lambda name, domain: mixkit_image.MixTransform(name)])
def test_a_method_for_layers_is_refused_at_the_input(make: object) -> None:
    for method in ("manifold_mixup", mixkit.methods.ManifoldMixup()):
        with pytest.raises(ValueError, match=r"take mixkit.ManifoldMixer\(model, layers, 'manifold_mixup'"):
            make(method, "image")
    with pytest.raises(ValueError, match=r"take mixkit.ManifoldMixer\(model, layers, 'manifold_mixup'"):
        mixkit.Mixer(mixkit.methods.ManifoldMixup(), mixkit_image.PixelGrid())
