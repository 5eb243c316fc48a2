"""Every method on images
======================

One pair of photographs, mixed by each method that serves images.
"""

# %%
# `mixkit.list_methods` names them. Each draws forty plans, of which the one
# that mixes most evenly is shown, so that they can be compared. Methods that
# ask for saliency get the spectral residual, which needs no model.

# sphinx_gallery_thumbnail_number = 3
import torch

import mixkit
from experiments.report.gallery import (
    heat,
    image,
    photographs,
    share_of_a,
    show,
)

images, labels = photographs(128), torch.tensor([0, 1])


def show_methods(*methods: str) -> None:
    """The mixed image of each method, and below it the weights of a."""
    mixes, weights = [], []
    for method in methods:
        mixer = mixkit.create_mixer(
            method,
            domain="image",
            num_classes=2,
            p=1.0,
            saliency="spectral_residual",
            inside=True,  # or Manifold Mixup asks for a model's layers
        )
        plans = [
            mixer.plan(
                images, labels, generator=torch.Generator().manual_seed(k)
            )
            for k in range(40)
        ]
        plan = min(
            plans, key=lambda plan: abs(plan.sample_weights[0, 0] - 0.5)
        )
        mixed, targets = mixer.apply_plan(plan, images, labels)
        a, b = targets[0]
        mixes.append(image(mixed[0], f"{method}\n{a:.0%} a, {b:.0%} b"))
        weight = share_of_a(plan, 128 * 128).reshape(128, 128)
        weights.append(heat(weight, tint="own"))
    show(mixes + weights, columns=len(methods))


print(mixkit.list_methods("image"))
show([image(images[0], "a"), image(images[1], "b")])

# %%
# One weight for all pixels
# -------------------------
# Mixup and its kin blend whole images. They differ in whom they mix with whom
# (C-Mixup: those of like labels), in how labels are weighed (Remix: in favour
# of the rarer class), and in where they mix (Manifold Mixup: inside the
# model). Below each mixed image is the weight of a: pale is half of each.

show_methods("mixup", "cmixup", "remix", "manifold_mixup")

# %%
# Smooth weights
# --------------
# SageMix weighs each pixel by its distances to a salient place of each image.
# GuidedMixup takes the saliency of both at the pixel itself, SmoothMix a soft
# disc at random.

show_methods("sagemix", "guidedmixup", "smoothmix")

# %%
# Either a or b
# -------------
# Boxes (CutMix, SaliencyMix, ResizeMix, SnapMix), single pixels or discs
# (PointCutMix), cells (GridMix at random, Attentive CutMix and Saliency
# Grafting where b is salient), regions of any shape (FMix). SMMix lays the
# region of b that matters most over the one of a that matters least. What
# SnapMix shows weighs by its saliency, so that its shares need not sum to one.

show_methods("cutmix", "saliencymix", "resizemix", "snapmix")
show_methods("fmix", "gridmix", "pointcutmix_k", "pointcutmix_r")
show_methods("attentivemix", "saliencygrafting", "smmix")

# %%
# Cells that are optimised
# ------------------------
# Puzzle Mix and Co-Mixup choose for every cell the image that matters there;
# some cells are half of each. Puzzle Mix moves what lies under its mask as
# well. RecursiveMix is ResizeMix with the batch before, and PointMixup on a
# grid is Mixup with a ratio of its own for each image.

show_methods("puzzlemix", "comixup", "recursivemix", "pointmixup")
