"""When mixing pays
================

The measured curves of the page :doc:`/choose`: what mixing changes, against training without it at the same seed, with
95 % intervals. Nothing is trained here: every run is kept in ``docs/results``.
"""

# %%
# The runs
# --------
# A file of ``docs/results`` has a line for each run: its settings, and its
# scores on the test set.

import json
import statistics
import sys
from pathlib import Path

import matplotlib.pyplot as plt

from experiments.report.paired import paired_difference

RESULTS = (
    Path("docs/results")
    if Path("docs/results").is_dir()
    else Path("../results")
)
ARMS = {  # what a method is called here, its colour, and a shift that keeps intervals apart
    "vanilla": ("vanilla", "C2", 0.0),
    "sagemix": ("SageMix, always", "C0", 0.08),
    "sagemix:schedule=steady": ("SageMix, steady", "C1", -0.08),
}


def scores(file, score="accuracy", **wanted):
    """{method: {what pairs runs: score}} of the runs of a file that have the wanted settings."""
    found = {}
    for run in json.loads((RESULTS / file).read_text())["runs"]:
        config = run["config"]
        if all(config.get(name) == value for name, value in wanted.items()):
            draw = config["seed"], config.get("dataset")
            found.setdefault(config["method"], {})[draw] = run["scores"][score]
    return found


# %%
# Paired by seed
# --------------
# Two runs with the same seed start with the same weights, so their difference
# may scatter less than either. The interval is Student's.


def differences(tables, method):
    """The mean paired differences to vanilla, and half of their 95 % intervals."""
    found = [
        paired_difference(table[method], table["vanilla"]) for table in tables
    ]
    return [each.mean for each in found], [each.half for each in found]


def save(figure, name):
    """``python docs/gallery/plot_budgets.py docs/figures`` draws the pictures of the page anew."""
    if sys.argv[1:] == ["docs/figures"]:
        figure.savefig(Path("docs/figures") / name, dpi=120)


# %%
# When it pays
# ------------
# CIFAR-100, 2,000 images, at 5, 10, 25 and 80 epochs: accuracy, and
# calibration as trained and after temperature scaling.

BUDGETS = (5, 10, 25, 80)
figure, (left, right) = plt.subplots(
    1, 2, figsize=(7, 3.2), layout="constrained"
)
for method, (label, colour, shift) in ARMS.items():
    tables = [
        scores("cifar100-budgets.json", epochs=epochs) for epochs in BUDGETS
    ]
    if method != "vanilla":
        places = [place + shift for place in range(len(BUDGETS))]
        left.errorbar(
            places,
            *differences(tables, method),
            fmt="o",
            capsize=3,
            color=colour,
            label=label,
        )
    for score, line in (("ece", "o-"), ("ece_scaled", "o:")):
        tables = [
            scores("cifar100-budgets.json", score, epochs=epochs)
            for epochs in BUDGETS
        ]
        means = [statistics.fmean(table[method].values()) for table in tables]
        right.plot(
            means,
            line,
            color=colour,
            ms=3,
            label=label if score == "ece" else None,
        )
left.axhline(0, color="grey", lw=0.8)
left.set(title="accuracy less vanilla's, points", xlabel="epochs")
right.set(title="ECE, %; dotted: scaled", xlabel="epochs")
for axes in (left, right):
    axes.set_xticks(range(len(BUDGETS)), BUDGETS)
    axes.legend(frameon=False)
save(figure, "budgets.png")

# %%
# Elsewhere
# ---------
# Three other kinds of data, each at one budget: accuracy less vanilla's, in
# points.

OTHERS = {
    "spoken digits,\nwaveforms, 60 epochs": (
        "fsdd.json",
        {"model": "resnet1d"},
        "sagemix{}",
    ),
    "spoken digits,\nspectrograms, 30 epochs": (
        "fsdd.json",
        {"model": "spectrogram_resnet18"},
        "sagemix{}",
    ),
    "street scans, PointNet,\n60 epochs": (
        "sydney-pointnet.json",
        {},
        "sagemix:sigma=2.0{}",
    ),
}
figure, axes = plt.subplots(figsize=(7, 2.4), layout="constrained")
for place, (file, wanted, name) in enumerate(OTHERS.values()):
    table = scores(file, **wanted)
    steady = ",schedule=steady" if ":" in name else ":schedule=steady"
    for (label, colour, shift), method in zip(
        list(ARMS.values())[1:],
        (name.format(""), name.format(steady)),
        strict=True,
    ):
        (mean,), (half,) = differences([table], method)
        axes.errorbar(
            mean,
            place - shift,
            xerr=half,
            fmt="o",
            capsize=3,
            color=colour,
            label=None if place else label,
        )
axes.axvline(0, color="grey", lw=0.8)
axes.set_yticks(range(len(OTHERS)), list(OTHERS))
axes.set(ylim=(2.5, -0.5), xlabel="accuracy less vanilla's, points")
axes.legend(frameon=False)
save(figure, "budgets-other.png")
plt.show()
