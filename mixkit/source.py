"""Where saliency comes from: one protocol for a model's gradient, a bank, a function, and whatever comes next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mixkit.domain import Domain
from mixkit.elements import ElementSet
from mixkit.plan import MixPlan
from mixkit.show import short

#: Is shown a model's output and the labels that belong to it.
Observer = Callable[[Any, Any], None]


class SaliencySource(ABC):
    """Where a mixer's saliency comes from. `find` must be written; the rest has defaults that suit a function.

    Example:
        >>> class Brightness(SaliencySource):  # the sum of a pixel's channels
        ...     def find(self, batch, labels, domain, samples=None, observe=None):
        ...         return batch.sum(1).flatten(1)
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("sagemix", domain="image", num_classes=2, saliency=Brightness())
        >>> mixer(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 0, 1]))[0].shape
        torch.Size([4, 3, 8, 8])
    """

    #: Whether it needs nothing but the batch, of any dtype, so that a loader's worker may find it.
    in_loader: ClassVar[bool] = False

    #: Whether it learns from the gradient of the mixed batch, which only a `mixkit.Mixer` gives to `watch`.
    learns: ClassVar[bool] = False

    #: Whether it runs a model on the batch, and has what stands below under that head.
    has_model: ClassVar[bool] = False

    #: Whether it takes samples of different sizes, in any form that they come in.
    ragged: ClassVar[bool] = False

    def read_samples(self, samples: Any, elements: ElementSet) -> Any:
        """What `find` and `watch` are given for a mixer's ``samples=``: what came, or read and checked.

        Raises:
            TypeError: samples of a wrong type.
            ValueError: samples that do not fit the elements of the batch, or none where they are needed.
        """
        return samples

    @abstractmethod
    def find(
        self, batch: Tensor, labels: Any, domain: Domain, samples: Any = None, observe: Observer | None = None
    ) -> Tensor:
        """The saliency (B, N), or as the grid is laid out, of the elements of a batch.

        Args:
            batch: a batch of the domain.
            labels: its labels, as `mixkit.Mixer.read` has read them.
            domain: the domain, which says what the elements are.
            samples: what `read_samples` returned. Default None: not known.
            observe: is shown the model's output and the labels, where a model runs. Default None.
        """

    def watch(self, mixed: Tensor, plan: MixPlan, samples: Any, domain: Domain) -> Tensor:
        """The mixed batch as it goes out, so that a source may see the gradient that comes back; here the batch."""
        return mixed

    def with_model(self, exact: SaliencySource) -> SaliencySource:
        """The source itself, told of the model that `mixkit.create_mixer` is given beside it; here it has no use."""
        return self

    def what_is_missing(self) -> str | None:
        """What `find` will need and has not, as an error says it; None where nothing is missing."""
        return None

    # ---- of a source that has a model

    def find_with_loss(
        self, batch: Tensor, labels: Any, domain: Domain, observe: Observer | None = None
    ) -> tuple[Tensor, Tensor]:
        """The saliency of a pass that is a training pass too, and its loss."""
        raise NotImplementedError(f"{type(self).__name__} has no model")

    def gradient_with_loss(
        self, batch: Tensor, labels: Any, layer: nn.Module | None = None, observe: Observer | None = None
    ) -> tuple[Any, Tensor]:
        """The gradient as `gradient` gives it, of a pass that is a training pass too, and its loss."""
        raise NotImplementedError(f"{type(self).__name__} has no model")

    def confidence(self, batch: Tensor, labels: Any) -> Tensor:
        """(B,) how sure the model is of the labels."""
        raise NotImplementedError(f"{type(self).__name__} has no model")

    def gradient(
        self, batch: Tensor, labels: Any, layer: nn.Module | None = None, observe: Observer | None = None
    ) -> Any:
        """The gradient of the loss by the batch, or by the output of a layer."""
        raise NotImplementedError(f"{type(self).__name__} has no model")

    def for_rows(self, close: Callable[[Tensor], Any]) -> SaliencySource:
        """The same source for samples of different sizes: of their rows (L, C), which the model gets as close(rows)."""
        raise NotImplementedError(f"{type(self).__name__} has no model")


class FunctionSaliency(SaliencySource):
    """The saliency that a function of the batch alone gives.

    Args:
        function: ``function(batch)`` gives (B, N), or for a grid (B, H, W).
    """

    in_loader = True
    ragged = True

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    @torch.no_grad()
    def find(
        self, batch: Tensor, labels: Any, domain: Domain, samples: Any = None, observe: Observer | None = None
    ) -> Tensor:
        """See `SaliencySource.find`."""
        return self.function(batch)

    def __repr__(self) -> str:
        return short(self.function)


#: What a mixer takes as saliency: a source, or a function of the batch alone.
Saliency = SaliencySource | Callable[[Tensor], Tensor]


def as_source(saliency: Saliency | None) -> SaliencySource | None:
    """The source that a saliency is, or that a function makes; None for none.

    Raises:
        TypeError: what is neither.
    """
    if saliency is None or isinstance(saliency, SaliencySource):
        return saliency
    if not callable(saliency):
        raise TypeError(f"saliency must be a source, such as GradientSaliency, or a function, got {saliency!r}")
    return FunctionSaliency(saliency)


def what_is_missing(source: SaliencySource | None, method: str, needs: frozenset[str], domain: Domain) -> str | None:
    """What a mixer of a method will need of its source and has not, as an error says it; None for nothing."""
    if source is not None:
        return source.what_is_missing()
    if "saliency" not in needs:
        return None
    named = f" or one of {', '.join(domain.saliencies)}" if domain.saliencies else ""
    return f"{method} needs saliency: give model=, or saliency= a function of the batch{named}"
