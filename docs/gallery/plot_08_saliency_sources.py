"""Where saliency comes from
=========================

A model's gradient, a bank, the image's own spectrum, or your own function.
"""

# %%
# Every source gives a number for each pixel or point, and queries are drawn in
# proportion to it. The images here are 60 of CIFAR-100; a narrow ResNet learns
# them while this page is built, which is enough to see what its gradient looks
# like.

# sphinx_gallery_thumbnail_number = 2
import torch
import torch.nn.functional as F

import mixkit
import mixkit_image
from experiments.models import create_model
from experiments.report.gallery import heat, image, show, small_images, train

pixels, labels, classes = small_images()
images = (pixels - 0.5) / 0.25
torch.manual_seed(0)
model = create_model("preact_resnet18", channels=3, num_classes=20, width=8)

# %%
# A bank learns along
# -------------------
# A `SaliencyBank` remembers what training steps show: the gradient that
# reaches the mixed batch is carried back to the samples. It costs
# little and is there when training ends.

bank = mixkit.SaliencyBank(len(images))
mixer = mixkit.create_mixer(
    "sagemix", domain="image", num_classes=20, saliency=bank
)
train(model, images, labels, mixer, epochs=40, batch_size=20)
bank

# %%
# Four sources on four images
# ---------------------------
# - ``GradientSaliency(model)``, which ``model=`` stands for: the norm over
#   channels of the gradient of the loss, the paper's choice;
# - ``resolution=0.5``: the same on images of half the side, at a quarter of
#   the cost;
# - the bank, after the training above;
# - ``"spectral_residual"``: no model at all, so that it serves in a loader's
#   worker.

chosen = torch.tensor([1, 2, 7, 11])
batch, own = images[chosen], labels[chosen]
domain = mixer.domain
exact = mixkit.GradientSaliency(model)
coarse = mixkit.GradientSaliency(model, resolution=0.5)
maps = {
    "gradient": exact.find(batch, own, domain),
    "half size": coarse.find(batch, own, domain),
    "bank": bank.look_up(chosen),
    "spectral": mixkit_image.spectral_residual(batch),
}
pictures = [image(pixels[i], classes[labels[i]]) for i in chosen]
for name, saliency in maps.items():
    pictures += [heat(each.reshape(32, 32) ** 0.5, name) for each in saliency]
show(pictures)

# %%
# (The square root is drawn, or a few pixels would outshine the rest.) The
# gradient is fine-grained, and of a model that has seen 60 images it is rough;
# at half the size it is smoother; the bank holds an average over the mixes
# that were seen.
#
# A source of your own
# --------------------
# Any function of the batch will do, such as the contrast around each pixel. It
# returns (B, H, W) or (B, N).


def contrast(batch: torch.Tensor) -> torch.Tensor:
    """The deviation of the brightness in windows of five pixels."""
    grey = batch.mean(1, keepdim=True)
    mean = F.avg_pool2d(grey, 5, 1, 2, count_include_pad=False)
    square = F.avg_pool2d(grey.square(), 5, 1, 2, count_include_pad=False)
    return (square - mean.square()).clamp_min(0).sqrt()[:, 0]


mixer = mixkit.create_mixer(
    "sagemix",
    domain="image",
    num_classes=20,
    saliency=contrast,
    partners="derangement",
    theta=4.0,
)
mixed, targets = mixer(batch, own, generator=torch.Generator().manual_seed(4))
show(
    [heat(each, "contrast") for each in contrast(batch)]
    + [image(each * 0.25 + 0.5, "mixed") for each in mixed]
)
