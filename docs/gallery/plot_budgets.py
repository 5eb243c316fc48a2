"""When mixing pays
================

The measured curves of the page :doc:`/choose`: what mixing changes, against
training without it at the same seed, with 95 % intervals. Nothing is trained
here: every run is kept in ``docs/results``.
"""

# %%
# The runs
# --------
# A file of ``docs/results`` has a line for each run: its settings, and its
# scores on the test set. `experiments.report.export` reads it.

import statistics
import sys
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt

from experiments.report.export import read_export
from experiments.report.paired import paired_difference

here = Path("docs").is_dir()  # in a clone; the site is built from within docs
RESULTS = Path("docs/results" if here else "../results")
VANILLA, ALWAYS = "vanilla", "sagemix"
STEADY, TOLD = "sagemix:schedule=steady", "sagemix:schedule=told"
ARMS = {  # the name here, the colour, a shift that keeps intervals apart
    VANILLA: ("vanilla", "C2", 0.0),
    ALWAYS: ("SageMix, always", "C0", 0.08),
    STEADY: ("SageMix, steady", "C1", -0.08),
    TOLD: ("SageMix, told", "C3", -0.24),
}


@cache
def runs_of(file):
    """The runs of a file of ``docs/results``, read once."""
    return read_export(RESULTS / file)


def scores(file, score="final", **wanted):
    """{method: {what pairs runs: score}} of the runs with these settings."""
    found = {}
    for run in runs_of(file):
        config = run.config
        if all(getattr(config, name) == each for name, each in wanted.items()):
            method = config.method
            if config.model == "pointnet":  # SageMix has the paper's sigma
                method = method.replace(":sigma=2.0,", ":")
                method = method.replace(":sigma=2.0", "")
            by_draw = found.setdefault(method, {})
            assert (config.seed, config.dataset) not in by_draw
            by_draw[config.seed, config.dataset] = run.scores()[score]
    return found


# %%
# Paired by seed
# --------------
# Two runs with the same seed start with the same weights, so their difference
# may scatter less than either. The interval is Student's.


def differences(tables, method):
    """The mean paired differences to vanilla, and half of their intervals."""
    found = [paired_difference(each[method], each[VANILLA]) for each in tables]
    return [each.mean for each in found], [each.half for each in found]


def save(figure, name):
    """With the argument ``docs/figures``: draw the page's pictures anew."""
    if sys.argv[1:] == ["docs/figures"]:
        figure.savefig(Path("docs/figures") / name, dpi=120)


# %%
# When it pays
# ------------
# Accuracy, and calibration as trained and after temperature scaling, at 5 to
# 200 epochs: CIFAR-100, 2,000 images, where steady was not run at 200.

BUDGETS = (5, 10, 25, 80, 200)


def draw_budgets(file):
    """Two panels over the budgets of a file of ``docs/results``."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(7, 3.2), layout="constrained"
    )
    tables = [scores(file, epochs=epochs) for epochs in BUDGETS]
    for method, (label, colour, shift) in ARMS.items():
        where = [k for k, table in enumerate(tables) if method in table]
        if not where:
            continue
        if method != VANILLA:
            means, halves = differences([tables[k] for k in where], method)
            places = [place + shift for place in where]
            style = {"fmt": "o", "capsize": 3, "color": colour, "label": label}
            left.errorbar(places, means, halves, **style)
        for score, line in (("ece", "o-"), ("ece_scaled", "o:")):
            found = [scores(file, score, epochs=BUDGETS[k]) for k in where]
            means = [statistics.fmean(each[method].values()) for each in found]
            name = label if score == "ece" else None
            right.plot(where, means, line, color=colour, ms=3, label=name)
    left.axhline(0, color="grey", lw=0.8)
    left.set(title="accuracy less vanilla's, points", xlabel="epochs")
    right.set(title="ECE, %; dotted: scaled", xlabel="epochs")
    for axes in (left, right):
        axes.set_xticks(range(len(BUDGETS)), BUDGETS)
    left.margins(y=0.35)  # room for the legend
    left.legend(frameon=False, loc="upper left")
    right.legend(frameon=False)
    return figure


save(draw_budgets("cifar100-budgets.json"), "budgets.png")

# %%
# And ModelNet10, 1,000 shapes, with a PointNet of width 16. Steady was not
# run.

save(draw_budgets("modelnet10-budgets.json"), "budgets-shapes.png")

# %%
# Which method
# ------------
# The same images at 80 epochs, by which plain training has learnt them by
# heart: every method that was run, on every batch, beside SageMix when told.

RUNS = "cifar100-methods.json"
NAMES = {
    TOLD: "SageMix, told",
    ALWAYS: "SageMix",
    "comixup": "Co-Mixup",
    "puzzlemix": "Puzzle Mix",
    "manifold_mixup": "Manifold Mixup",
    "mixup": "Mixup",
    "saliencymix": "SaliencyMix",
    "cutmix": "CutMix",
    "fmix": "FMix",
    "resizemix": "ResizeMix",
    "recursivemix": "RecursiveMix",
    "guidedmixup": "GuidedMixup",
}
accuracies, eces = scores(RUNS), scores(RUNS, "ece")
gains = {
    method: paired_difference(accuracies[method], accuracies[VANILLA])
    for method in NAMES
}
methods = sorted(NAMES, key=lambda method: -gains[method].mean)
figure, (left, right) = plt.subplots(
    1, 2, figsize=(7, 4), layout="constrained", sharey=True
)
for place, method in enumerate(methods):
    colour = "C3" if method == TOLD else "C0" if method == ALWAYS else "C7"
    gain = gains[method]
    style = {"fmt": "o", "capsize": 3, "color": colour}
    left.errorbar(gain.mean, place, xerr=gain.half, **style)
    right.barh(place, statistics.fmean(eces[method].values()), color=colour)
left.axvline(0, color="grey", lw=0.8)
left.set_yticks(range(len(methods)), [NAMES[method] for method in methods])
left.set(title="accuracy less vanilla's, points", ylim=(len(methods), -1))
right.set(title="ECE, %, as trained")
save(figure, "methods.png")

# %%
# Elsewhere
# ---------
# Other kinds of data, each at one budget: accuracy less vanilla's, in
# points. Not every schedule was run on all of them.

SPECTROGRAMS = {"model": "spectrogram_resnet18"}
OTHERS = {
    "CIFAR-100, 10,000 images,\n25 epochs": ("cifar100-10000.json", {}),
    "spoken digits,\nwaveforms, 60 epochs": (
        "fsdd.json",
        {"model": "resnet1d"},
    ),
    "spoken digits,\nspectrograms, 30 epochs": ("fsdd.json", SPECTROGRAMS),
    "street scans, PointNet,\n60 epochs": ("sydney-pointnet.json", {}),
    "street scans, DGCNN,\n40 epochs": ("sydney-dgcnn.json", {}),
    "ModelNet40, PointNet,\n30 epochs": ("modelnet40-pointnet.json", {}),
    "ModelNet40, DGCNN,\n20 epochs": ("modelnet40-dgcnn.json", {}),
}
tables = [scores(file, **wanted) for file, wanted in OTHERS.values()]
figure, axes = plt.subplots(figsize=(7, 4.6), layout="constrained")
for method in (ALWAYS, STEADY, TOLD):
    label, colour, shift = ARMS[method]
    where = [
        k for k, table in enumerate(tables) if len(table.get(method, ())) > 1
    ]
    means, halves = differences([tables[k] for k in where], method)
    places = [place - shift for place in where]
    style = {"fmt": "o", "capsize": 3, "color": colour, "label": label}
    axes.errorbar(means, places, xerr=halves, **style)
axes.axvline(0, color="grey", lw=0.8)
axes.set_yticks(range(len(OTHERS)), list(OTHERS))
axes.set(
    ylim=(len(OTHERS) - 0.5, -0.5), xlabel="accuracy less vanilla's, points"
)
axes.legend(frameon=False)
save(figure, "budgets-other.png")
plt.show()
