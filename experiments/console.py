"""What the terminal shows of a comparison: progress while it works, the table at the end. Writes no files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from experiments.results import cells
from experiments.train import EpochRecord, Watcher

HEADINGS = ("best", "final", "last 10", "ECE", "gap", "cost")
NOTE = (
    "Accuracy in %: best epoch, last epoch, mean of the last 10. ECE in % at the last epoch (15 bins); gap = "
    "confidence − accuracy. Cost: seconds of a step over those of the same step without mixing, median of all steps."
)


class Monitor:
    """Follows the runs: two bars on a terminal (all runs, this run), one line a run elsewhere."""

    def __init__(self, console: Console, runs: int, total_steps: int) -> None:
        self.console = console
        self.runs = runs
        self.started = 0
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=14),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.all = self.progress.add_task("", total=total_steps)
        self.current = self.progress.add_task("", total=1)

    def __enter__(self) -> Monitor:
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def begin(self, title: str, epochs: int, steps: int) -> Watcher:
        """A run starts; returns who is to be told of its steps and epochs."""
        self.started += 1
        self.title = f"run {self.started} of {self.runs}: {title}"
        self.progress.update(self.all, description=self.title)
        self.progress.reset(self.current, total=epochs * steps, description=f"  epoch 1/{epochs}")
        state: dict[str, Any] = {"loss": None, "epoch": 1, "accuracy": None}

        def show() -> None:
            accuracy = "" if state["accuracy"] is None else f", accuracy {state['accuracy']:.1f} %"
            line = f"  epoch {min(state['epoch'], epochs)}/{epochs}, loss {state['loss']:.2f}{accuracy}"
            self.progress.update(self.current, description=line)

        def step(loss: float) -> None:
            # a running mean: single losses of mixed batches jump about
            state["loss"] = loss if state["loss"] is None else 0.95 * state["loss"] + 0.05 * loss
            self.progress.advance(self.current)
            self.progress.advance(self.all)
            show()

        def epoch(record: EpochRecord) -> None:
            state.update(epoch=record.epoch + 1, accuracy=record.test_accuracy)
            show()

        return Watcher(step, epoch)

    def end(self, outcome: str) -> None:
        """A run is over: its line stays."""
        self.console.print(f"{self.title}: {outcome}", highlight=False, soft_wrap=True)


def make_table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    """The figures of `summarise` for one domain, as a table."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    table.add_column("", min_width=15, no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True, min_width=5)
    for row in rows:
        table.add_row(row["method"], *cells(row))
        for seed in row["stopped"]:
            table.add_row(f"  [red]seed {seed} stopped")
    return table
