"""Schedules: how much to mix, and when
====================================

Settings of a mixer as functions of the share of the run that is done.
"""

# %%
# Ready schedules
# ---------------
# A schedule is a name of `mixkit.list_schedules`. These change the probability
# that a batch is mixed.

# sphinx_gallery_thumbnail_number = 1
import torch
import torch.nn.functional as F

import mixkit
from experiments.data.digits import load_digit_images
from experiments.models import create_model
from experiments.report.gallery import axes_of

shares = torch.linspace(0, 1, 201).tolist()
figure, axes = axes_of()
for name in mixkit.list_schedules():
    if name != "adaptive":  # which looks at the model, see below
        mixer = mixkit.create_mixer(
            "mixup", domain="image", num_classes=10, schedule=name
        )
        ps = [mixer.schedule.at(share)["p"] for share in shares]
        axes.plot(shares, ps, label=name, linewidth=2)
axes.set(
    xlabel="share of the run that is done", ylabel="share of mixed batches"
)
axes.set_title("Ready schedules")
axes.legend(frameon=False, ncols=2, loc="lower left")

# %%
# Your own
# --------
# Any numeric option of the method can change: a number, or a function of the
# share.

schedule = mixkit.Schedule(
    p=lambda share: 1 - share**2, theta=lambda share: 0.2 + 2 * share
)
for share in (0.0, 0.5, 1.0):
    print(share, schedule.at(share))

# %%
# Adaptive
# --------
# ``"adaptive"`` mixes a sample with a probability that grows with the model's
# confidence in its label. `mixkit.steady` is adaptive with a known end and
# plain samples in the last 15 %. If it is told how sure the model is of digits
# that it is not trained on, it mixes only as far as the model overfits, and on
# to the end where it does. All are followed here through a short run on 200
# digits.

every = load_digit_images()
data = every.limited(200)
digits, labels = data.prepare(data.train), data.train_labels
others = every.prepare(every.test[:200])
others_labels = every.test_labels[:200]
EPOCHS = 16


def follow(schedule: mixkit.Schedule, told: bool = False) -> list[float]:
    """The share of the samples that was mixed, epoch by epoch."""
    torch.manual_seed(0)
    model = create_model(
        "preact_resnet18", channels=1, num_classes=10, width=8
    )
    mixer = mixkit.create_mixer(
        "sagemix",
        domain="image",
        num_classes=10,
        model=model,
        schedule=schedule,
    )
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    mixed_shares = []
    for _ in range(EPOCHS):
        mixed_now = []
        for keys in torch.randperm(len(digits)).split(40):
            inputs, targets = mixer(digits[keys], labels[keys])
            mixed_now.append(float((targets.amax(1) < 0.999).float().mean()))
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        mixed_shares.append(sum(mixed_now) / len(mixed_now))
        if told:
            model.eval()
            with torch.no_grad():
                trained = mixkit.label_confidence(model(digits), labels)
                held = mixkit.label_confidence(model(others), others_labels)
            schedule.tell(trained, held)
            model.train()
    return mixed_shares


steps = EPOCHS * 5
schedules = {
    "constant": mixkit.Schedule(steps, p=1.0),
    "adaptive": mixkit.Adaptive(total_steps=steps),
    "steady": mixkit.steady(epochs=EPOCHS, total_steps=steps),
    "steady, told": mixkit.steady(epochs=EPOCHS, total_steps=steps),
}
figure, axes = axes_of()
for name, each in schedules.items():
    shares = follow(each, told=name.endswith("told"))
    axes.plot(range(1, EPOCHS + 1), shares, label=name, linewidth=2)
axes.set(xlabel="epoch", ylabel="share of mixed samples", ylim=(-0.02, 1.2))
axes.set_title("Followed through a run")
axes.legend(frameon=False, loc="upper center", ncols=4)

# %%
# (Under ``constant`` some samples count as plain: their partner is the sample
# itself or has its class, or the ratio was next to 0 or 1.) Which schedule
# serves a budget best was measured: see *How much to mix* in the results.
