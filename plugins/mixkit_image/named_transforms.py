"""Transforms of one method each, with that method's options in their signatures."""

from __future__ import annotations

from torch import nn

from mixkit import Schedule
from mixkit.partners import Partners
from mixkit.source import Saliency
from mixkit_image.transforms import LabelsGetter, MixTransform


class SageMix(MixTransform):
    """SageMix for images (`mixkit.methods.SageMix`), by spectral-residual saliency unless a model is given.

    Args:
        num_classes, model, saliency, p, labels_getter, schedule, total_steps, partners: see `MixTransform`.
        theta: the prior is Beta(theta, theta). Default 0.3, the paper's for CIFAR.
        sigma: bandwidth in pixels. Default None: a quarter of the shorter side.
        query: "sequential" (the method), "saliency", "max" or "uniform".
    """

    def __init__(
        self,
        *,
        num_classes: int | None = None,
        model: nn.Module | None = None,
        saliency: str | Saliency | None = None,
        p: float | None = None,
        labels_getter: LabelsGetter | str | None = "default",
        theta: float = 0.3,
        sigma: float | None = None,
        query: str = "sequential",
        schedule: str | Schedule | None = None,
        total_steps: int | None = None,
        partners: Partners = "random",
    ) -> None:
        super().__init__(
            "sagemix",
            num_classes=num_classes,
            model=model,
            saliency=saliency,
            p=p,
            labels_getter=labels_getter,
            theta=theta,
            sigma=sigma,
            query=query,
            schedule=schedule,
            total_steps=total_steps,
            partners=partners,
        )


class Mixup(MixTransform):
    """Mixup for images (`mixkit.methods.Mixup`).

    Args:
        num_classes, p, labels_getter, schedule, total_steps, partners: see `MixTransform`.
        alpha: the ratio is Beta(alpha, alpha). Default 1.
        per_sample: one ratio per sample instead of one per batch. Default False.
    """

    def __init__(
        self,
        *,
        num_classes: int | None = None,
        p: float | None = None,
        labels_getter: LabelsGetter | str | None = "default",
        alpha: float = 1.0,
        per_sample: bool = False,
        schedule: str | Schedule | None = None,
        total_steps: int | None = None,
        partners: Partners = "random",
    ) -> None:
        super().__init__(
            "mixup",
            num_classes=num_classes,
            p=p,
            labels_getter=labels_getter,
            alpha=alpha,
            per_sample=per_sample,
            schedule=schedule,
            total_steps=total_steps,
            partners=partners,
        )
