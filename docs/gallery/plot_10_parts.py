"""Part labels of clouds
=====================

For part segmentation every point has a label, and mixed points have shares.
"""

# %%
# A chair and a table of ModelNet40. The set has no part labels, so heights
# stand in for them here: legs, seat and back of the chair, legs and top of the
# table.

# sphinx_gallery_thumbnail_number = 2
import torch

import mixkit
from experiments.report.gallery import cloud, shapes, share_of_a, show

points, labels, classes = shapes()
batch, categories = points[[11, 21]], torch.tensor([0, 1])  # a chair, a table
height = batch[:, :, 2].contiguous()
chair = torch.bucketize(height[0], torch.tensor([-0.3, 0.0]))  # 0, 1, 2
table = torch.bucketize(height[1], torch.tensor([0.0])) + 3  # 3, 4
parts = torch.stack([chair, table])  # (2, 1024)
show(
    [
        cloud(batch[0], "a: legs, seat, back", parts[0], tint="classes"),
        cloud(batch[1], "b: legs, top", parts[1], tint="classes"),
    ]
)

# %%
# Two labels at once
# ------------------
# A tuple of labels has a tuple of numbers of classes: two categories, five
# parts. Saliency is the distance from the middle, a stand-in that needs no
# model: any function of the batch is a source.


def outer(batch: torch.Tensor) -> torch.Tensor:
    """(B, N) how far out each point lies."""
    return batch.norm(dim=2)


mixer = mixkit.create_mixer(
    "sagemix",
    domain="points",
    num_classes=(2, 5),
    saliency=outer,
    partners="derangement",
    theta=4.0,
)
generator = torch.Generator().manual_seed(0)
plan = mixer.plan(batch, (categories, parts), generator=generator)
mixed, (targets, shares) = mixer.apply_plan(plan, batch, (categories, parts))
print(tuple(targets.shape), tuple(shares.shape))

# %%
# Categories come out as (B, 2), parts as (B, 5, N): a point that is three
# quarters of the chair's back and one quarter of the table's top has just
# these shares.

largest = shares.argmax(1)
certain = shares.amax(1)
show(
    [
        cloud(mixed[0], f"{targets[0, 0]:.0%} a", share_of_a(plan, 1024)),
        cloud(mixed[0], "largest share", largest[0], tint="classes"),
        cloud(mixed[0], "how large it is", certain[0] ** 2, tint="saliency"),
    ],
    columns=3,
)

# %%
# The loss of a segmentation network takes the shares as they are,
# ``F.cross_entropy(model(mixed), shares)``.
#
# Other methods
# -------------
# Methods that take each point whole keep hard labels: every column of their
# shares is one-hot.

pictures = []
for method, options in (
    ("pointmixup", {"alpha": 4.0}),
    ("pointcutmix_k", {}),
    ("rsmix", {}),
):
    other = mixkit.create_mixer(
        method,
        domain="points",
        num_classes=(2, 5),
        partners="derangement",
        p=1.0,
        **options,
    )
    generator = torch.Generator().manual_seed(3)
    mixed, (_, shares) = other(batch, (categories, parts), generator=generator)
    hard = bool((shares.amax(1) > 0.999).all())
    title = f"{method}\n{'hard' if hard else 'soft'} labels"
    pictures.append(
        cloud(mixed[0], title, shares[0].argmax(0), tint="classes")
    )
show(pictures, columns=3)
