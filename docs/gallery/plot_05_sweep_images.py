"""Prior and bandwidth on images
=============================

What SageMix's two numbers do, one swept at a time, as in the paper's Figure 3.
"""

# %%
# SageMix weighs each pixel by its distances from two places, a query in each
# image. The prior π is the weight of a before distance counts, the bandwidth σ
# says how fast distance counts::
#
#     λ = π wa / (π wa + (1 - π) wb)
#     w = exp(-|p - q|² / (2 σ²))
#
# The mixer draws queries and prior. Here both are ours to choose, by the pure
# function behind it.

import torch

import mixkit
import mixkit_image
from experiments.report.gallery import (
    axes_of,
    heat,
    image,
    photographs,
    share_of_a,
    show,
)

images, labels = photographs(128), torch.tensor([0, 1])
mixer = mixkit.create_mixer("mixup", domain="image", num_classes=2)
coords = mixer.domain.elements(images).coords  # (2, 16384, 2), in pixels

partner = torch.tensor([1, 0])
saliency = mixkit_image.spectral_residual(images)
generator = torch.Generator().manual_seed(7)
queries = torch.multinomial(saliency, 1, generator=generator)[:, 0]


def sagemix(prior: float, sigma: float) -> mixkit.MixPlan:
    priors = torch.full((2,), prior)
    return mixkit.functional.sagemix(
        coords, partner, None, queries, queries[partner], priors, sigma
    )


def show_plans(plans: list[mixkit.MixPlan], names: list[str]) -> None:
    """The mixed images, and below them the weights with the queries."""
    marks = [(int(queries[0]), "a"), (int(queries[1]), "b")]
    mixes, weights = [], []
    for plan, name in zip(plans, names, strict=True):
        mixed, targets = mixer.apply_plan(plan, images, labels)
        mixes.append(image(mixed[0], f"{name}\n{targets[0, 0]:.0%} a"))
        weight = share_of_a(plan, 128 * 128).reshape(128, 128)
        weights.append(heat(weight, marks=marks, tint="own"))
    show(mixes + weights, columns=len(plans))


# %%
# The prior
# ---------
# From left to right the temple's prior grows. Its region grows with it, from
# its query (the blue star) on; the label follows the region.

priors = [0.1, 0.4, 0.6, 0.9]
show_plans(
    [sagemix(prior, 32.0) for prior in priors],
    [f"π = {prior:g}" for prior in priors],
)

# %%
# The bandwidth
# -------------
# The bandwidth is in pixels. A small one cuts sharply where both queries are
# equally near, a large one mixes all pixels alike, as Mixup does. The default
# is a quarter of the shorter side: 32 pixels here.

sigmas = [8.0, 32.0, 64.0, 256.0]
show_plans(
    [sagemix(0.5, sigma) for sigma in sigmas],
    [f"σ = {sigma:g}" for sigma in sigmas],
)

# %%
# What the label weighs
# ---------------------
# The label is the mean weight. With a large bandwidth it is the prior itself.
# With a small one it is the share of the image that lies nearer to the first
# query, whatever the prior, unless that is close to 0 or 1.

priors = torch.linspace(0.01, 0.99, 50).tolist()
figure, axes = axes_of()
for sigma in sigmas:
    shares = [float(sagemix(p, sigma).sample_weights[0, 0]) for p in priors]
    axes.plot(priors, shares, label=f"σ = {sigma:g}", linewidth=2)
axes.set(xlabel="prior π", ylabel="label weight of a", ylim=(0, 1))
axes.set_title("Label weight along the prior")
axes.legend(frameon=False)
