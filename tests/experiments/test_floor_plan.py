"""Who may import whom: the rooms of experiments/ in their order, and no circles, wherever the import stands."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {  # each imports itself and these
    "base": (),
    "data": ("base",),
    "models": ("base",),
    "run": ("base", "data", "models"),
    "report": ("base", "data", "models", "run"),
    "sweeps": ("base", "data", "models", "run", "report"),
    "playground": ("base", "data", "models"),
    "commands": ("base", "data", "models", "run", "report", "sweeps", "playground"),
    "bench": ("base", "data", "models", "run", "commands"),
    "": ("base",),  # __main__, which imports commands by their names in its table
}


def modules(*packages: str) -> dict[str, Path]:
    """All modules of packages, by their names."""
    paths = (path for package in packages for path in (ROOT / package).rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imports() -> dict[str, set[str]]:
    """What each module of experiments/ imports of it, within functions and for type checkers too."""
    known = modules("experiments")
    graph: dict[str, set[str]] = {name: set() for name in known}
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in known:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name] |= inner & known.keys()
                graph[name] |= {node.module} if inner - known.keys() else set()
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & known.keys()
    return graph


def room(module: str) -> str:
    """The folder that a module lies in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else ""


def test_every_room_imports_what_it_may() -> None:
    graph = imports()
    assert len(graph) > 80
    assert {room(name) for name in graph} == set(ROOMS)
    wrong = {
        f"{name} imports {other}"
        for name, others in graph.items()
        for other in others
        if room(other) not in (room(name), *ROOMS[room(name)])
    }
    assert not wrong


def test_there_are_no_circles() -> None:
    graph, done = imports(), set[str]()

    def walk(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name]):
                walk(other, (*above, name))
            done.add(name)

    for name in graph:
        walk(name, ())
    assert done == set(graph)


def test_the_library_knows_nothing_of_the_experiments() -> None:
    for path in modules("mixkit", "plugins").values():
        assert "import experiments" not in (text := path.read_text(encoding="utf-8"))
        assert "from experiments" not in text


@pytest.mark.parametrize("command", [[], ["train"], ["cifar100"], ["compare"], ["sweep"]])
def test_help_answers_at_once(command: list[str]) -> None:
    words = [*command, "--help"]
    code = f"import sys\nfrom experiments.__main__ import main\ntry: main({words})\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = done.stdout.splitlines()[-1].split()
    assert "experiments.base.errors" in loaded
    assert not {"torch", "numpy", "rich", "lightning"} & set(loaded)


def test_one_module_knows_what_the_files_of_a_run_are_called() -> None:
    names = {"recipe.toml", "metrics.jsonl", "environment.json", "evaluation.json", "last.ckpt", "best.ckpt", "log.txt"}
    owners = set()
    for module, path in modules("experiments").items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        owners |= {module} if texts & names else set()
    assert owners == {"experiments.run.folder"}
