"""A first mixed batch of point clouds
===================================

Two shapes become one, where a small PointNet says which points matter.
"""

# %%
# The batch
# ---------
# A batch of clouds is (B, N, 3 + channels). These are shapes of ModelNet40, of
# which a small excerpt lies in the repository: 24 shapes of eight classes,
# 1,024 points each.

# sphinx_gallery_thumbnail_number = 2
import torch

import mixkit
from experiments.models import create_model
from experiments.report.gallery import cloud, shapes, share_of_a, show, train

points, labels, classes = shapes()
show([cloud(points[i], classes[labels[i]]) for i in range(0, 24, 3)])

# %%
# A model to be asked
# -------------------
# SageMix asks the model itself which points matter: the gradient of its loss
# on the input. On these few shapes a narrow PointNet learns in seconds; in
# your training loop it is simply the model that is being trained.

torch.manual_seed(0)
model = create_model("pointnet", channels=3, num_classes=8, width=16)
train(model, points[:, :512], labels, epochs=40, batch_size=8)

# %%
# Mix it
# ------
# Which point of one cloud goes with which of the other is not given, as it is
# in images. The domain ``"points"`` pairs them at least total distance before
# it mixes, so that no shape is torn.

batch, pair = points[[0, 9]], labels[[0, 9]]  # an airplane, a chair
mixer = mixkit.create_mixer(
    "sagemix",
    domain="points",
    num_classes=8,
    model=model,
    partners="derangement",
    theta=4.0,  # ratios near one half; the paper's 0.2 mixes more unevenly
)
generator = torch.Generator().manual_seed(1)
mixed, targets = mixer(batch, pair, generator=generator)

# %%
# What came out
# -------------
# Points are coloured by how much of a they are: blue is all of a, orange all
# of b. Each end keeps its shape, and between the two the points wander from
# one to the other.

generator = torch.Generator().manual_seed(1)
weight = share_of_a(mixer.plan(batch, pair, generator=generator), 1024)
saliency = mixkit.GradientSaliency(model).find(batch, pair, mixer.domain)
a, b = targets[0, pair]
show(
    [
        cloud(batch[0], "a: airplane"),
        cloud(batch[1], "b: chair", 0.0),
        cloud(batch[0], "weight of a", weight),
        cloud(batch[0], "saliency of a", saliency[0] ** 0.5, tint="saliency"),
        cloud(batch[1], "saliency of b", saliency[1] ** 0.5, tint="saliency"),
        cloud(mixed[0], f"{a:.0%} airplane\n{b:.0%} chair", weight),
    ],
    columns=3,
)

# %%
# In a training loop the mixer goes between loader and model, and nothing else
# changes:
#
# .. code-block:: python
#
#     mixer = mixkit.create_mixer(
#         "sagemix", domain="points", num_classes=40, model=model
#     )
#     for points, labels in loader:
#         points, targets = mixer(points, labels)
#         loss = F.cross_entropy(model(points), targets)
