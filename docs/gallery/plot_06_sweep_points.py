"""Prior and bandwidth on point clouds
===================================

The same two numbers on shapes, where points are paired before they mix.
"""

# %%
# The formula is the one of images, with distances in space and one step before
# it: the points of both shapes are paired at least total distance. Point i of
# the airplane mixes with the point of the chair that it is paired with.

import torch

import mixkit
from experiments.models import create_model
from experiments.report.gallery import (
    axes_of,
    cloud,
    shapes,
    share_of_a,
    show,
    train,
)

points, labels, classes = shapes()
torch.manual_seed(0)
model = create_model("pointnet", channels=3, num_classes=8, width=16)
train(model, points[:, :512], labels, epochs=40, batch_size=8)
batch, pair = points[[0, 9]], labels[[0, 9]]  # an airplane, a chair

mixer = mixkit.create_mixer("pointmixup", domain="points", num_classes=8)
partner = torch.tensor([1, 0])
assignment = mixkit.assign(batch, batch[partner]).index  # (2, 1024)

# %%
# The queries are drawn once, by the gradient of a small PointNet that was
# trained on the excerpt: one in proportion to the saliency of the airplane,
# one in proportion to that of the chair times the distance from the first.

saliency = mixkit.GradientSaliency(model).find(batch, pair, mixer.domain)
generator = torch.Generator().manual_seed(2)
first = torch.multinomial(saliency[0], 1, generator=generator)
far = saliency[1] * (batch[1] - batch[0, first]).norm(dim=1)
second = torch.multinomial(far, 1, generator=generator)
queries = torch.cat([first, second])


def sagemix(prior: float, sigma: float) -> mixkit.MixPlan:
    return mixkit.functional.sagemix(
        batch,
        partner,
        assignment,
        queries,
        queries[partner],
        torch.full((2,), prior),
        sigma,
    )


def show_plans(plans: list[mixkit.MixPlan], names: list[str]) -> None:
    """The mixed shapes; the stars are where the queries went."""
    place = int((assignment[0] == second).nonzero()[0, 0])
    marks = [(int(first), "a"), (place, "b")]
    pictures = []
    for plan, name in zip(plans, names, strict=True):
        mixed, targets = mixer.apply_plan(plan, batch, pair)
        title = f"{name}\n{targets[0, pair[0]]:.0%} airplane"
        weight = share_of_a(plan, 1024)
        pictures.append(cloud(mixed[0], title, weight, marks))
    show(pictures)


# %%
# The prior
# ---------
# From left to right the airplane (blue) takes over, from its query on.

priors = [0.1, 0.4, 0.6, 0.9]
show_plans(
    [sagemix(prior, 0.3) for prior in priors],
    [f"π = {prior:g}" for prior in priors],
)

# %%
# The bandwidth
# -------------
# The shapes lie in the unit sphere. At 0.1 the mix is a cut, at 2.0, the
# paper's setting for PointNet, nearly one weight for all points, which is
# PointMixup. The default is 0.3, the paper's for PointNet++ and DGCNN.

sigmas = [0.1, 0.3, 1.0, 2.0]
show_plans(
    [sagemix(0.5, sigma) for sigma in sigmas],
    [f"σ = {sigma:g}" for sigma in sigmas],
)

# %%
# How sharp it is
# ---------------
# The weights of all points, sorted: a step at a small bandwidth, a flat line
# at a large one.

figure, axes = axes_of()
for sigma in sigmas:
    weight = share_of_a(sagemix(0.5, sigma), 1024).sort().values
    axes.plot(weight, label=f"σ = {sigma:g}", linewidth=2)
axes.set(xlabel="points, sorted", ylabel="weight of a", ylim=(-0.02, 1.02))
axes.set_title("Weights of the points at four bandwidths")
axes.legend(frameon=False)
