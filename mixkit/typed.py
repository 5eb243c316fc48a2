"""What type checkers know of calls of our modules, of which torch's own `nn.Module` says nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from typing_extensions import Unpack

    class MixerOptions(TypedDict, total=False):
        """What a `Mixer` takes by name, besides the mask."""

        saliency: Any
        generator: torch.Generator | None
        samples: Any

    Batch = TypeVar("Batch")

    class MixerCall(nn.Module):
        """A `Mixer` gives back the form of batch that it is given."""

        def __call__(
            self, batch: Batch, labels: Any, *, mask: Tensor | None = None, **options: Unpack[MixerOptions]
        ) -> tuple[Batch, Any]: ...

    class ManifoldCall(nn.Module):
        """A `ManifoldMixer` gives the output of any model, and the targets."""

        def __call__(
            self, batch: Tensor, labels: Any, *, generator: torch.Generator | None = None, samples: Any = None
        ) -> tuple[Any, Any]: ...

else:
    MixerCall = ManifoldCall = nn.Module
