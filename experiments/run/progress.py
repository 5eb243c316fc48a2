"""What the terminal shows of runs at work."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from experiments.run.loop import Watcher
from experiments.run.records import EpochRecord


class Monitor:
    """Follows the runs: two bars on a terminal (all runs, this run), one line a run elsewhere."""

    def __init__(self, console: Console, runs: int, total_steps: int, *, quiet: bool = False) -> None:
        self.console = console
        self.quiet = quiet
        self.runs = runs
        self.started = 0
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=14),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self.all = self.progress.add_task("", total=total_steps)
        self.current = self.progress.add_task("", total=1)

    def __enter__(self) -> Monitor:
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def begin(self, title: str, epochs: int, steps: int, done: int = 0) -> Watcher:
        """A run starts, or goes on after `done` epochs; returns who is to be told of its steps and epochs."""
        self.started += 1
        self.title = f"run {self.started} of {self.runs}: {title}" if self.runs > 1 else title
        self.progress.update(self.all, description=self.title, advance=done * steps)
        self.progress.reset(
            self.current, total=epochs * steps, completed=done * steps, description=f"  epoch {done + 1}/{epochs}"
        )
        state: dict[str, Any] = {"loss": None, "epoch": done + 1, "accuracy": ""}

        def show() -> None:
            accuracy = state["accuracy"]
            line = f"  epoch {min(state['epoch'], epochs)}/{epochs}, loss {state['loss']:.2f}{accuracy}"
            self.progress.update(self.current, description=line)

        def step(loss: float) -> None:
            # a running mean: single losses of mixed batches jump about
            state["loss"] = loss if state["loss"] is None else 0.95 * state["loss"] + 0.05 * loss
            self.progress.advance(self.current)
            self.progress.advance(self.all)
            show()

        def epoch(record: EpochRecord) -> None:
            state["epoch"] = record.epoch + 1
            if record.scores:
                name, value = next(iter(record.scores.items()))
                state["accuracy"] = f", {name.replace('_', ' ')} {value:.1f} %"
            show()

        return Watcher(step, epoch)

    def skip(self, title: str, steps: int, outcome: str) -> None:
        """A run that is done already."""
        self.started += 1
        self.title = f"run {self.started} of {self.runs}: {title}"
        self.progress.update(self.all, advance=steps)
        self.end(outcome)

    def end(self, outcome: str) -> None:
        """A run is over: its line stays."""
        if not self.quiet:
            self.console.print(f"{self.title}: {outcome}", highlight=False, soft_wrap=True)
