"""The form of docstrings: what an argument is stands first, and each error has an entry of its own."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = [folder for folder in ("mixkit", "plugins", "experiments") if (ROOT / folder).is_dir()]


def entries(docstring: str, section: str) -> list[str]:
    """The first lines of the entries of a section."""
    match = re.search(rf"^{section}:\n((?:    .*\n?|\n)+)", docstring, re.MULTILINE)
    return re.findall(r"^    (\S.*)", match[1], re.MULTILINE) if match else []


@pytest.mark.parametrize("package", PACKAGES)
def test_entries_have_a_noun_and_errors_a_line_each(package: str) -> None:
    wrong = []
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and (docstring := ast.get_docstring(node)):
                wrong += [f"{path.name}: {line}" for line in entries(docstring, "Args") if re.match(r"\S+ of ", line)]
                errors = entries(docstring, "Raises")
                wrong += [f"{path.name}: {line}" for line in errors if not re.match(r"[\w.]+: ", line)]
                names = [line.partition(":")[0] for line in errors]
                wrong += [f"{path.name}: {name} twice" for name in set(names) if names.count(name) > 1]
    assert not wrong
