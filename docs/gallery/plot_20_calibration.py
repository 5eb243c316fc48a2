"""Calibration with and without mixing
===================================

Mixing makes a network cautious; one temperature takes most of that back.
"""

# %%
# Two trainings
# -------------
# 200 of scikit-learn's handwritten digits to learn from, a narrow ResNet, the
# same seed and the same number of steps, without mixing and with SageMix. Of
# the digits that were not trained on, every second one serves to fit a
# temperature, the others are scored: as they are, and with noise on them.

# sphinx_gallery_thumbnail_number = 2
import torch

import mixkit
from experiments.data.digits import load_digit_images
from experiments.models import create_model
from experiments.report.gallery import axes_of, image, show, train
from experiments.run.metrics import classification_scores, fit_temperature

data = load_digit_images().limited(200)
digits, labels = data.prepare(data.train), data.train_labels
held, scored = data.test[::2], data.test[1::2]
held_labels, truth = data.test_labels[::2], data.test_labels[1::2]
generator = torch.Generator().manual_seed(0)
noise = 0.3 * torch.randn(scored.shape, generator=generator)
unseen = {"clean": scored, "noisy": (scored + noise).clamp(0, 1)}
show(
    [
        image(1 - ink[k], f"{name} {truth[k]}")
        for name, ink in unseen.items()
        for k in range(4)
    ]
)

# %%
# Training
# --------
# The temperature T divides the logits; it is fitted once, on clean digits, and
# changes no prediction.

EPOCHS = 40
logits, temperature = {}, {}
for name in ("no mixing", "sagemix"):
    torch.manual_seed(0)
    model = create_model(
        "preact_resnet18", channels=1, num_classes=10, width=8
    )
    mixer = None
    if name == "sagemix":
        mixer = mixkit.create_mixer(
            name, domain="image", num_classes=10, model=model
        )
    train(
        model,
        digits,
        labels,
        mixer,
        epochs=EPOCHS,
        batch_size=40,
        rate=5e-3,
    )
    with torch.no_grad():
        temperature[name] = fit_temperature(
            model(data.prepare(held)), held_labels
        )
        for what, ink in unseen.items():
            logits[name, what] = model(data.prepare(ink))

# %%
# Reliability
# -----------
# Predictions are sorted by how sure the network is and cut into eight groups
# of equal size. On the diagonal a network is right as often as it says; below
# it is too sure, above it too modest.


def reliability(
    probabilities: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean confidence and the accuracy of eight groups."""
    confidence, predicted = probabilities.max(1)
    groups = confidence.argsort().chunk(8)
    right = (predicted == truth).float()
    return (
        torch.stack([confidence[group].mean() for group in groups]),
        torch.stack([right[group].mean() for group in groups]),
    )


STYLES = {"no mixing": "#d07a00", "sagemix": "#0b6ea8"}
figure, axes = axes_of(columns=2, height=3.9)
for place, what in zip(axes, unseen, strict=True):
    place.plot([0, 1], [0, 1], ":", color="#8a93a0")
    for name, colour in STYLES.items():
        for t, line in ((1.0, "-"), (temperature[name], "--")):
            sure, right = reliability((logits[name, what] / t).softmax(1))
            label = name if t == 1 else f"{name}, T = {t:.2f}"
            place.plot(
                sure, right, line, color=colour, marker="o", label=label
            )
    place.set(xlabel="confidence", title=f"{what} digits", aspect="equal")
    place.set(xlim=(0.1, 1.03), ylim=(0.1, 1.03))
axes[0].set_ylabel("accuracy")
axes[0].legend(frameon=False, fontsize=8, loc="lower right")

# %%
# In numbers
# ----------
# The expected calibration error over 15 bins (Guo et al. 2017), and by how
# much the mean confidence exceeds the accuracy.

for (name, what), each in logits.items():
    for t in (1.0, temperature[name]):
        scores = classification_scores((each / t).softmax(1), truth)
        print(
            f"{what}, {name:<9} T = {t:.2f}: accuracy {scores.accuracy:.1f} %"
            f", ECE {scores.ece:.1f} %, too sure by {scores.gap:+.1f} %"
        )

# %%
# Without mixing the network is too sure of noisy digits, and the temperature
# of clean ones hardly helps. With mixing it is too modest, since it was
# trained on soft labels; its temperature takes most of that back, on noisy
# digits too. One seed and 200 digits show how to look, not which method is
# better: the measured tables are in the results.
