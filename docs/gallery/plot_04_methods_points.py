"""Every method on point clouds
============================

An airplane and a chair, mixed by each method that serves point clouds.
"""

# %%
# The saliency comes from a narrow PointNet, trained for seconds on the 24 shapes of the excerpt.

# sphinx_gallery_thumbnail_number = 1

import torch

import mixkit
from experiments.models import create_model
from experiments.report.gallery import cloud, shapes, share_of_own, show, train

points, labels, classes = shapes()
torch.manual_seed(0)
model = create_model("pointnet", channels=3, num_classes=8, width=16)
train(model, points[:, :512], labels, epochs=40, batch_size=8)

places = [int((labels == classes.index(name)).nonzero()[0, 0]) for name in ("airplane", "chair")]
batch, pair_labels = points[places], labels[places]


def evenly_mixed(method: str, tries: int = 10):
    """The mixer, and of so many plans the one whose label is nearest to half and half."""
    mixer = mixkit.create_mixer(method, domain="points", num_classes=8, p=1.0, model=model, inside=True)
    plans = [mixer.plan(batch, pair_labels, generator=torch.Generator().manual_seed(seed)) for seed in range(tries)]
    return mixer, min(plans, key=lambda plan: abs(float(plan.sample_weights[0, 0]) - 0.5))


# %%
# Each method draws ten plans, of which the one that mixes most evenly is shown.

look = {"data": "modelnet40"}
pictures = [cloud(batch[0], "a: airplane", **look), cloud(batch[1], "b: chair", 0.0, **look)]
for method in mixkit.list_methods("points"):
    mixer, plan = evenly_mixed(method)
    mixed, targets = mixer.apply_plan(plan, batch, pair_labels)
    a, b = (float(targets[0, label]) for label in pair_labels)
    pictures.append(cloud(mixed[0], f"{method}\n{a:.0%} a, {b:.0%} b", share_of_own(plan, 0, 1024), **look))

# %%
# Side by side
# ------------
# A point's colour is what it is made of: blue of the airplane, orange of the chair, pale of both.

show(pictures)

# %%
# What to look for:
#
# - **Mixup, PointMixup, Manifold Mixup, C-Mixup, Remix** move every point the same share of the way to its partner: a
#   shape in between, which is neither.
# - **CutMix, PointCutMix, SaliencyMix, Attentive CutMix, FMix** take each point whole from one of the two, where its
#   partner lies.
# - **RSMix, WOLFMix, ResizeMix, RecursiveMix** move parts: a ball or a small copy of b stands in a.
# - **GuidedMixup** weighs every point by the saliency of both at that point.
# - **SmoothMix and SageMix** mix smoothly, SageMix around a salient point of each shape, so that both stay
#   recognisable.
