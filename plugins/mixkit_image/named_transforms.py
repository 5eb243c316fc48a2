"""A torchvision transform for each method that mixes images, with that method's options in its signature and help."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any, ClassVar

from mixkit.registry import accepted, get_method
from mixkit_image.domain import PixelGrid
from mixkit_image.transforms import MixTransform

_EXAMPLE = """Example:
    >>> transform = {name}(num_classes=4, p=1.0)
    >>> images, targets = transform(torch.rand(4, 3, 16, 16), torch.arange(4))
    >>> images.shape, targets.shape
    (torch.Size([4, 3, 16, 16]), torch.Size([4, 4]))
"""


class NamedTransform(MixTransform):
    """A `MixTransform` of one method, whose name in the registry is given where the class is made.

    Signature and help are the method's own, with the defaults that it has on images.

    Args:
        options: those of `MixTransform`, and the method's.

    Raises:
        TypeError: an option that neither has.
    """

    method_name: ClassVar[str]

    def __init_subclass__(cls, *, method: str) -> None:
        super().__init_subclass__()
        cls.method_name = method
        made, own = get_method(method, "image"), dict(PixelGrid.method_defaults.get(method, {}))
        of_method = [
            option.replace(kind=option.KEYWORD_ONLY, default=own.get(name, option.default))
            for name, option in accepted(made).items()
        ]
        shared = [option for name, option in accepted(MixTransform).items() if name != "method"]
        cls.__signature__ = inspect.Signature([*shared, *of_method])
        own_help, _, _ = inspect.cleandoc(made.__doc__ or "").partition("\n\nExample:\n")
        summary, _, options = own_help.partition("\nArgs:\n")
        more = "As a transform: `MixTransform` says what it mixes, and what the arguments are that are not listed here."
        options = textwrap.indent(textwrap.dedent(options), "    ").rstrip()
        cls.__doc__ = f"{summary}\n{more}\n\nArgs:\n{options}\n\n{_EXAMPLE.format(name=cls.__name__)}"

    def __init__(self, **options: Any) -> None:
        super().__init__(self.method_name, **options)


class AttentiveMix(NamedTransform, method="attentivemix"): ...


class CMixup(NamedTransform, method="cmixup"): ...


class CoMixup(NamedTransform, method="comixup"): ...


class CutMix(NamedTransform, method="cutmix"): ...


class FMix(NamedTransform, method="fmix"): ...


class GridMix(NamedTransform, method="gridmix"): ...


class GuidedMixup(NamedTransform, method="guidedmixup"): ...


class Mixup(NamedTransform, method="mixup"): ...


class PointCutMixK(NamedTransform, method="pointcutmix_k"): ...


class PointCutMixR(NamedTransform, method="pointcutmix_r"): ...


class PointMixup(NamedTransform, method="pointmixup"): ...


class PuzzleMix(NamedTransform, method="puzzlemix"): ...


class RecursiveMix(NamedTransform, method="recursivemix"): ...


class Remix(NamedTransform, method="remix"): ...


class ResizeMix(NamedTransform, method="resizemix"): ...


class SMMix(NamedTransform, method="smmix"): ...


class SageMix(NamedTransform, method="sagemix"): ...


class SaliencyGrafting(NamedTransform, method="saliencygrafting"): ...


class SaliencyMix(NamedTransform, method="saliencymix"): ...


class SmoothMix(NamedTransform, method="smoothmix"): ...


class SnapMix(NamedTransform, method="snapmix"): ...
