"""What type checkers know of calls of transforms, of which torchvision says nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from torchvision.transforms import v2

if TYPE_CHECKING:
    Sample = TypeVar("Sample")
    Images = TypeVar("Images")
    Labels = TypeVar("Labels")

    class TransformCall(v2.Transform):
        """A transform keeps the structure of what it is given."""

        @overload
        def __call__(self, sample: Sample, /) -> Sample: ...

        @overload
        def __call__(self, images: Images, labels: Labels, /) -> tuple[Images, Labels]: ...

        @overload
        def __call__(self, first: Any, second: Any, third: Any, /, *rest: Any) -> tuple[Any, ...]: ...

        def __call__(self, *inputs: Any) -> Any: ...

else:
    TransformCall = v2.Transform
