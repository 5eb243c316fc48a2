"""Every method on point clouds
============================

An airplane and a chair, mixed by each method that serves point clouds.
"""

# %%
# The saliency comes from a narrow PointNet, trained for seconds on the 24
# shapes of the excerpt of ModelNet40.

# sphinx_gallery_thumbnail_number = 2
import torch

import mixkit
from experiments.models import create_model
from experiments.report.gallery import cloud, shapes, share_of_a, show, train

points, labels, classes = shapes()
torch.manual_seed(0)
model = create_model("pointnet", channels=3, num_classes=8, width=16)
train(model, points[:, :512], labels, epochs=40, batch_size=8)
batch, pair = points[[0, 9]], labels[[0, 9]]


def show_methods(*methods: str, columns: int = 4) -> None:
    """What each method makes of the pair: of ten draws the most even one."""
    pictures = []
    for method in methods:
        mixer = mixkit.create_mixer(
            method,
            domain="points",
            num_classes=8,
            p=1.0,
            model=model,
            inside=True,  # or Manifold Mixup asks for a model's layers
        )
        plans = [
            mixer.plan(batch, pair, generator=torch.Generator().manual_seed(k))
            for k in range(10)
        ]
        plan = min(
            plans, key=lambda plan: abs(plan.sample_weights[0, 0] - 0.5)
        )
        mixed, targets = mixer.apply_plan(plan, batch, pair)
        a, b = targets[0, pair]
        title = f"{method}\n{a:.0%} a, {b:.0%} b"
        pictures.append(cloud(mixed[0], title, share_of_a(plan, 1024)))
    show(pictures, columns)


print(mixkit.list_methods("points"))
show([cloud(batch[0], "a: airplane"), cloud(batch[1], "b: chair", 0.0)])

# %%
# Smooth weights
# --------------
# A point's colour is what it is made of: blue of the airplane, orange of the
# chair, pale of both. SageMix weighs each point by its distances to a salient
# point of either shape, so that both stay recognisable.

show_methods("sagemix", "smoothmix", "guidedmixup", columns=3)

# %%
# One weight for all points
# -------------------------
# Every point moves the same share of the way to its partner: a shape in
# between, which is neither. PointMixup folds its ratio, so that a keeps at
# least half.

show_methods(
    "pointmixup", "mixup", "manifold_mixup", "cmixup", "remix", columns=3
)

# %%
# Points of either a or b
# -----------------------
# Each point is taken whole, from where it lies in its own shape: in a box
# (CutMix, SaliencyMix), around a point or scattered (PointCutMix), in a region
# of any shape (FMix), or in cells, drawn at random (GridMix) or by the
# saliency of b (Attentive CutMix, Saliency Grafting). SaliencyMix's box stands
# around the most salient point of b, here the end of a leg of the chair, where
# the airplane has no points to give way.

show_methods(
    *("cutmix", "saliencymix", "pointcutmix_k", "pointcutmix_r"),
    *("fmix", "gridmix", "attentivemix", "saliencygrafting"),
)

# %%
# Parts that move
# ---------------
# RSMix puts a ball of b in the place of one of a, WOLFMix warps both before it
# does. ResizeMix puts a smaller b in whole, RecursiveMix one of the batch
# before.

show_methods("rsmix", "wolfmix", "resizemix", "recursivemix", columns=4)
