"""The loss of a saliency pass where none is given: chosen by the labels and the model's output, where that is plain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mixkit.label_tree import map_leaves
from mixkit.labels import Label
from mixkit.losses import times_logs
from mixkit.outputs import find_logits


def default_loss(output: Any, labels: Any) -> Tensor:
    """The loss summed over the batch, without label smoothing, that suits a model's output and its labels.

    ========================================  ==========================================  ==========================
    labels                                    output                                      loss
    ========================================  ==========================================  ==========================
    classes (B, ...)                          (B, K, ...), or (B, ..., K)                 cross entropy
    classes of two                            (B, ...) or (B, 1, ...), one logit each     BCE with logits
    soft labels, whose rows all sum to 1      shaped like them                            cross entropy
    multi-hot labels, all others with K       shaped like them                            BCE with logits
    regression targets: floats without K      shaped like them                            squared error
    ========================================  ==========================================  ==========================

    What a mixer reads of labels (`mixkit.labels`) says whether they are classes, shares of them, or values; a mixer is
    told so by ``num_classes``. Tensors that come without a mixer may be classes, or soft labels whose rows sum to 1.
    Of several labels the one counts that the output suits. What is ignored or not known counts for nothing.

    Args:
        output: what `mixkit.outputs.find_logits` finds logits in.
        labels: a tensor or a `Label`, or a tuple or dict of these.

    Raises:
        ValueError: an empty dict of labels.
        TypeError: no logits, no labels, or none or several of these losses suit them; the message names ``loss=``.
    """
    return default_loss_and_count(output, labels)[0]


def default_loss_and_count(output: Any, labels: Any) -> tuple[Tensor, Tensor]:
    """The default loss, and () of how many labels it is the sum: of samples, or of elements where these have labels."""
    logits = find_logits(output)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    labels_read: list[Label] = []
    map_leaves(lambda leaf: labels_read.append(as_label(leaf)) if isinstance(leaf, (Label, Tensor)) else None, labels)
    if isinstance(labels, dict) and not labels:
        raise ValueError("a model's saliency needs labels: give them, or a saliency without a model")
    if not labels_read:
        raise TypeError(f"the loss of a saliency takes one label tensor, got {type(labels).__name__}; give loss=")
    fits = [fit for label in labels_read if (fit := _loss_and_count(logits, label)) is not None]
    if len(fits) == 1:
        return fits[0]
    came = " and ".join(f"{_said(each)}{tuple(each.tensor.shape)} {each.tensor.dtype}" for each in labels_read)
    raise TypeError(
        f"{'no loss suits' if not fits else 'several of the labels suit'} the model's output {tuple(logits.shape)} "
        f"with labels {came}{_advice(labels_read)}: give loss=function of output and labels"
    )


def one_logit(logits: Tensor, label: Label) -> Tensor | None:
    """The logits in the shape of classes, where there is one logit for each, of two classes; else None."""
    classes, ignored = label.classes, -100 if label.ignore_index is None else label.ignore_index
    if label.num_classes not in (None, 2) or logits.shape[:1] != classes.shape[:1]:
        return None
    alike = logits.shape == classes.shape or (
        logits.dim() == classes.dim() + 1 and 1 in logits.shape[1:] and _without_ones(logits) == _without_ones(classes)
    )
    if not alike or (label.num_classes is None and bool(((classes < 0) | (classes > 1)).mul(classes != ignored).any())):
        return None
    return logits.reshape(classes.shape)


def by_class(logits: Tensor, label: Label) -> Tensor | None:
    """The logits (B, K, ...) with dimension 1 for the classes, where they suit classes (B, ...); else None."""
    rows = label.classes.shape
    if logits.dim() < 2 or logits.dim() != len(rows) + 1:
        return None
    for logits_first in (logits, logits.movedim(-1, 1)):
        size = logits_first.shape[1]
        enough = size > 1 if label.num_classes is None else size >= max(label.num_classes, 2)
        as_many = logits_first is logits or size == label.num_classes
        if (logits_first.shape[0], *logits_first.shape[2:]) == tuple(rows) and enough and as_many:
            return logits_first
    return None


def class_dim(label: Label) -> int:
    """The dimension of shares that counts the classes."""
    if label.kind == "unknown":
        return 1
    if label.places is None:
        return label.tensor.dim() - 1
    return next(k for k in range(1, label.tensor.dim()) if not label.places[0] <= k < label.places[1])


def sums_to_one(shares: Tensor, known: Tensor, dim: int) -> Tensor:
    """A bool scalar: each row of shares sums to 1, as soft labels do, or has none that is known."""
    whole = known.all(dim) & ((shares.sum(dim) - 1).abs() < 1e-3)
    return (whole | ~known.any(dim)).all()


def as_label(leaf: Label | Tensor) -> Label:
    """A `Label`; of a tensor of which nothing is known, one whose class (B, 1) is (B,)."""
    if isinstance(leaf, Label):
        return leaf
    if leaf.is_floating_point() or leaf.dtype == torch.bool or (leaf.dim() == 2 and leaf.shape[1] == 1):
        kind = "unknown" if leaf.is_floating_point() or leaf.dtype == torch.bool else "classes"
        return Label(leaf, kind)
    return Label(leaf, "classes", (1, leaf.dim()) if leaf.dim() > 1 else None, None, None)


def _loss_and_count(logits: Tensor, label: Label) -> tuple[Tensor, Tensor] | None:
    """The loss of one of the labels, summed, and () of how many; None where the output does not suit it."""
    if label.kind == "classes":
        return _of_classes(logits, label)
    loss = _of_values(logits, label) if label.kind == "values" else _of_shares(logits, label)
    if loss is None:
        return None
    known = label.known
    start, stop = (2, known.dim()) if label.kind == "unknown" else label.places or (1, 1)
    beside = [k for k in range(1, known.dim()) if not start <= k < stop]
    return loss, (known.any(beside) if beside else known).sum()  # of a label that is known in part, all counts


def _of_classes(logits: Tensor, label: Label) -> tuple[Tensor, Tensor] | None:
    ignored = -100 if label.ignore_index is None else label.ignore_index
    classes = label.classes
    counts = classes != ignored
    if (first := by_class(logits, label)) is not None:
        return F.cross_entropy(first, classes, reduction="sum", ignore_index=ignored), counts.sum()
    if (one := one_logit(logits, label)) is not None:
        return _summed(_bce, one, classes.to(one.dtype), counts), counts.sum()
    return None


def _of_values(logits: Tensor, label: Label) -> Tensor | None:
    values = label.numbers.to(logits.dtype)
    if _looks_soft(label) or logits.shape[0] != len(values) or _without_ones(logits) != _without_ones(values):
        return None
    return _summed(_squares, logits.reshape(values.shape), values, label.known)


def _of_shares(logits: Tensor, label: Label) -> Tensor | None:
    """Cross entropy of soft labels, and BCE of multi-hot ones; of floats of which nothing is told, the former."""
    shares, known, told = label.numbers.to(logits.dtype), label.known, label.kind == "shares"
    if not told and (shares.dim() < 2 or shares.shape[1] < 2 or not bool(sums_to_one(shares, known, 1))):
        return None
    dim = class_dim(label)
    by_dim_1 = shares.movedim(dim, 1)
    if logits.shape == shares.shape:
        logits = logits.movedim(dim, 1)
    elif not told or logits.shape != by_dim_1.shape:
        return None
    shares, known = by_dim_1, known.movedim(dim, 1)
    if shares.shape[1] == 1:
        return _summed(_bce, logits, shares, known)
    soft = -times_logs(shares * known, F.log_softmax(logits, 1)).sum()
    if not told:
        return soft
    binary = _summed(_bce, logits, shares, known)
    return torch.where(sums_to_one(shares, known, 1), soft, binary)  # which of them, without a wait for the device


def _bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross entropy, whose gradient does not round to 0 where a logit is sure, as torch's does from 17 on."""
    return targets * F.softplus(-logits) + (1 - targets) * F.softplus(logits)


def _squares(output: Tensor, targets: Tensor) -> Tensor:
    return (output - targets).square()


def _summed(loss: Callable[..., Tensor], output: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    return (loss(output, torch.where(counts, targets, 0)) * counts).sum()


def _without_ones(tensor: Tensor) -> list[int]:
    """The sides beside the batch that are not 1."""
    return [side for side in tensor.shape[1:] if side != 1]


def _looks_soft(label: Label) -> bool:
    """Whether values may have been meant as soft labels; read on a CPU only, where it costs no wait."""
    tensor = label.tensor
    if tensor.device.type != "cpu" or label.places is not None or tensor.dim() != 2 or tensor.shape[1] < 2:
        return False
    return bool((tensor >= 0).all()) and bool(sums_to_one(label.numbers, label.known, 1))


def _said(label: Label) -> str:
    """What kind of labels they are, and of how many classes where that is told."""
    words = {"classes": "of classes ", "shares": "of shares of classes ", "values": "of values ", "unknown": ""}
    told = label.kind != "values" and label.num_classes is not None
    return words[label.kind].replace("classes", f"{label.num_classes} classes" if told else "classes")


def _advice(labels: list[Label]) -> str:
    if any(each.kind == "values" and _looks_soft(each) for each in labels):
        return ", which look like soft labels (then give num_classes=) or are to be predicted as numbers"
    if any(each.kind == "unknown" for each in labels):
        return " (soft labels, multi-hot labels and regression targets are told apart by a mixer with num_classes=)"
    return ""
