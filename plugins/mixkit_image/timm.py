"""A drop-in for timm's ``mixup_fn``, so that timm's training script can use any method here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mixkit import Schedule, create_mixer
from mixkit.mixer import Saliency
from mixkit.schedule import make_schedule


class TimmMixup:
    """Mixes a batch as ``timm.data.Mixup`` does, by one method or by a switch between two; odd batches too.

    ``images, targets = mixup_fn(images, labels)``; targets are (B, num_classes) with label smoothing, for timm's
    `SoftTargetCrossEntropy`. Setting ``mixup_enabled = False``, as timm's training script does, leaves the images as
    they are.

    Args:
        methods: names of one or two methods of the image domain. Default ``("sagemix", "cutmix")``.
        num_classes: number of classes. Default 1000.
        prob: probability that a batch is mixed. Default 1.
        switch_prob: probability that the second method mixes it rather than the first. Default 0.5.
        label_smoothing: share of each target spread over all classes. Default 0.1.
        mixup_off_epoch: the epoch from which `set_epoch` switches mixing off; 0, the default, is never.
        model: the model whose gradient is the saliency.
        saliency: a saliency without a model. Default: spectral residual where no model is given.
        options: by method, ``{"cutmix": {"alpha": 1.0}}``.
        schedule: a name of ``mixkit.list_schedules()`` or a `mixkit.Schedule`, of both methods, kept as ``schedule``;
            batches count while mixing is on. A script that goes on with a run sets ``schedule.share``. Default None.
        total_steps: batches in the whole run, of a schedule given by name.

    Raises:
        ValueError: neither one nor two methods, or a probability outside [0, 1].
    """

    def __init__(
        self,
        methods: Sequence[str] = ("sagemix", "cutmix"),
        *,
        num_classes: int = 1000,
        prob: float = 1.0,
        switch_prob: float = 0.5,
        label_smoothing: float = 0.1,
        mixup_off_epoch: int = 0,
        model: nn.Module | None = None,
        saliency: str | Saliency | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        schedule: str | Schedule | None = None,
        total_steps: int | None = None,
    ) -> None:
        if isinstance(methods, str) or len(methods) not in (1, 2):
            raise ValueError(f"methods must be one or two names, got {methods!r}")
        for name, value in (("prob", prob), ("switch_prob", switch_prob), ("label_smoothing", label_smoothing)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {value}")
        saliency = "spectral_residual" if saliency is None and model is None else saliency
        self.schedule = make_schedule(schedule, total_steps)
        self.mixers = [
            create_mixer(
                method,
                "image",
                num_classes=num_classes,
                model=model,
                saliency=saliency,
                p=prob,
                schedule=self.schedule,
                **(options or {}).get(method, {}),
            )
            for method in methods
        ]
        self.num_classes = num_classes
        self.switch_prob = switch_prob
        self.label_smoothing = label_smoothing
        self.mixup_off_epoch = mixup_off_epoch
        self.mixup_enabled = True

    def set_epoch(self, epoch: int) -> None:
        """Switch mixing off from ``mixup_off_epoch`` on, and on before it."""
        self.mixup_enabled = not self.mixup_off_epoch or epoch < self.mixup_off_epoch

    def __call__(
        self, images: Tensor, labels: Tensor, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mix images (B, C, H, W) and integer labels (B,); targets (B, num_classes) float32."""
        mixer = self.mixers[0]
        if self.mixup_enabled and len(self.mixers) == 2 and torch.rand((), generator=generator) < self.switch_prob:
            mixer = self.mixers[1]
        images, targets = mixer.train(self.mixup_enabled)(images, labels, generator=generator)
        return images, targets * (1 - self.label_smoothing) + self.label_smoothing / self.num_classes
