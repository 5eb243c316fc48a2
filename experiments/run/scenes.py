"""Segmentation of scenes: a voxel U-Net trained with one method, and its mIoU."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mixkit
from experiments.base.errors import ExperimentError
from experiments.data.scans import IGNORED, Scans
from experiments.models.voxel_unet import VoxelUNet

VANILLA = "vanilla"
BATCH = 2  # scenes


def make_scene_mixer(method: str, scans: Scans, model: nn.Module, **options: Any) -> mixkit.Mixer | None:
    """The mixer of a method, with what it must know of the data; None for vanilla."""
    if method == VANILLA:
        return None
    fitting: dict[str, Any] = {}
    if method == "polarmix":
        fitting["instance_classes"] = scans.instances
    if method == "lasermix":
        fitting["inclination"] = scans.inclination
    try:
        return mixkit.create_mixer(
            method, "scene", num_classes=len(scans.classes), ignore_index=IGNORED, model=model, **{**fitting, **options}
        )
    except (ValueError, TypeError) as error:
        raise ExperimentError(f"{method}: {error}") from error


def train_scenes(
    scans: Scans, method: str, seed: int, *, epochs: int, width: int = 16, lr: float = 5e-3, **options: Any
) -> dict[str, Any]:
    """Train on the scenes with a method, and score the test scenes.

    AdamW with one cycle of the learning rate; scenes are turned about the vertical axis, mirrored, and scaled by up to
    5 %, before they are mixed. Everything is drawn from the seed, the weights at the start alike for all methods.

    Args:
        scans: the data.
        method: a method of the domain "scene", or "vanilla".
        seed: the run's.
        epochs: passes over the training scenes.
        width: the model's width (`VoxelUNet`). Default 16.
        lr: the peak of the learning rate. Default 0.005.
        options: the method's own.

    Returns:
        "miou" and "iou" by class in %, "accuracy" in %, "seconds" of training, "last_loss".
    """
    torch.manual_seed(seed)
    model = VoxelUNet(len(scans.classes), scans.channels, width, scans.voxel)
    mixer = make_scene_mixer(method, scans, model, **options)
    draws = torch.Generator().manual_seed(seed)
    steps = epochs * math.ceil(len(scans.train) / BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    start, loss = time.perf_counter(), torch.zeros(())
    for _ in range(epochs):
        for chosen in torch.randperm(len(scans.train), generator=draws).split(BATCH):
            scenes = [augment(scans.train[k], draws) for k in chosen]
            labels = [scans.train_labels[k] for k in chosen]
            targets: Any = torch.cat(labels)
            if mixer is not None:
                scenes, mixed = mixer(scenes, labels, generator=draws)
                targets = torch.cat(mixed)
            logits = model(scenes)
            loss = loss_of(logits, targets)
            if not bool(loss.isfinite()):
                raise ExperimentError(f"{method}, seed {seed}: the loss is {loss.item()}; take a lower --lr.")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    seconds = time.perf_counter() - start
    return {"last_loss": float(loss.detach()), "seconds": seconds, **score(model, scans)}


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """The cross entropy of hard labels (L,) or soft ones (L, K); 0 where no point of a batch is annotated."""
    if targets.is_floating_point():
        return mixkit.soft_cross_entropy(logits, targets)
    if not bool((targets != IGNORED).any()):
        return 0 * logits.sum()
    return F.cross_entropy(logits, targets, ignore_index=IGNORED)


def augment(scene: Tensor, generator: torch.Generator) -> Tensor:
    """A scene turned about the vertical axis, mirrored half of the times, and scaled by up to 5 %."""
    angle, mirror, size = torch.rand(3, generator=generator).tolist()
    cosine, sine = math.cos(2 * math.pi * angle), math.sin(2 * math.pi * angle)
    turn = torch.tensor([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    if mirror < 0.5:
        turn[:, 1] *= -1
    return torch.cat([scene[:, :3] @ turn * (0.95 + 0.1 * size), scene[:, 3:]], 1)


@torch.no_grad()
def score(model: nn.Module, scans: Scans) -> dict[str, Any]:
    """The mIoU over all test scenes together, of the classes that they hold; what is not annotated is left out."""
    count = len(scans.classes)
    confusion = torch.zeros(count, count, dtype=torch.long)
    model.eval()
    for scene, labels in zip(scans.test, scans.test_labels, strict=True):
        counted = labels != IGNORED
        pair = labels[counted] * count + model([scene]).argmax(1)[counted]
        confusion += torch.bincount(pair, minlength=count**2).reshape(count, count)
    hits = confusion.diag().double()
    union = confusion.sum(0) + confusion.sum(1) - hits
    present = confusion.sum(1) > 0
    iou = 100 * hits / union.clamp_min(1)
    return {
        "miou": float(iou[present].mean()),
        "accuracy": float(100 * hits.sum() / confusion.sum()),
        "iou": {scans.classes[i]: float(iou[i]) for i in present.nonzero()[:, 0].tolist()},
    }
