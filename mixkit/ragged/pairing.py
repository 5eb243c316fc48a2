"""Which elements of two samples of different sizes are mixed with each other, and how many the mix has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mixkit import draws
from mixkit.checks import check_count
from mixkit.ragged.elements import RaggedSet
from mixkit.ragged.packed import Packed, sample_of
from mixkit.ragged.plan import RaggedPlan

#: How many elements a mix of a sample and its partner has: as many as the sample, their mean, as many as the larger of
#: both, or a number.
Size = str | int

SIZES = ("own", "mean", "larger")

#: ``match(a, b)``: packed coordinates of as many samples of the same sizes -> (L',) long, the row of b that each row
#: of a is paired with.
Match = Callable[[Packed, Packed], Tensor]


@dataclass(frozen=True)
class Pairing:
    """The two rows of the packed inputs that each element of the mix is made of."""

    own: Tensor
    """(L',) long, of the sample."""
    other: Tensor
    """(L',) long, of its partner."""
    offsets: Tensor
    """(B + 1,) long, where each mix begins, and last L'."""
    elements: RaggedSet

    @property
    def sample(self) -> Tensor:
        """(L',) long, which mix each pair is of."""
        return sample_of(self.offsets, len(self.own))

    def plan(self, weight: Tensor, shift: Tensor | None = None) -> RaggedPlan:
        """The plan in which each sample's own element has the weight (L',), and its partner's the rest."""
        weight = weight.float()  # what is bool becomes 0 and 1
        weights = torch.stack([weight, 1 - weight])
        moved = None if shift is None else torch.stack([torch.zeros_like(shift), shift])
        return RaggedPlan(torch.stack([self.own, self.other]), weights, self.offsets, self.elements.offsets, moved)


def check_size(size: Size) -> Size:
    """Return the size of the mixes, or raise TypeError or ValueError."""
    if isinstance(size, str):
        if size not in SIZES:
            raise ValueError(f"size must be one of {', '.join(SIZES)}, or a number, got {size!r}")
        return size
    return check_count("size", size)


def mixed_lengths(size: Size, lengths: Tensor, partner: Tensor) -> Tensor:
    """(B,) long, how many elements the mix of each sample and its partner has."""
    if size == "own":
        return lengths
    others = lengths[partner]
    if size == "larger":
        return torch.maximum(lengths, others)
    return (lengths + others + 1) // 2 if size == "mean" else torch.full_like(lengths, int(size))


def pair_up(
    elements: RaggedSet,
    partner: Tensor,
    size: Size = "own",
    match: Match | None = None,
    generator: torch.Generator | None = None,
) -> Pairing:
    """Pair the elements of each sample with its partner's.

    The mix has elements as ``size`` says. Each sample gives as many: all of them where it has that many; a random
    part of them where it has more; where it has less, each as often as any other, but for one more of some at random.
    So the mix shows the whole of both samples, whatever their sizes, and with weight 1 for one of them no other shape
    than its own. What both give is as many, and is paired one to one.

    Args:
        elements: the samples.
        partner: (B,) long, the partner of each.
        size: how many elements a mix has. Default "own".
        match: pairs what both give. Default None: by their places in the sample, evenly spaced where sizes differ.
        generator: CPU generator of all draws; none are made where all sizes are equal. Default: torch's global one.
    """
    offsets, lengths = elements.offsets, elements.lengths
    wanted = mixed_lengths(size, lengths, partner)
    starts = torch.cat([wanted.new_zeros(1), wanted.cumsum(0)])
    mix = sample_of(starts, int(starts[-1]))
    place = torch.arange(len(mix), device=mix.device) - starts[mix]
    here, there = offsets[:-1][mix], offsets[:-1][partner][mix]
    own_count, other_count = lengths[mix], lengths[partner][mix]
    count = wanted[mix]
    if match is None:
        own, other = here + place * own_count // count, there + place * other_count // count
        return Pairing(own, other, starts, elements)
    own, other = here + place % own_count, there + place % other_count
    if bool((own_count != count).any() or (other_count != count).any()):
        keys = draws.uniform((2, len(elements.coords)), generator, elements.coords.device)
        first, second = ((elements.sample + each).argsort() for each in keys.double())
        own = torch.where(own_count == count, own, first[own])
        other = torch.where(other_count == count, other, second[other])
    coords = elements.positions
    pairs = match(Packed(coords[own], starts), Packed(coords[other], starts))
    return Pairing(own, other[pairs], starts, elements)
