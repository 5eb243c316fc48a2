"""Methods for scenes: each puts parts of a scene and of its partner together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from mixkit import ElementSet, Method, MixPlan, PlanContext, draws, register_method
from mixkit.checks import check_concentration, check_count, check_flag, check_number, check_positive
from mixkit.ragged import RaggedPlan, RaggedSet
from mixkit.ragged.queries import draw_queries
from mixkit_points.scenes import functional

_HOST = torch.device("cpu")


class SceneMethod(Method):
    """A method whose outputs have sizes of their own, so that it serves scenes only."""

    needs = frozenset({"partners"})
    moves = True

    def plan(self, elements: ElementSet, context: PlanContext) -> MixPlan:
        """Scenes are ragged: TypeError."""
        raise TypeError(f"{type(self).__name__} mixes scenes: a list of (n_i, C), or packed with their offsets")


@register_method("mix3d", domains=("scene",))
class Mix3D(SceneMethod):
    """Mix3D (Nekrasov et al., 3DV 2021): the union of two scenes, moved so that their centres fall together.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("mix3d", domain="scene", num_classes=3)
        >>> scans, labels = [torch.randn(50, 4), torch.randn(70, 4)], [torch.randint(3, (50,)), torch.randint(3, (70,))]
        >>> mixed, targets = mixer(scans, labels)
        >>> [len(scan) for scan in mixed] == [len(target) for target in targets]
        True
    """

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`."""
        return functional.mix3d(elements, context.partners(elements))


@register_method("lasermix", domains=("scene",))
class LaserMix(SceneMethod):
    """LaserMix (Kong et al., CVPR 2023): bands of inclination in turn from a scene and its partner.

    Args:
        areas: how many bands there may be; one number is drawn for each scene. Default (3, 4, 5, 6), the paper's.
        inclination: (lowest, highest) in degrees, which the bands share equally; the outer ones are open. Default
            (-25, 3), of the scanner of SemanticKITTI.

    Raises:
        TypeError: areas that are no whole numbers, or inclinations that are no numbers.
        ValueError: no areas, areas below 2, or inclinations that do not rise within [-90, 90].

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("lasermix", domain="scene", num_classes=3, areas=(4, 5))
        >>> scans, labels = [torch.randn(50, 4), torch.randn(70, 4)], [torch.randint(3, (50,)), torch.randint(3, (70,))]
        >>> mixed, targets = mixer(scans, labels)
        >>> [len(scan) for scan in mixed] == [len(target) for target in targets]
        True
    """

    def __init__(self, areas: Sequence[int] = (3, 4, 5, 6), inclination: tuple[float, float] = (-25.0, 3.0)) -> None:
        self.areas = tuple(check_count("areas", each, 2) for each in areas)
        low, high = (check_number("inclination", each) for each in inclination)
        if not self.areas or not -90 <= low < high <= 90:
            raise ValueError(
                f"areas must name a number, and inclination rise within [-90, 90], got {areas} and {inclination}"
            )
        self.inclination = (low, high)

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`."""
        size, device = elements.num_samples, elements.coords.device
        partner = context.partners(elements)
        uniform = draws.uniform((2, size), context.generator, _HOST)
        low, high = (math.radians(bound) for bound in self.inclination)
        edges = torch.full((size, max(self.areas) - 1), torch.nan)
        for scene, number in enumerate((uniform[0] * len(self.areas)).long().tolist()):
            areas = self.areas[number]
            edges[scene, : areas - 1] = torch.linspace(low, high, areas + 1)[1:-1]
        return functional.lasermix(elements, partner, edges.to(device), (uniform[1] < 0.5).to(device))


@register_method("polarmix", domains=("scene",))
class PolarMix(SceneMethod):
    """PolarMix (Xiao et al., NeurIPS 2022): a sector of azimuth of the partner, and its instances rotated in.

    Args:
        swap: the chance that a scene's sector is swapped. Default 0.5, the paper's.
        width: the sector's width in degrees. Default 180, the paper's.
        paste: the chance that instances are pasted into a scene; 1 is the paper's, and the default.
        instance_classes: the labels of the points whose instances are pasted, such as cars and people; it needs labels
            of the points that are classes. Default (): none are.
        angles: by which instances are turned about the vertical axis, in degrees, beside a random angle below 360 over
            their number, which is drawn for each scene. Default (0, 120, 240), three copies.

    Raises:
        TypeError: a chance, a width or an angle that is no number, or classes that are no whole numbers.
        ValueError: a chance outside [0, 1], a width outside [0, 360], or a class below 0.

    Example:
        >>> from mixkit import create_mixer
        >>> mixer = create_mixer("polarmix", domain="scene", num_classes=3, instance_classes=[1])
        >>> scans, labels = [torch.randn(50, 4), torch.randn(70, 4)], [torch.randint(3, (50,)), torch.randint(3, (70,))]
        >>> mixed, targets = mixer(scans, labels)
        >>> [len(scan) for scan in mixed] == [len(target) for target in targets]
        True
    """

    def __init__(
        self,
        swap: float = 0.5,
        width: float = 180.0,
        paste: float = 1.0,
        instance_classes: Sequence[int] = (),
        angles: Sequence[float] = (0.0, 120.0, 240.0),
    ) -> None:
        for name, chance in (("swap", swap), ("paste", paste)):
            if not 0 <= check_number(name, chance) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {chance}")
        if not 0 <= check_number("width", width) <= 360:
            raise ValueError(f"width must lie in [0, 360] degrees, got {width}")
        self.swap, self.width, self.paste = float(swap), float(width), float(paste)
        self.instance_classes = tuple(check_count("a class", each, 0) for each in instance_classes)
        self.angles = tuple(check_number("an angle", each) for each in angles)
        if self.instance_classes:
            self.needs = self.needs | {"labels"}

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`."""
        size, device = elements.num_samples, elements.coords.device
        partner = context.partners(elements)
        uniform = draws.uniform((4, size), context.generator, device)
        start = (2 * uniform[0] - 1) * math.pi
        width = torch.where(uniform[1] < self.swap, math.radians(self.width), 0.0)
        if not self.instance_classes:
            return functional.polarmix(elements, partner, start, width)
        if context.labels is None:
            raise ValueError("instance_classes need labels of the points that are classes, got none")
        instances = torch.isin(context.labels, torch.tensor(self.instance_classes, device=device))
        part = uniform[3] * (2 * math.pi / max(len(self.angles), 1))
        angles = torch.tensor([math.radians(angle) for angle in self.angles], device=device) + part[:, None]
        angles = angles.masked_fill((uniform[2] >= self.paste)[:, None], torch.nan)
        return functional.polarmix(elements, partner, start, width, instances, angles)


@register_method("sagemix_scene", domains=("scene",))
class SageMixScene(SceneMethod):
    """SageMix for scenes: what surrounds a salient point of the partner, mixed smoothly into the same place.

    The query is drawn by the partner's saliency; within the radius of it, on the ground, the points of both scenes are
    paired at least total distance and mixed by their distance from the query, with a random prior.

    Args:
        theta: the prior is Beta(theta, theta), > 0. Default 1.
        radius: the region's radius, in the units of the coordinates. Default None: the domain's.
        query: "saliency", or "uniform" for its ablation. Default "saliency".
        sharp: False interpolates coordinates and labels of pairs; True takes of each pair the one with the larger
            weight, so that points stay where they were measured. Default False.

    Raises:
        TypeError: a theta or radius that is no number, or a sharp that is neither True nor False.
        ValueError: a theta or radius <= 0, or an unknown query.

    Example:
        >>> from mixkit import create_mixer
        >>> def intensity(scans):
        ...     return torch.cat(scans)[:, 3].abs()
        >>> mixer = create_mixer("sagemix_scene", domain="scene", num_classes=3, saliency=intensity)
        >>> scans, labels = [torch.randn(50, 4), torch.randn(70, 4)], [torch.randint(3, (50,)), torch.randint(3, (70,))]
        >>> mixed, targets = mixer(scans, labels)
        >>> [len(scan) for scan in mixed] == [len(target) for target in targets]
        True
    """

    moves = False

    def __init__(
        self,
        theta: float = 1.0,
        radius: float | None = None,
        query: str = "saliency",
        sharp: bool = False,
    ) -> None:
        self.theta = check_concentration("theta", theta)
        self.radius = None if radius is None else check_positive("radius", radius)
        if query not in ("saliency", "uniform"):
            raise ValueError(f"query must be 'saliency' or 'uniform', got {query!r}")
        self.query = query
        self.sharp = check_flag("sharp", sharp)
        self.needs = frozenset({"partners"} if query == "uniform" else {"partners", "saliency"})

    def plan_ragged(self, elements: RaggedSet, context: PlanContext) -> RaggedPlan:
        """See `Method.plan_ragged`."""
        radius = elements.length_scale if self.radius is None else self.radius
        if radius is None:
            raise ValueError("radius is needed: give radius=, or elements with a length_scale")
        size, device = elements.num_samples, elements.coords.device
        partner = context.partners(elements)
        prior = draws.beta_log_ratio(self.theta, size, context.generator, device)
        uniform = draws.uniform((2, size), context.generator, device)
        _, query = draw_queries(self.query, elements, context.saliency, partner, uniform)
        plan = functional.sagemix_scene(elements, partner, query, prior, radius)
        if not self.sharp:
            return plan
        weight = (plan.weight >= 0.5).float()
        weight[1] = 1 - weight[0]
        return RaggedPlan(plan.index, weight, plan.offsets, plan.source_offsets)
