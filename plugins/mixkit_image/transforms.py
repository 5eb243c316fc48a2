"""Mixing as torchvision v2 transforms of a batch: after the loader, as a collate function, or inside v2.Compose."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.data import default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2

from mixkit import PerElement, Schedule, create_mixer
from mixkit.methods import Method
from mixkit.mixer import Saliency
from mixkit.saliency import cross_entropy

LabelsGetter = Callable[[Any], Tensor | None]


class MixTransform(v2.Transform):
    """Any mixing method as a torchvision v2 transform of batched images and their labels.

    Called like `torchvision.transforms.v2.MixUp`: ``transform(images, labels)`` or ``transform(sample)`` with a tuple
    or dict of batched tensors. The images (B, C, H, W) and the labels are replaced by the mixed ones, the rest passes
    through. A `tv_tensors.Mask` of integers, (B, H, W) or (B, 1, H, W), becomes class shares (B, mask_classes, H, W),
    mixed by the same plan; one of floats, such as depth or soft planes (B, mask_classes, H, W), is mixed as it is.
    ``collate_fn=transform.collate`` mixes in the loader, whose workers draw from torch's seeded global generator. In
    ``eval()`` mode the images pass unmixed, and the labels become soft.

    Args:
        method: a name of ``mixkit.list_methods("image")``, or a method.
        num_classes: number of classes; needed for integer labels.
        model: the model whose gradient is the saliency; then mix after the loader, not in it.
        saliency: a saliency without a model, by name or as a function of the images. Default "spectral_residual" where
            no model is given.
        loss: of the model's saliency, ``loss(output, labels)``, given the masks where there are no labels.
            Default: cross entropy.
        p: probability that a batch is mixed. Default: the method's.
        labels_getter: "default" takes the second item of a tuple, or a dict's "labels" or "label"; or a function of the
            sample that returns its labels, or None where its mask is all the labels there are.
        mask_classes: number of classes of a mask; needed for masks of integers.
        ignore_index: the label that does not count (`mixkit.Mixer`): the mask's with ``mask_classes``, else the
            labels'; or a dict with "labels" and "mask". Default None.
        schedule: a name of ``mixkit.list_schedules()`` or a `mixkit.Schedule`, which counts the batches that this
            transform is given. Default None.
        total_steps: batches in the whole run, of a schedule given by name.
        options: the method's own.

    Raises:
        ValueError: no labels, or not exactly one batch of images; a mask without mask_classes; bounding boxes, which no
            mixing of pixels keeps true.
    """

    def __init__(
        self,
        method: str | Method,
        *,
        num_classes: int | None = None,
        model: nn.Module | None = None,
        saliency: str | Saliency | None = None,
        loss: Callable[[Any, Any], Tensor] = cross_entropy,
        p: float | None = None,
        labels_getter: LabelsGetter | str = "default",
        mask_classes: int | None = None,
        ignore_index: int | Mapping[str, int | None] | None = None,
        schedule: str | Schedule | None = None,
        total_steps: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if labels_getter != "default" and not callable(labels_getter):
            raise ValueError(f"labels_getter must be 'default' or a function of the sample, got {labels_getter!r}")
        self.labels_getter: LabelsGetter = labels_getter if callable(labels_getter) else _default_labels
        self.mask_classes = mask_classes
        self.mixer = create_mixer(
            method,
            "image",
            num_classes={"labels": num_classes, "mask": mask_classes},
            model=model,
            saliency="spectral_residual" if saliency is None and model is None else saliency,
            loss=functools.partial(_loss_of_labels, loss),
            p=p,
            ignore_index=(
                ignore_index
                if ignore_index is None or isinstance(ignore_index, Mapping)
                else {"labels" if mask_classes is None else "mask": ignore_index}
            ),
            schedule=schedule,
            total_steps=total_steps,
            **options,
        )

    def forward(self, *inputs: Any) -> Any:
        """Mix the images of a sample, its labels and its mask; the sample's structure stays."""
        sample = inputs if len(inputs) > 1 else inputs[0]
        labels = self.labels_getter(sample)
        leaves, structure = tree_flatten(sample)
        places: dict[str, list[int]] = {"images": [], "labels": [], "mask": []}
        for i, leaf in enumerate(leaves):
            if isinstance(leaf, tv_tensors.BoundingBoxes):
                raise ValueError(f"{type(self).__name__} mixes images, labels and masks; it cannot mix bounding boxes")
            if leaf is labels and isinstance(leaf, Tensor):
                places["labels"].append(i)
            elif isinstance(leaf, tv_tensors.Mask):
                places["mask"].append(i)
            elif isinstance(leaf, tv_tensors.Image) or (isinstance(leaf, Tensor) and leaf.dim() >= 4):
                places["images"].append(i)
        if not places["labels"] and not places["mask"]:
            raise ValueError(
                "found no labels: wanted (images, labels), or a dict with 'labels' or 'label', or a mask; "
                f"got {_describe(sample)}; or set labels_getter"
            )
        if len(places["images"]) != 1 or len(places["mask"]) > 1:
            raise ValueError(
                f"wanted one batch of images (B, C, H, W), its labels and at most one mask, got {_describe(sample)}"
            )
        classes = [leaves[place] for place in places["mask"] if not _is_numbers(leaves[place])]
        if classes and self.mask_classes is None:
            raise ValueError("a mask of classes needs mask_classes: give mask_classes=K")
        found = {kind: leaves[where[0]] for kind, where in places.items() if where}
        images = found.pop("images")
        mixed, targets = self.mixer(
            images.as_subclass(Tensor), {kind: _plain(leaf, self.mask_classes) for kind, leaf in found.items()}
        )
        leaves[places["images"][0]] = (
            tv_tensors.wrap(mixed, like=images) if isinstance(images, tv_tensors.Image) else mixed
        )
        for kind, target in targets.items():
            leaves[places[kind][0]] = target
        return tree_unflatten(leaves, structure)

    def collate(self, samples: list[Any]) -> Any:
        """For ``DataLoader(..., collate_fn=transform.collate)``: torch's default collation, then the transform.

        Raises:
            ValueError: the saliency needs a model, or a worker meets a schedule; mix after the loader then.
        """
        self.mixer.refuse_in_loader()
        leaves, structure = tree_flatten(default_collate(samples))
        kinds = tree_flatten(samples[0])[0]
        if len(kinds) == len(leaves):  # the collation forgets what is a mask
            leaves = [
                tv_tensors.wrap(leaf, like=kind) if isinstance(kind, tv_tensors.TVTensor) else leaf
                for leaf, kind in zip(leaves, kinds, strict=True)
            ]
        return self(tree_unflatten(leaves, structure))

    def extra_repr(self) -> str:
        """What ``print(transform)`` says."""
        return self.mixer.extra_repr()


class SageMix(MixTransform):
    """SageMix for images (`mixkit.methods.SageMix`), by spectral-residual saliency unless a model is given.

    Args:
        num_classes, model, saliency, p, labels_getter, schedule, total_steps: see `MixTransform`.
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
        labels_getter: LabelsGetter | str = "default",
        theta: float = 0.3,
        sigma: float | None = None,
        query: str = "sequential",
        schedule: str | Schedule | None = None,
        total_steps: int | None = None,
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
        )


class Mixup(MixTransform):
    """Mixup for images (`mixkit.methods.Mixup`).

    Args:
        num_classes, p, labels_getter, schedule, total_steps: see `MixTransform`.
        alpha: the ratio is Beta(alpha, alpha). Default 1.
        per_sample: one ratio per sample instead of one per batch. Default False.
    """

    def __init__(
        self,
        *,
        num_classes: int | None = None,
        p: float | None = None,
        labels_getter: LabelsGetter | str = "default",
        alpha: float = 1.0,
        per_sample: bool = False,
        schedule: str | Schedule | None = None,
        total_steps: int | None = None,
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
        )


def _default_labels(sample: Any) -> Tensor | None:
    if isinstance(sample, (tuple, list)) and len(sample) >= 2:
        return sample[1]
    if isinstance(sample, Mapping):
        return sample.get("labels", sample.get("label"))
    return None


def _loss_of_labels(loss: Callable[[Any, Any], Tensor], output: Any, labels: Mapping[str, Tensor]) -> Tensor:
    return loss(output, labels["labels"] if "labels" in labels else labels["mask"])


def _plain(labels: Tensor, mask_classes: int | None) -> Any:
    """A mask as labels of the pixels, integers (B, 1, H, W) as classes (B, H, W); other labels as they are."""
    if not isinstance(labels, tv_tensors.Mask):
        return labels
    mask = labels.as_subclass(Tensor)
    if mask.is_floating_point() or (_is_numbers(mask) and mask_classes is None):
        return PerElement(mask)
    return PerElement((mask[:, 0] if mask.dim() == 4 and mask.shape[1] == 1 else mask).long())


def _is_numbers(mask: Tensor) -> bool:
    return mask.is_floating_point() or mask.dtype == torch.bool


def _describe(sample: Any) -> str:
    leaves = tree_flatten(sample)[0]
    shapes = [str(tuple(leaf.shape)) if isinstance(leaf, Tensor) else type(leaf).__name__ for leaf in leaves]
    return f"a {type(sample).__name__} of {', '.join(shapes)}"
