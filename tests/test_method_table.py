"""The tables of methods by domain in docs/methods and README say what the registry says, and every cell mixes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import mixkit
from mixkit.registry import get_domain, get_method

PAGE = Path(__file__).resolve().parents[1] / "docs" / "methods" / "README.md"
OURS = ("mixkit", "mixkit_image", "mixkit_points")
BATCHES: dict[str, tuple[int, ...]] = {
    "image": (4, 3, 9, 8),
    "sequence": (4, 2, 20),
    "spectrogram": (4, 1, 8, 12),
    "volume": (4, 1, 4, 6, 5),
    "video": (4, 2, 3, 6, 6),
    "points": (4, 30, 4),
    "scene": (4, 30, 4),
}


def table() -> dict[str, list[str]]:
    """The domains of each method, as the page has them."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("| | image |"))
    domains = [cell.strip() for cell in lines[first].strip("|").split("|")][1:]
    found = {}
    for line in lines[first + 2 :]:
        if not line.startswith("| [`"):
            break
        name, *marks = [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]
        method, page = re.fullmatch(r"\[`(\w+)`\]\((\S+)\)", name).groups()  # type: ignore[union-attr]
        assert (PAGE.parent / page).is_file(), page
        assert set(marks) <= {"x", ""}
        found[method] = [domain for domain, mark in zip(domains, marks, strict=True) if mark]
    return found


def readme_table() -> dict[str, list[str]]:
    """The domains of each method, as README has them: several methods a row, several domains a column."""
    section = (
        (PAGE.parents[2] / "README.md").read_text(encoding="utf-8").partition("## Methods\n")[2].partition("\n## ")[0]
    )
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in section.splitlines() if line.startswith("|")]
    columns = [heading.split(", ") for heading in rows[0][1:]]
    found = {}
    for names, *marks in rows[2:]:
        domains = {domain for of, mark in zip(columns, marks, strict=True) if mark == "x" for domain in of}
        found |= {name: [domain for domain in BATCHES if domain in domains] for name in re.findall(r"`(\w+)`", names)}
    assert section.strip().startswith(f"{len(found)} of them, ")
    return found


def is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in OURS


def test_the_table_is_the_registry() -> None:
    assert {name for name in mixkit.list_domains() if is_ours(get_domain(name))} == set(BATCHES)
    expected = {
        name: [domain for domain in BATCHES if name in mixkit.list_methods(domain)]
        for name in mixkit.list_methods()
        if is_ours(get_method(name))
    }
    assert table() == expected
    assert readme_table() == expected


@pytest.mark.parametrize("domain", BATCHES)
def test_every_cell_mixes(domain: str) -> None:
    shape = BATCHES[domain]
    batch: Any = torch.rand(shape)
    if domain == "scene":
        batch = [torch.rand(count, 4) for count in (30, 20, 40, 25)]
    saliency = lambda batch: torch.cat(list(batch))[:, 0] if domain == "scene" else _mean(domain, batch)  # noqa: E731
    for name, domains in table().items():
        if domain not in domains or get_method(name).for_layers:
            continue
        mixer = mixkit.create_mixer(name, domain, num_classes=4, saliency=saliency, p=1.0)
        mixed, targets = mixer(batch, torch.arange(4))
        if domain == "scene":
            assert all(bool(each.isfinite().all()) for each in mixed), name
            continue
        assert mixed.shape == shape, name
        assert mixed.isfinite().all(), name
        assert targets.shape == (4, 4), name


def _mean(domain: str, batch: torch.Tensor) -> torch.Tensor:
    """(B, N) a saliency: the first channel."""
    return batch[..., 0] if domain == "points" else batch[:, 0].flatten(1)
