"""Where the playground's saliency comes from: a small model of the digits, the spectral residual, or clicks."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mixkit
from experiments.data import load_data
from experiments.data.digits import SIDE, centre
from experiments.models import create_model
from mixkit_image.spectral import spectral_residual

KINDS = {"image": ("spectral residual", "model", "painted"), "points": ("model", "painted")}
MODELS = {"image": ("preact_resnet18", 2), "points": ("pointnet", 3)}  # and how many epochs it learns for
WIDTH = 8
BATCH_SIZE = 32
RATE = 3e-3
Spots = tuple[Sequence[int], Sequence[int]]
_LEARNING = threading.Lock()  # two at once would share torch's seed, and be two models


def find_saliency(domain: str, batch: Tensor, kind: str, painted: Spots = ((), ())) -> Tensor:
    """The saliency of two samples.

    Args:
        domain: "image" or "points".
        batch: (2, C, H, W) in [0, 1], or (2, N, 3).
        kind: one of `KINDS[domain]`. "model" is the gradient of a small model that has learnt the digits, at the class
            that it takes each sample for.
        painted: the elements of a and of b around which saliency lies, for "painted"; all are alike where there are
            none.

    Returns:
        (2, N), >= 0.
    """
    if kind == "spectral residual":
        return spectral_residual(batch)
    if kind == "model":
        model = digit_model(domain)
        with torch.no_grad():
            classes = model(batch).argmax(1)
        return mixkit.GradientSaliency(model).find(batch, classes, mixkit.create_mixer("mixup", domain).domain)
    elements = mixkit.create_mixer("mixup", domain).domain.elements(batch)
    return torch.stack([_around(elements, sample, spots) for sample, spots in enumerate(painted)])


def _around(elements: mixkit.ElementSet, sample: int, spots: Sequence[int]) -> Tensor:
    """(N,) the sum of bells around some elements of a sample, half a length scale wide."""
    coords = elements.coords[sample]
    if not len(spots):
        return torch.ones(len(coords))
    assert elements.length_scale is not None
    distance = torch.cdist(coords, coords[list(spots)])
    return torch.exp(-2 * (distance / elements.length_scale).square()).sum(1)


def digit_model(domain: str) -> nn.Module:
    """A small classifier of the digits, trained on the spot, the same one every time, in evaluation mode.

    Images of any size and number of channels are shrunk to the digits' grey grid first.
    """
    with _LEARNING:
        return _trained(domain)


@functools.cache
def _trained(domain: str) -> nn.Module:
    data = load_data(domain, "digits", ())
    name, epochs = MODELS[domain]
    samples = data.train if domain == "image" else data.train[:, :128]
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = create_model(name, channels=data.channels, num_classes=len(data.classes), width=WIDTH)
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
        for _ in range(epochs):
            for chosen in torch.randperm(len(samples), generator=generator).split(BATCH_SIZE)[:-1]:
                batch = data.prepare(data.augment(samples[chosen], generator).batch)
                loss = F.cross_entropy(model(batch), data.train_labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return (nn.Sequential(_ToDigits(), model) if domain == "image" else model).eval().requires_grad_(False)


class _ToDigits(nn.Module):
    """Images of [0, 1] as the digits are."""

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 1, 8, 8), centred."""
        return centre(F.adaptive_avg_pool2d(images.mean(1, keepdim=True), SIDE))
