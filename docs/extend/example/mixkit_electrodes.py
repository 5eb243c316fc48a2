"""Electrodes for mixkit: recordings of sensors at known places, and a method that swaps one side of the head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

import mixkit


@mixkit.register_domain("electrodes")
class Electrodes(mixkit.Domain):
    """Recordings (B, S, T) of S electrodes: an element is an electrode, its coordinates are its place on the head.

    Args:
        places: (S, D) numbers, where the electrodes are, in any unit; a method's sigma is in that unit.

    Raises:
        ValueError: places of another shape.
    """

    def __init__(self, places: Tensor | Sequence[Sequence[float]]) -> None:
        self.places = torch.as_tensor(places, dtype=torch.float32)
        if self.places.dim() != 2:
            raise ValueError(f"places must be (S, D), got {tuple(self.places.shape)}")
        extent = self.places.amax(0) - self.places.amin(0)
        self.reach = float(extent.max()) / 4  # how far an electrode's neighbourhood reaches

    def elements(self, batch: Tensor) -> mixkit.ElementSet:
        """The electrodes of a batch (B, S, T): the same places in each sample, a signal at each."""
        count = len(self.places)
        if batch.dim() != 3 or batch.shape[1] != count:
            raise ValueError(f"recordings of {count} electrodes must be (B, {count}, T), got {tuple(batch.shape)}")
        places = self.places.to(batch.device).expand(len(batch), -1, -1)
        return mixkit.ElementSet(places, batch, length_scale=self.reach)

    def batch(self, elements: mixkit.ElementSet, like: Tensor) -> Tensor:
        """The recordings (B, S, T) again."""
        return elements.values

    def saliency(self, grad: Tensor) -> Tensor:
        """(B, S) the norm of each electrode's gradient; its place is no input, so that it does not count."""
        return torch.linalg.vector_norm(grad, dim=2)


@mixkit.register_method("sideswap", domains=["electrodes"])
class SideSwap(mixkit.Method):
    """The electrodes of one side of the head are the partner's, left or right by chance."""

    needs = frozenset({"partners"})
    moves = True

    def plan(self, elements: mixkit.ElementSet, context: mixkit.PlanContext) -> mixkit.MixPlan:
        """See `mixkit.Method.plan`."""
        across = elements.coords[:, :, 0]
        side = torch.rand(len(across), 1, generator=context.generator) < 0.5
        own = (across > across.mean(1, keepdim=True)) == side.to(across.device)
        return mixkit.MixPlan.pair(context.partners(elements), own.to(torch.float32))
