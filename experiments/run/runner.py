"""One run from its configuration to its folder: set-up, training, checkpoints, files."""

from __future__ import annotations

import datetime
import logging
import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn

from experiments.base.claims import Claim, TakenOverError, claim
from experiments.base.errors import ExperimentError, RunStoppedError
from experiments.base.machine import describe_environment
from experiments.base.stopping import asked_to_stop
from experiments.data import load_data
from experiments.data.base import DataSet
from experiments.data.holdout import divide
from experiments.data.shared import DataCache
from experiments.models import create_model
from experiments.run.board import Board
from experiments.run.checkpoint import Origin, restore
from experiments.run.config import Config
from experiments.run.folder import RunFolder
from experiments.run.loop import MODEL, Learner, Watcher, seed_of, steps_per_epoch, train
from experiments.run.methods import VANILLA
from experiments.run.mixing import Mixing
from experiments.run.optim import make_optimizer, make_schedule
from experiments.run.records import EpochRecord, RunResult
from experiments.run.tasks import make_task

LOST = ("gloo/transport", "NCCL", "Connection closed", "Connection reset")  # words of errors between processes


def load(config: Config, roots: Sequence[Path], cache: DataCache | None = None) -> DataSet:
    """The data of a run, checked against its task; what the cache has of the same data is not loaded again."""
    if cache is not None:
        held = (config.validation, config.calibration)
        key = (config.domain, config.dataset, config.limit, *held, config.num_points, config.parts)
        return cache.get(key, lambda: load(config, roots))
    whole = load_data(config.domain, config.dataset, roots, num_points=config.num_points)
    data = divide(whole, config.limit, config.validation, 0 if config.parts else config.calibration)
    if config.parts and data.train_parts is None:
        raise ExperimentError(f"{config.model} labels parts of shapes, and {data.title} has none.")
    return data


def new_model(config: Config, data: DataSet) -> nn.Module:
    """The untrained model; one seed, one set of weights, whatever the method."""
    torch.manual_seed(seed_of(config.seed, MODEL))
    classes = data.num_parts if config.parts else len(data.classes)
    return create_model(config.model, channels=data.channels, num_classes=classes, width=config.width)


def set_up(fabric: Fabric, config: Config, data: DataSet, model: nn.Module) -> Learner:
    """Everything that training changes, on the fabric's device.

    Raises:
        ExperimentError: a schedule that wants to be told of held-out samples, and none are held out.
    """
    task = make_task(config, data)
    optimizer = make_optimizer(config, model.parameters())
    schedule = make_schedule(config, optimizer, steps_per_epoch(data, config, fabric.world_size))
    wrapped, optimizer = fabric.setup(model, optimizer)
    config.check()
    spec = config.spec
    mixing = None
    if spec.name != VANILLA:
        mixing = Mixing(
            spec,
            config.domain,
            through=wrapped,
            autocast=fabric.autocast,
            device=fabric.device,
            epochs=config.epochs,
            num_samples=len(data.train),
            num_elements=data.train.shape[1] if config.domain == "points" else math.prod(data.train.shape[2:]),
            **task.mixing_options(model),
        )
        if mixing.follower is not None and (data.held is None or config.parts):
            remedy = "parts are not held out" if config.parts else "give --limit, or calibration in a recipe"
            raise ExperimentError(f"--method {config.method}: nothing is held out that it could be told of: {remedy}.")
    return Learner(model, wrapped, optimizer, schedule, task, mixing)


def run(
    fabric: Fabric,
    config: Config,
    data: DataSet,
    folder: RunFolder,
    *,
    resume: bool = False,
    watcher: Watcher | None = None,
    own: Claim | None = None,
) -> RunResult:
    """Train one configuration into a folder, or go on from the folder's last checkpoint.

    Args:
        fabric: launched.
        config: the run.
        data: the run's.
        folder: written by the first device; there must be nothing in it unless `resume`.
        resume: go on where the last checkpoint was written; from the start where there is none.
        watcher: is told of progress.
        own: the caller's claim of the folder, which stays the caller's. Default None: one is made for the run.

    Returns:
        What is in the folder at the end. A loss that is not finite, or a full disk, ends the run with a sentence in
        `RunResult.stopped`; what was saved stays.

    Raises:
        ExperimentError: a damaged checkpoint, one of another run or of other data, or another process that trains in
            the folder, or has taken it over; of several processes that share the run one that is no more.
        KeyboardInterrupt: `stopping` heard a signal.
    """
    watcher, main = watcher or Watcher(), fabric.is_global_zero
    if asked_to_stop():  # an orphan must not take the folder from who goes on
        raise KeyboardInterrupt
    made = claim(folder.path) if main and own is None else None  # before anything is read: nobody else writes
    with made or nullcontext():
        try:
            return _run(fabric, config, data, folder, resume, watcher, made or own)
        except RuntimeError as error:
            if fabric.world_size > 1 and any(word in str(error) for word in LOST):
                raise ExperimentError(
                    f"another process of this run has ended, or cannot be reached; what was saved in {folder.path} is "
                    "kept, and --resume goes on."
                ) from error
            raise


def _run(
    fabric: Fabric,
    config: Config,
    data: DataSet,
    folder: RunFolder,
    resume: bool,
    watcher: Watcher,
    own: Claim | None,
) -> RunResult:
    """`run` in a folder that is this process's; `own` is its claim on the first device."""
    main = own is not None
    origin = Origin.of(config, data)
    data = data.to(fabric.device)
    model = new_model(config, data)
    learner = set_up(fabric, config, data, model)
    bank: Any = None
    mixer: nn.Module | None = None
    if learner.mixing is not None:  # of several devices each has another batch before, but all were told the same
        bank = learner.mixing.bank
        mixer = learner.mixing.mixer if fabric.world_size == 1 else learner.mixing.mixer.schedule
    parts: dict[str, Any] = {
        "model": model, "optimizer": learner.optimizer, "schedule": learner.schedule, "bank": bank,
        "mixer": mixer, "devices": fabric.world_size,
    }  # fmt: skip
    records: list[EpochRecord] = []
    if resume and folder.has_checkpoint:
        records = restore(folder.load_checkpoint(origin, device=fabric.device), **parts)
        if len(records) > config.epochs:
            raise ExperimentError(f"{folder.path} has {len(records)} epochs, its recipe wants {config.epochs}.")
    parts["origin"] = origin
    facts, environment = about_run(config, data, model), describe_environment(fabric.device, config.precision)
    started = datetime.datetime.now().astimezone().isoformat(timespec="seconds")

    def result(status: str, stopped: str | None = None) -> RunResult:
        return RunResult(folder.path, config, records, status, stopped, facts, environment)

    best = max((record.scores.get(learner.task.score, -1.0) for record in records), default=-1.0)
    board: Board | None = None

    def epoch(record: EpochRecord) -> None:
        nonlocal best
        records.append(record)
        if own is not None:
            own.check()
            if record.scores.get(learner.task.score, -1.0) > best:  # first, so that the last never is without it
                best = record.scores[learner.task.score]
                folder.save_checkpoint(best=True, records=records, **parts)
            folder.save_checkpoint(records=records, **parts)
            folder.write_metrics(config, records)
            if board is not None:
                board.log(record)
            folder.write_summary(result("running"), started)
        watcher.epoch(record)

    stopped = None
    try:
        if main:
            folder.write_config(config)
            folder.write_environment(environment)
            folder.write_metrics(config, records)
            folder.write_summary(result("running"), started)
            board = Board(folder.board, first_epoch=len(records) + 1, scored=config.scored)
        first = len(records) + 1
        train(
            fabric, learner, data, config,
            first_epoch=first, watcher=Watcher(watcher.step, epoch),
        )  # fmt: skip
    except RunStoppedError as error:
        stopped = f"{error}; the run stops here and keeps what was saved"
    except TakenOverError:
        raise
    except BaseException:
        if main:
            _try_write(folder, result("interrupted"), started)
        raise
    finally:
        if board is not None:
            board.close()
    ended = result("complete" if stopped is None else "stopped", stopped)
    if main:
        _try_write(folder, ended, started)
    return ended


def about_run(config: Config, data: DataSet, model: nn.Module) -> dict[str, Any]:
    """What tables and reports say of a run's data and model."""
    return {
        "data_title": data.title,
        "train_samples": len(data.train),
        "scored": data.scored,
        f"{data.scored}_samples": len(data.test),
        "held_samples": 0 if data.held is None else len(data.held),
        "sample_shape": list(data.train.shape[1:]),
        "classes": len(data.classes),
        "augmentation": data.augmentation,
        "domain": config.domain,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "recipe_in_words": config.in_words(),
    }


def load_trained(folder: Path, roots: Sequence[Path], *, best: bool = False) -> tuple[Config, DataSet, nn.Module]:
    """The configuration, data and trained model of a run's folder, on the CPU, in eval mode.

    Raises:
        ExperimentError: no run, no checkpoint, a damaged one, or one of another run or of other data.
    """
    home = RunFolder(folder)
    config = home.read().config
    data = load(config, roots)
    model = new_model(config, data)
    content = home.load_checkpoint(Origin.of(config, data), best=best)
    try:
        model.load_state_dict(content["model"])
    except RuntimeError as error:
        raise ExperimentError(f"the checkpoint in {folder} is of another model than its recipe.") from error
    return config, data, model.eval()


def _try_write(folder: RunFolder, result: RunResult, started: str) -> None:
    """On the way out there is nobody left to tell that the disk is full."""
    try:
        folder.write_summary(result, started)
    except RunStoppedError as error:
        logging.getLogger(__name__).warning("%s", error)
