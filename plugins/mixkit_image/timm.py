"""A drop-in for timm's ``mixup_fn``, so that timm's training script can use any method here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from mixkit import Mixer, Schedule, create_mixer
from mixkit.checks import check_count, check_share
from mixkit.label_tree import check_num_classes
from mixkit.registry import accepted, get_method
from mixkit.schedule import make_schedule
from mixkit.source import Saliency
from mixkit_image.timm_pairs import MODES, TimmPairs
from mixkit_image.timm_targets import check_labels, pair_targets, smoothed


class TimmMixup:
    """Mixes a batch as ``timm.data.Mixup`` does, by one method or by a switch between two; odd batches too.

    ``images, targets = mixup_fn(images, labels)``; targets are (B, num_classes) with label smoothing, for timm's
    `SoftTargetCrossEntropy`. Called with a list of samples, as a ``collate_fn`` is, it collates them as timm's
    `FastCollateMixup` does, so that ``timm.data.create_loader(..., collate_fn=TimmMixup(...))`` mixes uint8 images in
    front of timm's prefetcher; `TimmFastCollate` is the same for a script that asks whether it is timm's own class.
    Setting ``mixup_enabled = False``, as timm's training script does, leaves the images as they are: the very tensors
    that came, as does a batch that ``prob`` leaves out.

    It is used in one of two ways, which share the other arguments:

    - ``methods`` names one or two methods of the image domain. The first stands where timm has Mixup, the second where
      it has CutMix: ``mixup_alpha=0`` switches the first off, ``cutmix_alpha=0`` the second, and a method with an
      option ``alpha`` takes it from there. Draws come from torch's generators.
    - ``mixup_alpha``, ``cutmix_alpha`` or ``cutmix_minmax`` without methods are timm's own Mixup and CutMix, number for
      number: the same seed of NumPy gives the same batch, with the same quirks (a partner is the image at the same
      distance from the batch's other end).

    Args:
        methods: names of one or two methods. Default, where no argument of timm's own is given: ``("sagemix",
            "cutmix")``.
        mixup_alpha: concentration of Mixup's Beta; 0 is off. Default None: 1 in timm's own, else the method's.
        cutmix_alpha: concentration of CutMix's Beta; 0 is off. Default None: 0 in timm's own, else the method's.
        cutmix_minmax: the least and most share of a side of CutMix's box; timm's own only. Default None.
        num_classes: number of classes. Default 1000.
        prob: probability that a batch (or, by ``mode``, a pair or an image) is mixed. Default 1.
        switch_prob: probability that the second method mixes it rather than the first. Default 0.5.
        mode: "batch", drawn once a batch; "elem", for each image; "pair", for each pair, in timm's own only; "half", as
            "elem", and a collated batch keeps its first half. Default "batch".
        correct_lam: labels count the pixels of a box that lie inside the image; False in timm's own only. Default True.
        label_smoothing: share of each target spread over all classes. Default 0.1.
        multi_label: labels (B, num_classes) of which several may hold, each smoothed towards 0.5. Default False.
        mixup_off_epoch: the epoch from which `set_epoch` switches mixing off; 0, the default, is never.
        model: the model whose gradient is the saliency; then mix after the loader.
        saliency: a saliency without a model. Default: spectral residual where no model is given.
        options: by method, ``{"cutmix": {"alpha": 1.0}}``.
        schedule: a name of ``mixkit.list_schedules()`` or a `mixkit.Schedule`, of both methods, kept as ``schedule``;
            batches count while mixing is on. A script that goes on with a run sets ``schedule.share``. Default None.
        total_steps: batches in the whole run, of a schedule given by name.

    Raises:
        ValueError: neither one nor two methods, all of them off, a probability outside [0, 1], or an argument that the
            way of use has no meaning for.

    Example:
        >>> mixup_fn = TimmMixup(mixup_alpha=0.8, cutmix_alpha=1.0, num_classes=10)
        >>> images, targets = mixup_fn(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> images.shape, targets.shape
        (torch.Size([4, 3, 8, 8]), torch.Size([4, 10]))
    """

    def __init__(
        self,
        methods: Sequence[str] | None = None,
        *,
        mixup_alpha: float | None = None,
        cutmix_alpha: float | None = None,
        cutmix_minmax: Sequence[float] | None = None,
        num_classes: int = 1000,
        prob: float = 1.0,
        switch_prob: float = 0.5,
        mode: str = "batch",
        correct_lam: bool = True,
        label_smoothing: float = 0.1,
        multi_label: bool = False,
        mixup_off_epoch: int = 0,
        model: nn.Module | None = None,
        saliency: str | Saliency | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        schedule: str | Schedule | None = None,
        total_steps: int | None = None,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
        self.num_classes: int = check_num_classes(num_classes)
        self.prob = check_share("prob", prob)
        self.switch_prob = check_share("switch_prob", switch_prob)
        self.mode = mode
        self.label_smoothing = check_share("label_smoothing", label_smoothing)
        self.multi_label = multi_label
        self.mixup_off_epoch = check_count("mixup_off_epoch", mixup_off_epoch, 0)
        self.mixup_enabled = True
        self.schedule = make_schedule(schedule, total_steps)
        self.pairs: TimmPairs | None = None
        self.mixers: list[Mixer] = []
        alphas = (mixup_alpha, cutmix_alpha)
        if methods is None and (alphas != (None, None) or cutmix_minmax is not None):
            not_timms = {"model": model, "saliency": saliency, "options": options, "schedule": schedule}
            if meant := [name for name, value in not_timms.items() if value is not None]:
                raise ValueError(
                    f"timm's own Mixup and CutMix take no {meant[0]}: name methods, methods=['sagemix', ...]"
                )
            self.pairs = TimmPairs(
                1.0 if mixup_alpha is None else mixup_alpha,
                cutmix_alpha or 0.0,
                cutmix_minmax,
                prob=prob,
                switch_prob=switch_prob,
                mode=mode,
                correct_lam=correct_lam,
            )
            return
        if methods is not None and (isinstance(methods, (str, float, int)) or len(methods) not in (1, 2)):
            raise ValueError(
                f"methods must be one or two names, got {methods!r}; timm's arguments go by name, mixup_alpha=..."
            )
        if mode == "pair" or not correct_lam or cutmix_minmax is not None:
            raise ValueError(
                "mode='pair', correct_lam=False and cutmix_minmax are for timm's own Mixup and CutMix: give no methods"
            )
        if mode in ("elem", "half") and self.schedule is not None:
            raise ValueError(f"a schedule counts batches, which mode={mode!r} mixes by both methods: mode='batch'")
        methods = ("sagemix", "cutmix") if methods is None else methods
        if len(methods) == 1 and cutmix_alpha:
            raise ValueError(f"cutmix_alpha={cutmix_alpha} is of a second method, and there is only {methods[0]!r}")
        if unknown := sorted((options or {}).keys() - set(methods)):
            raise ValueError(f"options are given for {', '.join(unknown)}, and the methods are {', '.join(methods)}")
        on = [(method, alpha) for method, alpha in zip(methods, alphas, strict=False) if alpha != 0]
        if not on:
            raise ValueError(f"all methods are off: mixup_alpha={mixup_alpha}, cutmix_alpha={cutmix_alpha}")
        saliency = "spectral_residual" if saliency is None and model is None else saliency
        self.mixers = [
            self._mixer(method, alpha, (options or {}).get(method, {}), model=model, saliency=saliency)
            for method, alpha in on
        ]

    def _mixer(self, method: str, alpha: float | None, options: Mapping[str, Any], **source: Any) -> Mixer:
        """The mixer of one method, with the alpha of timm's name for it where it has one."""
        per_element, taken = self.mode in ("elem", "half"), accepted(get_method(method, "image"))
        defaults = {"alpha": alpha, "per_sample": True if per_element else None}
        chosen = {name: value for name, value in defaults.items() if value is not None and name in taken}
        return create_mixer(
            method,
            "image",
            num_classes=self.num_classes,
            p=1.0 if per_element else self.prob,
            schedule=self.schedule,
            **source,
            **{**chosen, **options},
        )

    def set_epoch(self, epoch: int) -> None:
        """Switch mixing off from ``mixup_off_epoch`` on, and on before it."""
        self.mixup_enabled = not self.mixup_off_epoch or epoch < self.mixup_off_epoch

    def __call__(
        self, images: Tensor | Sequence[Any], labels: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mix a batch, or collate and mix a list of samples.

        Args:
            images: (B, C, H, W) with their labels; or, without labels, a list of samples (image, label), images uint8
                (C, H, W) as NumPy arrays or tensors.
            labels: (B,) integer classes, or (B, num_classes). Default None: of the samples.
            generator: CPU generator of the draws of ``methods``. Default: torch's global one.

        Returns:
            The images, collated ones as uint8, and targets (B, num_classes), float32 or more.

        Raises:
            ValueError: labels of another shape or out of range; the saliency of a model in a loader.
            TypeError: integer images that are to be interpolated after the loader.
        """
        if labels is None:
            return self._collate(images, generator)
        if not isinstance(images, Tensor) or images.dim() != 4:
            got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise ValueError(f"images must be a batch (B, C, H, W), got {got}")
        return self._mix(images, labels, generator)

    def __repr__(self) -> str:
        if self.pairs is not None:
            own = {name: getattr(self.pairs, name) for name in ("mixup_alpha", "cutmix_alpha", "cutmix_minmax")}
            mixing = ", ".join(
                f"{name}={value}" for name, value in {**own, "correct_lam": self.pairs.correct_lam}.items()
            )
        else:
            mixing = " or ".join(repr(mixer.method) for mixer in self.mixers)
        rest = ("prob", "switch_prob", "mode", "label_smoothing", "num_classes", "mixup_enabled")
        return f"{type(self).__name__}({mixing},\n  {', '.join(f'{name}={getattr(self, name)!r}' for name in rest)})"

    def _collate(self, samples: Any, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        if (
            not isinstance(samples, (list, tuple))
            or not samples
            or not all(isinstance(sample, (list, tuple)) and len(sample) == 2 for sample in samples)
        ):
            raise ValueError("wanted images and labels, or a list of samples (image, label), as a collate_fn is given")
        for mixer in self.mixers:
            mixer.refuse_in_loader()
        pictures = [torch.as_tensor(np.asarray(image)) for image, _ in samples]
        for image in pictures:
            if image.dtype != torch.uint8 or image.dim() != 3:
                raise ValueError(
                    f"images to be collated must be uint8 (C, H, W), as timm's prefetcher has them, got {image.dtype} "
                    f"{tuple(image.shape)}; after other loaders call it with the batch"
                )
            if image.shape != pictures[0].shape:
                shapes = f"{tuple(pictures[0].shape)} and {tuple(image.shape)}"
                raise ValueError(f"images must be of one size to be mixed, got {shapes}")
        images, labels = torch.stack(pictures), default_collate([label for _, label in samples])
        mixed, targets = self._mix(images, labels, generator, collating=True)
        if self.mode == "half":
            mixed, targets = mixed[: len(images) // 2], targets[: len(images) // 2]
        return mixed, targets

    def _mix(
        self, images: Tensor, labels: Tensor, generator: torch.Generator | None, collating: bool = False
    ) -> tuple[Tensor, Tensor]:
        labels = check_labels(labels, self.num_classes, self.multi_label, len(images))
        smoothing = self.label_smoothing
        if self.pairs is not None:
            if not self.mixup_enabled:
                return images, smoothed(labels, self.num_classes, smoothing, self.multi_label)
            drawn = self.pairs.draw(len(images), (images.shape[2], images.shape[3]), collating=collating)
            if not collating and not images.is_floating_point() and drawn.interpolates:
                raise TypeError(f"Mixup interpolates, so it takes floating-point images, got {images.dtype}")
            whole = smoothed(labels, self.num_classes, smoothing, self.multi_label)
            return self.pairs.mix(images, drawn), pair_targets(whole, drawn.ratio, images.dtype)
        values = images.float() if collating else images
        for mixer in self.mixers:  # the one that is not drawn adds nothing to the loss
            mixer.forget_clean_loss()
        if self.mixup_enabled and (self.mode == "elem" or (self.mode == "half" and collating)):
            mixed, targets = self._mix_elements(values, labels, generator)
        else:
            mixer = self.mixers[0]
            if self.mixup_enabled and len(self.mixers) == 2 and torch.rand((), generator=generator) < self.switch_prob:
                mixer = self.mixers[1]
            mixed, targets = mixer.train(self.mixup_enabled)(values, labels, generator=generator)
        mixed = mixed.round().to(images.dtype) if collating else mixed
        return mixed, smoothed(targets, self.num_classes, smoothing, self.multi_label)

    def _mix_elements(self, images: Tensor, labels: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Each image left out, or mixed by either method, as is drawn for it."""
        spared = (torch.rand(len(images), generator=generator) >= self.prob).to(images.device)
        switched = (torch.rand(len(images), generator=generator) < self.switch_prob).to(images.device)
        results = []
        for mixer in self.mixers:
            plan = mixer.train().plan(images, labels, generator=generator).keep(spared)
            results.append(mixer.apply_plan(plan, images, labels))
        if len(results) == 1:
            return results[0]
        (first, first_targets), (second, second_targets) = results
        return (
            torch.where(switched[:, None, None, None], second, first),
            torch.where(switched.to(first_targets.device)[:, None], second_targets, first_targets),
        )
