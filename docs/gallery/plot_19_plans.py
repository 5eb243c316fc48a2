"""A mix is a plan, and a plan is linear
=====================================

Inspect it, repeat it, apply it to anything, carry gradients back through it.
"""

# %%
# Draw first
# ----------
# A mixer draws a `mixkit.MixPlan` before it touches a pixel: which elements of
# which samples each output element is made of, and at which weight. In a
# notebook a plan shows what its outputs are made of.

# sphinx_gallery_thumbnail_number = 1
import torch

import mixkit
from experiments.report.gallery import heat, image, show, small_images

pixels, labels, classes = small_images()
batch, own = pixels[[0, 1, 7, 11]], labels[[0, 1, 7, 11]]
mixer = mixkit.create_mixer(
    "sagemix",
    domain="image",
    num_classes=20,
    saliency="spectral_residual",
    partners="derangement",
    theta=4.0,
)
plan = mixer.plan(batch, own, generator=torch.Generator().manual_seed(0))
plan

# %%
# Apply it
# --------
# `apply_plan` mixes the batch; the same plan gives the same mix, as often as
# one likes. It mixes whatever else is aligned with the pixels, such as a grey
# version of the images.

mixed, targets = mixer.apply_plan(plan, batch, own)
again, _ = mixer.apply_plan(plan, batch, own)
assert torch.equal(mixed, again)

grey = batch.mean(1).flatten(1)[:, :, None]  # (B, N, 1)
mixed_grey = plan.apply(grey).reshape(-1, 1, 32, 32)
names = [classes[label] for label in own]
show(
    [
        *(image(each, name) for each, name in zip(batch, names, strict=True)),
        *(image(each, "mixed") for each in mixed),
        *(image(each.expand(3, 32, 32), "grey, mixed") for each in mixed_grey),
    ]
)

# %%
# Look into it
# ------------
# A plan is a few tensors. ``weight[m, k, i]`` is how much term k adds to
# element i of output m, ``source[m, k]`` the sample that the term reads.

print(
    "weights",
    tuple(plan.weight.shape),
    "sources",
    plan.source[:, :, 0].tolist(),
)
print("label weights\n", plan.sample_weights.numpy().round(2))
weights = plan.weight.reshape(4, 2, 32, 32)
show(
    [
        heat(each[0], f"of {names[k]}", tint="own")
        for k, each in enumerate(weights)
    ]
)

# %%
# Linear, with a transpose
# ------------------------
# Mixing a sum is the sum of the mixes, and ``adjoint`` carries values of the
# outputs back to the places they came from. For any x and y the two inner
# products are the same number.

x = torch.rand(4, 1024, 1)
y = torch.rand(4, 1024, 1)
print(float((plan.apply(x) * y).sum()), float((x * plan.adjoint(y)).sum()))

# %%
# So the adjoint of ones says how often each pixel was used in the batch: 1 on
# average, more where a sample's salient part went into another's mix as well,
# less where it was mixed away. A `SaliencyBank` carries gradients back this
# way.

used = plan.adjoint(torch.ones(4, 1024, 1)).reshape(4, 32, 32)
show(
    [
        heat(each, f"{name}\n{each.mean():.2f} times", tint="saliency")
        for each, name in zip(used, names, strict=True)
    ]
)

# %%
# Your own plan
# -------------
# `MixPlan.pair` makes one from partners and weights: here the left half is
# each image's own, with a soft seam.

seam = ((torch.arange(32) - 15.5) / -2).sigmoid().repeat(32)  # (1024,)
partner = torch.tensor([1, 2, 3, 0])
halves = mixkit.MixPlan.pair(partner, seam.expand(4, -1))
mixed, targets = mixer.apply_plan(halves, batch, own)
show(
    [
        image(each, f"{target.max():.0%} each")
        for each, target in zip(mixed, targets, strict=True)
    ]
)
