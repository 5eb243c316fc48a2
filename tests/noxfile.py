"""The tests with other versions of what mixkit needs: ``nox -f tests/noxfile.py [-s NAME]``.

``--force-python 3.10`` runs a session with another Python. The newest and the oldest of everything come to several GB.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = "tests/constraints.txt"
nox.options.sessions = ["constraints", "newest", "oldest", "wheel"]


def _tests(session: nox.Session) -> None:
    """The fast tests, once the versions that matter are shown."""
    shown = ("torch", "torchvision", "triton", "numpy", "scipy", "numba", "lightning", "torchmetrics", "timm")
    code = f"import importlib.metadata as m; print(', '.join(f'{{n}} {{m.version(n)}}' for n in {shown}))"
    session.run("python", "-VV")
    session.run("python", "-c", code)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(venv_backend="venv")
def constraints(session: nox.Session) -> None:
    """The versions that CI runs."""
    session.chdir(ROOT)
    session.install("-c", CONSTRAINTS, "-e", ".[experiments,dev]")
    _tests(session)


@nox.session(venv_backend="venv")
def newest(session: nox.Session) -> None:
    """The newest of everything."""
    session.chdir(ROOT)
    session.install("-e", ".[experiments,dev]")
    _tests(session)


@nox.session(venv_backend="venv")
def oldest(session: nox.Session) -> None:
    """The oldest that pyproject.toml allows of what mixkit and the experiments need; pytest and the like are new."""
    session.chdir(ROOT)
    project = nox.project.load_toml("pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    bounds = [*project["dependencies"], *extras["timm"], *extras["experiments"]]
    pinned = [bound.replace(">=", "==") for bound in bounds if re.fullmatch(r"[\w-]+>=[\d.]+", bound)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pinned) + "\n")
        file.flush()
        session.install("-c", file.name, "-e", ".[experiments,dev]")
    _tests(session)


@nox.session(venv_backend="venv")
def wheel(session: nox.Session) -> None:
    """The wheel alone, without extras: README's snippets and what `import mixkit` brings along."""
    session.chdir(ROOT)
    session.install("-c", CONSTRAINTS, "build", "pytest")
    folder = session.create_tmp()
    session.run("python", "-m", "build", "--wheel", "--outdir", folder)
    (file,) = Path(folder).glob("mixkit-*.whl")
    session.install("-c", CONSTRAINTS, "--force-reinstall", "--no-deps", str(file))
    session.install("-c", CONSTRAINTS, str(file))
    session.run("python", "-m", "pytest", "-p", "no:cacheprovider", "tests/test_readme.py", "tests/test_imports.py")


@nox.session(venv_backend="none", default=False)
def lock(session: nox.Session) -> None:
    """Write the constraints anew, for every Python and platform: needs uv."""
    session.chdir(ROOT)
    session.run(
        "uv", "pip", "compile", "pyproject.toml", "--universal", "--python-version", "3.10", "--upgrade",
        "--extra", "experiments", "--extra", "dev", "--no-annotate", "--no-header", "--output-file", CONSTRAINTS,
        *session.posargs, external=True,
    )  # fmt: skip
    said = "# The versions that CI runs, for every Python and platform; written by `nox -f tests/noxfile.py -s lock`.\n"
    file = ROOT / CONSTRAINTS
    file.write_text(said + file.read_text())
