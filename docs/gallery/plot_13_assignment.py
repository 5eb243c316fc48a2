"""Assignment and its certificate
==============================

Which point goes with which, and how sure we can be that no pairing is better.
"""

# %%
# Mixing two clouds point by point asks for a pairing. `mixkit.assign` finds
# the one-to-one pairing of least total distance.

# sphinx_gallery_thumbnail_number = 2
import torch

import mixkit
from experiments.report.drawing import view_of
from experiments.report.gallery import axes_of, cloud, shapes, show

points, labels, classes = shapes()
a, b = points[9], points[21]  # a chair, a table
match = mixkit.assign(a, b)
print(match)

# %%
# Lines between partners
# ----------------------
# Every third pair, seen from where the pictures below are seen from. On the
# left points are paired as they happen to be stored, on the right at least
# total distance.

figure, axes = axes_of(columns=2, height=3.6)
stored = torch.arange(len(a))
for place, index, title in zip(
    axes, (stored, match.index), ("as stored", "assigned"), strict=True
):
    view = torch.tensor(view_of("modelnet10"), dtype=torch.float32)
    left, right = a @ view.T, b[index] @ view.T
    for i in range(0, len(a), 3):
        ends = torch.stack([left[i], right[i]])
        place.plot(*ends[:, :2].T, color="#8a93a0", linewidth=0.5, zorder=1)
    place.scatter(*left[:, :2].T, s=3, color="#0b6ea8", zorder=2)
    place.scatter(*right[:, :2].T, s=3, color="#d07a00", zorder=2)
    total = (a - b[index]).norm(dim=1).sum()
    place.set_title(f"{title}: {total:.0f} in total")
    place.set_aspect("equal")
    place.set_axis_off()

# %%
# From one shape to the other
# ---------------------------
# With the assignment (above) the chair turns into the table; without it
# (below) both dissolve on the way.

ways = {"assigned": match.index, "as stored": stored}
show(
    [
        cloud((1 - t) * a + t * b[index], f"{name}\n{t:.0%} b", 1 - t)
        for name, index in ways.items()
        for t in (0.0, 0.3, 0.6, 1.0)
    ]
)

# %%
# The certificate
# ---------------
# The solver is an auction, whose prices give a lower bound of the optimum. So
# every answer comes with a certified gap: ``optimum <= cost <= (1 + gap) *
# optimum``. A tolerance says when to stop; 0 goes on until the optimum is
# proved.

tolerances = [1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0]
found = [mixkit.assign(a, b, tolerance=each) for each in tolerances]
optimum = float(found[-1].cost)
for tolerance, each in zip(tolerances, found, strict=True):
    true = float(each.cost) / optimum - 1
    print(
        f"tolerance {tolerance:<6} cost {float(each.cost):.3f}   "
        f"certified gap {float(each.gap):.5f}   true gap {true:.5f}"
    )

# %%
# The true gap is never above the certified one, and the certified one never
# above the tolerance. The default is 0.01; mixers pair at 0.05.

figure, axes = axes_of()
kept = [k for k, tolerance in enumerate(tolerances) if tolerance > 0]
xs = [tolerances[k] for k in kept]
axes.plot(xs, xs, linestyle=":", color="#8a93a0", label="tolerance")
axes.plot(xs, [float(found[k].gap) for k in kept], "o-", label="certified gap")
gaps = [float(found[k].cost) / optimum - 1 for k in kept]
axes.plot(xs, gaps, "o-", label="true gap")
axes.set(xscale="log", yscale="log", xlabel="tolerance", ylabel="relative gap")
for axis in (axes.xaxis, axes.yaxis):
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")
axes.set_title("Certified and true gap")
axes.legend(frameon=False)
