"""Video: mixing in space and time
===============================

Clips are grids with a third axis, so that regions have an extent in time.
"""

# %%
# Two clips (B, C, T, H, W) of eight frames: a camera pans over each of
# scikit-learn's photographs.

# sphinx_gallery_thumbnail_number = 2
import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_images

import mixkit
from experiments.report.gallery import (
    axes_of,
    heat,
    image,
    share_of_a,
    show,
)
from mixkit_image import spectral_residual

FRAMES, SIDE = 8, 64


def pan(photograph: torch.Tensor, steps: int = FRAMES) -> torch.Tensor:
    """(3, T, SIDE, SIDE): a window that moves from left to right."""
    small = F.interpolate(photograph[None], size=(SIDE, 96), mode="area")[0]
    starts = torch.linspace(0, 96 - SIDE, steps).long()
    return torch.stack([small[:, :, k : k + SIDE] for k in starts], dim=1)


photographs = [
    torch.tensor(each).permute(2, 0, 1).float() / 255
    for each in load_sample_images().images
]
clips = torch.stack([pan(each) for each in photographs])  # (2, 3, 8, 64, 64)
labels = torch.tensor([0, 1])
frames = [0, 2, 5, 7]
show(
    [
        image(clip[:, t], f"{name}, frame {t}")
        for name, clip in zip("ab", clips, strict=True)
        for t in frames
    ]
)

# %%
# Saliency of each frame is enough: a function of the batch that returns (B, T,
# H, W).


def by_frame(clips: torch.Tensor) -> torch.Tensor:
    """The spectral residual of every frame."""
    stills = clips.transpose(1, 2).flatten(0, 1)
    return spectral_residual(stills).view(len(clips), FRAMES, SIDE, SIDE)


mixer = mixkit.create_mixer(
    "sagemix",
    domain="video",
    num_classes=2,
    saliency=by_frame,
    partners="derangement",
    theta=4.0,
)
generator = torch.Generator().manual_seed(5)
plan = mixer.plan(clips, labels, generator=generator)
mixed, targets = mixer.apply_plan(plan, clips, labels)
weight = share_of_a(plan, FRAMES * SIDE * SIDE).view(FRAMES, SIDE, SIDE)

# %%
# A region in space and time
# --------------------------
# The queries lie in different frames, so that what belongs to whom moves while
# the clip runs. Frames lie so far apart that the clip is as long as its
# frames' shorter side; ``spacing=`` says otherwise.

show(
    [image(mixed[0][:, t], f"mixed, frame {t}") for t in frames]
    + [heat(weight[t], tint="own") for t in frames]
)

# %%
# How much of each frame is a's, for SageMix and two other methods that know of
# time:

figure, axes = axes_of()
axes.plot(weight.mean((1, 2)), label="sagemix", linewidth=2)
for method, options in (("cutmix", {"bands": True}), ("smoothmix", {})):
    other = mixkit.create_mixer(
        method,
        domain="video",
        num_classes=2,
        partners="derangement",
        p=1.0,
        **options,
    )
    generator = torch.Generator().manual_seed(1)
    plan = other.plan(clips, labels, generator=generator)
    share = share_of_a(plan, FRAMES * SIDE * SIDE).view(FRAMES, -1).mean(1)
    axes.plot(share, label=method, linewidth=2)
axes.set(xlabel="frame", ylabel="share of a", ylim=(-0.02, 1.02))
axes.set_title("Share of a in each frame")
axes.legend(frameon=False)

# %%
# All frames alike
# ----------------
# Where time should not be mixed, the domain ``"image"`` with ``frames=True``
# takes (B, T, C, H, W) and uses one mask for all frames. A volume (B, C, D, H,
# W) is the domain ``"volume"``, whose ``spacing=(5.0, 0.7, 0.7)`` knows that
# slices lie further apart than pixels.
