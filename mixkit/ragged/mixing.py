"""A batch of samples of different sizes through a mixer: what `mixkit.Mixer` does for batches of one size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mixkit import draws
from mixkit.arrays import as_tensor, is_array
from mixkit.label_tree import listed, map_labels, map_leaves, read_tree
from mixkit.labels import WRAPPERS, Label, PerElement, PerSample, Size, read_label
from mixkit.methods.base import PlanContext
from mixkit.moving import refuse_integers
from mixkit.partners import choose_partners, classes_of
from mixkit.ragged.elements import RaggedSet
from mixkit.ragged.forms import Form, PaddedForm
from mixkit.ragged.packed import Packed
from mixkit.ragged.plan import RaggedPlan
from mixkit.source import SaliencySource
from mixkit.stages import stage
from mixkit.weighing import weigh

if TYPE_CHECKING:
    from mixkit.mixer import Mixer


def mix(mixer: Mixer, form: Form, labels: Any, *drawn_by: Any) -> tuple[Any, Any]:
    """The mixed batch and its targets, in the form of the batch; ``drawn_by`` is what `draw` takes besides."""
    elements, labels = read(mixer, form, labels)
    if not mixer.training:
        mixer.forget_clean_loss()
        return form.batch, targets(form, RaggedPlan.identity(elements.offsets, len(elements.coords)), labels)
    plan = draw(mixer, form, elements, labels, *drawn_by)
    return apply(mixer, form, plan, elements), targets(form, plan, labels)


def read(mixer: Mixer, form: Form, labels: Any) -> tuple[RaggedSet, Any]:
    """The elements of a batch, and its labels as they are read; those of the elements as of one sample that has all."""

    def read_one(labels: Any, num_classes: int | None, ignore_index: int | None) -> Label:
        return _read_label(form, labels, num_classes, ignore_index)

    if form.integers is not None:
        refuse_integers(mixer.method, form.integers, mixer.domain.conversion, gradient=False)
    elements = mixer.domain.ragged_elements(form.packed)
    num_classes = mixer.num_classes
    if _are_several(form, labels) and not isinstance(num_classes, (Mapping, tuple, list)):
        num_classes = [num_classes] * len(labels)
    labels = read_tree(labels, num_classes, mixer.ignore_index, read_one, lists=False)
    return elements, map_labels(Label.check, labels)


def draw(
    mixer: Mixer,
    form: Form,
    elements: RaggedSet,
    labels: Any,
    saliency: Any = None,
    generator: torch.Generator | None = None,
    samples: Any = None,
) -> RaggedPlan:
    """A plan for a batch; arguments as for `Mixer.plan`, the labels as `read` returns them."""
    draws.check_generator(generator)
    if not mixer.begin_batch(generator):
        return RaggedPlan.identity(elements.offsets, len(elements.coords))
    if saliency is not None:
        saliency = _rows_of(form, saliency)
    elif "saliency" in mixer.needs:
        with stage("saliency"):
            saliency = _find_saliency(mixer, form, labels)
    if saliency is not None:
        peak = torch.segment_reduce(saliency, "max", lengths=elements.lengths, axis=0)
        mixer.empty_rows.look(peak[:, None])
    partner = choose_partners(mixer.partners, elements, labels, saliency, samples, generator)
    of_elements = _element_classes(labels) if "labels" in mixer.method.needs else None
    classes = None
    if "classes" in mixer.method.needs:
        classes = classes_of(elements.num_samples, labels).to(elements.coords.device)
    context = PlanContext(
        saliency,
        generator=generator,
        partner=partner,
        pair=mixer.domain.pair,
        labels=of_elements,
        classes=classes,
    )
    with torch.no_grad(), stage("plan"):
        plan = weigh(mixer.method.plan_ragged(elements, context), mixer.labels_by, saliency)
    if mixer.observer is None or mixer.model is None:
        return plan
    pool = partial(_pooled_confidence, elements, labels)
    through = _through(mixer.model, form)
    return plan.keep(mixer.draw_spared(form.packed.rows, _as_rows(labels), generator, through, pool))


def apply(mixer: Mixer, form: Form, plan: RaggedPlan, elements: RaggedSet) -> Any:
    """The mixed batch in the form that it came in."""
    return form.close(Packed(mixer.domain.mix_ragged(plan, elements), plan.offsets))


def targets(form: Form, plan: RaggedPlan, labels: Any) -> Any:
    """The targets of what a plan mixes; those of the elements in the form of the batch."""

    def mix_one(label: Label) -> Any:
        mixed = plan.mix_label(label)
        if label.places is None:
            return mixed
        return form.close_targets(Packed(mixed, plan.offsets), classes=label.kind == "classes")

    return map_leaves(mix_one, labels)


def _read_label(form: Form, labels: Any, num_classes: int | None, ignore_index: int | None) -> Label:
    packed, device = form.packed, form.packed.rows.device
    if isinstance(form, PaddedForm):  # whose labels are read as those of a batch of one size
        if _has_classes_of_elements(labels, form.mask, num_classes, ignore_index):
            labels = PerElement(labels)
        padded = read_label(labels, num_classes, Size(*form.mask.shape), ignore_index, device)
        return padded if padded.places is None else replace(padded, tensor=form.unpad(padded)[None])
    of_elements = None if isinstance(labels, PerSample) else form.pack_labels(_bare(labels))
    if of_elements is not None:
        return read_label(PerElement(of_elements[None]), num_classes, Size(1, packed.num_rows), ignore_index, device)
    if isinstance(labels, PerElement):
        raise ValueError(
            f"labels of the elements must be in the form of the batch, one for each of its {packed.num_rows} elements"
        )
    of_samples = labels if isinstance(labels, PerSample) else PerSample(labels)
    return read_label(of_samples, num_classes, Size(packed.num_samples, None), ignore_index, device)


def _are_several(form: Form, labels: Any) -> bool:
    """Whether a tuple holds several labels, rather than one for each sample, or for each sample those of its elements.

    Each of several has as many rows as there are samples, or is a list of labels of the elements.
    """
    if type(labels) is not tuple:
        return False
    if any(isinstance(each, (list, tuple)) and any(map(is_array, each)) for each in labels):
        return True
    lengths = [len(each) if is_array(each) and each.ndim else None for each in labels]
    of_elements = len(labels) == form.packed.num_samples and lengths == form.packed.lengths.tolist()
    return bool(lengths) and not of_elements and set(lengths) == {form.packed.num_samples}


def _has_classes_of_elements(labels: Any, mask: Tensor, num_classes: int | None, ignore_index: int | None) -> bool:
    """Whether labels (B, N) that may be one-hot, as the longest sample has K elements by chance, have others than 0, 1.

    Of batches of one size N is always the same, and such labels are an error.
    """
    if isinstance(labels, WRAPPERS) or mask.shape[1] != num_classes:
        return False
    tensor = as_tensor("labels", labels, mask.device)
    if tensor.shape != mask.shape or tensor.is_floating_point():
        return False
    own = tensor[mask]
    if ignore_index is not None:
        own = own[own != ignore_index]
    return bool(((own != 0) & (own != 1)).any())


def _bare(labels: Any) -> Any:
    return labels.labels if isinstance(labels, PerElement) else labels


def _rows_of(form: Form, saliency: Any) -> Tensor:
    """(L,) saliency of the elements, given in the form of the batch or packed."""
    rows = form.pack_labels(saliency)
    if rows is None and isinstance(saliency, Tensor) and saliency.shape == (form.packed.num_rows,):
        rows = saliency
    if rows is None or rows.dim() != 1 or not rows.is_floating_point():
        got = tuple(saliency.shape) if isinstance(saliency, Tensor) else type(saliency).__name__
        raise ValueError(
            f"saliency must be one floating-point number for each of the {form.packed.num_rows} elements, in the form "
            f"of the batch, got {got}"
        )
    return rows.detach()


def _find_saliency(mixer: Mixer, form: Form, labels: Any) -> Tensor:
    source = mixer.saliency
    if source is None or not source.ragged:
        raise TypeError(
            f"samples of different sizes need the saliency of a model, a function, or saliency= with the batch; "
            f"{type(source).__name__} keeps samples of one size"
        )
    if not source.has_model:
        return _rows_of(form, source.find(form.batch, labels, mixer.domain))
    through, rows, loss_labels = _through(source, form), form.packed.rows, _as_rows(labels)
    if not mixer.clean_weight:
        return _norm(through.gradient(rows, loss_labels, observe=mixer.observer))
    saliency, loss = through.find_with_loss(rows, loss_labels, _Rows(), mixer.observer)  # type: ignore[arg-type]
    mixer.set_clean_loss(loss)
    return saliency


def _through(source: SaliencySource, form: Form) -> SaliencySource:
    """A saliency of packed rows, which the model is given in the form of the batch."""
    offsets = form.packed.offsets
    return source.for_rows(lambda rows: form.close(Packed(rows, offsets)))


def _as_rows(labels: Any) -> Any:
    """Labels of the elements as those of so many samples, as a model's output (L, K) of packed rows has them."""

    def one(label: Label) -> Label:
        return label if label.places is None else replace(label, tensor=label.tensor[0], places=None)

    return map_labels(one, labels)


def _element_classes(labels: Any) -> Tensor | None:
    """(L,) the first labels of the elements that are classes, or None."""
    classes = [label.tensor for label in listed(labels) if label.places and label.kind == "classes"]
    return classes[0].flatten().long() if classes else None


def _pooled_confidence(elements: RaggedSet, labels: Any, confidence: Tensor) -> Tensor:
    """(B,) the confidence in the labels of each sample: of its elements (L,) the mean over those that have a label."""
    if len(confidence) == elements.num_samples:
        return confidence
    counts = torch.ones_like(confidence)
    for label in listed(labels):
        if label.places is not None and label.kind != "values":
            # the first labels of elements are those that a model of elements is sure of
            if label.ignore_index is not None and label.kind == "classes":
                counts = (label.tensor.flatten() != label.ignore_index).to(confidence)
            elif label.kind == "shares":
                counts = label.known[0].any(-1).to(confidence)
            break
    sample = elements.sample
    total, count = (confidence.new_zeros(elements.num_samples).index_add_(0, sample, x) for x in (confidence, counts))
    return total / count.clamp_min(1)


class _Rows:
    """What a saliency pass asks of a domain, for packed rows."""

    def saliency(self, grad: Tensor) -> Tensor:
        return _norm(grad)


def _norm(grad: Tensor) -> Tensor:
    """(L,) the norm over the channels of a gradient (L, C)."""
    return torch.linalg.vector_norm(grad, dim=1, dtype=torch.promote_types(grad.dtype, torch.float32))
