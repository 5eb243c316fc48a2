"""A third modality: spoken digits
===============================

Sound as a waveform and as a spectrogram: one word changes, the mixer stays.
"""

# %%
# Waveforms
# ---------
# The Free Spoken Digit Dataset; a tenth of it lies in the repository. A batch
# of sequences is (B, C, T), and an element is a time step.

# sphinx_gallery_thumbnail_number = 2
import torch

import mixkit
from experiments.data.fsdd import load_fsdd
from experiments.models import create_model
from experiments.report.gallery import axes_of, share_of_a, train

data = load_fsdd([], sample=True)
waves, labels = data.train.float(), data.train_labels  # (180, 1, 4096)
torch.manual_seed(0)
model = create_model("resnet1d", channels=1, num_classes=10, width=8)
train(model, waves, labels, epochs=12, batch_size=20)

mixer = mixkit.create_mixer(
    "sagemix",
    domain="sequence",
    num_classes=10,
    model=model,
    partners="derangement",
    theta=4.0,
    sigma=600.0,  # time steps; the default is a quarter of the length
)
pair = [int((labels == digit).nonzero()[4, 0]) for digit in (3, 7)]
batch, own = waves[pair], labels[pair]
generator = torch.Generator().manual_seed(0)
plan = mixer.plan(batch, own, generator=generator)
mixed, targets = mixer.apply_plan(plan, batch, own)
weight = share_of_a(plan, 4096)

# %%
# The weight of a (blue) falls from one query to the other, and the sound fades
# from "three" to "seven".

BLUE, ORANGE = "#0b6ea8", "#d07a00"
milliseconds = torch.arange(4096) / 8
figure, axes = axes_of(height=4.4, rows=4)
a, b = targets[0, own]
for place, (wave, colour) in enumerate(
    zip(batch, (BLUE, ORANGE), strict=True)
):
    axes[place].plot(milliseconds, wave[0], color=colour, linewidth=0.6)
    axes[place].set_title(f'{"ab"[place]}: "{data.classes[own[place]]}"')
axes[2].fill_between(milliseconds, weight, color=BLUE, alpha=0.5, linewidth=0)
axes[2].fill_between(
    milliseconds, weight, 1, color=ORANGE, alpha=0.5, linewidth=0
)
axes[2].set_title("weight of a")
axes[3].plot(milliseconds, mixed[0, 0], color="#4a5361", linewidth=0.6)
axes[3].set_title(f"mixed: {a:.0%} a, {b:.0%} b")
axes[3].set_xlabel("milliseconds")
for each in axes[:3]:
    each.set_xticks([])

# %%
# Spectrograms
# ------------
# The same recordings as log-mel spectrograms, (B, C, F, T). Here boxes, discs
# and bands make sense, and all methods of images serve. With ``bands=True``
# CutMix cuts whole bands of time or of frequency. Of twenty draws the most
# even one is shown.

spectra = load_fsdd([], sample=True, spectrogram=True)
pictures = spectra.prepare(spectra.train)  # (180, 1, 32, 32)
torch.manual_seed(0)
model = create_model(
    "spectrogram_resnet18", channels=1, num_classes=10, width=8
)
train(model, pictures, labels, epochs=10, batch_size=20)

batch = pictures[pair]
figure, axes = axes_of(columns=3, rows=2, height=4.6)
shown = [
    (batch[0], f'a: "{data.classes[own[0]]}"'),
    (batch[1], f'b: "{data.classes[own[1]]}"'),
]
for method, options in (
    ("mixup", {}),
    ("cutmix", {"bands": True, "p": 1.0}),
    ("puzzlemix", {}),
    ("sagemix", {"theta": 4.0}),
):
    mixer = mixkit.create_mixer(
        method,
        domain="spectrogram",
        num_classes=10,
        model=model,
        partners="derangement",
        **options,
    )
    plans = [
        mixer.plan(batch, own, generator=torch.Generator().manual_seed(k))
        for k in range(20)
    ]
    plan = min(plans, key=lambda plan: abs(plan.sample_weights[0, 0] - 0.5))
    mixed, targets = mixer.apply_plan(plan, batch, own)
    shown.append((mixed[0], f"{method}, {targets[0, own[0]]:.0%} a"))
for place, (picture, title) in zip(axes, shown, strict=True):
    place.imshow(picture[0], origin="lower", aspect="auto", cmap="magma")
    place.set(xticks=[], yticks=[], title=title)
axes[3].set(xlabel="time", ylabel="frequency")

# %%
# Volumes and videos are grids too: the next page.
