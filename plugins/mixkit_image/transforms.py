"""Mixing as torchvision v2 transforms of a batch: after the loader, as a collate function, or inside v2.Compose."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_flatten_with_path, tree_unflatten
from torch.utils.data import default_collate
from torchvision import tv_tensors

from mixkit import MixPlan, PerElement, Schedule, create_mixer
from mixkit.checks import check_share
from mixkit.methods import Method
from mixkit.methods.base import Partners
from mixkit.saliency import Loss
from mixkit.source import Saliency
from mixkit_image.before import mix_with_batch_before
from mixkit_image.boxes import is_detection, mix_boxes
from mixkit_image.samples import (
    Getter,
    check_images,
    checked_labels,
    describe,
    find_labels,
    kinds_of,
    loss_of_labels,
    refuse_lone_masks,
    refuse_others,
    stacked,
)
from mixkit_image.traced import mix_traced, register
from mixkit_image.typed import TransformCall
from mixkit_image.wrapping import wrap_like


class MixTransform(TransformCall):
    """Any mixing method as a torchvision v2 transform of batched images and their labels.

    Called like `torchvision.transforms.v2.MixUp`: ``transform(images, labels)`` or ``transform(sample)``, a sample of
    any structure of batched tensors. Images and labels are replaced by the mixed ones, the rest passes through. Every
    `tv_tensors.Image` (B, C, H, W) and `Video` (B, T, C, H, W) is mixed by the same plan, all frames alike, for which
    the first one's saliency counts; where there is neither, the first plain tensor (B, C, H, W) is the image.

    An integer `tv_tensors.Mask` (B, H, W) or (B, 1, H, W) becomes class shares (B, mask_classes, H, W), a
    floating-point one (B, H, W) or (B, C, H, W) is mixed like the image. Detection targets, a list of B dicts with
    "boxes" and "labels", become those of all samples that an image shows, clipped, with "scores"
    (`mixkit_image.mix_boxes`); images may be a list (C, H, W) of one size then.

    ``collate_fn=transform.collate`` mixes in the loader, whose workers draw from torch's seeded global generator. In
    ``eval()`` mode, and where p leaves a batch unmixed, the images come back as they are, not as copies, and the labels
    become soft. docs/guide/transforms.md has the conventions, and where they differ from v2's.

    Args:
        method: a name of ``mixkit.list_methods("image")``, or a method.
        num_classes: number of classes; needed for integer labels (B,).
        model: the model whose gradient is the saliency; then mix after the loader, not in it.
        saliency: a saliency without a model, by name or as a function of the images. Default "spectral_residual" where
            no model is given.
        loss: the loss of the model's saliency, ``loss(output, labels)``, given the masks where there are no labels.
            Default None: chosen by the labels and the output.
        p: probability that a batch is mixed. Default: the method's.
        labels_getter: "default", which searches as v2 does (`mixkit_image.samples.default_labels`); a function of the
            sample that returns its labels; or None where masks are all the labels there are.
        samples_getter: a function of the sample that returns which samples of the data set these are, keys (B,) or
            `mixkit.Samples`; a `mixkit.SaliencyBank` needs them, and ``partners`` may. Default None: not known.
        mask_classes: number of classes of an integer mask; needed for such masks.
        ignore_index: the label that does not count (`mixkit.Mixer`): the mask's with ``mask_classes``, else that of
            the labels; or a dict with "labels" and "mask". Default None.
        min_score: boxes of a smaller score are dropped. Default 0.
        schedule: a name of ``mixkit.list_schedules()`` or a `mixkit.Schedule`, which counts the batches that this
            transform is given. Default None.
        total_steps: batches in the whole run, of a schedule given by name.
        partners: whom each image is mixed with: "random", "derangement", "previous" (v2's), "reversed", "same_class",
            "other_class", or a function (`mixkit.Mixer`). Default: the method's.
        labels_by: what a label weighs by, "weight", "saliency" or "own_saliency" (`mixkit.Mixer`). Default: the
            method's.
        options: the method's own.

    Raises:
        ValueError: no labels or no images, or of other shapes or batch sizes; two integer masks, or one without
            mask_classes.
        TypeError: integer images, and a method that interpolates.

    Example:
        >>> transform = MixTransform("cutmix", num_classes=3, p=1.0)
        >>> images, targets = transform(torch.rand(3, 3, 8, 8), torch.arange(3))
        >>> images.shape, targets.shape
        (torch.Size([3, 3, 8, 8]), torch.Size([3, 3]))
    """

    def __init__(
        self,
        method: str | Method,
        *,
        num_classes: int | None = None,
        model: nn.Module | None = None,
        saliency: str | Saliency | None = None,
        loss: Loss | None = None,
        p: float | None = None,
        labels_getter: Getter | str | None = "default",
        samples_getter: Getter | None = None,
        mask_classes: int | None = None,
        ignore_index: int | Mapping[str, int | None] | None = None,
        min_score: float = 0.0,
        schedule: str | Schedule | None = None,
        total_steps: int | None = None,
        partners: Partners | None = None,
        labels_by: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if labels_getter is not None and labels_getter != "default" and not callable(labels_getter):
            raise ValueError(
                f"labels_getter must be 'default', a function of the sample, or None, got {labels_getter!r}"
            )
        if ignore_index is not None and not isinstance(ignore_index, Mapping):
            ignore_index = {"labels" if mask_classes is None else "mask": ignore_index}
        self._number = register(self)
        self.labels_getter = labels_getter
        self.samples_getter = samples_getter
        self.num_classes = num_classes
        self.mask_classes = mask_classes
        self.min_score = check_share("min_score", min_score)
        self.mixer = create_mixer(
            method,
            "image",
            num_classes={"labels": num_classes, "mask": mask_classes},
            model=model,
            saliency="spectral_residual" if saliency is None and model is None else saliency,
            loss=None if loss is None else functools.partial(loss_of_labels, loss),
            p=p,
            ignore_index=ignore_index,
            schedule=schedule,
            total_steps=total_steps,
            partners=partners,
            labels_by=labels_by,
            frames=True,
            **options,
        )

    def forward(self, *inputs: Any) -> Any:
        """Mix the images of a sample, its labels and its masks; the sample's structure stays."""
        sample = inputs if len(inputs) > 1 else inputs[0]
        try:
            labels = find_labels(sample, self.labels_getter)
        except ValueError:  # the plainer reason first
            refuse_others(tree_flatten(sample, is_leaf=is_detection)[0], type(self).__name__)
            raise
        if is_detection(labels) and isinstance(sample, (tuple, list)) and isinstance(sample[0], (tuple, list)):
            images, *rest = self.forward(stacked(sample[0]), *sample[1:])
            pairs = zip(images.unbind(), sample[0], strict=True)
            apart = [wrap_like(mixed, image) for mixed, image in pairs]
            return type(sample)([apart, *rest])
        leaves, structure = tree_flatten(sample, is_leaf=lambda part: part is labels)
        kinds = kinds_of(leaves, labels, type(self).__name__)
        images = [leaf for leaf, kind in zip(leaves, kinds, strict=True) if kind == "image"]
        masks = [leaf for leaf, kind in zip(leaves, kinds, strict=True) if kind == "mask"]
        if not images:
            refuse_lone_masks(leaves, type(self).__name__)
            raise ValueError(
                "found no labels beside images: labels should be index based (B,), soft (B, num_classes), or a mask, "
                f"and images one batch (B, C, H, W); got {describe(sample)}"
            )
        if labels is None and not masks:
            raise ValueError(f"found no labels and no mask in {describe(sample)}; labels_getter says where they are")
        if isinstance(labels, Tensor):
            checked_labels(labels, self.num_classes, images[0])
        check_images(images, len(images[0]) if labels is None else len(labels))
        if torch.compiler.is_compiling() and self._in_one_operator(images, masks, labels):
            *pictures, targets = mix_traced(images, labels, self._number)
            rest = iter(pictures)
            kept = [next(rest) if kind == "image" else leaf for leaf, kind in zip(leaves, kinds, strict=True)]
            return tree_unflatten(
                [targets if kind == "labels" else leaf for leaf, kind in zip(kept, kinds, strict=True)], structure
            )
        samples = self.samples_getter(sample) if self.samples_getter is not None and self.training else None
        params = self.make_params([*images, *masks], labels, samples)
        mixed = [self.transform(leaf, params) if kind else leaf for leaf, kind in zip(leaves, kinds, strict=True)]
        return tree_unflatten(mixed, structure)

    def make_params(self, flat_inputs: list[Any], labels: Any = None, samples: Any = None) -> dict[str, Any]:
        """Draw the plan: what `transform` needs.

        Args:
            flat_inputs: images, the first of which gives the size and the saliency, and masks.
            labels: the images' labels; a model's saliency asks for them. Default None.
            samples: what ``samples_getter`` returns. Default None: not known.

        Returns:
            "plan", a `mixkit.MixPlan`, "labels", how these and a mask are "read", "batch_size", the "grid" (H, W),
            "samples", and "watched", the images from whose gradient a bank learns, or None. With the batch before no
            plan of this batch alone says all: "plan" is None, and beside "labels" are "image", "mixed" and "targets".
        """
        masks = [leaf for leaf in flat_inputs if isinstance(leaf, tv_tensors.Mask) and not leaf.is_floating_point()]
        images = [leaf for leaf in flat_inputs if isinstance(leaf, Tensor) and not isinstance(leaf, tv_tensors.Mask)]
        if not images or len(masks) > 1:
            raise ValueError(
                f"wanted one batch of images (B, C, H, W), its labels and at most one mask, got {describe(flat_inputs)}"
            )
        if masks and self.mask_classes is None:
            raise ValueError("a mask needs mask_classes: give mask_classes=K")
        first = images[0].as_subclass(Tensor)
        by_kind: dict[str, Any] = {"mask": _plain(masks[0])} if masks else {}
        if isinstance(labels, Tensor):
            by_kind["labels"] = checked_labels(labels, self.num_classes, first)
        if self.training and self.mixer.history is not None:
            return mix_with_batch_before(self.mixer, flat_inputs, labels, by_kind)
        plan, watched = MixPlan.identity(len(first), first.device), None
        if self.training:
            plan = self.mixer.plan(first, by_kind, samples=samples)
            watched = images[0] if self.mixer.saliency is not None and self.mixer.saliency.learns else None
        else:
            self.mixer.forget_clean_loss()
        _, read = self.mixer.read(first, by_kind)
        of_batch = {"batch_size": len(first), "grid": tuple(first.shape[-2:]), "samples": samples, "watched": watched}
        return {"plan": plan, "labels": labels, "read": read, **of_batch}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Apply a plan to the labels, an image, a video or a mask; anything else comes back as it is."""
        if params["plan"] is None:  # mixed already
            return (
                params["mixed"] if inpt is params["image"] else params["targets"] if inpt is params["labels"] else inpt
            )
        plan: MixPlan = params["plan"]
        if inpt is params["labels"] and inpt is not None:
            if is_detection(inpt):
                return mix_boxes(plan, inpt, params["grid"], self.min_score)
            return self.mixer.targets(plan, params["read"]["labels"])
        if not isinstance(inpt, Tensor):
            return inpt
        if isinstance(inpt, tv_tensors.Mask) and not inpt.is_floating_point():
            return self.mixer.targets(plan, params["read"]["mask"])
        unmixed, watched = plan.mixes_nothing, inpt is params["watched"]
        if unmixed and not watched:
            return inpt
        plain = inpt.as_subclass(Tensor)
        batch = plain[:, None] if isinstance(inpt, tv_tensors.Mask) and plain.dim() == 3 else plain
        if plan.num_elements is not None and tuple(batch.shape[-2:]) != params["grid"]:
            raise ValueError(
                f"images and masks that one plan mixes must be of one size, got {tuple(batch.shape[-2:])} "
                f"beside {params['grid']}"
            )
        domain = self.mixer.domain
        elements = domain.elements(batch)
        mixed = batch if unmixed else domain.mix(plan, elements, batch)
        if watched:
            mixed = self.mixer.watch(mixed, plan, elements, params["samples"])
        mixed = mixed.reshape(len(batch), *plain.shape[1:])
        return wrap_like(mixed, inpt)

    def collate(self, samples: list[Any]) -> Any:
        """For ``DataLoader(..., collate_fn=transform.collate)``: torch's default collation, then the transform.

        Samples (image, target) with a detection target, a dict with "boxes", become images and a list of targets.

        Raises:
            ValueError: the saliency needs a model, or a worker meets a schedule or a bank; mix after the loader then.
        """
        self.mixer.refuse_in_loader()
        if all(isinstance(sample, (tuple, list)) and len(sample) == 2 for sample in samples):
            images, targets = zip(*samples, strict=True)
            if is_detection(targets):
                return self(stacked(images), list(targets))
        of_sample = dict(tree_flatten_with_path(samples[0])[0])
        if any(isinstance(leaf, tv_tensors.BoundingBoxes) for leaf in of_sample.values()):
            raise ValueError(
                f"samples with boxes must be pairs (image, target) to be collated, got {describe(samples[0])}"
            )
        leaves, structure = tree_flatten_with_path(default_collate(samples))
        # the collation forgets what is an image or a mask; it makes lists of strings and of what else is no tensor
        return self(tree_unflatten([wrap_like(leaf, of_sample.get(path)) for path, leaf in leaves], structure))

    def extra_repr(self) -> str:
        """What ``print(transform)`` says."""
        return self.mixer.extra_repr()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._number = register(self)  # a copy's own

    def _in_one_operator(self, images: list[Tensor], masks: list[Tensor], labels: Any) -> bool:
        """Whether a compiler sees plain tensors only, and no model that it had to differentiate."""
        source = self.mixer.saliency
        if self.samples_getter is not None:
            return False
        plain = not any(isinstance(each, tv_tensors.TVTensor) for each in (*images, labels))
        return plain and isinstance(labels, Tensor) and not masks and (source is None or source.in_loader)


def _plain(mask: Tensor) -> PerElement:
    """A mask (B, 1, H, W) as (B, H, W) class numbers."""
    mask = mask.as_subclass(Tensor)
    return PerElement((mask[:, 0] if mask.dim() == 4 and mask.shape[1] == 1 else mask).long())
