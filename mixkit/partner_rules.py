"""Rules of partners that look at labels as numbers, or at saliency. Those that go by classes are in `partners`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixkit import draws
from mixkit.checks import check_flag, check_positive
from mixkit.elements import ElementSet
from mixkit.label_tree import listed
from mixkit.query import draw
from mixkit.ragged.elements import RaggedSet
from mixkit.show import options_of
from mixkit.smooth import saliency_maps


class NearLabel:
    """Partners drawn by how near their labels are: C-Mixup's rule (Yao et al., NeurIPS 2022, Eq. 6).

    Sample j is i's partner with a probability in proportion to ``exp(-|y_i - y_j|^2 / (2 sigma^2))``; never i itself,
    unless it is alone. Integers (B,) are classes, 0 apart where they are the same and 1 where not.

    Args:
        sigma: > 0, in the units of the labels. Default None: half of the batch's standard deviation, ours.
        far: the other way round, in proportion to 1 less that. Default False.
    """

    def __init__(self, sigma: float | None = None, far: bool = False) -> None:
        self.sigma = None if sigma is None else check_positive("sigma", sigma)
        self.far = check_flag("far", far)

    def __call__(self, labels: Tensor, elements: ElementSet | RaggedSet, generator: torch.Generator | None) -> Tensor:
        """(B,) the partner of each sample, given what `label_to_compare` finds."""
        numbers = labels.reshape(len(labels), -1).double()
        if labels.is_floating_point() or numbers.shape[1] > 1:
            apart = torch.cdist(numbers, numbers).square()
        else:
            apart = (numbers != numbers.T).double()
        count = len(apart)
        if count == 1:
            return torch.zeros(1, dtype=torch.long, device=elements.coords.device)
        others = ~torch.eye(count, dtype=torch.bool, device=apart.device)
        pairs = others & apart.isfinite()
        apart = torch.where(pairs, apart, 0)
        # the mean over pairs is twice the variance
        if self.sigma is None:
            variance = apart.sum() / pairs.sum().clamp_min(1) / 8
        else:
            variance = apart.new_tensor(self.sigma).square()  # inf where a float's ** raises
        wide = 2 * variance.clamp_min(torch.finfo(torch.float64).tiny)
        if self.far:
            weight = -torch.expm1(-apart / wide)
        else:  # from the nearest on, so that some weight is 1 however small sigma is
            nearest = torch.where(pairs, apart, torch.inf).amin(1, keepdim=True)
            weight = torch.exp(-(apart - torch.where(nearest.isfinite(), nearest, 0)) / wide)
        weight = torch.where(pairs, weight, 0)
        weight = torch.where(weight.sum(1, keepdim=True) > 0, weight, others.double())
        device = elements.coords.device
        return draw(weight.to(device, torch.float32), draws.uniform((count,), generator, device))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NearLabel) and (self.sigma, self.far) == (other.sigma, other.far)

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"NearLabel({options_of(self)})"


class FarSaliency:
    """Partners that are salient elsewhere: GuidedMixup's greedy cover (Kang and Kim, AAAI 2023, section 3.2).

    It goes from sample to sample, each time to the one whose map of saliency is farthest by the L2 norm of those not
    yet visited, and back to the first at the end, so that each sample is a partner once. The first two are the farthest
    pair of the batch. It waits for the device.

    Args:
        blur: how far saliency on a grid is smoothed first (`mixkit.smooth.smooth`). Default None.
    """

    def __init__(self, blur: float | None = None) -> None:
        self.blur = blur

    def __call__(self, elements: ElementSet | RaggedSet, saliency: Tensor) -> Tensor:
        """(B,) the partner of each sample."""
        maps = saliency_maps(saliency, elements, self.blur)
        return greedy_cover(torch.cdist(maps, maps)).to(saliency.device)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FarSaliency) and self.blur == other.blur

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"FarSaliency({options_of(self)})"


def greedy_cover(distance: Tensor) -> Tensor:
    """(B,) long, on the CPU: the successor of each on the cycle that always goes to the farthest not yet visited.

    Args:
        distance: (B, B); of equal distances the first one counts.
    """
    apart = distance.detach().cpu().double().numpy().copy()
    count = len(apart)
    np.fill_diagonal(apart, -np.inf)
    successor = np.zeros(count, dtype=np.int64)
    first = current = int(apart.argmax()) // count
    for _ in range(count - 1):
        apart[:, current] = -np.inf  # visited
        following = int(apart[current].argmax())
        successor[current] = following
        current = following
    successor[current] = first
    return torch.from_numpy(successor)


def label_to_compare(labels: Any, ragged: bool = False) -> Tensor:
    """(B, ...) the labels that say how near samples are: their first ones, or else the first of their elements.

    Args:
        labels: what `mixkit.label_tree.read_labels` returns.
        ragged: the samples are of different sizes, so that only labels of the samples compare. Default False.

    Raises:
        TypeError: no such label; classes of elements are none, as their numbers are no distances.
    """
    found = listed(labels)
    of_elements = [label for label in found if label.places is not None]
    compared = [label for label in found if label.places is None]
    if not ragged:
        compared += [label for label in of_elements if label.kind != "classes"]
    if compared:
        return compared[0].tensor
    got = "classes of the elements" if of_elements else "none"
    if of_elements and ragged:
        got = "labels of the elements of samples of different sizes"
    raise TypeError(f"partners by label need a label of each sample, a tensor (B, ...), got {got}")
