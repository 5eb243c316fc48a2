"""The reference has every public name, whose docstring has an example; `test_doctests.py` runs the examples."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
DIRECTIVE = re.compile(r"^\.\. auto(?:class|function|module):: (\S+)$", re.M)
PACKAGES = (
    "mixkit", "mixkit.functional", "mixkit.methods",
    "mixkit_image", "mixkit_image.functional", "mixkit_image.methods",
    "mixkit_points", "mixkit_points.scenes",
)  # fmt: skip
NAMES = [(package, name) for package in PACKAGES for name in importlib.import_module(package).__all__]


def shown() -> set[int]:
    """The objects that the reference shows, by identity, as some have two names."""
    found = set()
    for page in REFERENCE.glob("*.md"):
        for path in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            package, _, name = path.rpartition(".")
            holder = importlib.import_module(package) if package else None
            found.add(id(getattr(holder, name) if hasattr(holder, name) else importlib.import_module(path)))
    return found


def test_every_public_name_is_in_the_reference() -> None:
    known = shown()
    assert [f"{p}.{n}" for p, n in NAMES if id(getattr(importlib.import_module(p), n)) not in known] == []


@pytest.mark.parametrize(("package", "name"), NAMES, ids=[".".join(names) for names in NAMES])
def test_every_public_name_has_an_example(package: str, name: str) -> None:
    thing = getattr(importlib.import_module(package), name)
    own = inspect.getdoc(thing) if inspect.ismodule(thing) else thing.__doc__
    assert ">>> " in (own or "")


def test_there_are_names() -> None:
    """Else the tests above would pass for want of anything to look at."""
    assert len(NAMES) > 90
