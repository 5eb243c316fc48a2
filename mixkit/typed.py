"""What type checkers know of calls of our modules, of which torch's own `nn.Module` says nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    Batch = TypeVar("Batch")

    class MixerCall(nn.Module):
        """A `Mixer` gives back the form of batch that it is given."""

        def __call__(
            self,
            batch: Batch,
            labels: Any,
            *,
            saliency: Any = None,
            generator: torch.Generator | None = None,
            samples: Any = None,
            mask: Tensor | None = None,
        ) -> tuple[Batch, Any]: ...

    class ManifoldCall(nn.Module):
        """A `ManifoldMixer` gives the output of any model, and the targets."""

        def __call__(
            self, batch: Tensor, labels: Any, *, generator: torch.Generator | None = None, samples: Any = None
        ) -> tuple[Any, Any]: ...

else:
    MixerCall = ManifoldCall = nn.Module
