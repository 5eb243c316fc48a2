"""What a comparison was asked for; read from the command line by `compare`, carried out by `runner`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """The options of a comparison; None means the data set's own default (experiments/recipes.py)."""

    data: dict[str, str]
    roots: tuple[Path, ...]
    methods: tuple[str, ...] | None
    seeds: tuple[int, ...]
    limit: int | None
    epochs: int | None
    batch_size: int | None
    width: int | None
    precision: str
    output: Path
    gallery: Path | None
    threads: int | None
