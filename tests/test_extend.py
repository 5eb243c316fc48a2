"""The plugin that the documentation shows works once it is installed, and is found without being imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[1] / "docs" / "extend" / "example"
tomlkit = pytest.importorskip("tomlkit")


def test_the_plugin_of_the_documentation(tmp_path: Path) -> None:
    project = tomlkit.parse((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    about = tmp_path / "mixkit_electrodes-0.1.0.dist-info"  # what an installer leaves of a project
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (entries,) = project["entry-points"].items()
    (about / "entry_points.txt").write_text(
        f"[{entries[0]}]\n" + "".join(f"{name} = {module}\n" for name, module in entries[1].items())
    )
    (tmp_path / "mixkit_electrodes.py").write_bytes((EXAMPLE / "mixkit_electrodes.py").read_bytes())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    code = (EXAMPLE / "use.py").read_text(encoding="utf-8") + "\nprint(mixkit.list_methods('electrodes'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    names = done.stdout
    assert "'sideswap'" in names
    assert "'sagemix'" in names
    assert "'puzzlemix'" not in names
    assert "could not be imported" not in done.stderr
