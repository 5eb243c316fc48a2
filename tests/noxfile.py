"""The tests with other versions of what mixkit needs: ``nox -f tests/noxfile.py [-s NAME]``.

``--force-python 3.10`` runs a session with another Python. The newest and the oldest of everything come to several GB.
"""

from __future__ import annotations

import os
import re
import shutil
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
    """The wheel without extras, away from the sources: README's snippets, and what imports bring along."""
    session.chdir(ROOT)
    session.install("-c", CONSTRAINTS, "build", "pytest")
    folder = Path(session.create_tmp()).resolve()
    shutil.rmtree(folder)
    session.run("python", "-m", "build", "--wheel", "--outdir", str(folder))
    session.install("-c", CONSTRAINTS, *map(str, folder.glob("mixkit-*.whl")))
    (folder / "tests").mkdir()
    shutil.copy(ROOT / "README.md", folder)
    for name in ("test_readme.py", "test_imports.py"):
        shutil.copy(ROOT / "tests" / name, folder / "tests")
    session.chdir(folder)
    session.run("python", "-m", "pytest", "-ra", "tests")


@nox.session(venv_backend="none", default=False)
def sdist(session: nox.Session) -> None:
    """The fast tests of the source distribution, in the environment that nox runs in."""
    session.chdir(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "build", "--sdist", "--outdir", folder)
        (archive,) = Path(folder).glob("mixkit-*.tar.gz")
        shutil.unpack_archive(archive, folder, filter="data")
        root = archive.with_name(archive.name.removesuffix(".tar.gz"))
        session.chdir(root)
        path = os.pathsep.join([str(root), str(root / "plugins")])
        session.run("python", "-m", "pytest", *session.posargs, env={"PYTHONPATH": path})
        session.chdir(ROOT)


@nox.session(venv_backend="none", default=False)
def docs(session: nox.Session) -> None:
    """The site, in the environment that nox runs in: no warning, and no broken link within it."""
    session.chdir(ROOT)
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", "site", *session.posargs)
    session.run("python", "tests/site_links.py", "site")


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
