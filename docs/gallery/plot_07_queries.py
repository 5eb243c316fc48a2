"""How queries are drawn
=====================

SageMix's rule and its ablations: where they look, and how much a mix shows.
"""

# %%
# Four rules
# ----------
# ``query=`` says how the two queries are drawn:
#
# - ``"uniform"``: anywhere, in both;
# - ``"max"``: the most salient element of each, always the same;
# - ``"saliency"``: in proportion to the saliency of each;
# - ``"sequential"``, the method: the second one in proportion to saliency
#   times its distance from the first, so that the two regions do not fall upon
#   each other.

import torch

import mixkit
import mixkit_image
from experiments.data.digits import load_digit_points
from experiments.models import create_model
from experiments.report.gallery import (
    axes_of,
    cloud,
    heat,
    image,
    photographs,
    share_of_a,
    show,
    train,
)

images = photographs(128)
saliency = mixkit_image.spectral_residual(images)
rows, columns = torch.meshgrid(
    torch.arange(128), torch.arange(128), indexing="ij"
)
coords = torch.stack([columns, rows], 2).reshape(-1, 2).float()
generator = torch.Generator().manual_seed(4)
query = int(torch.multinomial(saliency[0], 1, generator=generator))
distance = (coords - coords[query]).norm(dim=1)
star = [(query, "a")]
show(
    [
        image(images[0], "a and its query", star),
        image(images[1], "b"),
        heat(saliency[1].reshape(128, 128), 'b, "saliency"', star),
        heat(
            (saliency[1] * distance).reshape(128, 128), 'b, "sequential"', star
        ),
    ]
)

# %%
# On the right is where the query of b falls: bright is likely. The distance
# from the first query dims what lies close to it.
#
# Digits as point clouds
# ----------------------
# To measure what the rules do, a small PointNet learns 200 handwritten digits,
# and 200 others are mixed.

data = load_digit_points(count=256)
torch.manual_seed(0)
model = create_model("pointnet", channels=3, num_classes=10, width=16)
train(model, data.train[:200], data.train_labels[:200], epochs=15)
batch, labels = data.test[:200], data.test_labels[:200]

mixers = {
    rule: mixkit.create_mixer(
        "sagemix",
        domain="points",
        num_classes=10,
        model=model,
        query=rule,
        theta=4.0,
        partners="derangement",
    )
    for rule in ("uniform", "max", "saliency", "sequential")
}
mixers["pointmixup"] = mixkit.create_mixer(
    "pointmixup",
    domain="points",
    num_classes=10,
    alpha=4.0,
    fold=False,
    partners="derangement",
)

# %%
# One pair
# --------
# The same two digits, mixed by each rule with the same seed.

places = [int((labels == digit).nonzero()[0, 0]) for digit in (2, 7)]
two, own = batch[places], labels[places]
pictures = [
    cloud(two[0], "a: 2", data="digits"),
    cloud(two[1], "b: 7", 0.0, data="digits"),
]
for rule, mixer in mixers.items():
    generator = torch.Generator().manual_seed(0)
    plan = mixer.plan(two, own, generator=generator)
    mixed, _ = mixer.apply_plan(plan, two, own)
    weight = share_of_a(plan, 256)
    pictures.append(cloud(mixed[0], rule, weight, data="digits"))
show(pictures)

# %%
# How much of what is salient survives
# ------------------------------------
# Of each pair the mix shows some of the saliency of a and some of that of b.
# Their shares add up to 1 where one weight holds for all points, as in
# PointMixup. More than 1 means that both samples gave what matters in them.

found = mixkit.GradientSaliency(model).find(
    batch, labels, mixers["max"].domain
)
share = found / found.sum(1, keepdim=True)
kept = {}
for rule, mixer in mixers.items():
    generator = torch.Generator().manual_seed(0)
    plan = mixer.plan(batch, labels, generator=generator)
    own = (plan.weight[:, 0].expand(-1, 256) * share).sum(1)
    partner = plan.source[:, 1, 0]
    theirs = share[partner].gather(1, plan.index[:, 1])
    kept[rule] = own + (plan.weight[:, 1].expand(-1, 256) * theirs).sum(1)

figure, axes = axes_of()
for row, values in enumerate(kept.values()):
    half = 1.96 * float(values.std()) / len(values) ** 0.5
    axes.errorbar(float(values.mean()), row, xerr=half, fmt="o", capsize=4)
axes.axvline(1, color="#4a5361", linewidth=1, linestyle="--")
axes.set_yticks(range(len(kept)), list(kept))
axes.invert_yaxis()
axes.set(xlabel="saliency shown, of a and b together (95 % interval)")
axes.set_title("Saliency that 200 mixed digits show")

# %%
# On these digits ``"max"`` shows the most and ``"uniform"`` the least. But
# ``"max"`` looks at the same place whenever a sample comes, so that its mixes
# vary less: what a rule shows in one batch is not all that matters for
# training.
