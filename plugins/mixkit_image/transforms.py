"""Mixing as torchvision v2 transforms of a batch: after the loader, as a collate function, or inside v2.Compose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.data import default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2

from mixkit import create_mixer
from mixkit.methods import Method
from mixkit.mixer import Saliency

LabelsGetter = Callable[[Any], Tensor]


class MixTransform(v2.Transform):
    """Any mixing method as a torchvision v2 transform of batched images and their labels.

    Called like `torchvision.transforms.v2.MixUp`: ``transform(images, labels)`` or ``transform(sample)`` with a tuple
    or dict of batched tensors. The images (B, C, H, W) and the labels are replaced by the mixed ones, the rest passes
    through. ``collate_fn=transform.collate`` mixes in the loader, whose workers draw from torch's seeded global
    generator. In ``eval()`` mode the images pass unmixed, and the labels become soft.

    Args:
        method: a name of ``mixkit.list_methods("image")``, or a method.
        num_classes: number of classes; needed for integer labels.
        model: the model whose gradient is the saliency; then mix after the loader, not in it.
        saliency: a saliency without a model, by name or as a function of the images. Default "spectral_residual" where
            no model is given.
        p: probability that a batch is mixed. Default: the method's.
        labels_getter: "default" takes the second item of a tuple, or a dict's "labels" or "label"; or a function of the
            sample that returns its labels.
        options: the method's own.

    Raises:
        ValueError: no labels or not exactly one batch of images found; masks or boxes, which this transform cannot mix.
    """

    def __init__(
        self,
        method: str | Method,
        *,
        num_classes: int | None = None,
        model: nn.Module | None = None,
        saliency: str | Saliency | None = None,
        p: float | None = None,
        labels_getter: LabelsGetter | str = "default",
        **options: Any,
    ) -> None:
        super().__init__()
        if labels_getter != "default" and not callable(labels_getter):
            raise ValueError(f"labels_getter must be 'default' or a function of the sample, got {labels_getter!r}")
        self.labels_getter: LabelsGetter = labels_getter if callable(labels_getter) else _default_labels
        if saliency is None and model is None:
            saliency = "spectral_residual"
        self.mixer = create_mixer(
            method, "image", num_classes=num_classes, model=model, saliency=saliency, p=p, **options
        )

    def forward(self, *inputs: Any) -> Any:
        """Mix the images of a sample and its labels; the sample's structure stays."""
        sample = inputs if len(inputs) > 1 else inputs[0]
        labels = self.labels_getter(sample)
        if not isinstance(labels, Tensor):
            raise ValueError(f"labels must be a tensor, got {type(labels).__name__}: set labels_getter")
        leaves, structure = tree_flatten(sample)
        if spatial := [leaf for leaf in leaves if isinstance(leaf, (tv_tensors.Mask, tv_tensors.BoundingBoxes))]:
            raise ValueError(f"{type(self).__name__} mixes images and their labels, not a {type(spatial[0]).__name__}")
        found = [i for i, leaf in enumerate(leaves) if _is_images(leaf) and leaf is not labels]
        where = [i for i, leaf in enumerate(leaves) if leaf is labels]
        if len(found) != 1 or len(where) != 1:
            shapes = [tuple(leaf.shape) if isinstance(leaf, Tensor) else type(leaf).__name__ for leaf in leaves]
            raise ValueError(f"wanted one batch of images (B, C, H, W) and its labels, got a sample of {shapes}")
        images = leaves[found[0]]
        mixed, targets = self.mixer(images.as_subclass(Tensor), labels)
        leaves[found[0]] = tv_tensors.wrap(mixed, like=images) if isinstance(images, tv_tensors.Image) else mixed
        leaves[where[0]] = targets
        return tree_unflatten(leaves, structure)

    def collate(self, samples: list[Any]) -> Any:
        """For ``DataLoader(..., collate_fn=transform.collate)``: torch's default collation, then the transform."""
        return self(default_collate(samples))

    def extra_repr(self) -> str:
        """What ``print(transform)`` says."""
        return self.mixer.extra_repr()


class SageMix(MixTransform):
    """SageMix for images (`mixkit.methods.SageMix`), by spectral-residual saliency unless a model is given.

    Args:
        num_classes, model, saliency, p, labels_getter: see `MixTransform`.
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
        )


class Mixup(MixTransform):
    """Mixup for images (`mixkit.methods.Mixup`).

    Args:
        num_classes, p, labels_getter: see `MixTransform`.
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
    ) -> None:
        super().__init__(
            "mixup", num_classes=num_classes, p=p, labels_getter=labels_getter, alpha=alpha, per_sample=per_sample
        )


def _is_images(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and (isinstance(leaf, tv_tensors.Image) or leaf.dim() >= 4)


def _default_labels(sample: Any) -> Tensor:
    if isinstance(sample, (tuple, list)) and len(sample) >= 2:
        return sample[1]
    if isinstance(sample, Mapping):
        for key in ("labels", "label"):
            if key in sample:
                return sample[key]
    raise ValueError(
        "found no labels: wanted (images, labels) or a dict with 'labels' or 'label', "
        f"got {type(sample).__name__}; or set labels_getter"
    )
