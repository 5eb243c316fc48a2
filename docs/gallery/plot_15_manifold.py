"""Mixing inside a model
=====================

Any method at any named layer: what the mix of two feature maps looks like.
"""

# %%
# A small ResNet learns 60 images of CIFAR-100, so that its features mean
# something.

# sphinx_gallery_thumbnail_number = 1
import torch

import mixkit
from experiments.models import create_model
from experiments.report.gallery import (
    heat,
    image,
    show,
    small_images,
    train,
)

pixels, labels, classes = small_images()
images = (pixels - 0.5) / 0.25
torch.manual_seed(0)
model = create_model("preact_resnet18", channels=3, num_classes=20, width=8)
train(model, images, labels, epochs=25, batch_size=20)

# %%
# Two images and one layer
# ------------------------
# A `ManifoldMixer` runs the model once and mixes at a layer that it draws anew
# for each batch. With one layer to choose from, a hook on that layer shows
# what goes into the mix, and a hook before the next one what comes out.

batch, own = images[[1, 11]], labels[[1, 11]]
seen = {}
model.layer1.register_forward_hook(lambda *call: seen.update(before=call[2]))
model.layer2.register_forward_pre_hook(
    lambda *call: seen.update(after=call[1][0])
)


def strength(features: torch.Tensor) -> torch.Tensor:
    """(B, H, W) the mean magnitude over the channels."""
    return features.detach().abs().mean(1)


model.train()
mixes = []
for method, options in (
    ("manifold_mixup", {}),
    ("cutmix", {"p": 1.0}),
    ("fmix", {}),
    ("sagemix", {"theta": 4.0}),
):
    manifold = mixkit.ManifoldMixer(
        model,
        ["layer1"],
        method,
        domain="image",
        num_classes=20,
        partners="derangement",
        **options,
    )
    generator = torch.Generator().manual_seed(1)
    logits, targets = manifold(batch, own, generator=generator)
    share = float(targets[0, own[0]])
    mixes.append(heat(strength(seen["after"])[0], f"{method}\n{share:.0%} a"))

# %%
# The magnitude of the features, bright is strong: the two samples, and below
# them the first output of each method.

names = [classes[label] for label in own]
before = strength(seen["before"])
show(
    [
        image(pixels[1], f"a: {names[0]}"),
        image(pixels[11], f"b: {names[1]}"),
        heat(before[0], "layer1 of a"),
        heat(before[1], "layer1 of b"),
        *mixes,
    ]
)

# %%
# Deeper layers
# -------------
# Coordinates are those of the input whatever a layer's size, so that a region
# is as large a share of a deep layer as of the image.

pictures = []
for layer, follower in (("layer2", "layer3"), ("layer3", "layer4")):
    hook = model.get_submodule(follower).register_forward_pre_hook(
        lambda *call: seen.update(after=call[1][0])
    )
    manifold = mixkit.ManifoldMixer(
        model,
        [layer],
        "sagemix",
        domain="image",
        num_classes=20,
        partners="derangement",
        theta=4.0,
    )
    generator = torch.Generator().manual_seed(1)
    manifold(batch, own, generator=generator)
    hook.remove()
    after = strength(seen["after"])
    side = after.shape[-1]
    pictures += [
        heat(after[k], f"{layer}, output {'ab'[k]}\n{side} x {side}")
        for k in range(2)
    ]
show(pictures)

# %%
# In a training loop
# ------------------
# .. code-block:: python
#
#     manifold = mixkit.ManifoldMixer(
#         model,
#         ["input", "layer1", "layer2"],
#         "sagemix",
#         domain="image",
#         num_classes=100,
#     )
#     for images, labels in loader:
#         logits, targets = manifold(images, labels)
#         loss = F.cross_entropy(logits, targets)
