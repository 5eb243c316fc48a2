"""How sure a model is of the labels that samples have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mixkit.default_loss import as_label, by_class, class_dim, one_logit, sums_to_one
from mixkit.label_tree import map_leaves
from mixkit.labels import Label
from mixkit.outputs import find_logits

_WANTED = "a confidence needs logits (B, K, ...) and class labels for them"


class ConfidenceMeter:
    """The model's confidence in the labels of a batch, as its saliency pass showed it, or by a pass of its own."""

    def __init__(self) -> None:
        self._shown: Tensor | None = None

    def forget(self) -> None:
        """A new batch begins."""
        self._shown = None

    def observe(self, output: Any, labels: Any) -> None:
        """Take the confidence out of the output of a pass that is made anyway."""
        self._shown = label_confidence(output, labels)

    def read(self, measure: Callable[[Tensor, Any], Tensor], batch: Tensor, labels: Any) -> Tensor:
        """(B,) the confidence in the labels of the batch, by ``measure(batch, labels)`` where no pass has shown it."""
        return measure(batch, labels) if self._shown is None else self._shown

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave the last batch behind."""
        return {**self.__dict__, "_shown": None}


def label_confidence(output: Any, labels: Any) -> Tensor:
    """The probability that a classifier gives to the label of each sample.

    It is the softmax's at a class, or summed over soft labels; the sigmoid's where there is one logit for two classes;
    and the mean of the sigmoids' at the labels that a multi-hot row has.

    Args:
        output: logits (B, K, ...), or what `mixkit.outputs.find_logits` finds them in.
        labels: labels as `mixkit.default_loss.default_loss` takes them; of a tuple or dict the first that suits the
            logits. Multi-hot labels (B, K) of 0 and 1 are taken too, as floats or bools: integers shaped like the
            logits are read as classes of two, with one logit each.

    Returns:
        (B,) float32, detached; the mean over what a sample has several labels of, such as its points or pixels. A class
        out of range does not count, and a sample without any label has 0.

    Raises:
        TypeError: an output without logits, or labels that are no classes for it, such as regression targets.

    Example:
        >>> logits = torch.tensor([[0.0, 0.0], [9.0, 0.0]])
        >>> label_confidence(logits, torch.tensor([0, 1]))
        tensor([5.0000e-01, 1.2339e-04])
    """
    leaves: list[Label] = []
    map_leaves(lambda leaf: leaves.append(as_label(leaf)) if isinstance(leaf, (Label, Tensor)) else None, labels)
    try:
        logits = find_logits(output).detach().float()
    except TypeError as error:
        raise TypeError(f"{_WANTED}, got {type(output).__name__}: {error}") from None
    for label in leaves:
        if (own := _of_own_labels(logits, label)) is not None:
            probabilities, counts = (part[:, None].flatten(1) for part in own)
            return (probabilities * counts).sum(1) / counts.sum(1).clamp_min(1)
    shapes = [f"{each.kind} {tuple(each.tensor.shape)}" for each in leaves] or [type(labels).__name__]
    raise TypeError(
        f"{_WANTED}, got {tuple(logits.shape)} and {', '.join(shapes)}: "
        "a schedule that measures it does not suit such labels"
    )


def _of_own_labels(logits: Tensor, label: Label) -> tuple[Tensor, Tensor] | None:
    """The probability (B, ...) of each label and whether it counts, where the labels suit the logits."""
    if label.kind == "classes":
        classes = label.classes.to(logits.device)
        if (first := by_class(logits, label)) is not None:
            counts = (classes >= 0) & (classes < first.shape[1])
            own = first.softmax(1).gather(1, torch.where(counts, classes, 0)[:, None])[:, 0]
        elif (one := one_logit(logits, label)) is not None:
            counts = (classes == 0) | (classes == 1)
            own = torch.where(classes == 1, one, -one).sigmoid()
        else:
            return None
        if label.ignore_index is not None:
            counts = counts & (classes != label.ignore_index)
        return own, counts.float()
    if label.kind == "values" or label.tensor.dim() < 2:
        return None
    shares, known, dim = label.numbers.to(logits), label.known.to(logits.device), class_dim(label)
    if logits.shape != shares.shape:
        shares, known, dim = shares.movedim(dim, 1), known.movedim(dim, 1), 1
        if logits.shape != shares.shape:
            return None
    is_soft = sums_to_one(shares, known, dim) & (shares.shape[dim] > 1)
    shares = shares * known
    if label.kind == "unknown" and not (is_soft | ((shares == 0) | (shares == 1)).all()):
        return None  # neither soft labels nor multi-hot ones
    total = shares.sum(dim)
    by_softmax = (logits.softmax(dim) * shares).sum(dim).clamp_max(1)  # which rounding can exceed
    by_sigmoid = (logits.sigmoid() * shares).sum(dim) / total.clamp_min(1e-6)
    return torch.where(is_soft, by_softmax, by_sigmoid), (total > 0).to(total)
