"""Who may import whom: the rooms of experiments/ in their order, and no circles, wherever the import stands."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = {  # each imports itself and these
    "base": (),
    "data": ("base",),
    "models": ("base",),
    "run": ("base", "data", "models"),
    "report": ("base", "data", "models", "run"),
    "sweeps": ("base", "data", "models", "run", "report"),
    "commands": ("base", "data", "models", "run", "report", "sweeps"),
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
