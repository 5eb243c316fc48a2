"""CONTRIBUTING's Python snippets stand in tests, to the letter."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("place", "name"), [(0, "signal_domain.py"), (1, "half_method.py")])
def test_what_is_to_be_added_is_shown_as_it_is_tested(place: int, name: str) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = re.findall(r"```python\n(.*?)```", page, flags=re.S)
    assert len(shown) == 2
    assert (ROOT / "tests" / name).read_text(encoding="utf-8").endswith(shown[place])
