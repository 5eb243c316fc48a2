"""Options of a method chosen by Optuna: each trial is a run of the sweep, scored on held-out training samples.

The study lies in the sweep's folder beside the runs, so that it goes on where it was left. A trial whose score after an
epoch is below the median of the others' at that epoch is stopped.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.base.claims import claim
from experiments.base.console import make_console
from experiments.base.errors import STOPPED, ExperimentError
from experiments.base.stopping import asked_to_stop, stopped_by_signals
from experiments.report.summary import make_summary
from experiments.report.terminal import print_tables
from experiments.report.write import write_report, write_summary
from experiments.run.config import Config
from experiments.run.folder import RunFolder
from experiments.run.records import MAIN, RunResult
from experiments.sweeps.plan import Sweep, run_folder
from experiments.sweeps.processes import slots, start_worker
from experiments.sweeps.work import ENDED

STUDY = "study.log"  # Optuna's journal
METHOD = "method"  # what a trial says of itself in the study
STARTUP, WARMUP = 5, 1  # whole trials, and tested epochs of a trial, before anything is pruned
POLL = 0.2  # seconds


@dataclass(frozen=True)
class Choice:
    """What an option may be.

    Attributes:
        name: of the option.
        words: the values, where they are listed.
        low, high: the range, where it is one; whole numbers where both are.
        log: whether a range is searched by its logarithm.
    """

    name: str
    words: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False

    def suggest(self, trial: Any) -> str:
        """The text of a value that the study wants to try."""
        if self.words:
            return str(trial.suggest_categorical(self.name, self.words))
        if isinstance(self.low, int) and isinstance(self.high, int):
            return str(trial.suggest_int(self.name, self.low, self.high, log=self.log))
        return f"{trial.suggest_float(self.name, self.low, self.high, log=self.log):.4g}"


def read_choice(text: str) -> Choice:
    """A choice out of NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=ONE|OTHER|...

    Raises:
        ExperimentError: a text of another form, or an empty range.
    """
    name, _, values = text.partition("=")
    words = tuple(word.strip() for word in values.split("|"))
    if name and len(words) > 1 and all(words):
        return Choice(name, words)
    low, _, rest = values.partition(":")
    high, _, scale = rest.partition(":")
    try:
        least, most = (int(end) if end.strip().isdecimal() else float(end) for end in (low, high))
    except ValueError:
        least, most = 1.0, 0.0
    if not name or not float("-inf") < least < most < float("inf") or scale not in ("", "log"):
        raise ExperimentError(f"--tune wants NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=ONE|OTHER, got {text!r}.")
    if scale and least <= 0:
        raise ExperimentError(f"--tune {text}: a logarithmic range begins above 0.")
    return Choice(name, (), least, most, bool(scale))


@dataclass
class Attempt:
    """A trial that is at work.

    Attributes:
        trial: Optuna's.
        config: of its run.
        run: its folder.
        process: that trains it.
        gpus: that the process may use.
        told: tested epochs that the study knows of.
        changed: when the run's summary was last read.
    """

    trial: Any
    config: Config
    run: RunFolder
    process: subprocess.Popen[bytes]
    gpus: list[str]
    told: set[int] = field(default_factory=set)
    changed: int = -1


def tune(sweep: Sweep, configure: Callable[[str], Config], method: str, choices: Sequence[Choice], trials: int) -> int:
    """Try so many settings of a method, and report every run.

    Args:
        sweep: the folder, the machine and how many trials run at a time; its runs are those of the trials.
        configure: the run of a method's text.
        method: the method's name, perhaps with options that stay.
        choices: what the other options may be.
        trials: how many, those of an earlier call in this folder included.

    Returns:
        The exit code: 0, or 1 where no trial ended well.

    Raises:
        ExperimentError: Optuna is not installed, or another process tunes in the folder.
    """
    try:
        import optuna
    except ImportError as error:
        raise ExperimentError("--tune needs Optuna: pip install 'mixkit[tune]'.") from error
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    console, folder = make_console(), sweep.output
    with claim(folder), stopped_by_signals():
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(JournalFileBackend(str(folder / STUDY))),
            study_name=method,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(STARTUP, WARMUP),
        )
        study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))  # one that goes on draws anew
        tuner = _Tuner(sweep, study, configure, lambda trial: method_text(method, choices, trial), console)
        try:
            tuner.run(trials)
        finally:
            tuner.close()
        results = [run.read() for run in tuner.runs()]
    summary = make_summary(sweep.command, folder.name, results, "complete")
    write_summary(folder, summary)
    page = write_report(folder, summary, results, sweep.roots, sweep.gallery)
    print_tables(console, summary)
    well = any(result.status == "complete" for result in results)
    if well:
        best = study.best_trial
        console.print(f"\nbest: {best.user_attrs[METHOD]}, {best.value:.1f} %", highlight=False, soft_wrap=True)
    console.print(str(page), highlight=False, soft_wrap=True)
    return 0 if well else 1


def method_text(method: str, choices: Sequence[Choice], trial: Any) -> str:
    """The method with the values that a trial wants; those that stay come first."""
    options = ",".join(f"{choice.name}={choice.suggest(trial)}" for choice in choices)
    return f"{method}{',' if ':' in method else ':'}{options}"


class _Tuner:
    """Keeps trials at work, tells the study of their scores, and stops those that it prunes."""

    def __init__(
        self,
        sweep: Sweep,
        study: Any,
        configure: Callable[[str], Config],
        suggest: Callable[[Any], str],
        console: Any,
    ) -> None:
        self._sweep, self._study, self._console = sweep, study, console
        self._configure, self._suggest = configure, suggest
        self._free = slots(sweep.jobs, sweep.machine.devices)
        self._at_work: list[Attempt] = []

    def run(self, trials: int) -> None:
        """Have so many trials end, with those that an earlier call left first."""
        from optuna.trial import Trial, TrialState

        left = [Trial(self._study, trial._trial_id) for trial in self._study.get_trials(states=(TrialState.RUNNING,))]
        while True:
            if asked_to_stop():
                raise KeyboardInterrupt
            while self._free and left:
                self._begin(left.pop(0))
            while self._free and len(self._study.trials) < trials:
                self._begin(self._study.ask())
            for attempt in list(self._at_work):
                self._look(attempt)
            if not self._at_work and len(self._study.trials) >= trials:
                return
            time.sleep(POLL)

    def runs(self) -> list[RunFolder]:
        """The runs of all trials, each once."""
        texts = dict.fromkeys(text for trial in self._study.trials if (text := trial.user_attrs.get(METHOD)))
        configs = map(self._configure, texts)
        return [run for config in configs if (run := run_folder(self._sweep.output, config)).holds_run]

    def close(self) -> None:
        """End what is at work; a later call goes on with it."""
        for attempt in self._at_work:
            attempt.process.terminate()
        for attempt in self._at_work:
            attempt.process.wait()

    def _begin(self, trial: Any) -> None:
        config = self._configure(self._suggest(trial))
        config.check()
        trial.set_user_attr(METHOD, config.method)
        run = run_folder(self._sweep.output, config)
        if not run.holds_run:
            run.write_config(config)
        gpus = self._free.pop()
        told = set(self._study.trials[trial.number].intermediate_values)
        self._at_work.append(Attempt(trial, config, run, self._start(run, gpus), gpus, told))

    def _start(self, run: RunFolder, gpus: list[str]) -> subprocess.Popen[bytes]:
        return start_worker(self._sweep, run.path, self._sweep.output, gpus)

    def _look(self, attempt: Attempt) -> None:
        """Tell the study what is new of a trial."""
        run = attempt.run
        if (changed := run.changed()) != attempt.changed:
            attempt.changed = changed
            result = run.read()
            ended = result.status in ENDED
            if self._report(attempt, result) and not ended:
                attempt.process.terminate()
                attempt.process.wait()
                run.write_end(
                    "stopped", f"pruned after epoch {max(attempt.told)}: below the median of the other trials"
                )
                self._end(attempt, run.read())
                return
            if ended:
                attempt.process.wait()
                self._end(attempt, result)
                return
        code = attempt.process.poll()
        if code == STOPPED:
            raise KeyboardInterrupt
        if code is not None and run.status() not in ENDED:
            attempt.process = self._start(run, attempt.gpus)  # its claim counts how often; the third death is its last

    def _report(self, attempt: Attempt, result: RunResult) -> bool:
        """Whether the study prunes the trial, by the tested epochs that it did not know."""
        for record in result.tested:
            if record.epoch not in attempt.told:
                attempt.told.add(record.epoch)
                attempt.trial.report(_score(record.scores), record.epoch)
        return bool(attempt.told) and bool(attempt.trial.should_prune())

    def _end(self, attempt: Attempt, result: RunResult) -> None:
        from optuna.trial import TrialState

        self._at_work.remove(attempt)
        self._free.append(attempt.gpus)
        if result.status == "complete":
            score = _score(result.tested[-1].scores)
            self._study.tell(attempt.trial, score)
            told = f"{score:.1f} %"
        else:
            pruned = (result.stopped or "").startswith("pruned")
            self._study.tell(attempt.trial, state=TrialState.PRUNED if pruned else TrialState.FAIL)
            told = str(result.stopped)
        self._console.print(
            f"trial {attempt.trial.number + 1}, {result.config.method}: {told}", highlight=False, soft_wrap=True
        )


def _score(scores: dict[str, float]) -> float:
    return next(scores[name] for name in MAIN if name in scores)
