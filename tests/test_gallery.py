"""The gallery's scripts: what they are made of, and (slow) that each runs and draws."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import pytest

import mixkit

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "docs" / "gallery").glob("*.py"))
MAY_IMPORT = {
    *("experiments", "mixkit", "mixkit_image", "mixkit_points"),
    *("matplotlib", "numpy", "sklearn", "timm", "torch", "torchvision"),  # what the extras bring
    *("copy", "functools", "itertools", "json", "math", "pathlib", "statistics", "sys"),
}


def names(scripts: list[Path]) -> list[str]:
    return [script.stem for script in scripts]


def imported(tree: ast.Module) -> set[str]:
    """The packages that a script imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add((node.module or ".").split(".")[0])
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=names(SCRIPTS))
def test_a_script_is_a_tutorial(script: Path) -> None:
    assert script.stem.startswith("plot_"), "sphinx-gallery runs plot_*"
    text = script.read_text(encoding="utf-8")
    tree = ast.parse(text)
    title, line, *rest = (ast.get_docstring(tree) or "").splitlines()
    assert set(line) == {"="}
    assert len(line) >= len(title) > 5
    assert "".join(rest).strip().endswith("."), "a sentence below the title says what is shown"
    prose = [cell.split("\n\n")[0] for cell in text.split("# %%\n")[1:]]
    assert len(prose) >= 3
    assert all(cell.startswith("# ") for cell in prose)
    assert imported(tree) <= MAY_IMPORT
    assert "show(" in text or "axes_of(" in text, "it draws"


@pytest.mark.parametrize(
    ("domain", "page"), [("image", "plot_03_methods_images"), ("points", "plot_04_methods_points")]
)
def test_every_method_is_shown(domain: str, page: str) -> None:
    text = (ROOT / "docs" / "gallery" / f"{page}.py").read_text(encoding="utf-8")
    assert [method for method in mixkit.list_methods(domain) if f'"{method}"' not in text] == []


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=names(SCRIPTS))
def test_a_script_runs_and_draws(script: Path) -> None:
    import matplotlib.pyplot as plt

    plt.close("all")
    runpy.run_path(str(script))
    assert plt.get_fignums()
    plt.close("all")
