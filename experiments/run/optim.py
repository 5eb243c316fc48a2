"""Optimisers, learning rates and losses that a configuration names; nothing about data or models."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR

from experiments.run.config import Config

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits (B, K, ...), targets (B, K, ...) that sum to 1 over K) to a scalar."""


def make_optimizer(config: Config, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The configuration's optimiser on these parameters."""
    if config.optimizer == "sgd":
        return SGD(
            parameters,
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
        )
    adam = {"adam": Adam, "adamw": AdamW}[config.optimizer]
    return adam(parameters, lr=config.lr, weight_decay=config.weight_decay)


def make_schedule(config: Config, optimizer: Optimizer, steps: int) -> LRScheduler:
    """The configuration's learning rates; to be stepped after each of `steps` steps of every epoch."""
    total = steps * config.epochs
    if config.schedule == "one-cycle":
        return OneCycleLR(optimizer, max_lr=config.lr, total_steps=max(total, 2), cycle_momentum=False)
    if config.schedule == "cosine":
        return CosineAnnealingLR(optimizer, T_max=total, eta_min=config.min_lr)
    if config.schedule == "step":
        return MultiStepLR(optimizer, [steps * epoch for epoch in config.milestones], config.gamma)
    return ConstantLR(optimizer, factor=1.0, total_iters=0)


def make_loss(config: Config) -> Loss:
    """The configuration's loss."""
    return F.cross_entropy if config.loss == "cross-entropy" else softmax_bce


def clean_loss_scale(config: Config, num_classes: int) -> float:
    """What a method's clean loss, a cross entropy, counts beside the configuration's loss.

    The binary cross entropy is a mean over the classes and about K / 2 times smaller; Co-Mixup's code weighs its clean
    pass by 2 / K beside it.
    """
    return 2 / num_classes if config.loss == "bce" else 1.0


def softmax_bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross entropy of the softmax, mean over batch and classes (Co-Mixup's code).

    Each class counts -t log p - (1 - t) log(1 - p); log(1 - p) is taken as the log-sum-exp of the other classes, which
    keeps its gradient where p rounds to 1.
    """
    logits = logits.float()
    log_p = logits.log_softmax(1)
    classes = logits.shape[1]
    # log(1 - p_k) = log(-expm1(log p_k)), which is exact except at p_k = 1; there the others' log-sum-exp is
    log_rest = torch.log(-torch.expm1(log_p).clamp_max(-torch.finfo(log_p.dtype).tiny))
    top = log_p.argmax(1, keepdim=True)
    others = torch.where(
        torch.arange(classes, device=logits.device).view(1, -1, *[1] * (logits.dim() - 2)) == top, -torch.inf, log_p
    )
    log_rest = log_rest.scatter(1, top, others.logsumexp(1, keepdim=True))
    return -(targets * log_p + (1 - targets) * log_rest).mean()


def smooth(targets: Tensor, epsilon: float) -> Tensor:
    """Label smoothing: each row's mass epsilon goes to the other classes, epsilon / (K - 1) each. (B, K, ...)."""
    classes = targets.shape[1]
    return targets * (1 - epsilon) + (targets.sum(1, keepdim=True) - targets) * epsilon / (classes - 1)
