"""Masks and boxes mix along
=========================

Segmentation masks and detection targets follow the pixels they belong to.
"""

# %%
# Masks
# -----
# Two photographs and a mask for each: class 1 is what stands before the sky,
# class 2 are the flowers, class 0 is the rest. Rules on colours made them,
# which are good enough for pictures.

# sphinx_gallery_thumbnail_number = 2
import torch
from matplotlib.patches import Rectangle
from torchvision.ops import masks_to_boxes

import mixkit
from experiments.report.gallery import image, photographs, show
from mixkit_image import MixTransform

images, labels = photographs(128), torch.tensor([0, 1])
red, green, blue = images.unbind(1)
temple = (images[0].mean(0) < 0.55) | (red[0] > blue[0] + 0.05)
flower = (red[1] > 1.1 * green[1]) & (red[1] > 0.3)
masks = torch.stack([temple.long(), 2 * flower.long()])  # (2, 128, 128)

palette = torch.tensor(
    [[0.20, 0.23, 0.28], [0.34, 0.71, 0.91], [0.94, 0.63, 0.19]]
)


def coloured(shares: torch.Tensor) -> torch.Tensor:
    """A colour (3, H, W) of the shares (K, H, W) of the classes."""
    return torch.einsum("khw,kc->chw", shares, palette)


# %%
# A label per pixel is a tensor (B, H, W) of classes. Several labels go in as a
# tuple, with as many numbers of classes: here a class for each photograph and
# a mask.

mixer = mixkit.create_mixer(
    "sagemix",
    domain="image",
    num_classes=(2, 3),
    saliency="spectral_residual",
    partners="derangement",
    theta=4.0,
)
generator = torch.Generator().manual_seed(3)
mixed, (targets, shares) = mixer(images, (labels, masks), generator=generator)
print(tuple(targets.shape), tuple(shares.shape))

one_hot = torch.nn.functional.one_hot(masks, 3).movedim(-1, 1).float()
show(
    [
        image(images[0], "a"),
        image(images[1], "b"),
        image(mixed[0], f"{targets[0, 0]:.0%} a"),
        image(mixed[1], f"{targets[1, 0]:.0%} a"),
        *(image(coloured(each), "its mask") for each in one_hot),
        *(image(coloured(each), "its shares") for each in shares),
    ]
)

# %%
# The mask becomes shares of classes (B, K, H, W): where pixels blend, so do
# their classes, and the loss is ``F.cross_entropy(model(mixed), shares)``, or
# `mixkit.soft_cross_entropy` where some pixels have no label.
#
# Boxes
# -----
# `mixkit_image.MixTransform` takes detection targets as torchvision's
# detectors do. A box is clipped to the pixels where its image shows; its score
# is the mean weight over its area.

objects = [
    {"boxes": masks_to_boxes(temple[None]), "labels": torch.tensor([1])},
    {"boxes": masks_to_boxes(flower[None]), "labels": torch.tensor([2])},
]


def draw_boxes(axes, target: dict[str, torch.Tensor]) -> None:
    """Each box in the colour of its class, with its score."""
    scores = target.get("scores", torch.ones(len(target["boxes"])))
    for box, label, score in zip(
        target["boxes"], target["labels"], scores, strict=True
    ):
        left, top, right, bottom = box.tolist()
        colour = palette[label].tolist()
        size = (right - left, bottom - top)
        axes.add_patch(
            Rectangle(
                (left, top), *size, fill=False, color=colour, linewidth=3
            )
        )
        place = (left + 4, bottom - 5)
        words = {"color": "white", "size": 10, "backgroundcolor": colour}
        axes.text(*place, f"{score:.2f}", **words)


pictures, targets = [image(each) for each in images], list(objects)
for name in ("cutmix", "mixup", "sagemix"):
    transform = MixTransform(
        name,
        saliency="spectral_residual" if name == "sagemix" else None,
        partners="derangement",
        p=1.0,
        min_score=0.1,  # what is hardly seen is dropped
    )
    torch.manual_seed(1)
    mixed, found = transform(images, objects)
    pictures += [image(each, name) for each in mixed]
    targets += found
for axes, target in zip(show(pictures), targets, strict=True):
    draw_boxes(axes, target)
