"""Every method on images
======================

One pair of photographs, mixed by each method that serves images.
"""

# %%
# `mixkit.list_methods` names them. Each draws forty plans, of which the one that mixes most evenly is shown, so that
# they can be compared. Methods that ask for saliency get the spectral residual, which needs no model.

# sphinx_gallery_thumbnail_number = 1

import torch

import mixkit
from experiments.report.gallery import heat, image, photographs, share_of_own, show

SIDE = 128
images, labels = photographs(SIDE), torch.tensor([0, 1])


def evenly_mixed(method: str, tries: int = 40):
    """The mixer, and of so many plans the one whose label is nearest to half and half."""
    mixer = mixkit.create_mixer(method, domain="image", num_classes=2, p=1.0, saliency="spectral_residual", inside=True)
    plans = [mixer.plan(images, labels, generator=torch.Generator().manual_seed(seed)) for seed in range(tries)]
    return mixer, min(plans, key=lambda plan: abs(float(plan.sample_weights[0, 0]) - 0.5))


methods = mixkit.list_methods("image")
pictures, weights = [image(images[0], "a")], [image(images[1], "b")]
for method in methods:
    mixer, plan = evenly_mixed(method)
    mixed, targets = mixer.apply_plan(plan, images, labels)
    pictures.append(image(mixed[0], f"{method}\n{targets[0, 0]:.0%} a, {targets[0, 1]:.0%} b"))
    weights.append(heat(share_of_own(plan, 0, SIDE**2).reshape(SIDE, SIDE), method, tint="own"))

# %%
# Mixed images
# ------------
# Below each name stands the soft label.

show(pictures)

# %%
# Weights
# -------
# The weight of a in every pixel: blue is a, orange is b, pale is half of each. Three families show:
#
# - **one weight for all pixels**: Mixup and its kin (C-Mixup, Remix, Manifold Mixup, PointMixup; on images PointMixup
#   pairs pixels with those at the same place);
# - **either or**: boxes (CutMix, SaliencyMix, ResizeMix, RecursiveMix, SnapMix), scattered pixels or discs
#   (PointCutMix), cells (Attentive CutMix, Co-Mixup, Puzzle Mix), regions of any shape (FMix);
# - **smooth**: SmoothMix's disc, GuidedMixup's saliency of both, and SageMix, where each pixel's weight follows from
#   its distances to a salient place of each image.

show(weights)

# %%
# Each method has a card with its options, cost and credit among the methods of this site.
#
# Where labels are weighed differently
# ------------------------------------
# For most methods a label weighs as much as its pixels. SnapMix weighs it by the saliency that is left in view, so
# that its shares need not sum to one; Remix favours the rarer class.
