"""Clouds of different sizes, and whole scenes
===========================================

Scanned objects without resampling, and LiDAR scans mixed as a whole.
"""

# %%
# Scanned objects
# ---------------
# Objects of Sydney Urban Objects, cut out of street scans: each has as many
# points as the scanner happened to hit. A list of clouds goes in, a list comes
# out.

# sphinx_gallery_thumbnail_number = 3
import torch

import mixkit
from experiments.data.streets import CLASSES, make_scan
from experiments.report.gallery import axes_of, cloud, show, street_objects

clouds, labels, classes = street_objects()
chosen = [29, 14, 6]
batch = [clouds[k] / clouds[k].norm(dim=1).max() for k in chosen]
own = labels[chosen]
names = [classes[label] for label in own]
show(
    [
        cloud(each, f"{name}\n{len(each)} points")
        for each, name in zip(batch, names, strict=True)
    ]
)

# %%
# A mix has as many points as its own sample by default, the mean or the larger
# number of both with ``size="mean"`` or ``size="larger"``. The saliency is a
# function here, the distance from the middle; a model's does too, which is
# then given the list.

pictures = []
for size in ("own", "mean", "larger"):
    mixer = mixkit.create_mixer(
        "sagemix",
        domain="points",
        num_classes=len(classes),
        saliency=lambda clouds: [each.norm(dim=1) for each in clouds],
        partners="previous",
        theta=4.0,
        size=size,
    )
    generator = torch.Generator().manual_seed(2)
    plan = mixer.plan(batch, own, generator=generator)
    mixed, targets = mixer.apply_plan(plan, batch, own)
    share = plan.weight[0, : len(mixed[0])]
    title = f"size={size!r}\n{len(mixed[0])} points"
    pictures.append(cloud(mixed[0], title, share))
show(pictures)

# %%
# Scenes
# ------
# Two scans of a street, some 20,000 points each, labelled point by point. They
# are made up: every ray is traced, so that all labels are exact. The domain
# ``"scene"`` mixes them as a whole; real scans go the same way.

scans = [make_scan(seed) for seed in (0, 3)]
points = [torch.from_numpy(scan.points) for scan in scans]
parts = [torch.from_numpy(scan.labels) for scan in scans]
print([tuple(each.shape) for each in points], CLASSES)

things = tuple(CLASSES.index(name) for name in ("car", "person", "pole"))
settings = {
    "mix3d": {},
    "lasermix": {},
    "polarmix": {"instance_classes": things, "swap": 1.0},
    "sagemix_scene": {"query": "uniform", "radius": 15.0, "theta": 4.0},
}
figure, axes = axes_of(columns=2, rows=2, height=6.8)
for place, (method, options) in zip(axes, settings.items(), strict=True):
    mixer = mixkit.create_mixer(
        method,
        domain="scene",
        num_classes=len(CLASSES),
        partners="previous",
        **options,
    )
    generator = torch.Generator().manual_seed(1)
    plan = mixer.plan(points, parts, generator=generator)
    mixed, targets = mixer.apply_plan(plan, points, parts)
    count = len(mixed[0])
    is_own = plan.index[:, :count] < len(points[0])
    share = (plan.weight[:, :count] * is_own).sum(0)
    order = share.argsort(descending=True)  # b above a
    place.scatter(
        *mixed[0][order, :2].T, s=0.4, c=share[order], cmap="RdYlBu", vmin=-0.2
    )
    place.set(xlim=(-30, 30), ylim=(-30, 30), aspect="equal")
    place.set_axis_off()
    place.set_title(f"{method}, {count:,} points")

# %%
# Seen from above, 60 metres wide; blue points come from the one scan, red ones
# from the other:
#
# - **Mix3D** is the union of both;
# - **LaserMix** takes bands of inclination in turn, rings around the scanner;
# - **PolarMix** swaps half of the turn, and pastes cars, people and poles
#   turned about the scanner;
# - **SageMix** for scenes mixes what surrounds one place.
#
# Labels of points come along: hard ones for the first three, shares where
# SageMix interpolates.
