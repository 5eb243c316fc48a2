"""A first mixed batch of images
=============================

From two photographs to a mixed batch with its soft labels, in three lines.
"""

# %%
# The batch
# ---------
# A batch of images is a tensor (B, C, H, W) of floating-point numbers, with a
# class for each image. These two photographs come with scikit-learn.

import torch

import mixkit
import mixkit_image
from experiments.report.gallery import (
    heat,
    image,
    photographs,
    share_of_a,
    show,
)

images = photographs(128)  # (2, 3, 128, 128)
labels = torch.tensor([0, 1])  # a temple, a flower

# %%
# Mix it
# ------
# `create_mixer` takes the name of a method and of a domain. SageMix looks for
# what is salient; without a model at hand, the spectral residual says where an
# image stands out of its own spectrum. ``partners="derangement"`` mixes no
# image with itself.

mixer = mixkit.create_mixer(
    "sagemix",
    domain="image",
    num_classes=2,
    saliency="spectral_residual",
    partners="derangement",
    theta=4.0,  # ratios near one half; the paper's 0.3 mixes more unevenly
)
generator = torch.Generator().manual_seed(3)
mixed, targets = mixer(images, labels, generator=generator)
print(targets)

# %%
# Each row of the targets is a soft label, which
# `torch.nn.functional.cross_entropy` takes as it is. A label weighs as much as
# the pixels of its image do on average.

show(
    [
        image(images[0], "a: temple"),
        image(images[1], "b: flower"),
        image(
            mixed[0], f"{targets[0, 0]:.0%} temple\n{targets[0, 1]:.0%} flower"
        ),
        image(
            mixed[1], f"{targets[1, 0]:.0%} temple\n{targets[1, 1]:.0%} flower"
        ),
    ]
)

# %%
# What happened to each pixel
# ---------------------------
# The mixer draws a plan first and applies it then. Asked for the plan alone,
# we can look at the weight of every pixel: blue where the temple stays, orange
# where the flower comes in, pale in between.

generator = torch.Generator().manual_seed(3)
plan = mixer.plan(images, labels, generator=generator)
weight = share_of_a(plan, 128 * 128)
saliency = mixkit_image.spectral_residual(images)
show(
    [
        heat(saliency[0].reshape(128, 128), "saliency of a"),
        heat(saliency[1].reshape(128, 128), "saliency of b"),
        heat(weight.reshape(128, 128), "weight of a", tint="own"),
        image(mixed[0], "mixed"),
    ]
)

# %%
# In a training loop
# ------------------
# A training step needs no more than this:
#
# .. code-block:: python
#
#     mixer = mixkit.create_mixer(
#         "sagemix", domain="image", num_classes=100, model=model
#     )
#     for images, labels in loader:
#         images, targets = mixer(images, labels)
#         loss = F.cross_entropy(model(images), targets)
#
# With ``model=`` the saliency is the gradient of the model's own loss, which
# is what the paper does.
