"""The folder of a run: nobody else knows what its files are called, writes them or reads them.

What is read may be a stranger's, or damaged: it is checked before anything looks at it (`records`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.base.errors import ExperimentError, plain
from experiments.base.files import make_output, read_bounded, write_json, write_lines, write_whole
from experiments.run.config import Config, to_toml
from experiments.run.recipe import load_recipe
from experiments.run.records import (
    ABOUT,
    MACHINE,
    STATUSES,
    EpochRecord,
    RunResult,
    differing,
    evaluation_of,
    is_number,
    known,
    parse_object,
    record_of,
    text_or_none,
)

if TYPE_CHECKING:
    import torch

    from experiments.run.checkpoint import Origin

RECIPE = "recipe.toml"  # the configuration, every value resolved
METRICS = "metrics.jsonl"  # a line an epoch
SUMMARY = "summary.json"
ENVIRONMENT = "environment.json"
EVALUATION = "evaluation.json"  # of the command `evaluate`
CHECKPOINTS, LAST, BEST = "checkpoints", "last.ckpt", "best.ckpt"
BOARD = "tensorboard"
WAITING = "waiting"
LOG = "log.txt"  # what a process of a sweep says


@dataclass(frozen=True)
class RunFolder:
    """The files of one run, at `path`."""

    path: Path

    @staticmethod
    def create(wanted: Path, config: Config) -> RunFolder:
        """A folder for a new run, the next free one; its recipe is there at once, so that --resume always finds it."""
        folder = RunFolder(make_output(wanted))
        folder.write_config(config)
        return folder

    @staticmethod
    def below(folders: Iterable[Path]) -> list[RunFolder]:
        """All runs in folders and below, in the order of their names."""
        return [RunFolder(path) for path in sorted({path.parent for top in folders for path in top.rglob(RECIPE)})]

    @property
    def holds_run(self) -> bool:
        """Whether a run has begun here."""
        return (self.path / RECIPE).is_file()

    @property
    def board(self) -> Path:
        """Where TensorBoard's event files are."""
        return self.path / BOARD

    @property
    def log(self) -> Path:
        """What a process that trains here says."""
        return self.path / LOG

    # ---- reading

    def config(self) -> Config:
        """The run's configuration; ExperimentError where there is none, or a damaged one."""
        if not self.holds_run:
            raise ExperimentError(f"{self.path} is not the folder of a run: it has no {RECIPE}.")
        return load_recipe(self.path / RECIPE).resolve(None, {})

    def read(self) -> RunResult:
        """The run as it is, finished or not.

        Raises:
            ExperimentError: not a run's folder, or a damaged file in it.
        """
        config = self.config()
        try:
            records = self._records(config)
            summary, environment, evaluation = map(self._object, (SUMMARY, ENVIRONMENT, EVALUATION))
            status = summary.get("status", "interrupted")
            if status not in STATUSES:
                raise ValueError(f"{SUMMARY}: status is none of {', '.join(STATUSES)}")
            result = RunResult(
                self.path,
                config,
                records,
                status,
                text_or_none(f"{SUMMARY}: stopped", summary.get("stopped")),
                known(summary.get("about", {}), ABOUT),
                known(environment, MACHINE),
                evaluation_of(evaluation.get("scores", {})),
            )
            _check_summary(summary, result)
        except ValueError as error:
            raise ExperimentError(
                f"a file in {self.path} is damaged or was changed: {error}. `python -m experiments train --resume "
                f"{self.path}` makes it anew from the run's checkpoint; without one, remove the folder."
            ) from error
        return result

    def status(self) -> str:
        """The run's status and nothing else, which is quick; "waiting" where it has none, or where nobody can tell."""
        try:
            status = self._object(SUMMARY).get("status", WAITING)
        except ValueError:
            return WAITING
        return status if status in STATUSES else WAITING

    def changed(self) -> int:
        """When the summary was written, in nanoseconds; 0 where there is none. Cheap to ask often."""
        try:
            return (self.path / SUMMARY).stat().st_mtime_ns
        except OSError:
            return 0

    def epochs_done(self) -> int:
        """How many epochs the run has; 0 where there is none, or where its files cannot be read.

        A run that goes on writes them anew from its checkpoint.
        """
        try:
            return len(self.read().records)
        except ExperimentError:
            return 0

    def load_checkpoint(
        self, origin: Origin, *, best: bool = False, device: torch.device | str = "cpu"
    ) -> dict[str, Any]:
        """The last checkpoint, or that of the best epoch.

        Raises:
            ExperimentError: there is none, it is damaged, or its run had other settings or other data than `origin`.
        """
        from experiments.data.fingerprint import differs
        from experiments.run.checkpoint import load_checkpoint  # imports torch, which takes seconds; `status` need not

        other = self._checkpoint(best=True)
        hint = f"; {other} is there too, `evaluate --best` reads it" if not best and other.exists() else ""
        content = load_checkpoint(self._checkpoint(best), device, hint)
        before: Origin | None = content["origin"]
        if before is None:
            return content
        if difference := differing(before.config, origin.config):
            name, was, wanted = difference
            raise ExperimentError(
                f"{self.path}: the checkpoint is of a run with {name} = {was}, but its {RECIPE} says {wanted}: a run "
                "goes on as it began."
            )
        if change := differs(before.data, origin.data):
            raise ExperimentError(f"{self.path}: the run was trained on other data: {change}.")
        return content

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is something to go on from."""
        return self._checkpoint(best=False).exists()

    def last_words(self) -> str:
        """The last line of the log."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            text = ""
        return text.splitlines()[-1] if text else "nothing"

    # ---- writing; RunStoppedError where the disk is full, and the old file is untouched

    def write_config(self, config: Config) -> None:
        """Write the configuration, which makes the folder that of a run."""
        write_whole(self.path / RECIPE, to_toml(config))

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Write what the run runs on."""
        write_json(self.path / ENVIRONMENT, environment)

    def write_metrics(self, config: Config, records: Sequence[EpochRecord]) -> None:
        """Write a line an epoch, scores as ``test_...`` or ``validation_...``, whichever samples they are of."""
        lines = []
        for record in records:
            line = asdict(record)
            line.update({f"{config.scored}_{name}": value for name, value in line.pop("scores").items()})
            lines.append(line)
        write_lines(self.path / METRICS, lines)

    def write_summary(self, result: RunResult, started: str) -> None:
        """Write how the run stands; `started` is when this process began with it."""
        content = {
            "status": result.status,
            "stopped": result.stopped,
            "title": result.config.title,
            "config": result.config.values(),
            "started": started,
            "seconds": sum(record.seconds for record in result.records),
            "epochs": len(result.records),
            **result.scores(),
            "about": result.about,
        }
        write_json(self.path / SUMMARY, content)

    def write_end(self, status: str, why: str | None = None) -> None:
        """Write a status over that of a run that is nobody's, such as one whose process could not tell of its end."""
        self.write_summary(replace(self.read(), status=status, stopped=why), started="")

    def write_evaluation(self, content: Mapping[str, Any]) -> None:
        """Write what `evaluate` found."""
        write_json(self.path / EVALUATION, content)

    def save_checkpoint(self, *, best: bool = False, **content: Any) -> None:
        """Write the last or the best checkpoint, of what `checkpoint.save_checkpoint` takes."""
        from experiments.run.checkpoint import save_checkpoint

        save_checkpoint(self._checkpoint(best), **content)

    def _checkpoint(self, best: bool) -> Path:
        return self.path / CHECKPOINTS / (BEST if best else LAST)

    def _object(self, name: str) -> dict[str, Any]:
        """A JSON file that holds an object; empty where there is no file."""
        try:
            return parse_object(read_bounded(self.path / name))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(f"{name}: {_reason(error)}") from error

    def _records(self, config: Config) -> list[EpochRecord]:
        """The epochs 1, 2, 3, ...; none where there is no file."""
        records: list[EpochRecord] = []
        try:
            for line in read_bounded(self.path / METRICS).splitlines():
                records.append(record_of(parse_object(line), config, len(records) + 1))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(f"{METRICS}, line {len(records) + 1}: {_reason(error)}") from error
        return records


def _check_summary(summary: Mapping[str, Any], result: RunResult) -> None:
    """ValueError where the summary contradicts the other files of its run."""
    config, epochs, final = result.config, len(result.records), result.scores().get("final")
    if isinstance(said := summary.get("config"), Mapping):
        if difference := differing(said, config.values()):
            name, before, now = difference
            raise ValueError(f"{RECIPE} says {name} = {now}, but {SUMMARY} that the run was trained with {before}")
    elif said is not None:
        raise ValueError(f"{SUMMARY}: config is {type(said).__name__}")
    if summary.get("status") != "complete":
        return
    if epochs != config.epochs:
        raise ValueError(f"{METRICS} has {epochs} epochs of the {config.epochs} that {SUMMARY} calls complete")
    told = summary.get("final")
    if final is None or (told is not None and not (is_number(told) and math.isclose(told, final, abs_tol=1e-6))):
        raise ValueError(f"the last epoch of {METRICS} is not the one that {SUMMARY} tells of")


def _reason(error: BaseException) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is no text"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return plain(str(error).split("\n")[0])[:200]
