"""What a label weighs
===================

By area, by saliency, by what a vision transformer attends to.
"""

# %%
# A box cut out of the sky
# ------------------------
# CutMix weighs labels by area. When the box shows sky, an image may count for
# a third and show nothing of its subject. ``labels_by="saliency"`` weighs a
# label by the share of its saliency that is in view. Above each image is the
# weight of the flower, by both rules.

import torch
import torchvision

import mixkit
from experiments.report.gallery import (
    heat,
    image,
    photographs,
    show,
    small_images,
    train,
)
from mixkit.attention import ClassAttention

images, labels = photographs(128), torch.tensor([0, 1])


def weights_by(labels_by: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A CutMix of the photographs, and its targets."""
    mixer = mixkit.create_mixer(
        "cutmix",
        domain="image",
        num_classes=2,
        p=1.0,
        partners="derangement",
        saliency="spectral_residual",
        labels_by=labels_by,
    )
    generator = torch.Generator().manual_seed(seed)
    mixed, targets = mixer(images, labels, generator=generator)
    return mixed[0], targets[0]


pictures = []
for seed in (0, 18, 22, 29):
    mixed, by_area = weights_by("weight", seed)
    _, by_saliency = weights_by("saliency", seed)
    title = f"area {by_area[1]:.0%}\nsaliency {by_saliency[1]:.0%}"
    pictures.append(image(mixed, title))
show(pictures)

# %%
# ``"own_saliency"`` lets the shares add up to less or more than one, as
# SnapMix does. The rule serves every method of every domain, and pixels stay
# as they are: only labels change.
#
# TransMix
# --------
# A vision transformer knows itself where it looked: the attention of its class
# token. `mixkit.AttentionMixer` mixes, runs the model once, and weighs labels
# by that attention. Here a tiny transformer learns 60 images of CIFAR-100.

pixels, classes_of, classes = small_images()
inputs = (pixels - 0.5) / 0.25
torch.manual_seed(0)
model = torchvision.models.VisionTransformer(
    32, 4, 3, 4, 48, 96, num_classes=20
)
train(model, inputs, classes_of, epochs=60, batch_size=20, rate=3e-3)

model.train()
batch, own = inputs[[1, 7, 11, 5]], classes_of[[1, 7, 11, 5]]
options = {
    "domain": "image",
    "num_classes": 20,
    "p": 1.0,
    "partners": "previous",
}
transmix = mixkit.AttentionMixer(model, "cutmix", **options)
generator = torch.Generator().manual_seed(6)
logits, attended = transmix(batch, own, generator=generator)

# %%
# The same draw without attention gives the shares by area, and shows the
# images that the model saw.

cutmix = mixkit.create_mixer("cutmix", **options)
generator = torch.Generator().manual_seed(6)
mixed, by_area = cutmix(batch, own, generator=generator)
with torch.no_grad(), ClassAttention(model) as attention:
    model(mixed)
maps = attention.tokens[:, 1:].reshape(-1, 8, 8)
titles = [
    f"area {area[label]:.0%}\nattention {seen[label]:.0%}"
    for area, seen, label in zip(by_area, attended, own, strict=True)
]
show(
    [
        *(image(mixed[k] * 0.25 + 0.5, titles[k]) for k in range(4)),
        *(heat(maps[k], "attention") for k in range(4)),
    ]
)

# %%
# Above each image stands the weight of its own label, by area and by
# attention.
